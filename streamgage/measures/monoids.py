"""Measures: what is kept of a field's values in a window.

Each measure reads a few *components*; each component is a commutative monoid (an identity, the fold of a column, a
merge), so states merge in any grouping. The state of an aggregate is one flat list: the number of events, then the
components of each measured field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from operator import itemgetter, mul
from typing import Any, Literal, get_args

from streamgage.measures.decimals import divide, unscale

MeasureName = Literal["count", "sum", "min", "max", "mean", "variance", "first", "last"]
MEASURES: tuple[str, ...] = get_args(MeasureName)

State = list[Any]
"""``[events, component, component, …]`` in the order of a StateLayout; values are scaled integers."""


@dataclass(frozen=True, slots=True)
class Component:
    """One monoid, as an expression over a column and a statement over ``a`` (the state), ``b`` (another), slot ``{i}``.

    ``fold`` sees the values ``x`` of a group that has any (scaled integers, in the order of the log), their event times
    ``t``, and ``place``, which tells where the n-th of them stands in the log. Both are compiled once a layout: this is
    the hot path, and each expression goes over its column in C.
    """

    identity: int | None
    fold: str
    merge: str


_SUM = "a[{i}] += b[{i}]"
_LESS = "if b[{i}] is not None and (a[{i}] is None or b[{i}] < a[{i}]): a[{i}] = b[{i}]"
_MORE = "if b[{i}] is not None and (a[{i}] is None or b[{i}] > a[{i}]): a[{i}] = b[{i}]"
# first and last are [event time, sequence number, sub-sequence number, value]: lists compare in that order.
COMPONENTS = {
    "n": Component(0, "len(x)", _SUM),
    "sum": Component(0, "sum(x)", _SUM),
    "sumsq": Component(0, "sum(map(mul, x, x))", _SUM),
    "min": Component(None, "min(x)", _LESS),
    "max": Component(None, "max(x)", _MORE),
    "first": Component(None, "first(t, x, place)", _LESS),
    "last": Component(None, "last(t, x, place)", _MORE),
}
_TIMED = {"first", "last"}
_NEEDS: dict[str, tuple[str, ...]] = {
    "count": ("n",),
    "sum": ("sum",),
    "min": ("min",),
    "max": ("max",),
    "mean": ("n", "sum"),
    "variance": ("n", "sum", "sumsq"),
    "first": ("first",),
    "last": ("last",),
}
_EXTRA_PLACES = 3  # a mean of n values has more decimals than the values


@dataclass(frozen=True, slots=True)
class FieldLayout:
    """The components kept of one field, in the order of COMPONENTS, and the field's decimal scale."""

    field: str
    scale: int
    components: tuple[str, ...]

    @classmethod
    def of(cls, field: str, scale: int, measures: tuple[str, ...]) -> "FieldLayout":
        """Return the layout that *measures* of *field* need, each component once."""
        needed = {component for measure in measures for component in _NEEDS[measure]}
        return cls(field, scale, tuple(name for name in COMPONENTS if name in needed))


@dataclass(frozen=True, slots=True)
class StateLayout:
    """What stands where in a state. ``text`` names it: a stored state says by which layout it was written."""

    fields: tuple[FieldLayout, ...]

    @property
    def text(self) -> str:
        """The layout as text, ``value@9:n,sum,min``; field names are Avro names, so no mark needs escaping."""
        return ";".join(f"{each.field}@{each.scale}:{','.join(each.components)}" for each in self.fields)

    @classmethod
    def parse(cls, text: str) -> "StateLayout":
        """Return the layout that ``text`` came from."""
        fields = []
        for part in filter(None, text.split(";")):
            name, _, rest = part.partition("@")
            scale, _, components = rest.partition(":")
            fields.append(FieldLayout(name, int(scale), tuple(components.split(","))))
        return cls(tuple(fields))


Place = Callable[[int], tuple[int, int]]
"""Where an event stands in the log: from its ordinal to (sequence number, sub-sequence number)."""


@dataclass(frozen=True, slots=True)
class FieldColumns:
    """The events of a batch, as the folds of one rollup read them: the n-th entries are the n-th event's.

    ``values`` holds a column of scaled integers for each field of the layout; None in it is an event without a value,
    and ``gaps`` says which columns have any. ``times`` holds event times. ``place`` tells where an event stands in the
    log: a later ordinal, a later place.
    """

    values: tuple[Sequence[int | None], ...]
    gaps: tuple[bool, ...]
    times: Sequence[int]
    place: Place


FoldEvents = Callable[[FieldColumns, Sequence[int]], State]
Merge = Callable[[State, State], None]


