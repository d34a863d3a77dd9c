"""An expression evaluated by columns over a range is what a naive evaluator makes of it at each instant by itself.

The naive one knows samples by instant and nothing else; it goes through the definitions of Prometheus' documentation word by
word, one instant at a time.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from support.promql import Prometheus, shown

Labels = frozenset[tuple[str, str]]
Samples = dict[tuple[str, str], dict[int, float]]
Values = dict[Labels, float]
WINDOW_S = 60
W = 'window="1m"'


class Expression(NamedTuple):
    """A text of PromQL, and what it is at an instant in seconds."""

    text: str
    at: Callable[[Samples, int], Values]


def labels(device: str, metric: str, *, name: str | None = "load_value_sum") -> Labels:
    pairs = {"device_id": device, "metric": metric, "window": "1m"} | ({"__name__": name} if name else {})
    return frozenset(pairs.items())


def nameless(series: Labels) -> Labels:
    return frozenset(pair for pair in series if pair[0] != "__name__")


def shift(offset_s: int) -> str:
    return f" offset {offset_s}s" if offset_s else ""


def selector(device: str | None, offset_s: int) -> Expression:
    def at(samples: Samples, second: int) -> Values:
        found = {}
        for (one, metric), values in samples.items():
            end = (second - offset_s) // WINDOW_S * WINDOW_S
            if device in (None, one) and end in values:
                found[labels(one, metric)] = values[end]
        return found

    matcher = W if device is None else f'{W},device_id="{device}"'
    return Expression(f"load_value_sum{{{matcher}}}{shift(offset_s)}", at)


OVER: Mapping[str, Callable[[list[float]], float]] = {
    "sum_over_time": math.fsum,
    "min_over_time": min,
    "max_over_time": max,
    "count_over_time": lambda values: float(len(values)),
    "avg_over_time": lambda values: math.fsum(values) / len(values),
    "last_over_time": lambda values: values[-1],
    "increase": math.fsum,
}


def over(name: str, range_s: int, offset_s: int) -> Expression:
    def at(samples: Samples, second: int) -> Values:
        found = {}
        last = second - offset_s
        for (device, metric), values in samples.items():
            held = [values[end] for end in sorted(values) if last - range_s < end <= last]
            if held:
                found[labels(device, metric, name="load_value_sum" if name == "last_over_time" else None)] = (
                    OVER[name](held)
                )
        return found

    return Expression(f"{name}(load_value_sum{{{W}}}[{range_s}s]{shift(offset_s)})", at)


def rate(range_s: int) -> Expression:
    def at(samples: Samples, second: int) -> Values:
        ends = [end for end in range(0, second + 1, WINDOW_S) if second - range_s < end <= second and end > 0]
        found = {}
        for (device, metric), values in samples.items():
            held = [values[end] for end in ends if end in values]
            if held:
                found[labels(device, metric, name=None)] = (
                    math.fsum(held) * 1000 / (len(ends) * WINDOW_S * 1000)
                )
        return found

    return Expression(f"rate(load_value_sum{{{W}}}[{range_s}s])", at)


FOLDS: Mapping[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
    "avg": lambda values: math.fsum(values) / len(values),
}


def aggregated(name: str, by: str | None, inner: Expression) -> Expression:
    def at(samples: Samples, second: int) -> Values:
        groups: dict[Labels, list[float]] = {}
        for series, value in inner.at(samples, second).items():
            groups.setdefault(frozenset(pair for pair in series if pair[0] == by), []).append(value)
        return {group: FOLDS[name](values) for group, values in groups.items()}

    clause = "" if by is None else f" by ({by})"
    return Expression(f"{name}{clause} ({inner.text})", at)


def ranked(count: int, inner: Expression) -> Expression:
    def at(samples: Samples, second: int) -> Values:
        values = inner.at(samples, second)
        order = sorted(values, key=lambda series: (-values[series], shown(dict(series))))
        return {series: values[series] for series in order[:count]}

    return Expression(f"topk({count}, {inner.text})", at)


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    "!=": lambda a, b: a != b,
}


def with_number(operator: str, number: int, inner: Expression) -> Expression:
    def at(samples: Samples, second: int) -> Values:
        values = inner.at(samples, second)
        if operator in COMPARISONS:
            return {series: value for series, value in values.items() if COMPARISONS[operator](value, number)}
        return {nameless(series): ARITHMETIC[operator](value, number) for series, value in values.items()}

    return Expression(f"({inner.text}) {operator} {number}", at)


def between(operator: str, left: Expression, right: Expression) -> Expression:
    def at(samples: Samples, second: int) -> Values:
        ones, others = left.at(samples, second), right.at(samples, second)
        there = {nameless(series): value for series, value in others.items()}
        mine = {nameless(series) for series in ones}
        if operator == "and":
            return {series: value for series, value in ones.items() if nameless(series) in there}
        if operator == "unless":
            return {series: value for series, value in ones.items() if nameless(series) not in there}
        if operator == "or":
            return ones | {series: value for series, value in others.items() if nameless(series) not in mine}
        pairs = {
            series: (value, there[nameless(series)])
            for series, value in ones.items()
            if nameless(series) in there
        }
        if operator in COMPARISONS:
            return {series: a for series, (a, b) in pairs.items() if COMPARISONS[operator](a, b)}
        return {nameless(series): ARITHMETIC[operator](a, b) for series, (a, b) in pairs.items()}

    return Expression(f"({left.text}) {operator} ({right.text})", at)


OFFSETS = st.sampled_from([0, 0, 30, 60, 150, -60])
RANGES = st.sampled_from([30, 60, 90, 180, 301])
LEAVES = st.one_of(
    st.builds(selector, st.sampled_from([None, "a", "b"]), OFFSETS),
    st.builds(over, st.sampled_from(sorted(OVER)), RANGES, OFFSETS),
    st.builds(rate, RANGES),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            aggregated, st.sampled_from(sorted(FOLDS)), st.sampled_from([None, "metric", "device_id"]), inner
        ),
        st.builds(ranked, st.integers(0, 2), LEAVES),
        st.builds(with_number, st.sampled_from([*ARITHMETIC, *COMPARISONS]), st.integers(-3, 9), inner),
        st.builds(between, st.sampled_from([*ARITHMETIC, *COMPARISONS, "and", "or", "unless"]), inner, inner),
    ),
    max_leaves=4,
)
SERIES = st.sampled_from([("a", "x"), ("b", "x"), ("c", "y")])
FIRST = st.integers(0, 20).map(lambda half: half * 30) | st.integers(0, 600)
LOADS = st.dictionaries(
    SERIES, st.lists(st.none() | st.integers(-5, 20), min_size=1, max_size=8), min_size=1, max_size=3
)


@settings(deadline=None)
@given(LOADS, EXPRESSIONS, FIRST, st.sampled_from([7, 30, 60, 90]))
def test_over_a_range_each_instant_is_what_it_is_by_itself(
    load: dict[tuple[str, str], list[int | None]], expression: Expression, first_s: int, step_s: int
) -> None:
    prometheus = Prometheus()
    prometheus.load(load)
    samples = {
        series: {minute * 60: float(value) for minute, value in enumerate(values, 1) if value is not None}
        for series, values in load.items()
    }
    instants = range(first_s, first_s + 8 * step_s, step_s)
    span = ("start", str(first_s)), ("end", str(instants[-1])), ("step", str(step_s))
    reply = prometheus.ask("query_range", ("query", expression.text), *span)
    if reply.status == 422 and "same labelset" in reply.body["error"]:
        return  # names that were dropped told two apart: refused, as there
    assert reply.status == 200, reply.body
    found: dict[tuple[int, Labels], float] = {
        (at, frozenset(each["metric"].items())): float(text)
        for each in reply.body["data"]["result"]
        for at, text in each["values"]
    }
    right: dict[tuple[int, Labels], float] = {
        (second, series): value
        for second in instants
        for series, value in expression.at(samples, second).items()
    }
    assert found == right, expression.text
    one: Any = prometheus.data("query", ("query", expression.text), ("time", str(first_s)))
    assert {frozenset(each["metric"].items()): float(each["value"][1]) for each in one["result"]} == {
        series: value for (second, series), value in right.items() if second == first_s
    }
