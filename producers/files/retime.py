"""When recorded events are said to have happened: as they were recorded, shifted to now, or replayed."""

from typing import Protocol

from producers.clock import Clock

_SHOW_AFTER_MS = 200  # before a longer pause, what was put is sent, so that it is seen while time passes


class Flush(Protocol):
    """What a replay tells before it waits."""

    def __call__(self) -> None:
        """Send everything that was put."""


class Retimer(Protocol):
    """Decides the event time that an event is sent with."""

    def stamp(self, recorded_ms: int) -> int:
        """Return the event time of an event recorded at *recorded_ms*; called just before it is put, in order."""


class Shift:
    """A constant is added to each event time; as recorded where it is 0."""

    def __init__(self, shift_ms: int = 0) -> None:
        self.shift_ms = shift_ms

    @classmethod
    def to_now(cls, last_ms: int, clock: Clock) -> "Shift":
        """Return the shift that makes *last_ms*, the latest event time of a file, now.

        No event is then later than its arrival, however long sending takes.
        """
        return cls(clock.now_ms() - last_ms)

    def stamp(self, recorded_ms: int) -> int:
        """Return the shifted time."""
        return recorded_ms + self.shift_ms


_LOOK_MS = 1_000  # how often the clock is looked at while one waits


class Replay:
    """Events follow each other as they did, *speed* times as fast; each happens at the moment it is sent.

    The first event is due at once, another at ``(its time - first time) / speed`` after that. One that is recorded out
    of order was due before its predecessor, and follows at once.
    """

    def __init__(self, speed: float, *, clock: Clock, flush: Flush) -> None:
        self._speed = speed
        self._clock = clock
        self._flush = flush
        self._first_ms: int | None = None
        self._began_ms = self._last_ms = 0

    def stamp(self, recorded_ms: int) -> int:
        """Wait until the event is due, and return the time it then is."""
        now_ms = self._now_ms()
        if self._first_ms is None:
            self._first_ms, self._began_ms = recorded_ms, now_ms
        after_ms = int((recorded_ms - self._first_ms) / self._speed)
        if self._began_ms + after_ms - now_ms > _SHOW_AFTER_MS:
            self._flush()
            now_ms = self._now_ms()
        while (wait_ms := self._began_ms + after_ms - now_ms) > 0:
            self._clock.sleep_ms(min(wait_ms, _LOOK_MS))
            now_ms = self._now_ms()
        return now_ms

    def _now_ms(self) -> int:
        """Return the time; where the clock was set back, all that is due moves with it: else it would wait that long."""
        now_ms = self._clock.now_ms()
        self._began_ms += min(now_ms - self._last_ms, 0)
        self._last_ms = now_ms
        return now_ms


class Pace:
    """At most *per_s* events a second."""

    def __init__(self, per_s: float, *, clock: Clock, flush: Flush) -> None:
        self._replay = Replay(1.0, clock=clock, flush=flush)
        self._gap_ms = 1000 / per_s
        self._count = 0

    def wait(self) -> None:
        """Return when the next event may be sent."""
        self._replay.stamp(int(self._count * self._gap_ms))
        self._count += 1
