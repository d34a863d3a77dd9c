"""Windows as samples: where they stand, how long they are seen, which are meant, and what is said of those that may change."""

from collections.abc import Iterator

import pytest

from processors.promql import reading
from processors.promql.names import key_labels
from streamgage.fold.items import StoredItem
from streamgage.measures import histogram
from support.fakes import Reads
from support.promql import MINUTE_MS, NOW_MS, ROLLUP, Prometheus, pipeline_of

HOUR, DAY = 60, 1_440
ONE = 'device_id="d"'


def counted(
    *minutes: int, values: float = 1.0, now_ms: int = NOW_MS, applied_ms: int | None = None
) -> Prometheus:
    """Return what answers over one event of the device d in each of *minutes*: the n-th ends at minute n."""
    prometheus = Prometheus(now_ms=now_ms, applied_ms=applied_ms)
    prometheus.send(
        "reading",
        [
            {"device_id": "d", "metric": "m", "ts": (minute - 1) * MINUTE_MS, "value": values, "tags": None}
            for minute in minutes
        ],
    )
    return prometheus


def test_a_value_stands_at_the_end_of_its_window_and_is_seen_until_the_next_one_ends() -> None:
    prometheus = counted(3)
    query = 'load_events{window="1m"}'
    assert prometheus.over(query, 2, 5, 0.25) == {
        "load_events d m 1m": {3: "1", 3.25: "1", 3.5: "1", 3.75: "1"}
    }
    assert prometheus.data("query", ("query", f"{query}[5m]"), ("time", "240"))["result"] == [
        {
            "metric": {"__name__": "load_events", "device_id": "d", "metric": "m", "window": "1m"},
            "values": [[180, "1"]],
        }
    ]


def test_a_range_holds_what_ends_after_its_begin_and_up_to_its_end() -> None:
    prometheus = counted(3, 4)
    query = 'sum_over_time(load_events{window="1m"}[1m])'
    right = {3: "1", 3.5: "1", 4: "1", 4.5: "1"}
    assert prometheus.over(query, 2, 6, 0.5) == {"d m 1m": right}
    for minute in (2.5, 3, 4.5, 5):
        assert prometheus.at(query, minute) == ({"d m 1m": "1"} if minute in right else {})


def test_where_no_window_is_named_the_largest_that_fits_the_step_is_taken_and_said() -> None:
    prometheus = counted(1, 2, 61)
    for step, window in ((1, "1m"), (59, "1m"), (60, "1h"), (1439, "1h"), (1440, "1d"), (0.25, "1m")):
        reply = prometheus.ask(
            "query_range",
            ("query", "load_events"),
            ("start", "0"),
            ("end", str(DAY * 60)),
            ("step", str(step * 60)),
        )
        assert reply.body["infos"] == [
            f'load_events: no window is named, so these are of window="{window}"; there are: 1m, 1h, 1d'
        ]
        assert {each["metric"]["window"] for each in reply.body["data"]["result"]} <= {window}
    assert prometheus.at("load_events", 2) == {"load_events d m 1m": "1"}, "of one instant: the smallest"
    assert prometheus.over("sum_over_time(load_events[2m])", 2, 2, 60) == {"d m 1m": {2: "2"}}, (
        "a range bounds it too"
    )


@pytest.mark.parametrize(
    ("matcher", "windows"),
    [('window=~".*"', {"1m", "1h", "1d"}), ('window=~"1h|1d"', {"1h", "1d"}), ('window!="1m"', {"1h", "1d"}),
     ('window=""', set()), ('window="1h",window!="1h"', set()), ('window="2h"', {"2h"}), ('window="1w"', {"1w"})],
)  # fmt: skip
def test_windows_are_asked_for_as_any_label_is(matcher: str, windows: set[str]) -> None:
    series = counted(1).at(f"load_events{{{matcher}}}", 7 * DAY if "w" in matcher[-3:] else DAY)
    data = counted(1).data("query", ("query", f"load_events{{{matcher}}}[10d]"), ("time", str(5 * DAY * 60)))
    assert {each["metric"]["window"] for each in data["result"]} == windows
    assert len(series) <= len(windows)


