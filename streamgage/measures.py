"""Measures: what is kept of a field's values in a window.

Each measure reads a few *components*; each component is a commutative monoid (an identity, a way to add one value, a
merge), so states merge in any grouping. The state of an aggregate is one flat list: the number of events, then the
components of each measured field.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Literal, get_args

from streamgage.decimals import divide, unscale

MeasureName = Literal["count", "sum", "min", "max", "mean", "variance", "first", "last"]
MEASURES: tuple[str, ...] = get_args(MeasureName)

State = list[Any]
"""``[events, component, component, …]`` in the order of a StateLayout; values are scaled integers."""


@dataclass(frozen=True, slots=True)
class Component:
    """One monoid, as statements over ``a`` (the state), ``b`` (another state) and the slot ``{i}``.

    ``add`` sees one value ``x`` (a scaled integer) of the event at ``ts``, ``seq``, ``sub``; events are added in the
    order of their sequence numbers. The statements are compiled once a layout: this is the hot path.
    """

    identity: int | None
    add: str
    merge: str


_SUM = "a[{i}] += b[{i}]"
_LESS = "if b[{i}] is not None and (a[{i}] is None or b[{i}] < a[{i}]): a[{i}] = b[{i}]"
_MORE = "if b[{i}] is not None and (a[{i}] is None or b[{i}] > a[{i}]): a[{i}] = b[{i}]"
# first and last are [event time, sequence number, sub-sequence number, value]: lists compare in that order.
COMPONENTS = {
    "n": Component(0, "a[{i}] += 1", _SUM),
    "sum": Component(0, "a[{i}] += x", _SUM),
    "sumsq": Component(0, "a[{i}] += x * x", _SUM),
    "min": Component(None, "if a[{i}] is None or x < a[{i}]: a[{i}] = x", _LESS),
    "max": Component(None, "if a[{i}] is None or x > a[{i}]: a[{i}] = x", _MORE),
    "first": Component(None, "if a[{i}] is None or ts < a[{i}][0]: a[{i}] = [ts, seq, sub, x]", _LESS),
    "last": Component(None, "if a[{i}] is None or ts >= a[{i}][0]: a[{i}] = [ts, seq, sub, x]", _MORE),
}
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


AddEvent = Callable[[State, list[int | None], int, int, int], None]
Merge = Callable[[State, State], None]


@dataclass(frozen=True, slots=True)
class Monoid:
    """The compiled operations of a layout.

    ``add(state, values, ts, seq, sub)`` folds one event in: *values* holds a scaled integer, or None where the event
    has no value, for each field of the layout. ``merge(state, other)`` folds *other* in and leaves it as it was.
    """

    identity: Callable[[], State]
    add: AddEvent
    merge: Merge


@cache
def compile_layout(layout: StateLayout) -> Monoid:
    """Return the operations of *layout*, compiled from the table of components."""
    identity: State = [0]
    add, merge = ["a[0] += 1"], ["a[0] += b[0]"]
    for number, field in enumerate(layout.fields):
        add += [f"x = values[{number}]", "if x is not None:"]
        for name in field.components:
            component, slot = COMPONENTS[name], len(identity)
            identity.append(component.identity)
            add.append("    " + component.add.format(i=slot))
            merge.append(component.merge.format(i=slot))
    source = "\n    ".join(["def add(a, values, ts, seq, sub):", *add]) + "\n"
    source += "\n    ".join(["def merge(a, b):", *merge]) + "\n"
    names: dict[str, Any] = {}
    exec(compile(source, "<measures>", "exec"), names)  # noqa: S102 - compiles only the table above
    return Monoid(identity.copy, names["add"], names["merge"])


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
