"""Whatever is sent as a query, the process lives, and an error says what is wrong."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.promql import api
from processors.promql.budget import Budget
from support.promql import Prometheus

EMPTY = Prometheus()


@pytest.mark.parametrize(
    "query",
    ["(" * 10_000 + "1" + ")" * 10_000, "abs(" * 10_000 + "a" + ")" * 10_000, "-" * 10_000 + "a", "1" + "+1" * 10_000,
     "1" + "^1" * 10_000, "a" + " and a" * 10_000, "sum by (x) (" * 500 + "a" + ")" * 500, "a[1m:1s]" + "[1m:1s]" * 10_000,
     "(" * 60_000, '"' + "(" * 40_000, "# \r" + "(" * 10_000 + "1" + ")" * 10_000, "a{" + 'b="c",' * 9_000 + "}", "{" * 10_000, "[" * 10_000,
     "a offset " + "-" * 10_000 + "1m", "!" * 10_000, "a" * 100_000, "a == " * 10_000 + "a"],
    ids=lambda query: repr(query[:12]),
)  # fmt: skip
def test_what_would_end_the_parser_is_refused_before(query: str) -> None:
    status, kind, error = EMPTY.refused(query)
    assert (status, kind) == (400, "bad_data")
    assert "at most" in error or "parse error" in error or "more than" in error


@pytest.mark.parametrize(
    "query",
    ["", " ", "a @ -1", "a @ -1e300", "a @ 1e20", "a @ NaN", "a @ 1e12", "a offset 99999999999y", 'a{x=~"("}',
     'a{x=~"a**"}', "a\0b", 'a{x="\udcff"}', "{}", "foo(1)", "a @ @", "sum(a[5m])", "a == bool", "a and 1"],
)  # fmt: skip
def test_what_is_no_query_is_bad_data(query: str) -> None:
    assert EMPTY.refused(query)[:2] == (400, "bad_data")


@pytest.mark.parametrize(
    "query",
    ["load_events[1000000y]", "sum_over_time(load_events[1000y])", "load_events offset 200y", "load_events offset -200y",
     "load_events @ 250000000000", "load_events @ 0", "time() - 1e308 * 10", "topk(1e9, load_events)", "rate(load_events[290y])"],
)  # fmt: skip
def test_instants_and_ranges_beyond_all_windows_are_empty(query: str) -> None:
    assert EMPTY.ask("query", ("query", query)).status == 200


def test_a_subquery_of_too_many_instants_is_refused() -> None:
    assert "a subquery evaluates at" in EMPTY.refused("max_over_time(load_events[100y:1s])")[2]


def test_a_query_that_computes_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    prometheus = Prometheus()
    prometheus.load({(f"d{number}", "m"): [1] for number in range(20)})
    span = ("start", "60"), ("end", "110"), ("step", "1")
    monkeypatch.setattr(api, "Budget", lambda: Budget(10_000))
    series = 'load_events{window="1m"}'
    assert prometheus.ask("query_range", ("query", f"sum({series} * 2)"), *span).status == 200
    for query in (
        f"sum({series} * {series} * {series} * {series} * {series})",
        "+".join(
            f'count(load_events{{window="1m",device_id=~"(.*){{{number}}}"}})' for number in range(1, 20)
        ),
        f'count(label_replace({series}, "x", "$1", "device_id", "((.*){{50}})"))',
        f"max_over_time({series}[1h:1s])",
    ):
        reply = prometheus.ask("query_range", ("query", query), *span)
        assert (reply.status, reply.body["errorType"]) == (422, "execution")
        assert "would load too many samples" in reply.body["error"]


@given(st.text(max_size=60) | st.text("abs()[]{}\"'`#\r\n,=~!<>+-*/^%@ 0159.emhyNaIf:", max_size=60))
def test_any_text_is_answered_or_refused(query: str) -> None:
    reply = EMPTY.ask("query", ("query", query), ("time", "60"))
    assert reply.status in (200, 400, 422)


PARTS: list[Any] = [
    st.sampled_from(["load_events", "load_value_sum", "time()", "1", "NaN", "load_value_histogram", '"t"', "vector(2)"]),
    st.sampled_from(["+", "/", ">", "== bool", "and", "or", "unless", "^", "> on (window)", "* on (metric) group_left"]),
    st.sampled_from(["sum({})", "rate({}[5m])", "-{}", "topk(2, {})", "abs({})", "max_over_time({}[5m:1m])", "{} offset 1m",
                     "{} @ 60", "absent({})", "sort({})", "histogram_quantile(0.5, {})", "scalar({})", 'count_values("l", {})',
                     "clamp({}, 1, NaN)", 'label_replace({}, "a", "$1", "metric", "(.*)")', "({})", "{}[5m]"]),
]  # fmt: skip
EXPRESSIONS = st.recursive(
    PARTS[0],
    lambda inner: st.one_of(
        st.tuples(PARTS[2], inner).map(lambda pair: pair[0].replace("{}", pair[1], 1)),
        st.tuples(inner, PARTS[1], inner).map(lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"),
    ),
    max_leaves=6,
)
SMALL = Prometheus()
SMALL.load({("d", "m"): [1, 2, None, 4], ("e", "m"): [5, None, 7]})


@given(EXPRESSIONS, st.integers(1, 3))
def test_any_expression_is_answered_or_refused_over_instants_and_ranges(query: str, step: int) -> None:
    assert SMALL.ask("query", ("query", query), ("time", "120")).status in (200, 400, 422)
    span = ("start", "0"), ("end", "600"), ("step", str(step * 60))
    assert SMALL.ask("query_range", ("query", query), *span).status in (200, 400, 422)
