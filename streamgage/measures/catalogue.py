"""The measures: what can be asked of a field. To add one, add it here; its parts are in ``parts``, or new there.

========= ================================================================ =============================
name      value                                                            of no values
========= ================================================================ =============================
count     n                                                                0
sum       Σx                                                               0
min, max  the least, the greatest value                                    None
mean      Σx / n, rounded half to even at three places more than the field None
variance  (n·Σx² - (Σx)²) / (n·(n-1)), the sample variance as SQL's        None; also of one value
          VARIANCE, at three places more than twice the scale
first     the value with the earliest event time                           None
last      the value with the latest event time                             None
========= ================================================================ =============================

All are exact: integers at the field's decimal scale until they are read. More of them, which a cold start does without where
no rollup names one, are in ``sketch_measures``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from streamgage.measures.decimals import divide, unscale


class JsonText(str):
    """A value that has a structure of its own, as JSON: of a measure that is no number."""

    __slots__ = ()


Value = int | Decimal | None
Parts = Mapping[str, Any]
"""The states of a field's parts, by name."""

EXTRA_PLACES = 3  # a mean of n values has more decimals than the values


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure: the *parts* that it is read from, and how. ``read(parts, scale)`` returns its value.

    ``columns`` says what kind of field it is of: "numbers", "texts", or "any" of both. ``is_number`` tells whether its values
    may be ranked and compared. ``longest_ms`` is the longest window that holds it. Where it is not exact, ``bound(parts)``
    says how far the value may be off, relatively, and ``error`` of what; ``exact`` is said where it is not off.
    """

    name: str
    parts: tuple[str, ...]
    read: Callable[[Parts, int], Value]
    columns: str = "numbers"
    error: str = ""
    bound: Callable[[Parts], float] | None = None
    exact: str = "exact"
    is_number: bool = True
    longest_ms: int | None = None


def _count(parts: Parts, _scale: int) -> Value:
    count: int = parts["n"]
    return count


def _sum(parts: Parts, scale: int) -> Value:
    return unscale(parts["sum"], scale)


def _min(parts: Parts, scale: int) -> Value:
    return None if parts["min"] is None else unscale(parts["min"], scale)


def _max(parts: Parts, scale: int) -> Value:
    return None if parts["max"] is None else unscale(parts["max"], scale)


def _mean(parts: Parts, scale: int) -> Value:
    return divide(parts["sum"], parts["n"] * 10**scale, scale + EXTRA_PLACES) if parts["n"] else None


def _variance(parts: Parts, scale: int) -> Value:
    n = parts["n"]
    spread = n * parts["sumsq"] - parts["sum"] ** 2
    return divide(spread, n * (n - 1) * 10 ** (2 * scale), 2 * scale + EXTRA_PLACES) if n > 1 else None


def _first(parts: Parts, scale: int) -> Value:
    return None if parts["first"] is None else unscale(parts["first"][1], scale)


def _last(parts: Parts, scale: int) -> Value:
    return None if parts["last"] is None else unscale(parts["last"][1], scale)


MEASURES: dict[str, Measure] = {
    each.name: each
    for each in (
        Measure("count", ("n",), _count),
        Measure("sum", ("sum",), _sum),
        Measure("min", ("min",), _min),
        Measure("max", ("max",), _max),
        Measure("mean", ("n", "sum"), _mean),
        Measure("variance", ("n", "sum", "sumsq"), _variance),
        Measure("first", ("first",), _first),
        Measure("last", ("last",), _last),
    )
}