def test_windows_that_are_not_kept_are_merged_from_those_that_are_also_by_the_clock_of_a_place() -> None:
    prometheus = counted(1, 1400, 1439, 1441)
    assert prometheus.at('load_events{window="2h"}', 120) == {"load_events d m 2h": "1"}
    berlin = 'load_events{window="1d@Europe/Berlin"}'
    assert prometheus.at(berlin, DAY - 60) == {"load_events d m 1d@Europe/Berlin": "1"}
    assert prometheus.at(berlin, 2 * DAY - 61) == {"load_events d m 1d@Europe/Berlin": "1"}, "seen for a day"
    assert prometheus.at(berlin, 2 * DAY - 60) == {"load_events d m 1d@Europe/Berlin": "3"}


def test_a_window_that_cannot_be_made_is_nothing_and_says_so() -> None:
    reply = counted(1).ask("query", ("query", 'load_events{window="45s"}'))
    assert reply.body["data"]["result"] == []
    assert reply.body["warnings"] == [
        "load_events: windows of '45s' cannot be merged from those that load keeps (1m, 1h, 1d): each must lie in one"
    ]


def test_a_rate_is_what_was_counted_in_the_windows_of_the_range_by_their_length() -> None:
    prometheus = counted(1, 1, 1, 2, 4)
    events = 'load_events{window="1m"}'
    assert prometheus.at(f"increase({events}[4m])", 4) == {"d m 1m": "5"}
    assert prometheus.at(f"rate({events}[4m]) * 60", 4) == {"d m 1m": "1.25"}, "an empty window counts as 0"
    assert prometheus.at(f"rate({events}[90s]) * 60", 2.5) == {"d m 1m": "1"}, "only minute 2 ends within it"
    assert prometheus.at(f"rate({events}[90s]) * 60", 2) == {"d m 1m": "2"}, "minutes 1 and 2 do"
    assert prometheus.at(f"rate({events}[1m])", 3) == {}
    assert prometheus.at('rate(load_value_sum{window="1h"}[1h]) * 3600', 60) == {"d m 1h": "5"}


def test_a_range_in_which_no_window_ends_has_no_rate_and_a_warning() -> None:
    reply = counted(1).ask("query", ("query", 'rate(load_events{window="1h"}[5m])'), ("time", "1800"))
    assert reply.body["data"]["result"] == []
    assert (
        'rate over 300 s of window="1h": no window ends in some of these ranges' in reply.body["warnings"][0]
    )


@pytest.mark.parametrize("series", ["load_value_mean", "load_value_max", "load_value_p50"])
def test_a_rate_of_what_does_not_add_up_is_refused(series: str) -> None:
    status, _, error = counted(1).refused(f"rate({series}[5m])")
    assert status == 422
    assert f"rate of {series}: only counts and sums add up over windows" in error
    assert (
        counted(1)
        .refused("increase((load_events + 1)[5m:1m])")[2]
        .startswith("increase is of windows, not of a")
    )


def test_windows_that_are_not_all_applied_are_told_with_an_info() -> None:
    prometheus = counted(1, 2, 3, now_ms=3 * MINUTE_MS, applied_ms=2 * MINUTE_MS)
    query = ("query", 'load_events{window="1m"}')
    assert "infos" not in prometheus.ask("query", query, ("time", "120")).body
    prometheus.applied_ms = 2 * MINUTE_MS - 1
    assert "infos" in prometheus.ask("query", query, ("time", "120")).body
    prometheus.applied_ms += 1
    for at in ("180", "200"):
        reply = prometheus.ask("query", query, ("time", at))
        assert len(reply.body["data"]["result"]) == 1
        (info,) = reply.body["infos"]
        assert info.startswith(
            'load, window="1m": windows that end after 1970-01-01T00:02:00Z, up to when everything is'
        )
        assert info.endswith("may still change, or appear")


def test_where_nothing_is_known_of_what_is_applied_all_may_change() -> None:
    prometheus = counted(1, applied_ms=0)
    reply = prometheus.ask("query", ("query", 'load_events{window="1m"}'), ("time", "60"))
    assert (
        "it is not known up to when everything is applied: all windows may still change"
        in reply.body["infos"][0]
    )


