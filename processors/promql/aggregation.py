"""Aggregations: what several series come to together.

Source: https://prometheus.io/docs/prometheus/latest/querying/operators/#aggregation-operators (checked 2026-11-29)
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from processors.promql.budget import Budget
from processors.promql.errors import bad_data, execution
from processors.promql.folds import greatest, least, mean, quantile, total, variance
from processors.promql.matchers import NAME
from processors.promql.series import (
    Column,
    HistogramSeries,
    HistogramVector,
    Labels,
    Scalar,
    Series,
    Signature,
    Vector,
    signature,
)
from processors.promql.syntax import Aggregate
from processors.promql.values import value_text
from streamgage.measures import histogram

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_FOLDS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": total,
    "avg": mean,
    "min": least,
    "max": greatest,
    "count": lambda values: float(len(values)),
    "group": lambda _: 1.0,
    "stddev": lambda values: math.sqrt(variance(values)),
    "stdvar": variance,
}


def aggregate(node: Aggregate, vector: Vector, parameter: Scalar | str | None, budget: Budget) -> Vector:
    """Return the aggregation *node* of *vector*. Raises: QueryError, the parameter is none."""
    groups: dict[Signature, tuple[Labels, list[Series]]] = {}
    for each in vector.series:
        labels = _group_labels(node, each.labels)
        groups.setdefault(signature(labels), (labels, []))[1].append(each)
    if isinstance(parameter, str):
        return _counted(parameter, groups.values(), budget)
    if node.name in ("topk", "bottomk") and parameter is not None:
        counts = [_count(each) for each in parameter.values]
        return Vector(
            [
                each
                for _, same in groups.values()
                for each in _ranked(same, counts, is_top=node.name == "topk")
            ]
        )
    found = []
    for labels, same in groups.values():
        if node.name == "quantile" and parameter is not None:
            values: Column = [
                quantile(fraction, held) if held else None
                for fraction, held in zip(parameter.values, _by_step(same), strict=True)
            ]
        else:
            fold = _FOLDS[node.name]
            values = [fold(held) if held else None for held in _by_step(same)]
        found.append(Series(labels, values))
    return Vector(found)


def _by_step(series: Sequence[Series]) -> list[list[float]]:
    """Return the values at each instant."""
    rows = zip(*(each.values for each in series), strict=True)
    return [[value for value in row if value is not None] for row in rows]


def _group_labels(node: Aggregate, labels: Labels) -> Labels:
    if node.is_without:
        return {label: value for label, value in labels.items() if label != NAME and label not in node.labels}
    return {label: labels[label] for label in node.labels if label in labels}


def _count(number: float) -> int:
    if not -(2.0**63) <= number < 2.0**63:  # also of NaN
        raise execution(f"Scalar value {value_text(number)} overflows int64")
    return max(int(number), 0)


def _ranked(series: Sequence[Series], counts: Sequence[int], *, is_top: bool) -> list[Series]:
    """Return the first of *series* at each instant, the first first where there is one instant; of equal ones the earlier."""

    def order(at: int) -> list[int]:
        there = [
            (number, value) for number, each in enumerate(series) if (value := each.values[at]) is not None
        ]
        there.sort(
            key=lambda each: (
                math.isnan(each[1]),
                (-each[1] if is_top else each[1]) if not math.isnan(each[1]) else 0,
            )
        )
        return [number for number, _ in there[: counts[at]]]

    orders = [order(at) for at in range(len(counts))]
    kept = [set(each) for each in orders]
    found = [
        Series(each.labels, [value if number in kept[at] else None for at, value in enumerate(each.values)])
        for number, each in enumerate(series)
    ]
    if len(orders) == 1:
        return [found[number] for number in orders[0]]
    return [each for each in found if any(value is not None for value in each.values)]


def _counted(label: str, groups: Iterable[tuple[Labels, list[Series]]], budget: Budget) -> Vector:
    """Return how many series of each group have a value, which becomes the *label*."""
    if not _LABEL.fullmatch(label):
        raise bad_data(f"invalid label name {label!r} in count_values")
    found: dict[Signature, Series] = {}
    for labels, same in groups:
        for at, held in enumerate(_by_step(same)):
            for value in held:
                counted = labels | {label: value_text(value)}
                series = found.get(signature(counted))
                if series is None:
                    budget.take(len(same[0].values))
                    series = found[signature(counted)] = Series(counted, [None] * len(same[0].values))
                series.values[at] = (series.values[at] or 0.0) + 1.0
    return Vector(list(found.values()))


def sum_histograms(node: Aggregate, vector: HistogramVector) -> HistogramVector:
    """Return the histograms of each group together. Raises: QueryError, something else than a sum is asked for."""
    if node.name != "sum":
        raise execution(f"{node.name} of histograms is not evaluated here: sum, then histogram_quantile")
    groups: dict[Signature, tuple[Labels, list[HistogramSeries]]] = {}
    for each in vector.series:
        labels = _group_labels(node, each.labels)
        groups.setdefault(signature(labels), (labels, []))[1].append(each)
    found = []
    for labels, same in groups.values():
        rows = zip(*(each.values for each in same), strict=True)
        held = [[value for value in row if value is not None] for row in rows]
        found.append(HistogramSeries(labels, [histogram.merged(each) if each else None for each in held]))
    return HistogramVector(found)
