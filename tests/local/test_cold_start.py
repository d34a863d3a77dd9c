"""The cold-start benchmark once through, with real sandboxes: what each handler did is right."""

import pytest

from benchmarks.cold_start import run
from benchmarks.coldstart.stage import BOTO3, EMPTY, OURS, POWERTOOLS

pytestmark = pytest.mark.local


def test_every_handler_starts_in_every_way_and_does_its_work() -> None:
    result = run(quick=True, seed=1, progress=lambda _: None)
    by_title = {table.title: {each.label: each.median for each in table.series} for table in result.tables}
    assert by_title["CPU time of init"].keys() == {EMPTY, BOTO3, POWERTOOLS, OURS}
    assert all(value > 0 for each in by_title.values() for value in each.values())
    ways = by_title["From nothing to the first answer, in other circumstances"]
    assert {name.rpartition(", ")[2] for name in ways} == {
        "as built",
        "no bytecode",
        "pages dropped",
        "forked",
    }
    assert result.missing.keys() <= {"by memory size"}  # where cgroups do not allow it
    loaded = result.facts["modules_loaded"]
    assert loaded[OURS] < loaded[BOTO3] < loaded[POWERTOOLS]
