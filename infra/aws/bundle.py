"""The bundle of the aggregate function: our packages, the pipeline definition, and the libraries it imports."""

import compileall
import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

import processors
import streamgage
from infra.local.dists import build_dir
from streamgage.pipeline_toml import load_pipeline

# Of the function's imports, what is not ours; boto3 comes with the Lambda runtime.
REQUIREMENTS = ("fastavro", "aws-lambda-powertools")
_PACKAGES = (streamgage, processors)
_STAMP = ".fingerprint"


def build_bundle(target: Path, pipeline: Path) -> None:
    """Make *target* the unpacked bundle for the definition *pipeline*; an up-to-date one is left as it is.

    Raises:
        ConfigError: the definition has problems.
    """
    load_pipeline(pipeline)
    wanted = _fingerprint(pipeline)
    stamp = target / _STAMP
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    build_dir(target, REQUIREMENTS)
    for source, relative in _files(pipeline):
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    compileall.compile_dir(target, quiet=2, workers=0, invalidation_mode=None)
    stamp.write_text(wanted, encoding="utf-8")


def _files(pipeline: Path) -> list[tuple[Path, Path]]:
    """Return (source, place in the bundle) of each file of ours."""
    files = [(pipeline, Path("pipeline.toml"))]
    files += [
        (each, each.relative_to(pipeline.parent))
        for each in sorted(pipeline.parent.glob("schemas/**/*.avsc"))
    ]
    for package in _PACKAGES:
        root = Path(str(package.__file__)).parent
        files += [
            (each, Path(package.__name__) / each.relative_to(root)) for each in sorted(root.rglob("*.py"))
        ]
    return files


def _fingerprint(pipeline: Path) -> str:
    digest = hashlib.sha256()
    for name in REQUIREMENTS:
        digest.update(f"{name}=={version(name)}\n".encode())
    for source, relative in _files(pipeline):
        digest.update(f"{relative}\n".encode() + source.read_bytes())
    return digest.hexdigest()
