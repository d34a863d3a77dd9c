"""Installed distributions and what they need, put into one directory: what a Lambda layer or runtime is."""

import compileall
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from streamgage.errors import ConfigError

RUNTIME_DISTRIBUTIONS = ("awslambdaric", "boto3")
_MANIFEST = ".distributions.json"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def build_runtime_dir(target: Path) -> Path:
    """Make *target* the stand-in for ``/var/runtime``: the runtime client and boto3, with all they need."""
    return build_dir(target, RUNTIME_DISTRIBUTIONS)


def build_dir(target: Path, requirements: Sequence[str], *, link: bool = True) -> Path:
    """Put the distributions that *requirements* name, and all that they need, into the directory *target*.

    The directory is replaced as a whole, and left alone where it already holds just these versions. With *link* the
    files are hard links where the file system allows; copies otherwise. Bytecode comes along, for it is worth half
    of a cold start.

    Raises:
        ConfigError: a distribution is missing or cannot be copied; names each.
    """
    found = closure(requirements)
    versions = {dist.metadata["Name"]: dist.version for dist in found}
    manifest = json.dumps({"python": sys.version, "link": link, "versions": versions}, sort_keys=True)
    kept = target / _MANIFEST
    if kept.exists() and kept.read_text(encoding="utf-8") == manifest:
        return target
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        for dist in found:
            _place(dist, beside, link=link)
    except BaseException:
        shutil.rmtree(beside)
        raise
    compileall.compile_dir(beside, quiet=2)
    (beside / _MANIFEST).write_text(manifest, encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    beside.replace(target)
    return target


def closure(requirements: Iterable[str]) -> list[Distribution]:
    """Return the installed distributions that *requirements* name (``name`` or ``name[extra]``) and all they need.

    Versions are not compared: what is installed was resolved together. A requirement under a marker is taken where
    it is installed.

    Raises:
        ConfigError: naming every distribution that is missing.
    """
    found: dict[str, Distribution] = {}
    visited: set[tuple[str, str]] = set()
    missing: list[str] = []
    pending = [(requirement, "the caller") for requirement in requirements]
    while pending:
        requirement, wanted_by = pending.pop(0)
        name, extras, marker = _parse(requirement)
        try:
            dist = found.get(name) or distribution(name)
        except PackageNotFoundError:
            if not marker:
                missing.append(f"{name} is not installed (needed by {wanted_by}): pip install {name}")
            continue
        found[name] = dist
        for extra in {"", *extras} - {extra for known, extra in visited if known == name}:
            visited.add((name, extra))
            pending += [(need, name) for need in dist.requires or () if _extra_of(need) == extra]
    if missing:
        raise ConfigError(*missing)
    return list(found.values())


def _parse(requirement: str) -> tuple[str, list[str], str]:
    body, _, marker = requirement.partition(";")
    match = _REQUIREMENT.match(body)
    if match is None:
        raise ConfigError(f"{requirement!r} is not a requirement")
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    extras = [extra.strip() for extra in (match[2] or "").split(",") if extra.strip()]
    return name, extras, marker.strip()


def _extra_of(requirement: str) -> str:
    match = _EXTRA.search(requirement.partition(";")[2])
    return match[1] if match else ""


def _place(dist: Distribution, target: Path, *, link: bool) -> None:
    origin = json.loads(dist.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        raise ConfigError(
            f"{dist.metadata['Name']} is an editable install: its files are elsewhere, cannot copy it"
        )
    files = [file for file in dist.files or () if _belongs(PurePosixPath(file))]
    for file in files:
        source = Path(str(dist.locate_file(file)))
        _copy(source, target / file, link=link)
        if source.suffix == ".py":
            cached = Path(importlib.util.cache_from_source(str(source)))
            if cached.exists():
                _copy(cached, target / PurePosixPath(file).parent / "__pycache__" / cached.name, link=link)


def _belongs(file: PurePosixPath) -> bool:
    return ".." not in file.parts and file.parts[0] != "bin" and file.suffix not in (".pth", ".pyc")


def _copy(source: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return  # a package that two distributions share
    if link:
        try:
            os.link(source, target)
        except OSError:
            pass  # another file system, or one without hard links
        else:
            return
    shutil.copy2(source, target)
