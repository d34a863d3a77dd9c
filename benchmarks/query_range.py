"""Ten series of a day of minutes by Prometheus' query_range, over HTTP: through gateway, sandbox and tables of the local stack."""

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks.harness import ROOT, Headline, Progress, Result, Series, Table, WrongAnswerError
from benchmarks.load.cpu import process_cpu_s
from infra.commands.code import CODE
from infra.local.stack.drain import wait_drained
from infra.local.stack.home import Home, StackInfo
from infra.local.stack.running import running
from infra.local.stack.supervisor import StackOptions
from processors.pipeline_files import load_pipeline
from producers.client.kinesis import connect

QUESTION = "How long does query_range of ten series of a day of minutes take, and where does the time go?"
AGAIN, ONWARD, ARRIVING = "asked again", "asked again a minute later", "asked again while readings arrive"
_TARGET = "p99 ≤ 50 ms"
_METRICS = ("temperature", "humidity")
_MINUTE_MS = 60_000
_MORE_MINUTES = 60  # beyond the range: for one that moves on
_DRAIN_S = 300.0
_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Asked:
    """What asks took: ms each, and ms of CPU an ask by process."""

    took_ms: list[float] = field(default_factory=list)
    cpu_ms: dict[str, float] = field(default_factory=dict)

    def at(self, share: float) -> float:
        """Return what *share* of the asks took at most, in ms."""
        return sorted(self.took_ms)[math.ceil(share * len(self.took_ms)) - 1]


@dataclass(frozen=True, slots=True)
class Scene:
    """A running stack whose tables hold *devices* of both metrics, a reading a minute up to *end_ms*, and some beyond."""

    home: Home
    info: StackInfo
    devices: int
    minutes: int
    end_ms: int

    def pids(self) -> Mapping[str, list[int]]:
        """Return who takes part in an answer."""
        pids = self.info.pids
        return {
            "function": self.home.gateway_status()["sandboxes"],
            "gateway": [pids["gateway"]],
            "tables": [pids["dynamodb"]],
        }

    def send(self, minutes: range) -> None:
        """Send a reading of each device and metric for each of *minutes*, counted from the first."""
        info, source = self.info, load_pipeline(ROOT / "pipeline.toml").sources["reading"]
        with connect(
            info.stream,
            endpoint_url=info.endpoints["kinesis"],
            region=info.region,
            credentials=info.credentials,
        ) as producer:
            for minute in minutes:
                ts = self.end_ms - (self.minutes - minute) * _MINUTE_MS
                for device in range(self.devices):
                    for number, metric in enumerate(_METRICS):
                        value = (device * 7919 + number * 31 + minute * 104_729) % 100_003 / 100
                        event = {"device_id": f"d-{device:02}", "metric": metric, "ts": ts, "value": value}
                        producer.send(source, event)


def run(*, quick: bool, seed: int, progress: Progress) -> Result:  # noqa: ARG001 - nothing is drawn here
    """Fill a stack of two shards, and ask it."""
    devices, minutes, asks = (3, 30, 3) if quick else (10, 1_440, 200)
    found: dict[str, Asked] = {}
    with scene(devices, minutes, progress) as there:
        ask = Asker(there)
        first = Asked()
        _measure(there, first, lambda _: ask(0), 1)
        for label, one in (
            (AGAIN, lambda _: ask(0)),
            (ONWARD, lambda number: ask(number % _MORE_MINUTES + 1)),
            (ARRIVING, lambda number: _arriving(there, ask, number)),
        ):
            progress(label)
            found[label] = Asked()
            _measure(there, found[label], one, asks)
    return _result(first, found, devices=devices, minutes=minutes, asks=asks)


