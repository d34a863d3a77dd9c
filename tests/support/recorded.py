"""The recorded data: a stack that has counted it, ways to ask that stack, and what a few lines of Python make of the files.

Nothing of the project computes what is expected.
"""

import calendar
import csv
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen
from zoneinfo import ZoneInfo

from support.machine import PATIENCE_S, Machine, merge_last_two, reshard, split_first
from support.paths import ROOT

DATA = Path(os.environ.get("STREAMGAGE_DATA", ROOT.parent / "shared" / "data"))
ACCESS_LOG = DATA / "clickstream" / "apache_combined.log"
TELEMETRY = sorted((DATA / "telemetry").glob("*.csv")) if DATA.is_dir() else []
MORE_ROLLUPS = """
[sources.derive]
failed = "if(status >= 500, 1, 0)"

[[rollups]]
name = "page_failures"
source = "click"
key = ["page"]
windows = ["1d"]

[rollups.measures]
failed = ["sum"]

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


@contextmanager
def recorded_stack(folder: Path) -> Iterator[Machine]:
    """A stack that has counted all files, and whose stream was split and merged three times meanwhile."""
    machine = Machine(folder)
    pipeline = machine.folder / "pipeline.toml"
    sources, rollups, others = (ROOT / "pipeline.toml").read_text().partition("[[rollups]]")
    pipeline.write_text(sources + MORE_ROLLUPS + rollups + others)  # [sources.derive] is of the last source
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


def mean_of(values: list[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def ranked(numbers: dict[str, int], count: int) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda each: (-each[1], each[0]))[:count]


def daily(metric: str, start_of: Callable[[int], str]) -> dict[str, list[Decimal]]:
    days: dict[str, list[Decimal]] = defaultdict(list)
    for time_s, value in readings()[metric]:
        days[start_of(time_s)].append(value)
    return days


# --- ways to ask ---

_FLAGS = ("total", "each_window", "any_window")
Row = dict[str, Any]
Ask = Callable[..., list[Row]]


def by_command_line(machine: Machine, *arguments: str) -> list[Row]:
    """Return the rows of ``streamgage query``."""
    return machine.query(*arguments)


def by_http(machine: Machine, rollup: str, *arguments: str) -> list[Row]:
    """Return the rows of the HTTP API to the same question: its parameters are named as the options are."""
    path, parameters, words = "range", dict[str, str](), iter(arguments)
    for word in words:
        name = word.removeprefix("--").replace("-", "_")
        if not word.startswith("--"):
            field, _, pattern = word.partition("=")
            parameters[f"key.{field}"] = pattern
        elif name in _FLAGS:
            parameters[name] = "true"
        elif name in ("top", "silent"):
            path, parameters[{"top": "n", "silent": "for"}[name]] = name, next(words)
        else:
            parameters[name] = next(words)
    if path == "silent":
        parameters["at"] = parameters.pop("to")
    answer = asked(machine, f"/v1/rollups/{rollup}/{path}", parameters)
    assert answer["left"] == 0
    rows: list[Row] = answer["rows"]
    return rows


def by_promql(machine: Machine, query: str, at: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Return what *query* is at an instant: of each series its *labels*, and its value."""
    data = asked(machine, "/prometheus/api/v1/query", {"query": query, "time": at})["data"]
    assert data["resultType"] == "vector"
    found = {
        tuple(each["metric"][label] for label in labels): float(each["value"][1]) for each in data["result"]
    }
    assert len(found) == len(data["result"]), f"{labels} do not tell the series of {query} apart"
    return found


def by_promql_over(machine: Machine, query: str, start_s: int, end_s: int, step_s: int) -> dict[int, float]:
    """Return the values of the one series of *query*, by the second, from *start_s* until *end_s*."""
    parameters = {"query": query, "start": str(start_s), "end": str(end_s), "step": str(step_s)}
    (series,) = asked(machine, "/prometheus/api/v1/query_range", parameters)["data"]["result"]
    return {int(at): float(value) for at, value in series["values"]}


def asked(machine: Machine, path: str, parameters: Mapping[str, str]) -> Any:
    """Return what stands under the stack's address, numbers as they are written."""
    url = f"{machine.home.info().endpoints['http']}{path}?{urlencode(parameters)}"
    with urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - our own loopback URL
        return json.loads(answer.read(), parse_float=Decimal)
