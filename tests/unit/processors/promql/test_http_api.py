"""The Prometheus HTTP API: what is asked, how it is answered, how it is refused."""

from collections.abc import Iterator, Sequence

import pytest

from processors.promql import results
from processors.promql.api import respond
from processors.query.freshness import Freshness
from streamgage.errors import ConfigError, RetryableError
from streamgage.fold.items import ItemKey, StoredItem
from support.promql import NOW_MS, Prometheus, Told

W = 'window="1m"'


@pytest.fixture(scope="module")
def prometheus() -> Prometheus:
    prometheus = Prometheus()
    prometheus.load({("a", "x"): [1, 2.5, 3], ("b", "x"): [10], ("b", "y"): [None, 20]})
    return prometheus


def test_an_instant(prometheus: Prometheus) -> None:
    assert prometheus.ask("query", ("query", f'load_value_sum{{{W},device_id="a"}}'), ("time", "120.5")) == (
        200,
        {
            "status": "success",
            "data": {
                "resultType": "vector",
                "result": [
                    {
                        "metric": {
                            "__name__": "load_value_sum",
                            "device_id": "a",
                            "metric": "x",
                            "window": "1m",
                        },
                        "value": [120.5, "2.5"],
                    }
                ],
            },
        },
    )
    assert prometheus.data("query", ("query", "1+1"), ("time", "4")) == {
        "resultType": "scalar",
        "result": [4, "2"],
    }
    assert prometheus.data("query", ("query", '"t"'), ("time", "4")) == {
        "resultType": "string",
        "result": [4, "t"],
    }
    assert prometheus.data("query", ("query", "time()"))["result"] == [NOW_MS // 1000, str(NOW_MS // 1000)]


def test_a_range_is_in_the_order_of_labels_and_leaves_out_what_has_no_value(prometheus: Prometheus) -> None:
    span = ("start", "1970-01-01T00:00:30Z"), ("end", "180"), ("step", "30s")
    data = prometheus.data("query_range", ("query", f"load_value_sum{{{W}}}"), *span)
    assert data["resultType"] == "matrix"
    assert [
        (each["metric"]["device_id"], each["metric"]["metric"], each["values"]) for each in data["result"]
    ] == [
        ("a", "x", [[60, "1"], [90, "1"], [120, "2.5"], [150, "2.5"], [180, "3"]]),
        ("b", "x", [[60, "10"], [90, "10"]]),
        ("b", "y", [[120, "20"], [150, "20"]]),
    ]
    assert prometheus.data("query_range", ("query", "1"), ("start", "0"), ("end", "1"), ("step", "1"))[
        "result"
    ] == [{"metric": {}, "values": [[0, "1"], [1, "1"]]}]


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("query", [], 'invalid parameter "query"'),
        ("query", [("query", "")], "no expression found"),
        ("query", [("query", "1"), ("time", "now")], 'invalid parameter "time"'),
        ("query", [("query", "1"), ("time", "NaN")], 'invalid parameter "time"'),
        ("query", [("query", "1"), ("time", "Inf")], 'invalid parameter "time"'),
        ("query", [("query", "1"), ("time", "1e300")], 'invalid parameter "time"'),
        ("query", [("query", "1"), ("time", "1e99999")], 'invalid parameter "time"'),
        ("query", [("query", "1"), ("time", "-1")], "1970 and 9999"),
        ("query", [("query", "1"), ("time", "2015-05-17")], 'invalid parameter "time"'),
        ("query", [("query", "1"), ("time", "2015-05-17T10:00:00")], 'invalid parameter "time"'),
        ("query", [("query", "load_events"), ("limit", "x")], 'invalid parameter "limit"'),
        ("query_range", [("query", "1"), ("start", "2"), ("end", "1"), ("step", "1")], "before start time"),
        ("query_range", [("query", "1"), ("start", "0"), ("end", "1"), ("step", "0")], "zero or negative"),
        ("query_range", [("query", "1"), ("start", "0"), ("end", "1"), ("step", "-5")], "zero or negative"),
        ("query_range", [("query", "1"), ("start", "0"), ("end", "1"), ("step", "1e-9")], "zero or negative"),
        (
            "query_range",
            [("query", "1"), ("start", "0"), ("end", "1"), ("step", "NaN")],
            'invalid parameter "step"',
        ),
        (
            "query_range",
            [("query", "1"), ("start", "0"), ("end", "1"), ("step", "5x")],
            'invalid parameter "step"',
        ),
        (
            "query_range",
            [("query", "1"), ("start", "0"), ("end", "1"), ("step", "")],
            'invalid parameter "step"',
        ),
        ("query_range", [("query", "1"), ("start", "0"), ("end", "1")], 'invalid parameter "step"'),
        ("query_range", [("query", "1"), ("end", "1"), ("step", "1")], 'invalid parameter "start"'),
        ("query_range", [("query", "1"), ("start", "0"), ("end", "11001"), ("step", "1")], "11,000 points"),
        (
            "query_range",
            [("query", "load_events[5m]"), ("start", "0"), ("end", "1"), ("step", "1")],
            '"range vector"',
        ),
        ("query_range", [("query", '"t"'), ("start", "0"), ("end", "1"), ("step", "1")], '"string"'),
        ("series", [], "no match[] parameter"),
        ("series", [("match[]", "1+1")], 'invalid parameter "match[]"'),
        ("series", [("match[]", "a offset 5m")], 'invalid parameter "match[]"'),
        ("series", [("match[]", "a")] * 21, "at most 20"),
        ("labels", [("match[]", "{")], "parse error"),
        ("labels", [("start", "2"), ("end", "1")], "before start time"),
    ],
)
def test_parameters_that_are_wrong_are_bad_data(
    prometheus: Prometheus, path: str, params: list[tuple[str, str]], said: str
) -> None:
    reply = prometheus.ask(path, *params)
    assert (reply.status, reply.body["status"], reply.body["errorType"]) == (400, "error", "bad_data")
    assert said in reply.body["error"]


