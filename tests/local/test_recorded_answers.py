"""What analysts ask of the recorded data: each answer is what a few lines of plain Python compute from the files.

All eleven files of readings and the access log are sent to one stack, whose stream is split and merged three times
meanwhile. Nothing of the project computes what is expected.
"""

import calendar
import csv
import json
import math
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from infra.commands.asked_at import open_local_home
from infra.local.stack.clients import local_client
from processors.query.tables import Tables
from support.machine import Machine, merge_last_two, reshard, split_first
from support.paths import ROOT

DATA = Path(os.environ.get("STREAMGAGE_DATA", ROOT.parent / "shared" / "data"))
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the recorded data is not at {DATA} (STREAMGAGE_DATA)"),
]
ACCESS_LOG = DATA / "clickstream" / "apache_combined.log"
TELEMETRY = sorted((DATA / "telemetry").glob("*.csv")) if DATA.is_dir() else []
MORE_ROLLUPS = """
[[rollups]]
name = "page_errors"
source = "click"
where = "status >= 500"
key = ["page"]
windows = ["1h", "1d"]

[rollups.measures]
bytes = ["count"]

[[rollups]]
name = "audience"
source = "click"
key = ["action"]
windows = ["1h", "1d"]

[rollups.measures]
visitor_id = ["distinct"]

[[rollups]]
name = "visits_by_day"
source = "click"
key = ["visitor_id"]
windows = ["1d"]

[rollups.measures]
page = ["sessions", "bounces", "bounce_rate"]

[[rollups]]
name = "quantiles"
source = "reading"
key = ["device_id"]
windows = ["1d"]

[rollups.measures]
value = ["p50", "p95"]
"""
BERLIN = ZoneInfo("Europe/Berlin")
HOUR_S, DAY_S, WEEK_S = 3600, 86_400, 7 * 86_400
MONDAY_S = 4 * DAY_S
_PARTS = 4  # of each file: its windows have events on the lanes before and after most reshards
_MAPPED = (
    "--source", "reading", "--set", "metric=recorded", "--map", "device_id=device", "--map", "ts=timestamp",
    "--map", "value=value", "--as-is",
)  # fmt: skip
RESHARDS = [split_first, merge_last_two] * 3


class View(NamedTuple):
    visitor: str
    page: str
    time_s: int
    status: int
    size: int | None


@cache
def views() -> list[View]:
    """The lines of the access log that are whole."""
    found = []
    for line in ACCESS_LOG.read_text().splitlines():
        match = re.match(
            r'(\S+) \S+ \S+ \[([^]]+) \+0000\] "\S+ ([^ ?]*)\S* [^"]*" ([0-9]+) ([0-9]+|-) .*"$', line
        )
        if match:
            time_s = seconds(match[2], "%d/%b/%Y:%H:%M:%S")
            found.append(
                View(match[1], match[3], time_s, int(match[4]), None if match[5] == "-" else int(match[5]))
            )
    return found


@cache
def readings() -> dict[str, list[tuple[int, Decimal]]]:
    """The readings of each file: (second, value to nine places), as they stand."""
    found = {}
    for path in TELEMETRY:
        with path.open(newline="") as file:
            found[path.stem] = [
                (
                    seconds(row["timestamp"], "%Y-%m-%d %H:%M:%S"),
                    Decimal(row["value"]).quantize(Decimal("1e-9"), rounding=ROUND_HALF_EVEN),
                )
                for row in csv.DictReader(file)
            ]
    return found


def seconds(text: str, form: str = "%Y-%m-%dT%H:%M:%SZ") -> int:
    return calendar.timegm(time.strptime(text, form))


def local_day(time_s: int) -> str:
    """Return the instant, as an answer tells it, at which the day of *time_s* began in Berlin."""
    midnight = datetime.fromtimestamp(time_s, BERLIN).replace(hour=0, minute=0, second=0)
    return midnight.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def said(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("answers"))
    pipeline = machine.folder / "pipeline.toml"
    pipeline.write_text((ROOT / "pipeline.toml").read_text() + MORE_ROLLUPS)
    (machine.folder / "schemas").symlink_to(ROOT / "schemas")
    machine.run(
        "up", "--detach", "--port", "0", "--kinesis-port", "0", "--pipeline", str(pipeline), "--param", "BatchingWindow=0",
        "--param", "ShardCount=2",
    )  # fmt: skip
    try:
        moves = iter(RESHARDS)
        for part in range(_PARTS):
            for path, options in (
                (csv_part(machine.folder, part), ("csv", *_MAPPED)),
                (log_part(machine.folder, part), ("access-log",)),
            ):
                kind, *rest = options
                send(machine, kind, str(path), *rest)
                if move := next(moves, None):
                    reshard(machine, move)
        assert next(moves, None) is None, "three splits and three merges"
        machine.run("drain", "--seconds", "280")
        yield machine
    finally:
        machine.stop()


