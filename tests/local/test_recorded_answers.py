"""What analysts ask of the recorded data: each answer is what a few lines of plain Python compute from the files.

All eleven files of readings and the access log are sent to one stack, whose stream is split and merged three times
meanwhile; it is asked on the command line, over HTTP, in PromQL, SQL and Python, and on its page.
"""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

from infra.commands.asked_at import open_local_home
from infra.local.stack.clients import local_client
from processors.query.tables import Tables
from support.browser import Visit, chromium, visiting
from support.machine import Machine
from support.page_server import grouped
from support.recorded import (
    DATA,
    DAY_S,
    HOUR_S,
    MONDAY_S,
    WEEK_S,
    Ask,
    View,
    by_command_line,
    by_http,
    by_promql,
    by_promql_over,
    daily,
    local_day,
    mean_of,
    ranked,
    readings,
    recorded_stack,
    said,
    seconds,
    views,
)  # fmt: skip

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data is not at {DATA} (STREAMGAGE_DATA)"),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with recorded_stack(tmp_path_factory.mktemp("answers")) as machine:
        yield machine


@pytest.fixture(params=[by_command_line, by_http])
def ask(request: pytest.FixtureRequest, machine: Machine) -> Ask:
    return partial(request.param, machine)


def test_the_stream_was_split_and_merged_meanwhile(machine: Machine) -> None:
    info = machine.home.info()
    client = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
    shards = client.list_shards(StreamName=info.stream)["Shards"]
    assert len([each for each in shards if "AdjacentParentShardId" in each]) == 3
    assert len([each for each in shards if "ParentShardId" in each]) == 3 * 2 + 3


@pytest.mark.parametrize(
    ("by", "number"), [("events", lambda _: 1), ("bytes.sum", lambda each: each.size or 0)]
)
@pytest.mark.parametrize("window", ["1h", "1d"])
def test_the_first_ten_pages(ask: Ask, by: str, number: Callable[[View], int], window: str) -> None:
    totals: Counter[str] = Counter()
    for view in views():
        totals[view.page] += number(view)
    rows = ask(
        "page_views", "--window", window, "--from", "2015-05-17", "--to", "2015-05-21", "--top", "10", "--by", by
    )  # fmt: skip
    assert [(row["page"], row[by]) for row in rows] == ranked(totals, 10)


