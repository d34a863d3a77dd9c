"""Tumbling windows over event time."""

from dataclasses import dataclass

from streamgage.durations import format_duration

# Event times are accepted from 1970 to the end of 9999: window starts then sort as fixed-width text.
MAX_EVENT_TIME_MS = 253_402_300_800_000  # exclusive: 10000-01-01T00:00:00Z


@dataclass(frozen=True, slots=True)
class Window:
    """``[start_ms, end_ms)``, in ms since the epoch, UTC."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class TumblingWindows:
    """Fixed, gap-less windows aligned to the epoch: the n-th is ``[n*size, (n+1)*size)``."""

    size_ms: int

    @property
    def label(self) -> str:
        """The size as it is written in pipeline.toml and in item keys: ``"1h"``."""
        return format_duration(self.size_ms)

    def assign(self, event_time_ms: int) -> Window:
        """Return the one window that contains *event_time_ms*."""
        start_ms = event_time_ms - event_time_ms % self.size_ms
        return Window(start_ms, start_ms + self.size_ms)
