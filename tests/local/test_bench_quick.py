"""Every benchmark, small and once: all contestants find the same."""

import re
from functools import cache

import pytest

from benchmarks.command import DEFAULT_SEED, load_benchmark
from benchmarks.harness import Result
from benchmarks.peers.external import are_installed

pytestmark = pytest.mark.local


@cache
def _quick(name: str) -> Result:
    benchmark = load_benchmark(name)
    assert benchmark is not None
    return benchmark.run(quick=True, seed=DEFAULT_SEED, progress=lambda _: None)


@pytest.mark.parametrize("name", ["codec", "fold", "function", "producer", "query", "scaling", "tables"])
def test_all_contestants_find_the_same(name: str) -> None:
    result = _quick(name)
    assert result.name == name
    assert re.search(r"\w", result.method)
    assert all(each.samples and min(each.samples) >= 0 for table in result.tables for each in table.series)


def test_the_http_function_starts_and_answers_as_its_peer_does() -> None:
    result = _quick("http_cold_start")
    answered = {each.label for each in result.tables[0].series}
    assert answered >= {"empty handler", "streamgage"}
    assert ("FastAPI + Mangum + boto3" in answered) == are_installed()
    assert bool(result.missing) != are_installed()


@pytest.mark.parametrize(
    ("name", "peers"),
    [
        ("fold", {"Bytewax", "Quix Streams"}),
        ("producer", {"async-kinesis, JSON list", "async-kinesis, JSON lines"}),
    ],
)
def test_peers_of_the_other_environment_are_measured_or_said_to_be_missing(
    name: str, peers: set[str]
) -> None:
    result = _quick(name)
    measured = {each.label for each in result.tables[0].series}
    if are_installed():
        assert peers <= measured
        assert not result.missing
    else:
        assert not peers & measured
        assert result.missing.keys() == peers
        assert all("make bench" in reason for reason in result.missing.values())
