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


class Replay:
    """Events follow each other as they did, *speed* times as fast; each happens at the moment it is sent.

    The first event is due at once, another at ``(its time - first time) / speed`` after that. One that is recorded out
    of order was due before its predecessor, and follows at once.
    """

    def __init__(self, speed: float, *, clock: Clock, flush: Flush) -> None:
        self._speed = speed
        self._clock = clock
        self._flush = flush
        self._began: tuple[int, int] | None = None

    def stamp(self, recorded_ms: int) -> int:
        """Wait until the event is due, and return the time it then is."""
        now_ms = self._clock.now_ms()
        if self._began is None:
            self._began = (recorded_ms, now_ms)
        first_ms, began_ms = self._began
        due_ms = began_ms + int((recorded_ms - first_ms) / self._speed)
        if due_ms - now_ms > _SHOW_AFTER_MS:
            self._flush()
            now_ms = self._clock.now_ms()
        while now_ms < due_ms:
            self._clock.sleep_ms(due_ms - now_ms)
            now_ms = self._clock.now_ms()
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