@dataclass(frozen=True, slots=True)
class Monoid:
    """The compiled operations of a layout.

    ``fold(columns, ordinals)`` returns the state of the events at *ordinals*, at least one and ascending.
    ``merge(state, other)`` folds *other* in and leaves it as it was.
    """

    identity: Callable[[], State]
    fold: FoldEvents
    merge: Merge


@cache
def compile_layout(layout: StateLayout) -> Monoid:
    """Return the operations of *layout*, compiled from the table of components."""
    identity: State = [0]
    merge = ["a[0] += b[0]"]
    fold = ["a = [len(ordinals)]", "pick = picker(ordinals)"]
    for number, field in enumerate(layout.fields):
        timed = not _TIMED.isdisjoint(field.components)
        fold += [f"x, here = pick(columns.values[{number}]), ordinals", f"if columns.gaps[{number}]:"]
        fold += ["    here = [o for o, each in zip(here, x) if each is not None]"]
        fold += ["    x = [each for each in x if each is not None]", "if x:"]
        if timed:
            fold += [
                f"    t = picker(here)(columns.times) if columns.gaps[{number}] else pick(columns.times)"
            ]
            fold += ["    place = lambda n: columns.place(here[n])"]
        parts = ", ".join(COMPONENTS[name].fold for name in field.components)
        nothing = ", ".join(repr(COMPONENTS[name].identity) for name in field.components)
        fold += [f"    a += ({parts},)", "else:", f"    a += ({nothing},)"]
        for name in field.components:
            component, slot = COMPONENTS[name], len(identity)
            identity.append(component.identity)
            merge.append(component.merge.format(i=slot))
    source = "\n    ".join(["def fold(columns, ordinals):", *fold, "return a"]) + "\n"
    source += "\n    ".join(["def merge(a, b):", *merge]) + "\n"
    names: dict[str, Any] = {"picker": _picker, "mul": mul, "first": _first, "last": _last}
    exec(compile(source, "<measures>", "exec"), names)  # noqa: S102 - compiles only the table above
    return Monoid(identity.copy, names["fold"], names["merge"])


def _picker(ordinals: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Return what picks the entries at *ordinals* from a column."""
    if len(ordinals) > 1:
        return itemgetter(*ordinals)
    (ordinal,) = ordinals
    return lambda column: (column[ordinal],)


def _first(times: Sequence[int], values: Sequence[int], place: Place) -> list[int]:
    """Return the earliest event, of the same instant the one that comes first in the log."""
    time = min(times)
    at = times.index(time)
    return [time, *place(at), values[at]]


def _last(times: Sequence[int], values: Sequence[int], place: Place) -> list[int]:
    """Return the latest event, of the same instant the one that comes last in the log."""
    time = max(times)
    at = len(times) - 1 - times[::-1].index(time)
    return [time, *place(at), values[at]]


def read_measures(
    state: State, layout: StateLayout, measures: dict[str, tuple[str, ...]]
) -> dict[str, dict[str, int | Decimal | None]]:
    """Return ``{field: {measure: value}}`` of *state*; of no values count and sum are 0, the others None.

    ``mean`` = Σx / n, rounded half to even at three places more than the field's scale. ``variance`` is the sample
    variance, ``(n*Σx² - (Σx)²) / (n*(n-1))`` as SQL's VARIANCE, from exact sums and rounded half to even at three places
    more than twice the scale; of fewer than two values it is None.
    """
    values: dict[str, dict[str, int | Decimal | None]] = {}
    slot = 1
    for field in layout.fields:
        parts = dict(zip(field.components, state[slot : slot + len(field.components)], strict=True))
        slot += len(field.components)
        values[field.field] = {
            measure: _read(measure, parts, field.scale) for measure in measures.get(field.field, ())
        }
    return values


def _read(measure: str, parts: dict[str, Any], scale: int) -> int | Decimal | None:
    match measure:
        case "count":
            count: int = parts["n"]
            return count
        case "mean":
            return divide(parts["sum"], parts["n"] * 10**scale, scale + _EXTRA_PLACES) if parts["n"] else None
        case "variance":
            n = parts["n"]
            spread = n * parts["sumsq"] - parts["sum"] ** 2
            places = 2 * scale + _EXTRA_PLACES
            return divide(spread, n * (n - 1) * 10 ** (2 * scale), places) if n > 1 else None
        case "first" | "last":
            return None if parts[measure] is None else unscale(parts[measure][3], scale)
        case _:
            return None if parts[measure] is None else unscale(parts[measure], scale)
