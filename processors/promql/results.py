"""Values as Prometheus' JSON has them: instants in seconds, numbers as texts."""

from collections.abc import Sequence
from typing import Any

from processors.promql.errors import execution
from processors.promql.series import Samples, Scalar, Vector, Words
from processors.promql.values import second, value_text

MOST_POINTS = 250_000  # of an answer: as JSON some 6 MB, which is as much as Lambda hands out


def of_instant(value: Scalar | Vector | Words, instant_ms: int) -> dict[str, Any]:
    """Return the ``data`` of a query at one instant."""
    at = second(instant_ms)
    if isinstance(value, Words):
        return {"resultType": "string", "result": [at, value.text]}
    if isinstance(value, Scalar):
        return {"resultType": "scalar", "result": [at, value_text(value.values[0])]}
    result = [
        {"metric": each.labels, "value": [at, value_text(number)]}
        for each in value.series
        if (number := each.values[0]) is not None
    ]
    return {"resultType": "vector", "result": result}


def of_range(value: Scalar | Vector, instants: Sequence[int]) -> dict[str, Any]:
    """Return the ``data`` of a query over *instants*: its series in the order of their labels."""
    times = list(map(second, instants))
    if isinstance(value, Scalar):
        _bound(len(times))
        points = [[at, value_text(number)] for at, number in zip(times, value.values, strict=True)]
        return {"resultType": "matrix", "result": [{"metric": {}, "values": points}]}
    _bound(sum(len(each.values) - each.values.count(None) for each in value.series))
    result = [
        {
            "metric": each.labels,
            "values": [
                [at, value_text(number)]
                for at, number in zip(times, each.values, strict=True)
                if number is not None
            ],
        }
        for each in sorted(value.series, key=lambda one: sorted(one.labels.items()))
    ]
    return {"resultType": "matrix", "result": [each for each in result if each["values"]]}


def matrix(samples: Sequence[Samples], after_ms: int, until_ms: int) -> dict[str, Any]:
    """Return the ``data`` of a range of samples, ``(after, until]``, as they are."""
    result = []
    for each in samples:
        for series in each.series:
            points = [
                [second(end_ms), value_text(value)]
                for end_ms, value in zip(each.ends, series.values, strict=True)
                if value is not None and after_ms < end_ms <= until_ms
            ]
            if points:
                result.append({"metric": series.labels, "values": points})
    _bound(sum(len(each["values"]) for each in result))
    return {"resultType": "matrix", "result": result}


def _bound(points: int) -> None:
    if points > MOST_POINTS:
        raise execution(
            f"the answer has {points:,} points; at most {MOST_POINTS:,} are given: a larger step, fewer series, a shorter range"
        )
