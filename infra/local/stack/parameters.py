"""Values of the template's parameters on this machine: what a person says, else `[deploy]`, else HERE, else their default."""

from collections.abc import Collection, Mapping
from typing import Final

# Longer batches save writes, which a table here does not charge for: so what was sent is to be seen sooner.
HERE: Final[Mapping[str, str]] = {"BatchingWindow": "1"}


def with_those_of_here(given: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Return *given*, and of HERE what nobody gave and the template, which has the parameters *known*, knows."""
    return {**{name: value for name, value in HERE.items() if name in known}, **given}
