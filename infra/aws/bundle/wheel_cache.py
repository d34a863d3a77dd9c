"""Wheels from the index that pip is configured with, each downloaded once: ``~/.cache/streamgage/wheels/<SHA-256>/``."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.aws.bundle.wheels import Pin, Target, read_lock
from streamgage.errors import ConfigError

_PIP_TIMEOUT_S = 600


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of downloaded wheels, in XDG_CACHE_HOME or ``~/.cache``."""
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "streamgage" / "wheels"


def wheels(lock: Path, target: Target, *, cache: Path) -> list[Path]:
    """Return the wheel of each pin of *lock* that fits *target*, from *cache* or else by pip.

    Raises:
        ConfigError: pip is missing, cannot reach its index, or found no wheel with a hash of the lock.
    """
    pins = read_lock(lock)
    found = [_cached(pin, target, cache) for pin in pins]
    if None in found:
        _download(lock, target, pins, cache)
        found = [_cached(pin, target, cache) for pin in pins]
    missing = [pin for pin, wheel in zip(pins, found, strict=True) if wheel is None]
    if missing:
        raise ConfigError(
            *(f"pip downloaded no wheel of {pin.name} {pin.version} for {target}" for pin in missing)
        )
    return [each for each in found if each is not None]


def _cached(pin: Pin, target: Target, cache: Path) -> Path | None:
    """Return a wheel that is whole, of a hash of *pin*, and fits; a broken one is looked over as if it were missing."""
    for digest in sorted(pin.hashes):
        for path in sorted((cache / digest).glob("*.whl")):
            if pin.fits(path.name, target) and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
                return path
    return None


def _download(lock: Path, target: Target, pins: Sequence[Pin], cache: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="streamgage-wheels-") as folder:
        _pip(lock, target, Path(folder))
        for path in sorted(Path(folder).iterdir()):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if not any(pin.fits(path.name, target) and digest in pin.hashes for pin in pins):
                raise ConfigError(f"pip downloaded {path.name}, which {lock} does not name for {target}")
            place = cache / digest / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            beside = place.with_name(f"{path.name}.{os.getpid()}")
            shutil.copyfile(path, beside)
            beside.replace(place)


def _pip(lock: Path, target: Target, folder: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--require-hashes", "--only-binary=:all:", "--no-deps", "--dest", str(folder)]
    command += ["--implementation", "cp", "--python-version", target.python]
    command += ["--abi", target.abi, "--abi", "none"]
    for platform in target.platforms:
        command += ["--platform", platform]
    try:
        done = subprocess.run(
            [*command, "-r", str(lock)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PIP_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"pip downloaded no wheels for {target} in {_PIP_TIMEOUT_S} s") from error
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise ConfigError(f"pip could not download the wheels of {lock} for {target}. It says:\n{said}")
