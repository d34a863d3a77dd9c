"""What is dropped of a library is dropped for a reason that still holds."""

from fnmatch import fnmatchcase
from importlib.metadata import distribution

import pytest

from infra.aws.bundle.dists import closure
from infra.aws.bundle.functions import API
from infra.aws.bundle.trim import DROPPED, TWINS, kept
from infra.aws.bundle.wheels import SCRIPTS

FASTAVRO = [str(each) for each in distribution("fastavro").files or ()]
LIBRARIES = [str(each) for dist in closure(API.requirements) for each in dist.files or ()]
OF_WHEELS = {SCRIPTS: "jmespath-1.1.0.data/scripts/jp.py"}  # what an installer places elsewhere


@pytest.mark.parametrize("pattern", DROPPED)
def test_each_rule_drops_something(pattern: str) -> None:
    files = {*LIBRARIES, *OF_WHEELS.values()}
    dropped = files - set(kept(files))
    assert [each for each in dropped if fnmatchcase(each, pattern)]


@pytest.mark.parametrize("twin", TWINS)
def test_a_twin_is_dropped_where_the_compiled_module_is_and_stays_where_it_is_not(twin: str) -> None:
    assert twin in FASTAVRO
    assert twin not in kept(FASTAVRO)
    pure = [each for each in FASTAVRO if not each.endswith(".so")]
    assert twin in kept(pure)


def test_the_name_and_the_licences_stay_and_what_an_installer_made_does_not() -> None:
    papers = [each for each in kept(FASTAVRO) if ".dist-info/" in each]
    assert [each.partition("/")[2] for each in papers] == [
        "METADATA",
        "licenses/LICENSE",
        "licenses/NOTICE.txt",
    ]
    assert kept(["../../../bin/fastavro", "a/__pycache__/b.pyc", "a/", "a/b.py"]) == ["a/b.py"]


def test_the_order_does_not_matter() -> None:
    assert kept(reversed(FASTAVRO)) == kept(FASTAVRO) == sorted(kept(FASTAVRO))