def test_11_000_points_are_answered(prometheus: Prometheus) -> None:
    span = ("start", "0"), ("end", "11000"), ("step", "1")
    assert len(prometheus.data("query_range", ("query", "time()"), *span)["result"][0]["values"]) == 11_001


def test_labels_and_their_values(prometheus: Prometheus) -> None:
    assert prometheus.data("labels") == ["__name__", "device_id", "metric", "window"]
    names = [f"load_{each}" for each in ("events", *(f"value_{one}" for one in ("count", "histogram", "max", "mean", "min", "p50", "sum")))]  # fmt: skip
    assert prometheus.data("label/__name__/values") == names
    assert prometheus.data("label/window/values") == ["1d", "1h", "1m"]
    assert prometheus.data("label/device_id/values") == ["a", "b"]
    assert prometheus.data("label/nothing/values") == []


@pytest.mark.parametrize(
    ("path", "match", "right"),
    [
        ("label/device_id/values", 'load_events{metric="y"}', ["b"]),
        ("label/device_id/values", '{metric="y"}', ["b"]),
        ("label/device_id/values", '{device_id=~"a|z"}', ["a"]),
        ("label/device_id/values", "nobody", []),
        ("label/device_id/values", '{page="/"}', []),
        ("label/device_id/values", '{page!="/",metric="x"}', ["a", "b"]),
        ("label/device_id/values", 'load_events{window="3s"}', []),
        ("label/window/values", 'load_events{window!="1m"}', ["1d", "1h"]),
        ("label/__name__/values", '{__name__=~".*_(sum|min)"}', ["load_value_min", "load_value_sum"]),
        ("label/__name__/values", '{device_id="z"}', []),
        ("labels", '{__name__!=""}', ["__name__", "device_id", "metric", "window"]),
        ("labels", '{device_id="z"}', []),
    ],
)
def test_what_matches_is_listed(prometheus: Prometheus, path: str, match: str, right: list[str]) -> None:
    assert prometheus.data(path, ("match[]", match)) == right


def test_series_have_events_in_the_range(prometheus: Prometheus) -> None:
    day = ("start", "0"), ("end", "86399")
    found = prometheus.data("series", ("match[]", 'load_events{window="1h",device_id="b"}'), ("match[]", 'load_value_sum{window="1d",metric="y"}'), *day)  # fmt: skip
    labels = {"device_id": "b", "metric": "y"}
    assert found == [
        {"__name__": "load_events", "device_id": "b", "metric": "x", "window": "1h"},
        {"__name__": "load_events", **labels, "window": "1h"},
        {"__name__": "load_value_sum", **labels, "window": "1d"},
    ]
    assert prometheus.data("series", ("match[]", "load_events"), ("start", "86400"), ("end", "90000")) == []


def test_a_limit_cuts_and_says_so(prometheus: Prometheus) -> None:
    for path, params in (
        ("series", (("match[]", "load_events"),)),
        ("labels", ()),
        ("label/window/values", ()),
        ("query", (("query", f"load_events{{{W}}}"), ("time", "60"))),
    ):
        reply = prometheus.ask(path, *params, ("limit", "1"))
        data = reply.body["data"]
        assert len(data["result"] if isinstance(data, dict) else data) == 1
        assert reply.body["warnings"] == ["results truncated due to limit"]
        assert "warnings" not in prometheus.ask(path, *params, ("limit", "0")).body


