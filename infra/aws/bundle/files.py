"""What is in the bundle of a function; and the bundle unpacked, for this machine.

One list of files (docs/adr/0017), for AWS and for here: our modules that the function imports, the pipeline definition with
its schemas, what would else be made of them in every cold start (docs/adr/0011), libraries as ``trim`` and ``elf`` leave
them, and bytecode. Only the compiled modules of libraries differ from one place to another.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

import botocore

import processors
import producers
import streamgage
from infra.aws.bundle.bytecode import Interpreter, compiled_once, this_interpreter
from infra.aws.bundle.dists import closure
from infra.aws.bundle.elf import loadable
from infra.aws.bundle.functions import AGGREGATE, Function
from infra.aws.bundle.imports import Imports, imports_of, module_path
from infra.aws.bundle.roots import hashed_roots
from infra.aws.bundle.trim import kept
from infra.aws.bundle.vouched import schema_files, vouched_pipeline
from processors.aggregate.function import ROOTS_FOLDER
from streamgage.definition.build_index import INDEX_NAME, index_text

# The authorities that boto3 trusts, here and in the Lambda runtime.
ROOTS = Path(str(botocore.__file__)).parent / "cacert.pem"
STAMP = ".fingerprint"  # in an unpacked bundle only: what it was made of
_DEFINITION = "pipeline.toml"
_PACKAGES = {each.__name__: Path(str(each.__file__)).parent for each in (streamgage, processors, producers)}


def build_bundle(target: Path, pipeline: Path, function: Function = AGGREGATE) -> None:
    """Make *target* the unpacked bundle for this machine; an up-to-date one is left as it is. Needs no network.

    Raises:
        ConfigError: the definition has problems, or a library is not installed.
    """
    files = bundle_files(pipeline, installed_libraries(function), function)
    interpreter = this_interpreter()
    wanted = f"{content_hash(files)} {interpreter.tag} {interpreter.version}"
    stamp = target / STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    write_bundle(beside, files, interpreter)
    (beside / STAMP).write_text(wanted, encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    beside.replace(target)


def write_bundle(folder: Path, files: Mapping[str, bytes], interpreter: Interpreter) -> None:
    """Write the *files* of a bundle into *folder*, to be run on this machine, with bytecode by *interpreter*."""
    for name, content in {**files, **compiled_once(files, interpreter)}.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def bundle_files(
    pipeline: Path, libraries: Mapping[str, bytes], function: Function = AGGREGATE
) -> dict[str, bytes]:
    """Return the files of a bundle by name, sorted, without bytecode; of *libraries* what the function imports.

    Raises:
        ConfigError: the definition *pipeline* has problems, or a schema that the function could not have or read.
    """
    named = schema_files(vouched_pipeline(pipeline))
    schemas = {name: (pipeline.parent / path).read_bytes() for name, path in named.items()}
    definition = pipeline.read_bytes()
    index = index_text(
        schemas=[each.decode("utf-8") for each in schemas.values()], definition=definition.decode("utf-8")
    )
    roots = hashed_roots(ROOTS.read_text(encoding="utf-8"))
    files = {name: loadable(libraries[name]) for name in kept(libraries)}
    files |= {name: content.encode("ascii") for name, content in _in_folder(ROOTS_FOLDER, roots).items()}
    files |= {_DEFINITION: definition, INDEX_NAME: index.encode("utf-8"), **schemas}
    for module in our_imports(function).modules:
        path = module_path(module, _PACKAGES)
        root = _PACKAGES[module.partition(".")[0]].parent
        files[path.relative_to(root).as_posix()] = path.read_bytes()
    return dict(sorted(files.items()))


@cache
def our_imports(function: Function = AGGREGATE) -> Imports:
    """Return our modules that *function* imports."""
    return imports_of(function.entry, _PACKAGES)


def installed_libraries(function: Function = AGGREGATE) -> dict[str, bytes]:
    """Return the files of the libraries of *function*, as they are installed here.

    Raises:
        ConfigError: naming every library that is not installed.
    """
    return {
        PurePosixPath(file).as_posix(): Path(str(file.locate())).read_bytes()
        for dist in closure(function.requirements)
        for file in dist.files or ()
        if kept([str(file)])
    }


def content_hash(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of names and contents, whatever the order."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()


def _in_folder(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": content for name, content in files.items()}
