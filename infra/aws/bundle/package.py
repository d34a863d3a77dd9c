"""The bundle as a zip for Lambda: the same bytes from the same inputs, wherever and whenever it is made.

Its inputs are this checkout, the definition, the lock file, botocore's authorities, the interpreter that makes the
bytecode, and zlib.
"""

import hashlib
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.aws.bundle.bytecode import Interpreter, compiled, find_interpreter
from infra.aws.bundle.files import bundle_files, our_imports
from infra.aws.bundle.functions import AGGREGATE, Budget, Function
from infra.aws.bundle.trial import try_init
from infra.aws.bundle.wheel_cache import default_cache, wheels
from infra.aws.bundle.wheels import Target, read_wheel
from processors.aggregate.function import ROOTS_FOLDER
from streamgage.errors import ConfigError

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: unzipped, with layers; a zip that is uploaded
# to Lambda itself (deploy uploads it to S3, where this does not hold).
LIMIT_UNZIPPED_BYTES = 250 * 1024 * 1024
LIMIT_DIRECT_UPLOAD_BYTES = 50 * 1024 * 1024
PYTHON = "3.13"  # the template's Runtime; a test compares
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold; it knows no time zone
_MODE = 0o100644 << 16  # a file that all may read: Lambda runs as another user than the one who unpacks
_UNIX = 3
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Part:
    """Some files of a bundle, together."""

    name: str
    files: int
    unzipped_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Package:
    """A bundle that was made. ``modules`` are ours that a cold start loads; ``modules_later`` those of slow paths.

    ``bytecode`` is the version of the interpreter that made it; None where none was at hand.
    """

    path: Path
    function: Function
    target: Target
    sha256: str
    size_bytes: int
    unzipped_bytes: int
    modules: tuple[str, ...]
    modules_later: tuple[str, ...]
    parts: tuple[Part, ...]
    bytecode: str | None

    def over_budget(self, budget: Budget | None = None) -> list[str]:
        """Return what of it is more than *budget*, its function's own unless told otherwise, allows."""
        budget = budget or self.function.budget
        compared = (
            ("bytes zipped", self.size_bytes, budget.size_bytes),
            ("bytes unzipped", self.unzipped_bytes, budget.unzipped_bytes),
            ("modules of ours in a cold start", len(self.modules), budget.modules_at_init),
        )
        return [f"{is_:,} {what}; the budget is {most:,}" for what, is_, most in compared if is_ > most]


def package(
    target: Path,
    pipeline: Path,
    *,
    architecture: str,
    function: Function = AGGREGATE,
    python: str = PYTHON,
    lock: Path | None = None,
    cache: Path | None = None,
) -> Package:
    """Make the file *target* the bundle of *function* with the definition *pipeline*, for a Lambda runtime.

    *architecture* is as Lambda names it, arm64 or x86_64; *python* the runtime's minor version, such as 3.13. Wheels are
    those of *lock*, the function's own unless told otherwise, kept in *cache*.

    Raises:
        ConfigError: the definition has problems, or its function fails at init; a wheel cannot be had, or is not the one of the lock; Lambda would
            refuse the bundle.
    """
    platform = Target(architecture, python)
    try_init(pipeline, function)
    libraries: dict[str, bytes] = {}
    for wheel in wheels(lock or function.lock, platform, cache=cache or default_cache()):
        libraries |= read_wheel(wheel, platform)
    files = bundle_files(pipeline, libraries, function)
    interpreter = find_interpreter(python)
    if interpreter is not None:
        files |= compiled(files, interpreter)
    unzipped_bytes = sum(map(len, files.values()))
    if unzipped_bytes > LIMIT_UNZIPPED_BYTES:
        raise ConfigError(
            f"the bundle has {unzipped_bytes:,} bytes; Lambda takes {LIMIT_UNZIPPED_BYTES:,} at most"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    write_zip(beside, files)
    beside.replace(target)
    return _described(target, function, platform, interpreter)


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write *files* (name → content) as a zip that depends on nothing else: not on order, clock, user or umask."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, _LEVEL)


def zlib_version() -> str:
    """Return the version of what compresses: another may make other bytes of the same files."""
    return zlib.ZLIB_RUNTIME_VERSION


def _described(path: Path, function: Function, target: Target, interpreter: Interpreter | None) -> Package:
    imports = our_imports(function)
    files, unzipped, zipped = Counter[str](), Counter[str](), Counter[str]()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            part = part_of(entry.filename)
            files[part] += 1
            unzipped[part] += entry.file_size
            zipped[part] += entry.compress_size
    content = path.read_bytes()
    return Package(
        path=path,
        function=function,
        target=target,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        unzipped_bytes=unzipped.total(),
        modules=imports.at_init,
        modules_later=imports.later,
        parts=tuple(Part(name, files[name], unzipped[name], zipped[name]) for name in _by_size(unzipped)),
        bytecode=interpreter.version if interpreter else None,
    )


def part_of(name: str) -> str:
    """Return the part of the bundle that a file belongs to."""
    first = name.partition("/")[0]
    if name.endswith(".pyc"):
        return "bytecode"
    if first in ("streamgage", "processors"):
        return first
    if first == ROOTS_FOLDER:
        return "certificate authorities"
    if first.endswith(".dist-info"):
        return "names and licences of libraries"
    if name.endswith(".so") or ".libs/" in name:
        return f"{first}, compiled"
    return f"{first}, Python" if name.endswith(".py") else "definition, schemas, index"


def _by_size(sizes: Counter[str]) -> list[str]:
    return sorted(sizes, key=lambda name: (-sizes[name], name))
