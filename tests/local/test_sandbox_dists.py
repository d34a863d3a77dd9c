"""The stand-in for /var/runtime: the closure of what is installed, as files in one directory."""

from pathlib import Path

import pytest

from infra.aws.bundle.dists import build_dir, closure
from streamgage.errors import ConfigError

pytestmark = pytest.mark.local


def test_the_closure_holds_what_is_needed_and_nothing_else() -> None:
    names = {dist.metadata["Name"].lower().replace("_", "-") for dist in closure(["awslambdaric", "boto3"])}
    assert {"awslambdaric", "boto3", "botocore", "s3transfer", "jmespath", "urllib3", "six"} <= names
    assert not names & {"ministack", "pytest", "moto", "streamgage"}


def test_every_missing_distribution_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        closure(["no-such-thing", "boto3", "nor-this>=2"])
    assert [problem.split()[0] for problem in caught.value.problems] == ["no-such-thing", "nor-this"]


def test_a_directory_is_built_once_with_bytecode_and_built_again_when_its_contents_change(
    tmp_path: Path,
) -> None:
    target = build_dir(tmp_path / "layer", ["jmespath"])
    assert (target / "jmespath" / "__init__.py").exists()
    assert list((target / "jmespath" / "__pycache__").glob("*.pyc"))
    assert not (target / "bin").exists()
    mark = target / "mark"
    mark.touch()
    build_dir(target, ["jmespath"])
    assert mark.exists()
    build_dir(target, ["jmespath"], link=False)
    assert not mark.exists()
    assert (target / "jmespath" / "__init__.py").stat().st_nlink == 1


def test_an_editable_install_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="editable"):
        build_dir(tmp_path / "layer", ["streamgage"])