@contextmanager
def scene(devices: int, minutes: int, progress: Progress) -> Iterator[Scene]:
    """Start a stack, and fill it; all of it is applied then."""
    with tempfile.TemporaryDirectory(prefix="streamgage-query-range-") as folder:
        home = Home(Path(folder) / "stack")
        parameters = {"ShardCount": "2", "BatchingWindow": "0", "ApiRate": "2000", "ApiBurst": "2000"}
        options = StackOptions(
            home, ROOT / "pipeline.toml", CODE, aws_port=0, kinesis_port=0, parameters=parameters
        )
        progress("starting a stack")
        with running(options) as info:
            now_ms = time.time_ns() // 1_000_000
            end_ms = (now_ms // _MINUTE_MS - _MORE_MINUTES) * _MINUTE_MS
            there = Scene(home, info, devices, minutes, end_ms)
            progress("filling its tables")
            there.send(range(minutes + _MORE_MINUTES))
            wait_drained(home, seconds=_DRAIN_S)
            yield there


class Asker:
    """Asks over one connection, as a client does that keeps it."""

    def __init__(self, there: Scene) -> None:
        self._there = there
        self._base = urlsplit(there.info.endpoints["http"])
        self._connection = HTTPConnection(self._base.hostname or "", self._base.port or 0, timeout=_TIMEOUT_S)

    def __call__(self, later: int) -> bytes:
        """Ask for the minutes that end *later* minutes after ``end_ms``. Raises: WrongAnswerError, it is refused."""
        there = self._there
        end_s = there.end_ms // 1000 + later * 60
        query = f'device_metrics_value_mean{{metric="{_METRICS[0]}",window="1m"}}'
        given = {"query": query, "start": end_s - (there.minutes - 1) * 60, "end": end_s, "step": 60}
        self._connection.request("GET", f"{self._base.path}/prometheus/api/v1/query_range?{urlencode(given)}")
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise WrongAnswerError(f"query_range answers {response.status}: {body[:500]!r}")
        return body


def _arriving(there: Scene, ask: Asker, number: int) -> bytes:
    if number % 10 == 0:
        there.send(range(there.minutes - 1, there.minutes))
    return ask(0)


def check(body: bytes, *, devices: int, minutes: int) -> None:
    """See that *body* has as many series of as many points. Raises: WrongAnswerError."""
    points = [len(each["values"]) for each in json.loads(body)["data"]["result"]]
    if points != [minutes] * devices:
        raise WrongAnswerError(f"{len(points)} series of {min(points, default=0)} points at least")


def _measure(there: Scene, asked: Asked, ask: Callable[[int], bytes], asks: int) -> None:
    """Ask *asks* times; the last answer is looked at, after the clocks were. Raises: WrongAnswerError."""
    pids = there.pids()
    before = {role: sum(process_cpu_s(pid) or 0.0 for pid in each) for role, each in pids.items()}
    body = b""
    for number in range(asks):
        began_s = time.perf_counter()
        body = ask(number)
        asked.took_ms.append((time.perf_counter() - began_s) * 1000)
    for role, each in pids.items():
        used_s = sum(process_cpu_s(pid) or 0.0 for pid in each) - before[role]
        asked.cpu_ms[role] = used_s * 1000 / asks
    check(body, devices=there.devices, minutes=there.minutes)


def _result(first: Asked, found: Mapping[str, Asked], *, devices: int, minutes: int, asks: int) -> Result:
    cpu = tuple(
        Series(f"{label}: {role}", "ours", (used,))
        for label, asked in found.items()
        for role, used in asked.cpu_ms.items()
    )
    again = found[AGAIN]
    return Result(
        name="query_range",
        question=QUESTION,
        method=(
            f"A stack of two shards holds a reading a minute of {devices} devices of two metrics over {minutes:,} minutes. "
            f"query_range of one metric's mean is asked {asks} times, one after the other over one connection: the same range; "
            "a range that is a minute later each time, within an hour; the same while the devices' readings of the last minute come again and "
            "again, every ten asks. CPU time is each process's own, from /proc."
        ),
        tables=(
            Table(
                title="From request to the end of the answer",
                unit="ms",
                series=(
                    Series("asked first", "ours", tuple(first.took_ms)),
                    *(Series(label, "ours", tuple(asked.took_ms)) for label, asked in found.items()),
                ),
            ),
            Table(title="CPU", unit="ms an answer", series=cpu),
        ),
        configuration={"devices": devices, "metrics": len(_METRICS), "minutes": minutes, "asks": asks},
        facts={"p99_ms": {label: asked.at(0.99) for label, asked in found.items()}},
        headlines=(
            Headline(
                f"query_range of {devices} series of {minutes:,} points, through gateway and sandbox",
                f"{again.at(0.5):.0f} ms (p99 {again.at(0.99):.0f})",
                "",
                None,
                _TARGET,
            ),
        ),
        limits=(
            "The client, the gateway, the sandbox and the tables share the machine's cores.",
            "Gateway and tables are the local stack's.",
        ),
    )
