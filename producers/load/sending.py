"""Send each event when it is due, never before; and keep note of how long after that it was stored."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Protocol

from producers.client.entry import PutEntry
from producers.client.ports import KinesisPort, PutResult, PutStored
from streamgage.definition.pipeline import Source
from streamgage.errors import DeliveryError
from streamgage.formats.avro import Event
from streamgage.shards import Shard

TICK_S = 0.004  # how long it sleeps when nothing is due
CHUNK_EVENTS = 500  # how many are put, of a backlog, before the clock is read again


class Outlet(Protocol):
    """What a load is sent through: a producer."""

    def put_many(self, source: Source, events: Sequence[Event]) -> None:
        """Take *events*; wait while too much is buffered."""

    def poll(self) -> None:
        """Send what has lingered long enough."""

    def flush(self) -> None:
        """Return when everything is stored."""


class Timetable(Protocol):
    """When each event is due, in ms from the beginning; known before the first is sent."""

    @property
    def events(self) -> int:
        """How many there are."""

    def due_ms(self, number: int) -> float:
        """Return when event *number*, from 0, is due."""

    def due_by(self, elapsed_ms: float) -> int:
        """Return how many events are due *elapsed_ms* after the beginning."""


class Timer(Protocol):
    """The wall clock, to fractions of a ms: event times are of it."""

    def now_ms(self) -> float:
        """Return ms since the epoch."""

    def sleep_s(self, duration_s: float) -> None:
        """Return after *duration_s*."""


class WallTimer:
    """This machine's."""

    def now_ms(self) -> float:
        """Return ms since the epoch."""
        return time.time_ns() / 1e6

    def sleep_s(self, duration_s: float) -> None:
        """Return after *duration_s*."""
        time.sleep(duration_s)


class Watch(Protocol):
    """Is told what was stored: *events* of one Kinesis record, at *stored_ms*, the oldest of them *number* of the schedule."""

    def __call__(self, number: int, events: int, stored_ms: float, /) -> None:
        """Take note, from any thread."""


class WatchedKinesis:
    """A KinesisPort that tells what was stored, and counts requests' answers. Several threads may put."""

    def __init__(self, port: KinesisPort, *, now_ms: Callable[[], float], watch: Watch) -> None:
        self._port, self._now_ms, self._watch = port, now_ms, watch

    def list_shards(self) -> Sequence[Shard]:
        """Return every shard that the stream lists."""
        return self._port.list_shards()

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Put *entries* in one request, and tell of those that were stored."""
        results = self._port.put_records(entries)
        stored_ms = self._now_ms()
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, PutStored):
                self._watch(entry.numbers[0], entry.events, stored_ms)
        return results


class Latencies:
    """How long after it was due each event was stored, in ms: of its Kinesis record's oldest event, so a bound from above.

    *histogram* is an HdrHistogram. Any thread may add.
    """

    def __init__(self, schedule: Timetable, start_ms: float, histogram: Any) -> None:
        self._schedule, self._start_ms, self._histogram = schedule, start_ms, histogram
        self._lock = threading.Lock()
        self._most_ms = int(histogram.highest_trackable_value)

    def note(self, number: int, events: int, stored_ms: float) -> None:
        """Take note of *events*, the oldest of them *number* of the schedule, that were stored at *stored_ms*."""
        latency_ms = int(stored_ms - self._start_ms - self._schedule.due_ms(number))
        with self._lock:
            self._histogram.record_value(min(max(latency_ms, 1), self._most_ms), events)

    def encoded(self) -> str:
        """Return the histogram as text."""
        with self._lock:
            return str(self._histogram.encode().decode())


@dataclass(slots=True)
class Sent:
    """What a sender has done so far. ``behind_ms``: how late the last event was put; ``late_ms``: the longest of it."""

    events: int = 0
    undelivered: int = 0
    behind_ms: float = 0.0
    late_ms: float = 0.0
    gave_up: bool = False
    last_error: str = ""


def send_load(
    events: Iterator[tuple[Source, Event]],
    schedule: Timetable,
    outlet: Outlet,
    *,
    start_ms: float,
    timer: Timer,
    give_up_s: float,
    is_over: Callable[[Sent], bool],
) -> Sent:
    """Send each of *events* when it is due, until *is_over*, which is asked each round; return when all are stored.

    An outlet that makes it wait delays what follows; what was due meanwhile goes out at once, late. It gives up where it is
    *give_up_s* behind its schedule.
    """
    sent = Sent()
    while sent.events < schedule.events and not is_over(sent) and not sent.gave_up:
        elapsed_ms = timer.now_ms() - start_ms
        due = schedule.due_by(elapsed_ms)
        if due <= sent.events:
            sent.behind_ms = 0.0
            _deliver(sent, outlet.poll)
            timer.sleep_s(TICK_S)
            continue
        sent.behind_ms = elapsed_ms - schedule.due_ms(sent.events)
        sent.late_ms = max(sent.late_ms, sent.behind_ms)
        sent.gave_up = sent.behind_ms > give_up_s * 1000
        chunk = list(islice(events, min(due - sent.events, CHUNK_EVENTS)))
        # In their order: the numbers of puts are the schedule's.
        for source, run in groupby(chunk, key=itemgetter(0)):
            _deliver(sent, partial(outlet.put_many, source, [event for _, event in run]))
        sent.events += len(chunk)
    _deliver(sent, outlet.flush)
    return sent


def _deliver(sent: Sent, call: Callable[[], None]) -> None:
    try:
        call()
    except DeliveryError as error:
        sent.undelivered += sum(each.events for each in error.undelivered)
        sent.last_error = str(error)
