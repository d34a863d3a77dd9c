"""Operators between columns, and which series they are between.

Source: https://prometheus.io/docs/prometheus/latest/querying/operators/ (checked 2026-11-29)
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence

from processors.promql.budget import Budget
from processors.promql.errors import execution
from processors.promql.matchers import NAME
from processors.promql.series import (
    Column,
    Labels,
    Scalar,
    Series,
    Signature,
    Vector,
    merged,
    signature,
    there,
    united,
    without_name,
)
from processors.promql.syntax import Binary, Matching

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
SETS = frozenset({"and", "or", "unless"})


def divide(a: float, b: float) -> float:
    """Return a / b, as IEEE 754 has it."""
    if b:
        return a / b
    if not a or math.isnan(a) or math.isnan(b):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1, b)


def modulo(a: float, b: float) -> float:
    """Return what is left of a, with its sign."""
    return math.nan if not b or math.isinf(a) else math.fmod(a, b)


def power(a: float, b: float) -> float:
    """Return a to the power of b."""
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:  # a root of what is below zero, or zero to a power below zero
        if a:
            return math.nan
        return math.copysign(math.inf, a) if b % 2 == 1 else math.inf


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
    "%": modulo,
    "^": power,
    "atan2": math.atan2,
}


def scalars(node: Binary, left: Scalar, right: Scalar) -> Scalar:
    """Return what *node* makes of two numbers."""
    compare = COMPARISONS.get(node.name)
    function = compare or ARITHMETIC[node.name]
    return Scalar([float(function(a, b)) for a, b in zip(left.values, right.values, strict=True)])


def with_scalar(node: Binary, vector: Vector, scalar: Scalar, *, is_swapped: bool) -> Vector:
    """Return what *node* makes of each value and a number; *is_swapped*: the number stands on the left."""
    keeps = node.name in COMPARISONS and not node.is_bool

    def column(values: Column) -> Column:
        pairs = zip(values, scalar.values, strict=True)
        turned: list[tuple[float | None, float | None]] = (
            [(b, a) for a, b in pairs] if is_swapped else list(pairs)
        )
        return _column(node, turned, values)

    return merged(
        Series(each.labels if keeps else without_name(each.labels), column(each.values))
        for each in vector.series
    )


def _column(node: Binary, pairs: Sequence[tuple[float | None, float | None]], kept: Column) -> Column:
    """Return the values of *pairs*; of a comparison that leaves out: those of *kept* where it is true."""
    compare = COMPARISONS.get(node.name)
    if compare is None:
        function = ARITHMETIC[node.name]
        return [None if a is None or b is None else function(a, b) for a, b in pairs]
    if node.is_bool:
        return [None if a is None or b is None else float(compare(a, b)) for a, b in pairs]
    return [
        value if a is not None and b is not None and compare(a, b) else None
        for (a, b), value in zip(pairs, kept, strict=True)
    ]


def vectors(node: Binary, left: Vector, right: Vector, budget: Budget) -> Vector:
    """Return what *node* makes of the series of both sides that belong together.

    Raises:
        QueryError: ``execution``, it is not told which do.
    """
    if node.matching.many == "right":
        one, many = left, right
    else:
        one, many = right, left
    if not one.series or not many.series:
        return Vector([])
    matching = node.matching
    groups = _grouped(one, matching)
    for match, same in groups.items():
        _check_one_side(match, same, side="left" if one is left else "right")
    found: list[Series] = []
    paired: dict[object, list[bool]] = {}
    for series in many.series:
        match = matched(series.labels, matching)
        for other in groups.get(match, ()):
            budget.take(len(series.values))
            pairs = list(zip(series.values, other.values, strict=True))
            labels = _labels(node, series.labels, other.labels)
            _check_pairs(
                paired, match if matching.many is None else (match, signature(labels)), pairs, matching
            )
            if one is left:
                pairs = [(b, a) for a, b in pairs]
            found.append(Series(labels, _column(node, pairs, (other if one is left else series).values)))
    return merged(there(found))


def _check_one_side(match: Signature, series: Sequence[Series], *, side: str) -> None:
    """Refuse what would pair one value with two."""
    known: Column | None = series[0].values
    for each in series[1:]:
        known = None if known is None else united(known, each.values)
        if known is None:
            shown = ", ".join(f'{label}="{value}"' for label, value in sorted(match))
            raise execution(
                f"found duplicate series for the match group {{{shown}}} on the {side} hand-side of the operation;many-to-many "
                "matching not allowed: matching labels must be unique on one side"
            )


def _check_pairs(
    paired: dict[object, list[bool]],
    place: object,
    pairs: Sequence[tuple[float | None, float | None]],
    matching: Matching,
) -> None:
    """Note in *paired* where *pairs* are, and refuse two at one *place* and instant, whatever a comparison leaves of them."""
    are_there = [a is not None and b is not None for a, b in pairs]
    known = paired.get(place)
    if known is not None:
        if any(map(operator.and_, known, are_there)):
            raise execution(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                if matching.many is None
                else "multiple matches for labels: grouping labels must ensure unique matches"
            )
        are_there = list(map(operator.or_, known, are_there))
    paired[place] = are_there


def _grouped(vector: Vector, matching: Matching) -> dict[Signature, list[Series]]:
    groups: dict[Signature, list[Series]] = {}
    for each in vector.series:
        groups.setdefault(matched(each.labels, matching), []).append(each)
    return groups


def matched(labels: Labels, matching: Matching) -> Signature:
    """Return what two series have to agree in."""
    if matching.is_on:
        return frozenset((label, labels[label]) for label in matching.labels if label in labels)
    return frozenset(
        (label, value) for label, value in labels.items() if label != NAME and label not in matching.labels
    )


def _labels(node: Binary, many: Labels, one: Labels) -> Labels:
    matching = node.matching
    keeps_name = node.name in COMPARISONS and not node.is_bool
    labels = many if keeps_name else without_name(many)
    if matching.many is None:
        if matching.is_on:
            return {label: value for label, value in labels.items() if label in matching.labels}
        return {label: value for label, value in labels.items() if label not in matching.labels}
    taken = {label: one[label] for label in matching.include if label in one}
    return {label: value for label, value in labels.items() if label not in matching.include} | taken


def sets(node: Binary, left: Vector, right: Vector, length: int) -> Vector:
    """Return ``and``, ``or`` or ``unless`` of both sides."""
    matching = node.matching
    tested = left if node.name == "or" else right
    present: dict[Signature, list[bool]] = {}
    for each in tested.series:
        match = matched(each.labels, matching)
        known = present.get(match)
        is_there = [value is not None for value in each.values]
        present[match] = is_there if known is None else [a or b for a, b in zip(known, is_there, strict=True)]
    nowhere = [False] * length
    wanted = node.name == "and"
    kept = [
        Series(
            each.labels,
            [
                value if is_there == wanted else None
                for value, is_there in zip(
                    each.values, present.get(matched(each.labels, matching), nowhere), strict=True
                )
            ],
        )
        for each in (right if node.name == "or" else left).series
    ]
    return merged([*left.series, *kept] if node.name == "or" else kept)