def test_metadata_says_what_a_series_is(prometheus: Prometheus) -> None:
    found = prometheus.data("metadata")
    assert found["load_value_sum"] == [
        {"type": "gauge", "help": "value.sum of each window of load, at the window's end", "unit": ""}
    ]
    assert found["load_value_histogram"][0]["type"] == "histogram"
    assert list(prometheus.data("metadata", ("metric", "load_events"))) == ["load_events"]
    assert prometheus.data("metadata", ("metric", "nobody")) == {}


@pytest.mark.parametrize(
    "path", ["", "rules", "label//values", "label/a/b/values", "../query", "query/", "status/config"]
)
def test_a_path_that_is_not_there(prometheus: Prometheus, path: str) -> None:
    reply = prometheus.ask(path, ("query", "1"))
    expected = 200 if path == "query/" else 404
    assert reply.status == expected


def test_every_body_is_json(prometheus: Prometheus) -> None:
    span = ("start", "0"), ("end", "300"), ("step", "30")
    for query in ("0 / 0", "-1 / 0", f"load_value_sum{{{W}}} / 0", "1e300 * 1e300"):
        assert prometheus.ask("query_range", ("query", query), *span).status == 200  # read as JSON


@pytest.mark.parametrize("number", [0, -0.0, 5, 0.1, -1e-7, 1e21, 123456789012345680.0, "NaN", "Inf", "-Inf"])
def test_a_value_of_a_range_has_the_digits_of_an_instant(prometheus: Prometheus, number: object) -> None:
    for query in ("vector(0)", f"{number}", f"vector({number})"):
        data = prometheus.data("query", ("query", query), ("time", "60"))["result"]
        at_once = data[0]["value"] if "vector" in query else data
        span = ("start", "60"), ("end", "120"), ("step", "60")
        (series,) = prometheus.data("query_range", ("query", query), *span)["result"]
        assert series["values"] == [at_once, [120, at_once[1]]]


class Throttled:
    """A PartialStore that is throttled."""

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        raise RetryableError(f"table t is throttled ({pk}, {first_sk}, {last_sk})")

    def get(self, keys: Sequence[ItemKey]) -> dict[ItemKey, StoredItem]:
        raise AssertionError(keys)


def test_a_table_that_is_throttled_is_nothing_that_a_caller_sent() -> None:
    prometheus = Prometheus()
    prometheus.store = Throttled()
    with pytest.raises(RetryableError, match="table t is throttled"):
        prometheus.ask("query", ("query", "load_events"), ("time", "3600"))


def test_items_of_another_definition_are_told_and_not_guessed_at() -> None:
    prometheus = Prometheus()
    prometheus.load({("a", "x"): [1]})
    for key, (fence, _, body, expires_s) in list(prometheus.world.store.rows.items()):
        prometheus.world.store.rows[key] = (fence, "another", body, expires_s)
    with pytest.raises(ConfigError, match="written by another definition"):
        prometheus.ask("query", ("query", "load_events"), ("time", "60"))


def test_tables_that_lack_what_was_applied_are_told_with_a_warning(prometheus: Prometheus) -> None:
    reply = respond(
        "query",
        [("query", "1")],
        pipeline=prometheus.pipeline,
        store=Throttled(),
        fresh=Freshness({}, 0, 0, ("shardId-0",)),
        consumer="main",
        now_ms=NOW_MS,
    )
    assert "the tables lack what was applied of shardId-0" in Told.of(reply).body["warnings"][0]


def test_of_many_notes_the_first_are_told(prometheus: Prometheus) -> None:
    query = " or ".join(f"nobody_{number}" for number in range(12))
    infos = prometheus.ask("query", ("query", query)).body["infos"]
    assert infos[0] == "there are no series of the name nobody_0"
    assert infos[10:] == ["2 more of these are not shown"]


def test_a_lookback_that_is_asked_for_is_not_heeded_and_that_is_said(prometheus: Prometheus) -> None:
    reply = prometheus.ask("query", ("query", "1"), ("lookback_delta", "5m"))
    assert reply.body["infos"] == [
        "lookback_delta is not heeded: a value is seen for as long as its window is"
    ]


def test_an_answer_of_too_many_points_is_refused(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "MOST_POINTS", 100)
    span = ("start", "0"), ("step", "1")
    assert (
        len(prometheus.data("query_range", ("query", "1"), *span, ("end", "99"))["result"][0]["values"])
        == 100
    )
    reply = prometheus.ask("query_range", ("query", "1"), *span, ("end", "100"))
    assert (reply.status, reply.body["errorType"]) == (422, "execution")
    assert "the answer has 101 points; at most 100 are given" in reply.body["error"]