def csv_part(folder: Path, part: int) -> Path:
    """Write every so many rows of all files of readings, so that each window has some on all lanes."""
    rows = [(path.stem, row) for path in TELEMETRY for row in path.read_text().splitlines()[1:][part::_PARTS]]
    written = folder / f"readings-{part}.csv"
    written.write_text("device,timestamp,value\n" + "".join(f"{device},{row}\n" for device, row in rows))
    return written


def log_part(folder: Path, part: int) -> Path:
    written = folder / f"access-{part}.log"
    written.write_text("".join(ACCESS_LOG.read_text().splitlines(keepends=True)[part::_PARTS]))
    return written


def send(machine: Machine, *arguments: str) -> None:
    done = machine.run("send", *arguments, "--pipeline", str(machine.folder / "pipeline.toml"), check=False)
    assert done.returncode in (0, 3), done.stderr


def test_the_stream_was_split_and_merged_meanwhile(machine: Machine) -> None:
    info = machine.home.info()
    client = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
    shards = client.list_shards(StreamName=info.stream)["Shards"]
    assert len([each for each in shards if "AdjacentParentShardId" in each]) == 3
    assert len([each for each in shards if "ParentShardId" in each]) == 3 * 2 + 3


def mean_of(values: list[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def ranked(numbers: dict[str, int], count: int) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda each: (-each[1], each[0]))[:count]


@pytest.mark.parametrize(
    ("by", "number"), [("events", lambda _: 1), ("bytes.sum", lambda each: each.size or 0)]
)
@pytest.mark.parametrize("window", ["1h", "1d"])
def test_the_first_ten_pages(machine: Machine, by: str, number: Callable[[View], int], window: str) -> None:
    totals: Counter[str] = Counter()
    for view in views():
        totals[view.page] += number(view)
    rows = machine.query(
        "page_views", "--window", window, "--from", "2015-05-17", "--to", "2015-05-21", "--top", "10", "--by", by
    )  # fmt: skip
    assert [(row["page"], row[by]) for row in rows] == ranked(totals, 10)


def test_the_first_three_pages_of_each_day(machine: Machine) -> None:
    days: dict[int, Counter[str]] = defaultdict(Counter)
    for view in views():
        days[view.time_s // DAY_S * DAY_S][view.page] += 1
    rows = machine.query("page_views", "--window", "1d", "--top", "3", "--each-window")
    assert [(row["window_start"], row["page"], row["events"]) for row in rows] == [
        (said(day), page, count) for day, pages in sorted(days.items()) for page, count in ranked(pages, 3)
    ]


def test_the_hours_with_the_most_views(machine: Machine) -> None:
    hours = Counter(said(view.time_s // HOUR_S * HOUR_S) for view in views())
    rows = machine.query("page_views", "--group-by", "", "--window", "1h", "--top", "3", "--any-window")
    assert [(row["window_start"], row["events"]) for row in rows] == ranked(hours, 3)


def test_the_share_of_server_errors_of_each_page(machine: Machine) -> None:
    errors = Counter(view.page for view in views() if view.status >= 500)
    assert errors
    all_views = Counter(view.page for view in views())
    told = {row["page"]: row["events"] for row in machine.query("page_errors", "--window", "1d", "--total")}
    of_all = {row["page"]: row["events"] for row in machine.query("page_views", "--window", "1h", "--total")}
    assert (told, of_all) == (errors, all_views)


def test_a_column_that_is_computed_and_rows_that_are_chosen_by_it(machine: Machine) -> None:
    pages: dict[str, list[int]] = defaultdict(list)
    for view in views():
        pages[view.page].append(view.size or 0)
    rows = machine.query(
        "page_views", "--window", "1d", "--total", "--select", "kb=bytes.sum / 1000", "--where",
        "bytes.sum / events > 100000 and page like '/%'",
    )  # fmt: skip
    assert {row["page"]: row["kb"] for row in rows} == {
        page: Decimal(sum(sizes)) / 1000 for page, sizes in pages.items() if sum(sizes) / len(sizes) > 100_000
    }
    assert len(rows) > 10


def daily(metric: str, start_of: Callable[[int], str]) -> dict[str, list[Decimal]]:
    days: dict[str, list[Decimal]] = defaultdict(list)
    for time_s, value in readings()[metric]:
        days[start_of(time_s)].append(value)
    return days


@pytest.mark.parametrize(
    ("window", "start_of"),
    [("1d", lambda time_s: said(time_s // DAY_S * DAY_S)), ("1d@Europe/Berlin", local_day)],
)
def test_the_mean_and_greatest_of_each_day_of_each_machine(
    machine: Machine, window: str, start_of: Callable[[int], str]
) -> None:
    rows = machine.query("device_metrics", "metric=recorded", "--window", window)
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


def test_the_week_of_the_busiest_metric_beside_the_week_before(machine: Machine) -> None:
    busiest = max(readings(), key=lambda metric: (len(readings()[metric]), metric))
    (row,) = machine.query("device_metrics", "--window", "1w", "--top", "1", "--by", "events")
    assert row["device_id"] == busiest
    weeks: Counter[int] = Counter()
    for time_s, _ in readings()[busiest]:
        weeks[(time_s - MONDAY_S) // WEEK_S * WEEK_S + MONDAY_S] += 1
    for when in ("previous", "7d"):
        rows = machine.query(
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
def test_the_devices_that_were_silent_for_an_hour(machine: Machine, as_of: str) -> None:
    """As of an instant, what came later is not known: a device that spoke up again was silent then."""
    as_of_s = seconds(as_of + "Z")
    last = {
        metric: max(time_s for time_s, _ in each if time_s < as_of_s)
        for metric, each in readings().items()
        if any(time_s < as_of_s for time_s, _ in each)
    }
    silent = sorted((time_s, metric) for metric, time_s in last.items() if time_s <= as_of_s - HOUR_S)
    rows = machine.query("device_metrics", "--silent", "1h", "--to", as_of)
    assert [(row["last_seen"], row["device_id"], row["silent_s"]) for row in rows] == [
        (said(time_s), metric, as_of_s - time_s) for time_s, metric in silent
    ]
    assert 0 < len(silent) <= 11


def test_sums_of_seven_days_that_move_on(machine: Machine) -> None:
    days: Counter[int] = Counter()
    for view in views():
        days[view.time_s // DAY_S * DAY_S] += view.size or 0
    busy = daily("elb_request_count_8c0756", lambda time_s: said(time_s // DAY_S * DAY_S))
    first = seconds(min(busy))
    rows = machine.query(
        "device_metrics", "device_id=elb*", "--window", "1d", "--moving", "7", "--from", "2014-04-12"
    )
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
    moved = machine.query("page_views", "--group-by", "", "--window", "1d", "--moving", "2")
    ends = range(min(days), max(days) + 2 * DAY_S, DAY_S)
    assert [row["bytes.sum"] for row in moved] == [days[day] + days[day - DAY_S] for day in ends]


@pytest.mark.parametrize("how", ["null", "zero", "previous"])
def test_hours_without_a_view_are_filled(machine: Machine, how: str) -> None:
    page, start, end = "/robots.txt", seconds("2015-05-17T00:00:00Z"), seconds("2015-05-21T00:00:00Z")
    sizes: dict[int, list[int]] = defaultdict(list)
    for view in views():
        if view.page == page and view.size is not None:
            sizes[view.time_s // HOUR_S * HOUR_S].append(view.size)
    hours = Counter(view.time_s // HOUR_S * HOUR_S for view in views() if view.page == page)
    rows = machine.query(
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


def test_pages_below_a_folder_by_local_days(machine: Machine) -> None:
    days = Counter(local_day(view.time_s) for view in views() if re.fullmatch(r"/blog/.*", view.page))
    rows = machine.query("page_views", "page=/blog/*", "--group-by", "", "--window", "1d@Europe/Berlin")
    assert {row["window_start"]: row["events"] for row in rows} == days
    next_day = datetime.fromisoformat(rows[0]["window_start"]) + timedelta(days=1)
    assert datetime.fromisoformat(rows[0]["window_end"]) == next_day


@pytest.mark.parametrize(("window", "size_s", "error"), [("1h", HOUR_S, 0), ("1d", DAY_S, 0.07)])
def test_the_windows_with_the_most_different_visitors(
    machine: Machine, window: str, size_s: int, error: float
) -> None:
    """Of few values it is exact; of many, within three times the standard error that is stated."""
    visitors: dict[str, set[str]] = defaultdict(set)
    for view in views():
        visitors[said(view.time_s // size_s * size_s)].add(view.visitor)
    rows = machine.query(
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


def test_sessions_and_bounces_of_each_day(machine: Machine) -> None:
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
    rows = machine.query("visits_by_day", "--group-by", "", "--window", "1d")
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
def test_quantiles_of_each_day_of_each_machine(machine: Machine, measure: str, share: float) -> None:
    rows = machine.query("quantiles", "--window", "1d")
    told = {(row["device_id"], row["window_start"]): row[f"value.{measure}"] for row in rows}
    right = {
        (metric, day): sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]
        for metric in readings()
        for day, values in daily(metric, lambda time_s: said(time_s // DAY_S * DAY_S)).items()
    }
    assert told.keys() == right.keys()
    for place, exact in right.items():
        assert abs(told[place] - exact) <= abs(exact) * Decimal("0.011"), place
