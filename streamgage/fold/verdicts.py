"""Verdicts: which events count nowhere, and why. One table: each check looks at whole columns, and explains one event.

============= ==================================================================
bad_time      the event time lies outside the years 1970 to 9999
future        it is later than its arrival by more than the source's max_future
late          it is earlier than its arrival by more than the source's max_lateness,
              or than the shortest `keep` of a rollup: its window may be deleted
bad_value     a measured value is not finite, or has more than 38 digits at its scale
bad_key       a rollup's key is too long to be stored, or not valid Unicode
============= ==================================================================

An event that one of them refuses counts in no rollup of its source. Each verdict is a function of the event and its
arrival, never of "now" or of how the batch was cut.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamgage.definition.pipeline import Rollup, Source
from streamgage.errors import PoisonCode, PoisonRecord
from streamgage.fold.items import key_text
from streamgage.measures.decimals import scale_number
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.reading.places import Places

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One way to be refused: ``explain(event, arrival_ms)`` returns why, or None where nothing is wrong."""

    code: PoisonCode
    explain: Callable[[Event, int], str | None]


def checks_of(source: Source, rollups: Sequence[Rollup]) -> tuple[Check, ...]:
    """Return the checks of *source*, in the order in which an event's reason is sought."""
    time = source.event_time
    future_ms, lateness_ms = source.max_future_ms, source.max_lateness_ms

    def bad_time(event: Event, _arrival_ms: int) -> str | None:
        if 0 <= event[time] < MAX_EVENT_TIME_MS:
            return None
        return f"{time} is {event[time]}, not ms since 1970 before the year 10000"

    def future(event: Event, arrival_ms: int) -> str | None:
        if future_ms is None or event[time] <= arrival_ms + future_ms:
            return None
        return f"{event[time] - arrival_ms} ms after its arrival; max_future is {future_ms} ms"

    def late(event: Event, arrival_ms: int) -> str | None:
        if lateness_ms is None or event[time] >= arrival_ms - lateness_ms:
            return None
        return f"{arrival_ms - event[time]} ms before its arrival; max_lateness is {lateness_ms} ms"

    def bad_value(event: Event, _arrival_ms: int) -> str | None:
        for rollup in rollups:
            for field in rollup.layout.fields:
                try:
                    if (value := event[field.field]) is not None:
                        scale_number(value, field.scale)
                except PoisonRecord as poison:
                    return poison.reason
        return None

    def bad_key(event: Event, _arrival_ms: int) -> str | None:
        for rollup in rollups:
            try:
                key_text(rollup, [event[name] for name in rollup.key])
            except PoisonRecord as poison:
                return poison.reason
        return None

    return (
        Check("bad_time", bad_time),
        Check("future", future),
        Check("late", late),
        Check("bad_value", bad_value),
        Check("bad_key", bad_key),
    )


def verdict(checks: Sequence[Check], event: Event, arrival_ms: int) -> PoisonRecord | None:
    """Return the first reason why *event* counts nowhere; None where it counts."""
    for check in checks:
        reason = check.explain(event, arrival_ms)
        if reason is not None:
            return PoisonRecord(check.code, reason)
    return None


def untimely(source: Source, times: Sequence[int], places: Places) -> Iterator[int]:
    """Yield the ordinals of the events whose time the first three checks refuse. Mostly two comparisons a batch."""
    arrivals = [record.arrival_ms for record in places.records]
    if _is_timely(source, min(times), max(times), min(arrivals), max(arrivals)):
        return
    for start, stop, arrival_ms in zip(places.starts, places.stops, arrivals, strict=True):
        run = times[start:stop]
        if not _is_timely(source, min(run), max(run), arrival_ms, arrival_ms):
            for at, time_ms in enumerate(run, start):
                if not _is_timely(source, time_ms, time_ms, arrival_ms, arrival_ms):
                    yield at


def _is_timely(source: Source, first_ms: int, last_ms: int, first_arrival_ms: int, last_arrival_ms: int) -> bool:
    """Tell whether all event times between two are in bounds, with arrival times between two."""
    future_ms, lateness_ms = source.max_future_ms, source.max_lateness_ms
    return (
        first_ms >= 0
        and last_ms < MAX_EVENT_TIME_MS
        and (future_ms is None or last_ms <= first_arrival_ms + future_ms)
        and (lateness_ms is None or first_ms >= last_arrival_ms - lateness_ms)
    )
