"""Wheels for the machine that a function runs on: which fit, and what is in them. A wheel is a zip with a list of hashes.

Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/ (names, RECORD),
https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/ (tags).
"""

import csv
import hashlib
import io
import re
import zipfile
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from streamgage.errors import ConfigError

ARCHITECTURES = {"arm64": "aarch64", "x86_64": "x86_64"}  # Lambda's name → that of wheels
# The glibc of a Python's Lambda runtime: 2.26 of Amazon Linux 2, 2.34 of Amazon Linux 2023.
_GLIBC_MINOR = {"3.11": 26, "3.12": 34, "3.13": 34, "3.14": 34}
PYTHONS = tuple(_GLIBC_MINOR)
_ELF_MACHINE = {"aarch64": 0xB7, "x86_64": 0x3E}  # e_machine, at byte 18: elf(5)
SCRIPTS = "*.data/scripts/*"  # for an installer to put on the PATH; what imports a library does without them
_UNLISTED = ("RECORD", "RECORD.jws", "RECORD.p7s")  # RECORD cannot hold its own hash


@dataclass(frozen=True, slots=True)
class Target:
    """Where a function runs: its *architecture* as Lambda names it, and the minor version of its *python*."""

    architecture: str
    python: str

    def __post_init__(self) -> None:
        problems = []
        if self.architecture not in ARCHITECTURES:
            problems.append(
                f"architecture {self.architecture!r} is not one of Lambda's: {', '.join(ARCHITECTURES)}"
            )
        if self.python not in _GLIBC_MINOR:
            problems.append(
                f"Python {self.python!r} is not a Lambda runtime of streamgage's: {', '.join(PYTHONS)}"
            )
        if problems:
            raise ConfigError(*problems)

    def __str__(self) -> str:
        return f"Python {self.python} on {self.architecture}"

    @property
    def machine(self) -> str:
        """The architecture, as wheels and ELF name it."""
        return ARCHITECTURES[self.architecture]

    @property
    def abi(self) -> str:
        """Such as cp313."""
        return "cp" + self.python.replace(".", "")

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags that fit, best first: those of its glibc and of all before it."""
        minors = range(_GLIBC_MINOR[self.python], 16, -1)
        named = [f"manylinux_2_{minor}_{self.machine}" for minor in minors]
        return (*named, f"manylinux2014_{self.machine}")  # the old name of manylinux_2_17

    @property
    def extension(self) -> str:
        """The end of the name of a compiled module."""
        return f".cpython-{self.abi[2:]}-{self.machine}-linux-gnu.so"


@dataclass(frozen=True, slots=True)
class Pin:
    """A line of the lock file: ``hashes`` are SHA-256, in hex, of each file that may stand for it."""

    name: str
    version: str
    hashes: frozenset[str]

    def fits(self, file_name: str, target: Target) -> bool:
        """Tell by its name whether a wheel is of this distribution and version, and runs on *target*."""
        if not file_name.endswith(".whl"):
            return False
        name, version, *tags = file_name.removesuffix(".whl").split("-")
        if len(tags) not in (3, 4) or (_normal(name), version) != (_normal(self.name), self.version):
            return False
        pythons, abis, platforms = (each.split(".") for each in tags[-3:])
        if target.abi in abis:
            return target.abi in pythons and not set(target.platforms).isdisjoint(platforms)
        return "none" in abis and "any" in platforms and not {"py3", target.abi}.isdisjoint(pythons)


_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)((?: --hash=sha256:[0-9a-f]{64})+)")


def read_lock(path: Path) -> list[Pin]:
    """Return the pins of a lock file. Raises: ConfigError for each line that is not NAME==VERSION with hashes."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: the lock file cannot be read ({error.strerror}); name it: --lock"
        ) from error
    pins, problems = [], []
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if not line or line.startswith("#"):
            continue
        match = _PIN.fullmatch(line.strip())
        if match is None:
            problems.append(f"{path}: {line[:60]!r} is not NAME==VERSION --hash=sha256:…")
        else:
            pins.append(Pin(match[1], match[2], frozenset(re.findall(r"[0-9a-f]{64}", match[3]))))
    if problems:
        raise ConfigError(*problems)
    return pins


def read_wheel(path: Path, target: Target) -> dict[str, bytes]:
    """Return the files of a wheel by name, each as its RECORD says.

    Raises:
        ConfigError: it is no wheel, a file is not the one that RECORD names, or is not for *target*. Names each.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = {each: archive.read(each) for each in archive.namelist() if not each.endswith("/")}
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: not a wheel ({error})") from error
    problems = [*_unlike_record(files), *_unlike_target(files, target)]
    if problems:
        raise ConfigError(*(f"{path.name}: {each}" for each in problems))
    return files


def _unlike_record(files: dict[str, bytes]) -> list[str]:
    records = [each for each in files if re.fullmatch(r"[^/]+\.dist-info/RECORD", each)]
    if len(records) != 1:
        return [f"has {len(records)} RECORD files, not one"]
    rows = csv.reader(io.StringIO(files[records[0]].decode("utf-8")))
    listed = {row[0]: row[1] for row in rows if len(row) == 3}
    folder = records[0].removesuffix("RECORD")
    problems = [f"{each} is in RECORD, and not in the wheel" for each in listed if each not in files]
    for name, content in files.items():
        if name.startswith(folder) and name.removeprefix(folder) in _UNLISTED:
            continue
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            problems.append(f"{name!r} lies outside of the wheel")
        elif name.split("/")[0].endswith(".data") and not fnmatchcase(name, SCRIPTS):
            problems.append(f"{name} is for an installer to place; the bundle has no installer")
        elif listed.get(name) != _record_hash(content):
            problems.append(f"{name} is not the file that RECORD names")
    return problems


def _unlike_target(files: dict[str, bytes], target: Target) -> list[str]:
    problems = []
    for name, content in files.items():
        if content[:4] == b"\x7fELF":
            machine = int.from_bytes(content[18:20], "little")
            if machine != _ELF_MACHINE[target.machine]:
                problems.append(f"{name} is compiled for ELF machine {machine:#x}, not for {target.machine}")
        is_module = name.endswith(".so") and ".libs/" not in name  # those folders hold what modules link to
        if is_module and not name.endswith(target.extension):
            problems.append(f"{name} is no module of {target}, whose names end in {target.extension}")
    return problems


def _record_hash(content: bytes) -> str:
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode("ascii")
    return "sha256=" + digest.rstrip("=")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
