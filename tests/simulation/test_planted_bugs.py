"""A simulation that never failed proves nothing: each bug of ``planted`` has to be caught, within so many seeds."""

from collections.abc import Callable

import pytest

from simulation.planted import BUGS, MOST_SEEDS, seeds_for
from simulation.runner import explain, simulate
from support.shares import shared

LIMIT = MOST_SEEDS  # docs/simulation.md lists how many each took
NEAR = {  # a seed from where the rarest are soon met: from the first one on, these three took half of the suite's time
    "failure_names_what_was_written_alone": 100_000,
    "lane_goes_on_beside_a_discard": 200_000,
    "onward_before_its_parent_is_written": 300_000,
}
FAR = 100_000  # another share of the seeds: the long run looks whether the first ones were lucky


@pytest.mark.parametrize("name", shared(BUGS, one_of=6))
def test_the_simulation_catches(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    BUGS[name](monkeypatch)
    first_seed = NEAR.get(name, 0)
    totals = simulate(seeds_for(name, first_seed))
    assert totals.failures
    record_property("seeds until caught", totals.failures[0][0] - first_seed + 1)


@pytest.mark.slow
@pytest.mark.parametrize("first_seed", [0, *range(FAR, 3 * FAR, FAR // 2)])
@pytest.mark.parametrize("name", BUGS)
def test_the_simulation_catches_from_any_seed_on(
    name: str,
    first_seed: int,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    BUGS[name](monkeypatch)
    totals = simulate(seeds_for(name, first_seed))
    assert totals.failures
    record_property("seeds until caught", totals.failures[0][0] - first_seed + 1)


def test_a_failure_is_explained_by_a_small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS["retries_without_a_mark"](monkeypatch)
    told = explain(simulate(range(LIMIT)).failures[0][0])
    faults = told.split("faults: ")[1].split("\n")[0].split(", ")
    assert len(faults) <= 3
    assert any(fault.startswith("put_") for fault in faults)
    assert "a copy of" in told
