"""A fleet of devices, each with sensors that report on a period: seeded, and free of ties."""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from streamgage.errors import ConfigError
from streamgage.formats.avro import Event

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Sensor:
    """What one metric looks like: ``base ± swing`` over a day, ``noise`` on top, rounded to ``places`` decimals."""

    metric: str
    base: float
    swing: float
    noise: float
    places: int


SENSORS = (
    Sensor("temperature", 21.0, 4.0, 0.6, 2),
    Sensor("humidity", 48.0, -9.0, 2.0, 1),
    Sensor("pressure", 1013.2, 1.5, 0.4, 2),
    Sensor("vibration", 0.8, 0.1, 0.05, 4),
)


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """A fleet: *events* readings in all, from *start_ms* on, a round of all sensors every *period_ms*.

    Attributes:
        late_share: of the readings, 0 to 1, is held back and comes out of order, up to *late_by_ms* behind the newest.
        spike_share: of the readings is far off, as a faulty sensor's.
    """

    devices: int
    events: int
    seed: int
    start_ms: int
    period_ms: int = 10_000
    metrics: int = 3
    late_share: float = 0.02
    late_by_ms: int = 120_000
    spike_share: float = 0.001

    def __post_init__(self) -> None:
        """Refuse what makes no fleet."""
        problems = [
            f"{name} is {value}; it is {low} to {high}"
            for name, value, low, high in (
                ("devices", self.devices, 1, 10_000_000),
                ("events", self.events, 1, 10**12),
                ("period", self.period_ms, 4, _DAY_MS),
                ("metrics", self.metrics, 1, len(SENSORS)),
                ("late share", self.late_share, 0, 1),
                ("late by", self.late_by_ms, 0, 365 * _DAY_MS),
                ("spike share", self.spike_share, 0, 1),
            )
            if not low <= value <= high
        ]
        if problems:
            raise ConfigError(*problems)

    @property
    def span_ms(self) -> int:
        """All event times are in ``[start_ms, start_ms + span_ms)``."""
        return math.ceil(self.events / (self.devices * self.metrics)) * self.period_ms


def fleet_events(config: FleetConfig) -> Iterator[Event]:
    """Yield the readings in the order they are sent; the same config yields the same readings.

    No two readings of one device and metric have the same event time: each round has one, at a moment of its own.
    Only ``Random.random`` is used: its sequence is the same on every version of Python.
    """
    on_time = _readings(config)
    return _delayed(on_time, config) if config.late_share and config.late_by_ms else on_time


def _readings(config: FleetConfig) -> Iterator[Event]:
    dice = Random(config.seed).random  # noqa: S311 - a seeded simulation
    period_ms, left = config.period_ms, config.events
    half_ms = period_ms // 2
    sensors = SENSORS[: config.metrics]
    width = max(4, len(str(config.devices)))
    # Within its round a device reports at its own phase, up to half a period in, and less than another half of jitter.
    devices = sorted((int(dice() * half_ms), f"device-{n:0{width}d}", dice()) for n in range(config.devices))
    round_ms = config.start_ms
    while True:
        for phase_ms, device_id, character in devices:
            ts = round_ms + phase_ms + int(dice() * half_ms)
            day = math.sin(math.tau * (ts % _DAY_MS) / _DAY_MS - 2.0)
            for sensor in sensors:
                noise = (dice() + dice() + dice() - 1.5) * sensor.noise  # near enough to normal
                value = sensor.base * (0.9 + 0.2 * character) + sensor.swing * day + noise
                if dice() < config.spike_share:
                    value *= 1.5 + dice()
                yield {
                    "device_id": device_id,
                    "metric": sensor.metric,
                    "ts": ts,
                    "value": round(value, sensor.places),
                }
                left -= 1
                if not left:
                    return
        round_ms += period_ms


def _delayed(events: Iterator[Event], config: FleetConfig) -> Iterator[Event]:
    """Hold some events back until the events around them are up to ``late_by_ms`` further on."""
    dice = Random(f"{config.seed} late").random  # noqa: S311 - a seeded simulation
    held: list[tuple[int, int, Event]] = []  # (event time at which it comes, its number, the event)
    for number, event in enumerate(events):
        ts: int = event["ts"]
        while held and held[0][0] <= ts:
            yield heapq.heappop(held)[2]
        if dice() < config.late_share:
            heapq.heappush(held, (ts + 1 + int(dice() * config.late_by_ms), number, event))
        else:
            yield event
    while held:
        yield heapq.heappop(held)[2]
