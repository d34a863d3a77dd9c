"""Values as Prometheus' JSON has them: instants in seconds, numbers as texts."""

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from operator import add
from typing import Any, NamedTuple

from processors.promql.errors import execution
from processors.promql.series import Labels, Samples, Scalar, Series, Vector, Words, there
from processors.promql.values import second, value_text

MOST_POINTS = 250_000  # of an answer: as JSON some 6 MB, which is as much as Lambda hands out


class Matrix(NamedTuple):
    """Series over a range, each as JSON: most of what is answered, by far."""

    series: list[str]


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


def of_range(value: Scalar | Vector, instants: Sequence[int]) -> Matrix:
    """Return the ``data`` of a query over *instants*: its series in the order of their labels."""
    heads = [_head(each) for each in instants]
    if isinstance(value, Scalar):
        _bound(len(heads))
        return Matrix([_series({}, heads, value.values)])
    _bound(sum(len(each.values) - each.values.count(None) for each in value.series))
    in_order = sorted(value.series, key=lambda one: sorted(one.labels.items()))
    return Matrix([_series(each.labels, heads, each.values) for each in there(in_order)])


def matrix(samples: Sequence[Samples], after_ms: int, until_ms: int) -> Matrix:
    """Return the ``data`` of a range of samples, ``(after, until]``, as they are."""
    found: list[Series] = []
    heads: list[list[str]] = []
    for each in samples:
        within = [after_ms < end_ms <= until_ms for end_ms in each.ends]
        of_range = list(map(_head, compress(each.ends, within)))
        series = there(Series(one.labels, list(compress(one.values, within))) for one in each.series)
        found += series
        heads += [of_range] * len(series)
    _bound(sum(len(each.values) - each.values.count(None) for each in found))
    return Matrix(
        [_series(each.labels, of_range, each.values) for each, of_range in zip(found, heads, strict=True)]
    )


def encoded(data: Any) -> str:
    """Return *data*, what an endpoint answers with, as JSON."""
    if not isinstance(data, Matrix):
        return json.dumps(data, separators=(",", ":"))
    return f'{{"resultType":"matrix","result":[{",".join(data.series)}]}}'


def _head(instant_ms: int) -> str:
    """Return how a point begins that stands at *instant_ms*."""
    return f'[{second(instant_ms)},"'


def _series(labels: Labels, heads: Sequence[str], values: Sequence[float | None]) -> str:
    """Return a series that has a value, as JSON: of ten thousand points a tenth of what a list of each would take."""
    if None in values:
        heads = [head for head, value in zip(heads, values, strict=True) if value is not None]
    texts = [_known_text(value) if value else value_text(value) for value in values if value is not None]
    points = '"],'.join(map(add, heads, texts))
    return f'{{"metric":{json.dumps(labels, separators=(",", ":"))},"values":[{points}"]]}}'


# But of 0: -0 is equal to it, and is another text.
_known_text = lru_cache(maxsize=2**15)(value_text)  # who asks again asks for the same values


def _bound(points: int) -> None:
    if points > MOST_POINTS:
        raise execution(
            f"the answer has {points:,} points; at most {MOST_POINTS:,} are given: a larger step, fewer series, a shorter range"
        )
