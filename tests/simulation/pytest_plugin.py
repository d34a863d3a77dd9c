"""The simulation for pytest: ``pytest_plugins = ["simulation.pytest_plugin"]`` in a test module.

Then a test takes the fixture::

    def test_it_survives(simulation: Simulation) -> None:
        simulation(range(200), change=lambda plan: replace(plan, shards=1))
"""

from collections.abc import Callable, Iterable

import pytest

from simulation.plan import Plan
from simulation.runner import Simulation, Totals, explain, simulate


@pytest.fixture
def simulation() -> Simulation:
    """Return the simulation."""

    def run(seeds: Iterable[int], *, change: Callable[[Plan], Plan] = lambda plan: plan) -> Totals:
        totals = simulate(seeds, change=change)
        if totals.failures:
            pytest.fail(explain(totals.failures[0][0], change=change), pytrace=False)
        return totals

    return run
