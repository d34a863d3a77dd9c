"""What analysts ask of the recorded data, in PromQL: each answer is what a few lines of plain Python compute from the files."""

import calendar
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from support import recorded
from support.promql import Prometheus, pipeline_of
from support.recorded import DATA, DAY_S, HOUR_S, MONDAY_S, WEEK_S, View, views

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the recorded data is not at {DATA} (STREAMGAGE_DATA)"
)
FIRST_S, LAST_S = calendar.timegm((2015, 5, 17, 0, 0, 0)), calendar.timegm((2015, 5, 21, 0, 0, 0))
DEFINITION = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"

[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"

[[rollups]]
name = "machines"
source = "reading"
key = ["device_id"]
windows = ["1h", "1d"]
[rollups.measures]
value = ["count", "sum", "mean", "max", "p95", "histogram"]

[[rollups]]
name = "page_views"
source = "click"
key = ["page"]
windows = ["1h", "1d"]
[rollups.measures]
bytes = ["sum"]

[[rollups]]
name = "page_errors"
source = "click"
where = "status >= 500"
key = ["page"]
windows = ["1d"]
[rollups.measures]
bytes = ["count"]

[[rollups]]
name = "audience"
source = "click"
key = ["action"]
windows = ["1h"]
[rollups.measures]
visitor_id = ["distinct"]

[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1d"]
[rollups.measures]
page = ["sessions", "bounces"]
"""


@cache
def readings() -> dict[str, list[tuple[int, float]]]:
    """The readings of each file: (second, value)."""
    return {
        name: [(second, float(value)) for second, value in each] for name, each in recorded.readings().items()
    }


@pytest.fixture(scope="module")
def prometheus() -> Prometheus:
    prometheus = Prometheus(pipeline_of(DEFINITION), now_ms=LAST_S * 1000)
    prometheus.send(
        "reading",
        [
            {"device_id": device, "metric": "recorded", "ts": second * 1000, "value": value, "tags": None}
            for device, each in readings().items()
            for second, value in each
        ],
    )
    prometheus.send(
        "click",
        [
            {
                "visitor_id": view.visitor,
                "page": view.page,
                "referrer": None,
                "action": "view",
                "ts": view.time_s * 1000,
            }
            | {"status": view.status, "bytes": view.size, "properties": None}
            for view in views()
        ],
    )
    return prometheus


def at(prometheus: Prometheus, query: str, second: int, label: str) -> dict[str, float]:
    """Return what *query* is at *second*, by *label*, in the order of the answer."""
    data = prometheus.data("query", ("query", query), ("time", str(second)))
    return {each["metric"].get(label, ""): float(each["value"][1]) for each in data["result"]}


def over(
    prometheus: Prometheus, query: str, label: str, seconds: tuple[int, int, int]
) -> dict[tuple[str, int], float]:
    """Return what *query* is over *seconds*: first, last and step; by *label* and second."""
    span = [(name, str(each)) for name, each in zip(("start", "end", "step"), seconds, strict=True)]
    data = prometheus.data("query_range", ("query", query), *span)
    return {
        (each["metric"].get(label, ""), when): float(text)
        for each in data["result"]
        for when, text in each["values"]
    }


def ranked(numbers: Mapping[str, int], count: int) -> dict[str, float]:
    return dict(sorted(numbers.items(), key=lambda each: (-each[1], each[0]))[:count])


@pytest.mark.parametrize("window", ["1h", "1d"])
@pytest.mark.parametrize(
    ("series", "number"), [("events", lambda _: 1), ("bytes_sum", lambda each: each.size or 0)]
)
def test_the_first_ten_pages(
    prometheus: Prometheus, window: str, series: str, number: Callable[[View], int]
) -> None:
    totals: Counter[str] = Counter()
    for view in views():
        totals[view.page] += number(view)
    query = f'topk(10, sum_over_time(page_views_{series}{{window="{window}"}}[4d]))'
    found = at(prometheus, query, LAST_S, "page")
    assert list(found.items()) == list(ranked(totals, 10).items())


def test_the_first_three_pages_of_each_day(prometheus: Prometheus) -> None:
    days: dict[int, Counter[str]] = defaultdict(Counter)
    for view in views():
        days[view.time_s // DAY_S * DAY_S + DAY_S][view.page] += 1
    found = over(
        prometheus, 'topk(3, page_views_events{window="1d"})', "page", (FIRST_S + DAY_S, LAST_S, DAY_S)
    )
    assert found == {
        (page, day): count for day, pages in days.items() for page, count in ranked(pages, 3).items()
    }


def test_the_views_of_each_hour_and_the_most_of_any(prometheus: Prometheus) -> None:
    hours = Counter(view.time_s // HOUR_S * HOUR_S + HOUR_S for view in views())
    assert over(prometheus, 'sum(page_views_events{window="1h"})', "page", (FIRST_S, LAST_S, HOUR_S)) == {
        ("", hour): count for hour, count in hours.items()
    }
    busiest = 'max_over_time(sum(page_views_events{window="1h"})[4d:1h])'
    assert at(prometheus, busiest, LAST_S, "page") == {"": max(hours.values())}


def test_the_share_of_server_errors_of_each_page(prometheus: Prometheus) -> None:
    errors = Counter(view.page for view in views() if view.status >= 500)
    all_views = Counter(view.page for view in views())
    errors_of = 'sum by (page) (sum_over_time(page_errors_events{window="1d"}[4d]))'
    views_of = 'sum by (page) (sum_over_time(page_views_events{window="1h"}[4d]))'
    assert at(prometheus, f"{errors_of} / {views_of}", LAST_S, "page") == {
        page: count / all_views[page] for page, count in errors.items()
    }
    with_none = at(prometheus, f"({errors_of} or {views_of} * 0) / {views_of}", LAST_S, "page")
    assert with_none == {page: errors[page] / count for page, count in all_views.items()}
    assert errors


def daily(device: str) -> dict[int, list[float]]:
    """The values of each day, by its end."""
    days: dict[int, list[float]] = defaultdict(list)
    for second, value in readings()[device]:
        days[second // DAY_S * DAY_S + DAY_S].append(value)
    return days


def days_of(prometheus: Prometheus, query: str) -> dict[tuple[str, int], float]:
    seconds = [second for each in readings().values() for second, _ in each]
    first_s, last_s = min(seconds) // DAY_S * DAY_S, max(seconds) // DAY_S * DAY_S + DAY_S
    return over(prometheus, query, "device_id", (first_s, last_s, DAY_S))


@pytest.mark.parametrize(
    "query",
    ['machines_value_p95{window="1d"}', 'histogram_quantile(0.95, machines_value_histogram{window="1d"})',
     'histogram_quantile(0.95, sum_over_time(machines_value_histogram{window="1h"}[1d]))'],
)  # fmt: skip
def test_the_95th_percentile_of_each_day_of_each_machine(prometheus: Prometheus, query: str) -> None:
    right = {
        (device, day): sorted(values)[math.ceil(Decimal("0.95") * len(values)) - 1]
        for device in readings()
        for day, values in daily(device).items()
    }
    found = days_of(prometheus, query)
    assert found.keys() == right.keys()
    assert all(abs(found[place] - exact) <= abs(exact) * 0.011 for place, exact in right.items())
    assert len(right) > 100


def test_the_mean_the_greatest_and_the_number_of_each_day_of_each_machine(prometheus: Prometheus) -> None:
    right = {(device, day): values for device in readings() for day, values in daily(device).items()}
    folds: dict[str, Callable[[list[float]], float]] = {
        "value_max": max,
        "events": len,
        "value_mean": mean_of,
    }
    for series, fold in folds.items():
        found = days_of(prometheus, f'machines_{series}{{window="1d"}}')
        assert found.keys() == right.keys()
        assert found == pytest.approx({place: fold(values) for place, values in right.items()}, rel=1e-9)
    divided = 'machines_value_sum{window="1d"} / machines_value_count{window="1d"}'
    expected = {place: mean_of(values) for place, values in right.items()}
    assert days_of(prometheus, divided) == pytest.approx(expected, rel=1e-9)


def mean_of(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def test_each_week_beside_the_week_before(prometheus: Prometheus) -> None:
    weeks: Counter[tuple[str, int]] = Counter()
    for device, each in readings().items():
        for second, _ in each:
            weeks[device, (second - MONDAY_S) // WEEK_S * WEEK_S + MONDAY_S + WEEK_S] += 1
    ends = sorted({week for _, week in weeks})
    query = 'machines_events{window="1w"} - machines_events{window="1w"} offset 1w'
    assert over(prometheus, query, "device_id", (ends[0], ends[-1], WEEK_S)) == {
        (device, week): count - weeks[device, week - WEEK_S]
        for (device, week), count in weeks.items()
        if (device, week - WEEK_S) in weeks
    }


@pytest.mark.parametrize("as_of", ["2014-02-28T15:00:00", "2014-04-24T01:00:00", "2014-05-28T15:00:00"])
def test_the_devices_that_were_silent_for_an_hour(prometheus: Prometheus, as_of: str) -> None:
    as_of_s = calendar.timegm(time.strptime(as_of, "%Y-%m-%dT%H:%M:%S"))
    known = {device for device, each in readings().items() if any(second < as_of_s for second, _ in each)}
    heard = {
        device
        for device, each in readings().items()
        if any(as_of_s - HOUR_S <= second < as_of_s for second, _ in each)
    }
    query = 'group by (device_id) (present_over_time(machines_events{window="1h"}[1y])) unless group by (device_id) (machines_events{window="1h"})'
    assert set(at(prometheus, query, as_of_s, "device_id")) == known - heard
    assert known - heard


def test_sums_of_seven_days_that_move_on(prometheus: Prometheus) -> None:
    days = {day: math.fsum(values) for day, values in daily("elb_request_count_8c0756").items()}
    query = 'sum_over_time(machines_value_sum{window="1d", device_id="elb_request_count_8c0756"}[7d])'
    found = over(prometheus, query, "device_id", (min(days), max(days) + 6 * DAY_S, DAY_S))
    assert [value for _, value in sorted(found.items())] == pytest.approx(
        [
            math.fsum(days.get(day - back * DAY_S, 0) for back in range(7))
            for day in range(min(days), max(days) + 7 * DAY_S, DAY_S)
        ]
    )


def test_pages_below_a_folder_by_the_days_of_berlin(prometheus: Prometheus) -> None:
    days: Counter[int] = Counter()
    for view in views():
        if view.page.startswith("/blog/"):
            days[(view.time_s + 2 * HOUR_S) // DAY_S * DAY_S + DAY_S - 2 * HOUR_S] += 1  # summer time
    query = 'sum(page_views_events{window="1d@Europe/Berlin", page=~"/blog/.*"})'
    assert over(prometheus, query, "page", (min(days), max(days), DAY_S)) == {
        ("", day): count for day, count in days.items()
    }


def test_different_visitors_of_each_hour(prometheus: Prometheus) -> None:
    visitors: dict[int, set[str]] = defaultdict(set)
    for view in views():
        visitors[view.time_s // HOUR_S * HOUR_S + HOUR_S].add(view.visitor)
    found = over(prometheus, 'audience_visitor_id_distinct{window="1h"}', "action", (FIRST_S, LAST_S, HOUR_S))
    exact: dict[tuple[str, int], Any] = {("view", hour): len(each) for hour, each in visitors.items()}
    assert found == pytest.approx(exact, rel=0.07)


def test_sessions_bounces_and_their_rate_of_each_day(prometheus: Prometheus) -> None:
    days: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for view in views():
        days[view.time_s // DAY_S * DAY_S + DAY_S][view.visitor].append(view.time_s)
    sessions: Counter[tuple[str, int]] = Counter()
    bounces: Counter[tuple[str, int]] = Counter()
    for day, visitors in days.items():
        for times in visitors.values():
            ordered = sorted(times)
            begins = [n for n, now in enumerate(ordered) if not n or now - ordered[n - 1] > 1800]
            sizes = [end - begin for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True)]
            sessions["", day] += len(sizes)
            bounces["", day] += sizes.count(1)
    told = 'sum(visits_page_sessions{window="1d"})', 'sum(visits_page_bounces{window="1d"})'
    span = "page", (FIRST_S, LAST_S, DAY_S)
    assert over(prometheus, told[0], *span) == sessions
    assert over(prometheus, told[1], *span) == bounces
    assert over(prometheus, f"{told[1]} / {told[0]}", *span) == {
        day: bounces[day] / count for day, count in sessions.items()
    }