def test_a_window_of_which_a_part_is_not_kept_any_more_is_told_with_a_warning() -> None:
    kept = pipeline_of(ROLLUP.replace('windows = ["1m"', 'keep = "7d"\nwindows = ["1m"'))
    prometheus = Prometheus(kept, now_ms=61 * MINUTE_MS)
    prometheus.load({("d", "m"): [1] * 61})
    query = ("query", 'load_events{window="2h"}'), ("time", "7200")
    assert "warnings" not in prometheus.ask("query", *query).body
    prometheus.now_ms = (7 * DAY + 2 * HOUR) * MINUTE_MS - 1
    reply = prometheus.ask("query", *query)
    assert [each["value"][1] for each in reply.body["data"]["result"]] == ["1"]
    assert reply.body["warnings"] == [
        'load, window="2h": a part of the windows that end up to 1970-01-01T02:00:00Z is not counted here, or not kept any more'
    ]
    prometheus.now_ms += 1
    reply = prometheus.ask("query", *query)
    assert reply.body["data"]["result"] == []
    assert reply.body["infos"] == [
        'load, window="2h": those that ended up to 1970-01-01T02:00:00Z are not kept any more'
    ]


def test_a_window_before_its_consumer_began_is_told_with_a_warning() -> None:
    prometheus = Prometheus()
    prometheus.world.lineage.from_first = False
    prometheus.load({("d", "m"): [1]})
    reply = prometheus.ask("query", ("query", 'load_events{window="1m"}'), ("time", "60"))
    assert [each["value"][1] for each in reply.body["data"]["result"]] == ["1"]
    assert "the windows that end up to 1970-01-01T00:01:00Z is not counted here" in reply.body["warnings"][0]


def test_numbers_are_the_doubles_next_to_the_exact_values() -> None:
    prometheus = Prometheus()
    prometheus.load({("d", "m"): [0.1, 0.1], ("e", "m"): [123456789.123456789]})
    assert prometheus.at(f'load_value_sum{{window="1h",{ONE}}}', 60) == {"load_value_sum d m 1h": "0.2"}
    for measure in ("sum", "min", "max", "mean"):
        right = {f"load_value_{measure} e m 1h": "123456789.12345679"}
        assert prometheus.at(f'load_value_{measure}{{window="1h",device_id="e"}}', 60) == right


def test_quantiles_of_histograms_are_those_of_the_measure_however_they_are_added_up() -> None:
    prometheus = Prometheus()
    values = [float(7 * n % 101) for n in range(1, 61)]
    prometheus.load({("d", "m"): values, ("e", "m"): [-each for each in values]})
    minutes, hour = 'load_value_histogram{window="1m"}', 'load_value_histogram{window="1h"}'
    p50 = prometheus.at('load_value_p50{window="1h"}', 60)
    for query in (
        hour,
        f"sum_over_time({minutes}[1h])",
        f"increase({minutes}[1h])",
        f"sum by (device_id) ({hour})",
    ):
        found = prometheus.at(f"histogram_quantile(0.5, {query})", 60)
        assert sorted(map(float, found.values())) == pytest.approx(sorted(map(float, p50.values())), rel=1e-5)
    both = histogram.of_values([int(each) for each in values] + [-int(each) for each in values], 0)
    assert prometheus.at(f"histogram_quantile(0.9, sum({hour}))", 60) == {
        "": repr(histogram.quantile(both, 0.9))
    }
    assert prometheus.at(f"histogram_count(sum({hour}))", 60) == {"": "120"}
    assert prometheus.at(f"histogram_quantile(2, sum({hour}))", 60) == {"": "+Inf"}
    assert prometheus.at(f"histogram_quantile(-1, sum({hour}))", 60) == {"": "-Inf"}
    assert prometheus.at(f"histogram_quantile(NaN, sum({hour}))", 60) == {"": "NaN"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("load_value_histogram", "histograms are read by histogram_quantile"),
        ("load_value_histogram + 1", "histograms are read by histogram_quantile"),
        ("max(load_value_histogram)", "max of histograms is not evaluated here"),
        ("rate(load_value_histogram[5m])", "rate of histograms is not evaluated here"),
        ("histogram_quantile(0.5, load_events)", "this has to be histograms"),
        ("load_value_histogram[5m]", "are histograms"),
    ],
)
def test_of_histograms_all_else_is_refused(query: str, said: str) -> None:
    status, _, error = counted(1).refused(query)
    assert status == 422
    assert said in error


def test_a_name_by_pattern_means_no_histogram() -> None:
    assert set(counted(1).at('count by (__name__) ({__name__=~"load_.*",window="1m"})', 1)) == {
        f"load_{each}"
        for each in ("events", *(f"value_{one}" for one in ("count", "sum", "min", "max", "mean", "p50")))
    }


