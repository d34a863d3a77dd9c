"""Verdicts: which events count nowhere, and why. One table: each check looks at whole columns, and explains one event.

============= ==================================================================
bad_time      the event time lies outside the years 1970 to 9999
future        it is later than its arrival by more than the source's max_future
late          it is earlier than its arrival by more than the source's max_lateness,
              or than the shortest `keep` of a rollup: its window may be deleted
bad_value     a measured value is not finite, or has more than 38 digits at its scale
bad_key       the key of a rollup that takes it is too long to be stored, or not
              valid Unicode
============= ==================================================================

An event that one of them refuses counts in no rollup of its source. Each verdict is a function of the event and its
arrival, never of "now" or of how the batch was cut.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from streamgage.definition.pipeline import Rollup, Source
from streamgage.errors import PoisonCode, PoisonRecord
from streamgage.fold.items import key_text
from streamgage.measures.decimals import scale_number
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.reading.places import Places

Event = Mapping[str, Any]
Explain = Callable[[Event, int], str | None]
"""``explain(event, arrival_ms)`` returns why the event is refused, or None where nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Check:
    """One way to be refused."""

    code: PoisonCode
    explain: Explain


def checks_of(source: Source, rollups: Sequence[Rollup]) -> tuple[Check, ...]:
    """Return the checks of *source*, in the order in which an event's reason is sought."""
    time = source.event_time
    return (
        Check("bad_time", _bad_time(time)),
        Check("future", _future(time, source.max_future_ms)),
        Check("late", _late(time, *lateness_of(source, rollups))),
        Check("bad_value", _with_derived(source, _bad_value(rollups))),
        Check("bad_key", _with_derived(source, _bad_key(rollups))),
    )


def _bad_time(time: str) -> Explain:
    def explain(event: Event, _arrival_ms: int) -> str | None:
        if 0 <= event[time] < MAX_EVENT_TIME_MS:
            return None
        return f"{time} is {event[time]}, not ms since 1970 before the year 10000"

    return explain


def _future(time: str, future_ms: int | None) -> Explain:
    def explain(event: Event, arrival_ms: int) -> str | None:
        if future_ms is None or event[time] <= arrival_ms + future_ms:
            return None
        return f"{event[time] - arrival_ms} ms after its arrival; max_future is {future_ms} ms"

    return explain


def _late(time: str, lateness_ms: int | None, bound: str) -> Explain:
    def explain(event: Event, arrival_ms: int) -> str | None:
        if lateness_ms is None or event[time] >= arrival_ms - lateness_ms:
            return None
        return f"{arrival_ms - event[time]} ms before its arrival; {bound} is {lateness_ms} ms"

    return explain


def _bad_value(rollups: Sequence[Rollup]) -> Explain:
    fields = (each for rollup in rollups for each in rollup.layout.fields)
    measured = {(each.field, each.scale): None for each in fields if each.scale >= 0}

    def explain(event: Event, _arrival_ms: int) -> str | None:
        for name, scale in measured:
            try:
                if (value := event[name]) is not None:
                    scale_number(value, scale)
            except PoisonRecord as poison:
                return poison.reason
        return None

    return explain


def _with_derived(source: Source, explain: Explain) -> Explain:
    derived = source.derived
    if derived is None:
        return explain
    return lambda event, arrival_ms: explain(derived.of_event(event), arrival_ms)


def _bad_key(rollups: Sequence[Rollup]) -> Explain:
    def explain(event: Event, _arrival_ms: int) -> str | None:
        for rollup in rollups:
            if rollup.where is not None and rollup.where.value(event) is not True:
                continue
            try:
                key_text(rollup, [event[name] for name in rollup.key])
            except PoisonRecord as poison:
                return poison.reason
        return None

    return explain


def verdict(checks: Sequence[Check], event: Event, arrival_ms: int) -> PoisonRecord | None:
    """Return the first reason why *event* counts nowhere; None where it counts."""
    for check in checks:
        reason = check.explain(event, arrival_ms)
        if reason is not None:
            return PoisonRecord(check.code, reason)
    return None


def lateness_of(source: Source, rollups: Sequence[Rollup]) -> tuple[int | None, str]:
    """Return by how much an event may be late at most (None: by any time), and what bounds it.

    It is the least of max_lateness and each rollup's keep: the items of an older event may be deleted already, and new
    ones in their place would hold a part of its window and look like the whole.
    """
    bounds = [] if source.max_lateness_ms is None else [(source.max_lateness_ms, "max_lateness")]
    bounds += [(each.keep_ms, f"keep of rollup {each.name}") for each in rollups if each.keep_ms is not None]
    return min(bounds, key=itemgetter(0), default=(None, ""))


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """How far an event time may lie from its arrival, in ms; None is no bound."""

    future_ms: int | None
    lateness_ms: int | None

    @classmethod
    def of(cls, source: Source, rollups: Sequence[Rollup]) -> "TimeBounds":
        """Return those of *source*."""
        return cls(source.max_future_ms, lateness_of(source, rollups)[0])


def untimely(bounds: TimeBounds, times: Sequence[int], places: Places) -> Iterator[int]:
    """Yield the ordinals of the events whose time the first three checks refuse. Mostly two comparisons a batch."""
    arrivals = [record.arrival_ms for record in places.records]
    if _is_timely(bounds, min(times), max(times), min(arrivals), max(arrivals)):
        return
    for start, stop, arrival_ms in zip(places.starts, places.stops, arrivals, strict=True):
        run = times[start:stop]
        if not _is_timely(bounds, min(run), max(run), arrival_ms, arrival_ms):
            for at, time_ms in enumerate(run, start):
                if not _is_timely(bounds, time_ms, time_ms, arrival_ms, arrival_ms):
                    yield at


def _is_timely(
    bounds: TimeBounds, first_ms: int, last_ms: int, first_arrival_ms: int, last_arrival_ms: int
) -> bool:
    """Tell whether all event times between two are in bounds, with arrival times between two."""
    future_ms, lateness_ms = bounds.future_ms, bounds.lateness_ms
    return (
        first_ms >= 0
        and last_ms < MAX_EVENT_TIME_MS
        and (future_ms is None or last_ms <= first_arrival_ms + future_ms)
        and (lateness_ms is None or first_ms >= last_arrival_ms - lateness_ms)
    )
