"""What one sender sends, and when each event is due: known before the first is sent.

The schedule is open-loop: event *n* is due at ``start + n / rate``, whatever became of those before it. Latency is
counted from there, so a sender that falls behind, or a stack that makes it wait, cannot hide its own delay
(coordinated omission).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from producers.simulators.fleet import FleetConfig, fleet_events
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event

_POOL_EVENTS = 200_000  # values repeat after so many: some MB apart, out of any compressor's sight


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderLoad:
    """One sender's share of a load: *devices* times *metrics* series, in turn, *rate_per_s* events a second."""

    sender: int
    seed: int
    devices: int
    metrics: int
    rate_per_s: float
    events: int

    def __post_init__(self) -> None:
        """Refuse a load of which two events of a series could have one event time: first and last would be a tie."""
        if self.rate_per_s > 1000 * self.devices * self.metrics:
            raise ConfigError(
                f"{self.rate_per_s:,.0f} events/s of {self.devices * self.metrics} series would put two of a series "
                "into one millisecond: give the load more devices"
            )

    def due_ms(self, number: int) -> float:
        """Return when event *number* is due, in ms after event 0."""
        return number * 1000 / self.rate_per_s

    def due_by(self, elapsed_ms: float) -> int:
        """Return how many events are due *elapsed_ms* after event 0."""
        return min(self.events, int(elapsed_ms * self.rate_per_s / 1000) + 1) if elapsed_ms >= 0 else 0


class Events:
    """The events of a load, by number. The same load and start give the same events.

    ``keys`` are the partition keys of its series; event *n* is of series ``n % len(keys)``.
    """

    def __init__(self, load: SenderLoad) -> None:
        series = load.devices * load.metrics
        fleet = FleetConfig(
            devices=load.devices,
            events=max(1, min(load.events, _POOL_EVENTS) // series) * series,
            seed=load.seed + load.sender,
            start_ms=0,
            metrics=load.metrics,
            late_share=0,
        )
        self._gap_ms = 1000 / load.rate_per_s
        self._pool = [
            (f"{load.sender}-{each['device_id']}", each["metric"], each["value"])
            for each in fleet_events(fleet)
        ]
        self.keys = [device_id for device_id, _, _ in self._pool[:series]]

    def between(self, first: int, stop: int, *, start_ms: int) -> Iterator[Event]:
        """Yield the events numbered ``[first, stop)``; event 0 is due at *start_ms*, and an event happens when due."""
        pool, size, gap_ms = self._pool, len(self._pool), self._gap_ms
        for number in range(first, stop):
            device_id, metric, value = pool[number % size]
            ts = start_ms + int(number * gap_ms)
            yield {"device_id": device_id, "metric": metric, "ts": ts, "value": value}


def divide(
    *, senders: int, seed: int, devices: int, metrics: int, rate_per_s: float, seconds: float
) -> list[SenderLoad]:
    """Return the shares of *senders*: each has devices of its own, and its part of the rate.

    Raises:
        ConfigError: a sender would have no device, or a series two events in a millisecond.
    """
    if devices < senders:
        raise ConfigError(f"{devices} devices cannot be divided among {senders} senders")
    shares = [devices // senders + (n < devices % senders) for n in range(senders)]
    return [
        SenderLoad(
            sender=sender,
            seed=seed,
            devices=share,
            metrics=metrics,
            rate_per_s=rate_per_s * share / devices,
            events=max(1, round(rate_per_s * share / devices * seconds)),
        )
        for sender, share in enumerate(shares)
    ]
