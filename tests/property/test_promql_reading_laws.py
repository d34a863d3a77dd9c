"""What is decoded for an expression is what the whole items say: of the keys and columns that it asks for, and no others."""

import re
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.promql.reading import Reader
from processors.promql.states import number_of
from processors.query.shape import Column
from streamgage.measures.decimals import quotient
from streamgage.measures.layout import FieldLayout, StateLayout
from streamgage.measures.named import measure_named
from support.promql import Prometheus, shown

CALM = settings(max_examples=40, deadline=None)
BIG = 10**40
MEASURES = ("value_count", "value_sum", "value_min", "value_max", "value_mean", "value_p50", "events")
DEVICES, METRICS, SHARDS = ("d1", "d2", "d12", "e|1"), ("m", "n"), ("shardId-0", "shardId-1")
ASKED = (
    ("device_id", "=", "d1"),
    ("device_id", "!=", "d1"),
    ("device_id", "=~", "d1|d2"),
    ("device_id", "=~", "d.*"),
    ("device_id", "!~", ".*1"),
    ("metric", "=", "m"),
    ("metric", "=~", "m|n"),
    ("metric", "!=", ""),
)
SPAN = (("start", "60"), ("end", "240"), ("step", "60"))


@given(numerator=st.integers(-BIG, BIG), denominator=st.integers(-BIG, BIG).filter(bool))
@example(numerator=5, denominator=2)
@example(numerator=-5, denominator=2)
@example(numerator=5, denominator=-2)
def test_a_quotient_is_the_integer_next_to_it_and_of_two_the_even_one(
    numerator: int, denominator: int
) -> None:
    assert quotient(numerator, denominator) == round(Fraction(numerator, denominator))


@given(
    states=st.lists(st.tuples(st.integers(0, 10**9), st.integers(-BIG, BIG)), min_size=1, max_size=20),
    scale=st.integers(0, 12),
)
@example(states=[(3, 1), (0, 0), (7, -2), (2_000, 1)], scale=9)
def test_a_mean_read_as_a_double_is_the_one_next_to_its_decimal(
    states: list[tuple[int, int]], scale: int
) -> None:
    layout = StateLayout((FieldLayout.of("v", scale, ("mean",)),))
    counts, sums = map(list, zip(*states, strict=True))
    decimals = [measure_named("mean").read({"n": n, "sum": total}, scale) for n, total in states]
    found = number_of(layout, Column("v", "mean"))([counts, counts, sums])
    assert found == [None if each is None else float(each) for each in decimals]


@st.composite
def counted(draw: st.DrawFn) -> Prometheus:
    """Draw events of some keys in four minutes, which one shard counted, or both."""
    prometheus = Prometheus()
    for shard in SHARDS:
        drawn = draw(
            st.lists(
                st.tuples(
                    st.sampled_from(DEVICES),
                    st.sampled_from(METRICS),
                    st.integers(0, 239_999),
                    st.integers(-50, 50),
                ),
                max_size=12,
            )
        )
        events = [
            {"device_id": device, "metric": metric, "ts": ts, "value": value / 8, "tags": None}
            for device, metric, ts, value in drawn
        ]
        prometheus.send("reading", events, shard=shard)
    return prometheus


def passes(labels: dict[str, str], asked: tuple[str, str, str]) -> bool:
    label, op, value = asked
    found = labels[label] == value if op in ("=", "!=") else bool(re.fullmatch(value, labels[label]))
    return found == (op in ("=", "=~"))


@CALM
@given(
    prometheus=counted(),
    measure=st.sampled_from(MEASURES),
    asked=st.lists(st.sampled_from(ASKED), max_size=3),
)
def test_series_of_some_keys_are_those_among_the_series_of_all(
    prometheus: Prometheus, measure: str, asked: list[tuple[str, str, str]]
) -> None:
    def result(matchers: str) -> dict[str, list[object]]:
        query = f'load_{measure}{{window="1m"{matchers}}}'
        data = prometheus.data("query_range", ("query", query), *SPAN)["result"]
        kept = [each for each in data if all(passes(each["metric"], one) for one in asked)]
        assert kept == data or not matchers
        return {shown(each["metric"]): each["values"] for each in kept}

    assert result("".join(f',{label}{op}"{value}"' for label, op, value in asked)) == result("")


@CALM
@given(prometheus=counted(), measures=st.lists(st.sampled_from(MEASURES), min_size=1, max_size=3))
def test_an_expression_is_the_same_whatever_else_is_decoded(
    prometheus: Prometheus, measures: list[str]
) -> None:
    sides = [f'max by (metric) (load_{each}{{window="1m"}})' for each in measures]
    params = (("query", " + ".join(sides)), *SPAN)
    found = prometheus.ask("query_range", *params)
    assert found.status == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reader, "_layout", lambda _, metric: metric.rollup.layout)
        assert prometheus.ask("query_range", *params) == found