def test_two_columns_of_one_name_are_refused_and_not_mixed() -> None:
    source, rollup = ROLLUP.split("[[rollups]]")
    source += '[sources.derive]\nvalue_value = "value * 2"\n'
    other = rollup.replace('"load"', '"load_value"')
    both = "[[rollups]]".join([source, rollup + 'value_value = ["sum"]\n', other])
    prometheus = Prometheus(pipeline_of(both))
    status, kind, error = prometheus.refused("load_value_value_sum")
    assert (status, kind) == (422, "execution")
    assert "value_value.sum of load and value.sum of load_value" in error
    names = prometheus.data("label/__name__/values")
    assert "load_value_value_sum" not in names
    assert {"load_value_sum", "load_value_value_min"} <= set(names)


def test_a_field_of_the_key_that_is_called_window_is_exported_window() -> None:
    derived = ROLLUP.replace(
        'event_time = "ts"\n', 'event_time = "ts"\n[sources.derive]\nwindow = "metric"\n'
    ).replace('"device_id", "metric"', '"device_id", "window"')
    prometheus = Prometheus(pipeline_of(derived))
    prometheus.load({("d", "m"): [1]})
    assert prometheus.at('load_events{window="1m",exported_window="m"}', 1) == {
        "load_events d 1m exported_window=m": "1"
    }


def test_no_two_fields_of_a_key_are_one_label() -> None:
    source, rollup = ROLLUP.split("[[rollups]]")
    source += '[sources.derive]\nwindow = "metric"\nexported_window = "device_id"\n'
    both = rollup.replace('"device_id", "metric"', '"window", "exported_window"')
    (parsed,) = pipeline_of(f"{source}[[rollups]]{both}").rollups.values()
    assert key_labels(parsed) == ("exported_exported_window", "exported_window")


def test_what_another_consumer_counts_is_told_whose_it_is() -> None:
    other = pipeline_of(ROLLUP.replace('name = "load"', 'name = "load"\nconsumer = "other"'))
    prometheus = Prometheus(other, consumer="other")
    prometheus.consumer = "main"
    reply = prometheus.ask("query", ("query", "load_events"))
    assert reply.body["data"]["result"] == []
    assert reply.body["warnings"][0].startswith("load_events is counted by consumer other")


def test_an_unknown_name_is_nothing_and_says_so() -> None:
    reply = counted(1).ask("query", ("query", "up"))
    assert (reply.body["data"]["result"], reply.body["infos"]) == ([], ["there are no series of the name up"])


def test_an_empty_field_of_a_key_is_no_label() -> None:
    prometheus = Prometheus()
    prometheus.load({("", "m"): [1], ("d", "m"): [2]})
    assert prometheus.at('load_value_sum{window="1m",device_id=""}', 1) == {"load_value_sum m 1m": "1"}


def test_keys_that_are_not_asked_for_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    prometheus = Prometheus()
    prometheus.load({(f"d{number}", "m"): [1] for number in range(50)})
    monkeypatch.setattr(reading, "MOST_ROWS", 2)
    assert len(prometheus.at('load_events{window="1m",device_id=~"d1|d2",metric="m"}', 1)) == 2
    assert len(prometheus.at('load_events{window="1m",device_id=~"d1|d2"}', 1)) == 2
    assert (
        "reads more than 2 windows of keys"
        in prometheus.refused('load_events{window="1m",device_id=~"d1|d2|d3"}')[2]
    )


def test_what_several_shards_counted_of_a_key_is_one_value() -> None:
    prometheus = Prometheus()
    for number, shard in enumerate(("shardId-0", "shardId-1", "shardId-0", "shardId-2"), 1):
        event = {"device_id": "d", "metric": "m", "ts": 7, "value": float(number), "tags": None}
        prometheus.send("reading", [event], shard=shard)
    minute = 'window="1m"'
    assert prometheus.at(f"load_events{{{minute}}}", 1) == {"load_events d m 1m": "4"}
    assert prometheus.at(f"load_value_sum{{{minute}}}", 1) == {"load_value_sum d m 1m": "10"}
    assert prometheus.at(f"histogram_count(load_value_histogram{{{minute}}})", 1) == {"d m 1m": "4"}


class Counted(Reads):
    """A PartialStore that counts its reads of ranges."""

    reads = 0

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        self.reads += 1
        return super().range(pk, first_sk, last_sk)