def test_the_first_three_pages_of_each_day(ask: Ask) -> None:
    days: dict[int, Counter[str]] = defaultdict(Counter)
    for view in views():
        days[view.time_s // DAY_S * DAY_S][view.page] += 1
    rows = ask("page_views", "--window", "1d", "--top", "3", "--each-window")
    assert [(row["window_start"], row["page"], row["events"]) for row in rows] == [
        (said(day), page, count) for day, pages in sorted(days.items()) for page, count in ranked(pages, 3)
    ]


def test_the_hours_with_the_most_views(ask: Ask) -> None:
    hours = Counter(said(view.time_s // HOUR_S * HOUR_S) for view in views())
    rows = ask("page_views", "--group-by", "", "--window", "1h", "--top", "3", "--any-window")
    assert [(row["window_start"], row["events"]) for row in rows] == ranked(hours, 3)


def test_the_share_of_server_errors_of_each_page(ask: Ask) -> None:
    errors = Counter(view.page for view in views() if view.status >= 500)
    assert errors
    all_views = Counter(view.page for view in views())
    told = {row["page"]: row["events"] for row in ask("page_errors", "--window", "1d", "--total")}
    of_all = {row["page"]: row["events"] for row in ask("page_views", "--window", "1h", "--total")}
    assert (told, of_all) == (errors, all_views)


def test_a_column_that_is_computed_and_rows_that_are_chosen_by_it(ask: Ask) -> None:
    pages: dict[str, list[int]] = defaultdict(list)
    for view in views():
        pages[view.page].append(view.size or 0)
    rows = ask(
        "page_views", "--window", "1d", "--total", "--select", "kb=bytes.sum / 1000", "--where",
        "bytes.sum / events > 100000 and page like '/%'",
    )  # fmt: skip
    assert {row["page"]: row["kb"] for row in rows} == {
        page: Decimal(sum(sizes)) / 1000 for page, sizes in pages.items() if sum(sizes) / len(sizes) > 100_000
    }
    assert len(rows) > 10


@pytest.mark.parametrize(
    ("window", "start_of"),
    [("1d", lambda time_s: said(time_s // DAY_S * DAY_S)), ("1d@Europe/Berlin", local_day)],
)
def test_the_mean_and_greatest_of_each_day_of_each_machine(
    ask: Ask, window: str, start_of: Callable[[int], str]
) -> None:
    rows = ask("device_metrics", "metric=recorded", "--window", window)
    told = {
        (row["device_id"], row["window_start"]): (row["events"], row["value.max"], row["value.mean"])
        for row in rows
    }
    right = {
        (metric, day): (len(values), max(values), mean_of(values))
        for metric in readings()
        for day, values in daily(metric, start_of).items()
    }
    assert told.keys() == right.keys()
    for place, (events, greatest, mean) in right.items():
        assert told[place][:2] == (events, greatest)
        assert abs(told[place][2] - mean) <= abs(mean) / 10**9, place
    days = {len(daily(metric, start_of)) for metric in readings()}
    assert min(days) > 10


def test_the_week_of_the_busiest_metric_beside_the_week_before(ask: Ask) -> None:
    busiest = max(readings(), key=lambda metric: (len(readings()[metric]), metric))
    (row,) = ask("device_metrics", "--window", "1w", "--top", "1", "--by", "events")
    assert row["device_id"] == busiest
    weeks: Counter[int] = Counter()
    for time_s, _ in readings()[busiest]:
        weeks[(time_s - MONDAY_S) // WEEK_S * WEEK_S + MONDAY_S] += 1
    for when in ("previous", "7d"):
        rows = ask(
            "device_metrics", f"device_id={busiest}", "--window", "1w", "--compare", when, "--by", "events"
        )
        assert [
            (row["window_start"], row["events"], row["events.before"], row["events.change"]) for row in rows
        ] == [
            (said(week), weeks[week], weeks[week - WEEK_S], weeks[week] - weeks[week - WEEK_S])
            for week in sorted(weeks)
        ]
        for row in rows[1:]:
            percent = Decimal(row["events.change"] * 100) / row["events.before"]
            assert row["events.change_percent"] == pytest.approx(percent, abs=Decimal("0.005"))


@pytest.mark.parametrize(
    "as_of", ["2014-02-28T15:00:00", "2014-04-24T01:00:00", "2014-02-28T15:22:00", "2014-05-28T15:01:00"]
)
def test_the_devices_that_were_silent_for_an_hour(ask: Ask, as_of: str) -> None:
    """As of an instant, what came later is not known: a device that spoke up again was silent then."""
    as_of_s = seconds(as_of + "Z")
    last = {
        metric: max(time_s for time_s, _ in each if time_s < as_of_s)
        for metric, each in readings().items()
        if any(time_s < as_of_s for time_s, _ in each)
    }
    silent = sorted((time_s, metric) for metric, time_s in last.items() if time_s <= as_of_s - HOUR_S)
    rows = ask("device_metrics", "--silent", "1h", "--to", as_of)
    assert [(row["last_seen"], row["device_id"], row["silent_s"]) for row in rows] == [
        (said(time_s), metric, as_of_s - time_s) for time_s, metric in silent
    ]
    assert 0 < len(silent) <= 11


def test_sums_of_seven_days_that_move_on(ask: Ask) -> None:
    days: Counter[int] = Counter()
    for view in views():
        days[view.time_s // DAY_S * DAY_S] += view.size or 0
    busy = daily("elb_request_count_8c0756", lambda time_s: said(time_s // DAY_S * DAY_S))
    first = seconds(min(busy))
    rows = ask("device_metrics", "device_id=elb*", "--window", "1d", "--moving", "7", "--from", "2014-04-12")
    told = {seconds(row["window_end"]): row["value.sum"] for row in rows}
    assert told == {
        seconds(day) + DAY_S: sum(
            (sum(busy.get(said(seconds(day) - back * DAY_S), ()), Decimal(0)) for back in range(7)),
            Decimal(0),
        )
        for day in (
            said(first + number * DAY_S) for number in range((seconds(max(busy)) - first) // DAY_S + 7)
        )
        if seconds(day) >= seconds("2014-04-12T00:00:00Z")
    }
    assert first < seconds("2014-04-12T00:00:00Z"), "what lies before the range is in its first sum"
    moved = ask("page_views", "--group-by", "", "--window", "1d", "--moving", "2")
    ends = range(min(days), max(days) + 2 * DAY_S, DAY_S)
    assert [row["bytes.sum"] for row in moved] == [days[day] + days[day - DAY_S] for day in ends]


@pytest.mark.parametrize("how", ["null", "zero", "previous"])
def test_hours_without_a_view_are_filled(ask: Ask, how: str) -> None:
    page, start, end = "/robots.txt", seconds("2015-05-17T00:00:00Z"), seconds("2015-05-21T00:00:00Z")
    sizes: dict[int, list[int]] = defaultdict(list)
    for view in views():
        if view.page == page and view.size is not None:
            sizes[view.time_s // HOUR_S * HOUR_S].append(view.size)
    hours = Counter(view.time_s // HOUR_S * HOUR_S for view in views() if view.page == page)
    rows = ask(
        "page_views", f"page={page}", "--window", "1h", "--from", "2015-05-17", "--to", "2015-05-21", "--fill", how
    )  # fmt: skip
    before: int | None = None
    expected = []
    for hour in range(start, end, HOUR_S):
        total: int | None = sum(sizes[hour])
        if hour not in hours:
            total = {"null": None, "zero": 0, "previous": before}[how]
        before = total
        expected.append((said(hour), hours[hour], total))
    assert [(row["window_start"], row["events"], row["bytes.sum"]) for row in rows] == expected
    assert 0 < len(hours) < len(expected)


def test_pages_below_a_folder_by_local_days(ask: Ask) -> None:
    days = Counter(local_day(view.time_s) for view in views() if re.fullmatch(r"/blog/.*", view.page))
    rows = ask("page_views", "page=/blog/*", "--group-by", "", "--window", "1d@Europe/Berlin")
    assert {row["window_start"]: row["events"] for row in rows} == days
    next_day = datetime.fromisoformat(rows[0]["window_start"]) + timedelta(days=1)
    assert datetime.fromisoformat(rows[0]["window_end"]) == next_day


@pytest.mark.parametrize(("window", "size_s", "error"), [("1h", HOUR_S, 0), ("1d", DAY_S, 0.07)])
def test_the_windows_with_the_most_different_visitors(
    ask: Ask, window: str, size_s: int, error: float
) -> None:
    """Of few values it is exact; of many, within three times the standard error that is stated."""
    visitors: dict[str, set[str]] = defaultdict(set)
    for view in views():
        visitors[said(view.time_s // size_s * size_s)].add(view.visitor)
    rows = ask(
        "audience",
        "--group-by",
        "",
        "--window",
        window,
        "--top",
        "3",
        "--by",
        "visitor_id.distinct",
        "--any-window",
    )
    most = sorted(map(len, visitors.values()), reverse=True)[:3]
    assert [len(visitors[row["window_start"]]) for row in rows] == pytest.approx(most, rel=error)
    for row in rows:
        exact = len(visitors[row["window_start"]])
        assert abs(int(row["visitor_id.distinct"]) - exact) <= error * exact


def test_sessions_and_bounces_of_each_day(ask: Ask) -> None:
    days: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for view in views():
        days[said(view.time_s // DAY_S * DAY_S)][view.visitor].append(view.time_s)
    right = {}
    for day, visitors in days.items():
        sizes: list[int] = []
        for times in visitors.values():
            before = None
            for time_s in sorted(times):
                if before is None or time_s - before > 1800:
                    sizes.append(0)
                sizes[-1] += 1
                before = time_s
        right[day] = (len(sizes), sizes.count(1))
    rows = ask("visits_by_day", "--group-by", "", "--window", "1d")
    assert {row["window_start"]: (row["page.sessions"], row["page.bounces"]) for row in rows} == right
    for row in rows:
        share = Decimal(row["page.bounces"]) / row["page.sessions"]
        assert abs(row["page.bounce_rate"] - share) < Decimal("1e-6")


def test_sql_and_python_answer_as_the_command_line_does(machine: Machine) -> None:
    pytest.importorskip("duckdb")
    pages = ranked(Counter(view.page for view in views()), 10)
    said_by_sql = machine.run(
        "sql",
        "select page, sum(events) n from page_views where \"window\" = '1d' group by page order by n desc, page limit 10",
        "--format", "json",
    )  # fmt: skip
    assert [(row["page"], row["n"]) for row in json.loads(said_by_sql.stdout)] == pages
    result = Tables(open_local_home(machine.home.root)).query("page_views", window="1d", top=10)
    names = result.answer.names
    page, events = names.index("page"), names.index("events")
    assert [(row[page], row[events]) for row in result.answer.rows] == pages


@pytest.mark.parametrize(("measure", "share"), [("p50", 0.5), ("p95", 0.95)])
def test_quantiles_of_each_day_of_each_machine(ask: Ask, measure: str, share: float) -> None:
    rows = ask("quantiles", "--window", "1d")
    told = {(row["device_id"], row["window_start"]): row[f"value.{measure}"] for row in rows}
    right = {
        (metric, day): sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
        for metric in readings()
        for day, values in daily(metric, lambda time_s: said(time_s // DAY_S * DAY_S)).items()
    }
    assert told.keys() == right.keys()
    for place, exact in right.items():
        assert abs(told[place] - exact) <= abs(exact) * Decimal("0.011"), place


DAYS_OF_VIEWS = [f"2015-05-{day}T00:00:00Z" for day in (18, 19, 20, 21)]  # at whose end values stand
LAST = DAYS_OF_VIEWS[-1]


@pytest.mark.parametrize(
    ("column", "number"), [("events", lambda _: 1), ("bytes_sum", lambda each: each.size or 0)]
)
@pytest.mark.parametrize("window", ["1h", "1d"])
def test_the_first_ten_pages_in_promql(
    machine: Machine, column: str, number: Callable[[View], int], window: str
) -> None:
    totals: Counter[str] = Counter()
    for view in views():
        totals[view.page] += number(view)
    told = by_promql(
        machine, f'topk(10, sum_over_time(page_views_{column}{{window="{window}"}}[4d]))', LAST, "page"
    )
    assert sorted(told.values()) == sorted(count for _, count in ranked(totals, 10))
    assert {page: totals[page] for (page,) in told} == {page: value for (page,), value in told.items()}


def test_the_first_three_pages_of_each_day_and_the_busiest_hour_in_promql(machine: Machine) -> None:
    hours = Counter(view.time_s // HOUR_S * HOUR_S for view in views())
    for end in DAYS_OF_VIEWS:
        pages = Counter(view.page for view in views() if 0 < seconds(end) - view.time_s <= DAY_S)
        told = by_promql(machine, 'topk(3, page_views_events{window="1d"})', end, "page")
        assert sorted(told.values()) == sorted(count for _, count in ranked(pages, 3))
        assert all(pages[page] == value for (page,), value in told.items())
    query = 'max_over_time(sum(page_views_events{window="1h"})[5d:1h])'
    assert by_promql(machine, query, LAST) == {(): max(hours.values())}


def test_the_share_of_server_errors_and_rows_that_are_chosen_by_a_number_in_promql(machine: Machine) -> None:
    errors, pages = (
        Counter(view.page for view in views() if view.status >= 500),
        defaultdict[str, list[int]](list),
    )
    for view in views():
        pages[view.page].append(view.size or 0)
    total = 'sum_over_time(page_views_{}{{window="1d", page=~"/.*"}}[4d])'.format
    share = f'sum_over_time(page_errors_events{{window="1d"}}[4d]) / {total("events")}'
    assert by_promql(machine, share, LAST, "page") == {
        (page,): count / len(pages[page]) for page, count in errors.items() if page.startswith("/")
    }
    large = f"{total('bytes_sum')} / 1000 and {total('bytes_sum')} / {total('events')} > 100000"
    assert by_promql(machine, large, LAST, "page") == {
        (page,): sum(sizes) / 1000
        for page, sizes in pages.items()
        if sum(sizes) / len(sizes) > 100_000 and page.startswith("/")
    }


@pytest.mark.parametrize(
    ("window", "start_of"),
    [("1d", lambda time_s: said(time_s // DAY_S * DAY_S)), ("1d@Europe/Berlin", local_day)],
)
def test_the_mean_and_greatest_of_each_day_of_each_machine_in_promql(
    machine: Machine, window: str, start_of: Callable[[int], str]
) -> None:
    """A value stands from its window's end on: read just before the next one ends, local days of 23 hours are in step, too."""
    for metric in readings():
        days = daily(metric, start_of)
        first, last = seconds(min(days)), seconds(max(days))
        for measure, of in (("max", max), ("mean", mean_of)):
            series = (
                f'device_metrics_value_{measure}{{device_id="{metric}",metric="recorded",window="{window}"}}'
            )
            told = by_promql_over(machine, series, first + DAY_S, last + DAY_S + HOUR_S, HOUR_S)
            right = {day: float(of(values)) for day, values in days.items()}
            assert {said(at): told.get(at) for at in map(next_day, right)} == {
                said(next_day(day)): pytest.approx(value, rel=1e-12) for day, value in right.items()
            }


def next_day(day: str) -> int:
    """Return when the day that begins at *day* ends, in UTC or, where it begins at another hour, in Berlin."""
    if day.endswith("T00:00:00Z"):
        return seconds(day) + DAY_S
    return seconds(local_day(seconds(day) + DAY_S + 2 * HOUR_S))


@pytest.mark.parametrize("measure", ["p50", "p95"])
def test_quantiles_of_each_day_in_promql_are_those_of_the_command_line(
    machine: Machine, measure: str
) -> None:
    for metric in readings():
        rows = machine.query("quantiles", f"device_id={metric}", "--window", "1d")
        query = f'quantiles_value_{measure}{{device_id="{metric}",window="1d"}}'
        first, last = (seconds(each["window_end"]) for each in (rows[0], rows[-1]))
        told = by_promql_over(machine, query, first, last, DAY_S)
        assert told == {seconds(row["window_end"]): float(row[f"value.{measure}"]) for row in rows}


def test_a_week_beside_the_week_before_in_promql(machine: Machine) -> None:
    busiest = max(readings(), key=lambda metric: (len(readings()[metric]), metric))
    weeks: Counter[int] = Counter()
    for time_s, _ in readings()[busiest]:
        weeks[(time_s - MONDAY_S) // WEEK_S * WEEK_S + MONDAY_S] += 1
    series = f'device_metrics_events{{device_id="{busiest}",window="1w"}}'
    told = by_promql_over(
        machine, f"{series} - {series} offset 1w", min(weeks) + WEEK_S, max(weeks) + WEEK_S, WEEK_S
    )
    assert told == {
        week + WEEK_S: weeks[week] - weeks[week - WEEK_S] for week in weeks if week - WEEK_S in weeks
    }


@pytest.mark.parametrize("as_of", ["2014-02-28T15:00:00Z", "2014-04-24T01:00:00Z", "2014-02-28T16:00:00Z"])
def test_the_devices_of_which_the_last_hour_has_no_event_in_promql(machine: Machine, as_of: str) -> None:
    until = seconds(as_of)
    heard = {metric: [time_s for time_s, _ in each if time_s < until] for metric, each in readings().items()}
    silent = {(metric,) for metric, each in heard.items() if each and max(each) < until - HOUR_S}
    series = 'count_over_time(device_metrics_events{{metric="recorded",window="1h"}}[{}])'.format
    told = by_promql(machine, f"{series('900d')} unless {series('1h')}", as_of, "device_id")
    assert told.keys() == silent
    assert silent


def test_sums_of_seven_days_that_move_on_in_promql(machine: Machine) -> None:
    name = "elb_request_count_8c0756"
    days = daily(name, lambda time_s: said(time_s // DAY_S * DAY_S))
    ends = range(seconds(min(days)) + DAY_S, seconds(max(days)) + 7 * DAY_S + 1, DAY_S)
    query = f'sum_over_time(device_metrics_value_sum{{device_id="{name}",window="1d"}}[7d])'
    sums = {
        end: sum((sum(days.get(said(end - back * DAY_S), [])) for back in range(1, 8)), Decimal(0))
        for end in ends
    }
    assert by_promql_over(machine, query, ends[0], ends[-1], DAY_S) == pytest.approx(
        {end: float(total) for end, total in sums.items()}
    )


def test_hours_without_a_view_are_gaps_or_filled_with_0_in_promql(machine: Machine) -> None:
    page, start, end = "/robots.txt", seconds("2015-05-17T01:00:00Z"), seconds(LAST)
    hours = Counter(view.time_s // HOUR_S * HOUR_S + HOUR_S for view in views() if view.page == page)
    query = f'sum(page_views_events{{page="{page}",window="1h"}})'
    assert by_promql_over(machine, query, start, end, HOUR_S) == hours
    filled = by_promql_over(machine, f"{query} or vector(0)", start, end, HOUR_S)
    assert filled == {hour: hours[hour] for hour in range(start, end + 1, HOUR_S)}


def test_pages_below_a_folder_by_local_days_and_sessions_in_promql(machine: Machine) -> None:
    days = Counter(local_day(view.time_s) for view in views() if re.fullmatch(r"/blog/.*", view.page))
    for day, count in days.items():
        query = 'sum(page_views_events{page=~"/blog/.*",window="1d@Europe/Berlin"})'
        assert by_promql(machine, query, str(next_day(day))) == {(): count}
    for row in machine.query("visits_by_day", "--group-by", "", "--window", "1d"):
        for measure in ("sessions", "bounces"):
            query = f'sum(visits_by_day_page_{measure}{{window="1d"}})'
            assert by_promql(machine, query, row["window_end"]) == {(): row[f"page.{measure}"]}


@pytest.fixture(scope="module")
def visit(machine: Machine) -> Iterator[Visit]:
    """The stack's page. Nothing is complained of, and nobody else is asked: ``visiting`` looks."""
    place = machine.home.info().endpoints["http"] + "/"
    with chromium() as browser, visiting(browser, place) as visit:
        yield visit


def test_the_page_shows_the_pages_with_the_most_views_and_the_days_of_one(visit: Visit) -> None:
    pages = ranked(Counter(view.page for view in views()), 10)
    sizes: Counter[str] = Counter()
    for view in views():
        sizes[view.page] += view.size or 0
    first = pages[0][0]
    days = Counter(view.time_s // DAY_S * DAY_S for view in views() if view.page == first)
    visit.look(
        rollup="page_views", window="1d", range="custom", to="2015-05-21T00:00:00Z", **{"from": "2015-05-17T00:00:00Z"}
    )  # fmt: skip
    rows = visit.until_rows(lambda rows: {row[1] for row in rows} == {page for page, _ in pages})
    visit.until_top("Top by bytes.sum", [(page, grouped(size)) for page, size in ranked(sizes, 10)])
    visit.until_top("Top by events", [(page, grouped(count)) for page, count in pages])
    told = [(row[0], row[2]) for row in rows if row[1] == first]
    assert sorted(told) == [(said(day)[:10], grouped(count)) for day, count in sorted(days.items())]


def test_the_page_shows_the_p95_of_each_day_and_its_error(visit: Visit) -> None:
    metric = "machine_temperature_system_failure"
    days = daily(metric, lambda time_s: said(time_s // DAY_S * DAY_S)[:10])
    right = {day: sorted(values)[math.ceil(0.95 * len(values)) - 1] for day, values in days.items()}
    visit.look(
        rollup="quantiles", window="1d", range="all", measures=json.dumps(["value.p95"]), **{"key.device_id": metric}
    )  # fmt: skip
    rows = visit.until_rows(lambda rows: {row[0] for row in rows} == right.keys())
    for day, device, value, _ in rows:
        assert device == metric
        assert abs(Decimal(value) - right[day]) <= abs(right[day]) * Decimal("0.011"), day
    assert "% at most" in visit.page.locator("figcaption").inner_text()


def test_the_page_shows_the_hours_with_the_most_different_visitors(visit: Visit) -> None:
    visitors: dict[int, set[str]] = defaultdict(set)
    for view in views():
        visitors[view.time_s // HOUR_S * HOUR_S].add(view.visitor)
    column = "visitor_id.distinct"
    visit.look(
        rollup="audience", window="1h", range="all", lines="[]", measures=json.dumps([column]), sort=column
    )
    rows = visit.until_rows(lambda rows: len(rows) == min(len(visitors), 100))
    most = sorted(((-len(found), -hour) for hour, found in visitors.items()))[:3]
    assert [(row[0][:16], row[1]) for row in rows[:3]] == [
        (said(-hour)[:16].replace("T", " "), grouped(-count)) for count, hour in most
    ]


def test_the_page_shows_sessions_and_bounces_of_each_day(visit: Visit, machine: Machine) -> None:
    """Those of the command line, which are a script's."""
    names = ["page.sessions", "page.bounces", "page.bounce_rate"]
    right = [
        [row["window_start"][:10], *(grouped(row[name]) for name in names)]
        for row in machine.query("visits_by_day", "--group-by", "", "--window", "1d")
    ]
    visit.look(rollup="visits_by_day", window="1d", range="all", lines="[]", measures=json.dumps(names))
    visit.until_rows(lambda rows: sorted(row[:-1] for row in rows) == sorted(right))


def test_the_page_shows_the_weeks_of_the_busiest_metric_beside_those_before(visit: Visit) -> None:
    busiest = max(readings(), key=lambda metric: (len(readings()[metric]), metric))
    weeks: Counter[int] = Counter()
    for time_s, _ in readings()[busiest]:
        weeks[(time_s - MONDAY_S) // WEEK_S * WEEK_S + MONDAY_S] += 1
    visit.look(rollup="device_metrics", window="1w", range="all", top="1", compare="7d")
    rows = visit.until_rows(lambda rows: len(rows) == len(weeks))
    assert [[row[0][:10], *row[1:5]] for row in reversed(rows)] == [
        [said(week)[:10], busiest, "recorded", grouped(weeks[week]), grouped(weeks[week - WEEK_S])]
        for week in sorted(weeks)
    ]
    for row, week in zip(reversed(rows), sorted(weeks), strict=True):
        if before := weeks[week - WEEK_S]:
            percent = Decimal((weeks[week] - before) * 100) / before
            assert Decimal(row[5].replace(",", "")) == pytest.approx(percent, abs=Decimal("0.005"))


@pytest.mark.parametrize("as_of", ["2014-02-28T15:00:00Z", "2014-04-24T01:00:00Z"])
def test_the_page_shows_the_devices_that_were_silent_for_an_hour(visit: Visit, as_of: str) -> None:
    until = seconds(as_of)
    heard = {metric: [time_s for time_s, _ in each if time_s < until] for metric, each in readings().items()}
    last = {metric: max(each) for metric, each in heard.items() if each}
    silent = sorted((time_s, metric) for metric, time_s in last.items() if time_s <= until - HOUR_S)
    visit.look(
        rollup="device_metrics", window="1d", range="custom", silent="1h", to=as_of, **{"from": "2013-01-01T00:00:00Z"}
    )  # fmt: skip
    visit.until(
        "(count) => document.querySelectorAll('#lists section:last-child li').length === count", len(silent)
    )
    told = visit.page.evaluate(
        "() => [...document.querySelectorAll('#lists section:last-child li')].map((each) => [each.querySelector('.name').textContent, each.title])"
    )
    assert told == [
        [f"{metric} · recorded", f"last heard of at {said(time_s)[:-1].replace('T', ' ')} UTC"]
        for time_s, metric in silent
    ]
    assert silent


def test_the_page_shows_the_share_of_server_errors_of_each_page(visit: Visit) -> None:
    """A column that is computed, of the lines that a filter takes, in its order."""
    all_views, errors = (Counter(view.page for view in views() if view.status >= least) for least in (0, 500))
    right = {page: (count, Decimal(count) / all_views[page]) for page, count in errors.items()}
    visit.look(
        rollup="page_failures", window="1mo", range="all", top="100", where="failed.sum > 0",
        select="share = failed.sum / events", measures=json.dumps(["failed.sum", "share"]), sort="share",
    )  # fmt: skip
    rows = visit.until_rows(lambda rows: {row[1] for row in rows} == right.keys())
    shares = [Decimal(row[3]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    for _, page, failed, share, _ in rows:
        assert int(failed) == right[page][0]
        assert Decimal(share) == pytest.approx(right[page][1], rel=Decimal("1e-20"))
