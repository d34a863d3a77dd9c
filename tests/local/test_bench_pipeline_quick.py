"""The end-to-end benchmark, small and once: it measures, compares every total, and leaves no process behind."""

import os
from pathlib import Path

import pytest

from benchmarks import pipeline
from benchmarks.harness import WrongAnswerError
from producers.simulators.totals import Totals, read_totals

pytestmark = pytest.mark.local


def children() -> set[int]:
    return {
        int(each.name)
        for each in Path("/proc").iterdir()
        if each.name.isdecimal() and parent_of(each) == os.getpid()
    }


def parent_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended meanwhile
        return -1


def test_a_quick_run_applies_every_event_and_says_how_fresh_they_were() -> None:
    before = children()
    result = pipeline.run(quick=True, seed=5, progress=lambda _: None)
    assert children() <= before
    assert not result.missing
    for form in ("rows", "blocks"):
        facts = result.facts[form]
        assert facts["events"] == 2_000
        assert facts["exact_totals"] in range(60, 121, 20)  # 20 keys, 3 windows; one may begin meanwhile
        assert facts["freshness_ms"]["p50"] > 0
    assert result.facts["blocks"]["bytes_per_event"] < result.facts["rows"]["bytes_per_event"] / 2
    many = result.facts[pipeline.MANY_KEYS]
    assert many["events"] == 2_000
    assert many["exact_totals"] in range(3_000, 6_001)  # 1,000 keys, 3 windows; one may begin meanwhile
    assert many["writes"] < 1_000  # keys share items
    roles = {each.label for each in result.tables[1].series}
    assert roles >= {f"rows, {role}" for role in ("sender", "kinesis", "mapping", "function", "database")}


def test_a_total_that_differs_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(path: Path) -> Totals:
        totals = read_totals(path)
        next(iter(totals["device_metrics"].values())).events += 1
        return totals

    monkeypatch.setattr("benchmarks.load.trial.read_totals", one_more)
    with pytest.raises(WrongAnswerError, match=r"\b2 of \d+ totals"):
        pipeline.run(quick=True, seed=5, progress=lambda _: None)