def test_what_an_expression_names_twice_is_read_once() -> None:
    prometheus = counted(1, 2)
    prometheus.store = store = Counted(prometheus.world.store)
    query = 'load_value_sum{window="1m"} / load_events{window="1m"} + load_value_sum{window="1m"}'
    assert len(prometheus.over(query, 0, 300)) == 1
    assert store.reads == 1


def test_entries_and_exits_are_texts_and_no_series_also_where_names_are_matched() -> None:
    prometheus = Prometheus(
        pipeline=pipeline_of(
            """
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"

[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1h"]
[rollups.measures]
page = ["entry", "exit", "distinct"]
"""
        )
    )
    prometheus.send("click", [{"visitor_id": "v", "page": "/", "ts": 1}])
    found = prometheus.at('count by (__name__) ({__name__=~"visits_.*"})', HOUR)
    assert found == {"visits_events": "1", "visits_page_distinct": "1"}
    assert prometheus.data("label/__name__/values") == ["visits_events", "visits_page_distinct"]
    assert prometheus.at("visits_page_entry", HOUR) == {}


APPROXIMATE = """
[[rollups]]
name = "rough"
source = "reading"
key = ["device_id"]
windows = ["1m"]

[rollups.measures]
value = ["sum", "p95", "histogram", "time_weighted_mean"]
metric = ["distinct"]
"""


def test_by_how_much_a_value_may_be_off_is_told_with_an_info() -> None:
    """The widest of what was read: a minute of 300 metrics is an estimate, one of two is exact."""
    prometheus = Prometheus(pipeline_of(ROLLUP + APPROXIMATE))
    prometheus.load({("d", f"m{n}"): [1 + n, 1 + 9**n if n < 2 else None] for n in range(300)})
    prometheus.load({("e", "m"): [1, 1]})
    quantile = "1.08% of the value of that rank at most"
    infos: dict[str, dict[int, str | None]] = {
        "rough_value_sum": {1: None, 2: None},
        "rough_value_p95": {1: f"rough_value_p95: {quantile}"},
        "rough_value_p95 + rough_value_sum": {1: f"rough_value_p95: {quantile}"},
        "rough_metric_distinct": {1: "rough_metric_distinct: 2.27% standard error", 2: "rough_metric_distinct: exact, but for chance"},
        "histogram_quantile(0.5, rough_value_histogram)": {1: f"histogram_quantile: {quantile}"},
        "histogram_count(rough_value_histogram)": {1: None},
        "rough_value_p95 > 1e9": {1: f"rough_value_p95: {quantile}"},
    }  # fmt: skip
    for query, told in infos.items():
        for minute, info in told.items():
            for _ in range(2):  # what was read once is remembered
                reply = prometheus.ask("query", ("query", query), ("time", str(minute * 60)))
                found = [each for each in reply.body.get("infos", []) if "no window is named" not in each]
                assert found == ([] if info is None else [info]), query
    assert (
        "infos"
        not in prometheus.ask("query", ("query", 'rough_value_p95{window="1m"}'), ("time", "600")).body
    )
    distinct = ("query", 'rough_metric_distinct{window="1m"}')
    both = prometheus.ask("query_range", distinct, ("start", "60"), ("end", "120"), ("step", "60"))
    assert both.body["infos"] == ["rough_metric_distinct: 2.27% standard error"]
    mean = prometheus.ask("query", ("query", 'rough_value_time_weighted_mean{window="1m"}'), ("time", "60"))
    (info,) = mean.body["infos"]
    assert info == "rough_value_time_weighted_mean: exact"


def test_a_quantile_of_histograms_that_were_widened_together_tells_the_wider_bound() -> None:
    """Two that fit their buckets finely do not when they are one, so their sum is known less well."""
    prometheus = Prometheus(pipeline_of(ROLLUP + APPROXIMATE))
    prometheus.load({("d", f"m{n}"): [1.02**n, 1e6 * 1.02**n] for n in range(100)} | {("e", "m"): [1, 1]})
    query = 'histogram_quantile(0.5, sum_over_time(rough_value_histogram{window="1m"}[%s]))'
    bounds = []
    for minutes in ("1m", "2m"):
        (info,) = prometheus.ask("query", ("query", query % minutes), ("time", "120")).body["infos"]
        bounds.append(float(info.removeprefix("histogram_quantile: ").partition("%")[0]))
    assert bounds[0] < bounds[1]
