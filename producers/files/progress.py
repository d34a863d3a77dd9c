"""Show how far a long job is: a bar on a terminal, a plain line every few seconds elsewhere."""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TextIO

_LINE_EVERY_MS = 5_000


class Progress(Protocol):
    """Told now and then how far a job is."""

    def update(self, *, done: int, events: int, quarantined: int, waiting_for: str | None = None) -> None:
        """Show *done* of the total (bytes or events), how many events were sent and quarantined so far, and what holds it up."""

    def close(self) -> None:
        """Leave the screen tidy."""


class PlainLines:
    """A line every five seconds, none for a short job."""

    def __init__(self, label: str, total: int | None, *, out: TextIO, now_ms: Callable[[], int]) -> None:
        self._label = label
        self._total = total
        self._out = out
        self._now_ms = now_ms
        self._began_ms = self._last_ms = now_ms()

    def update(self, *, done: int, events: int, quarantined: int, waiting_for: str | None = None) -> None:
        """Print a line if the last one is long ago."""
        now_ms = self._now_ms()
        if now_ms - self._last_ms < _LINE_EVERY_MS:
            return
        self._last_ms = now_ms
        share = f"{done / self._total:4.0%}  " if self._total else ""
        rate = events * 1000 / (now_ms - self._began_ms)
        waiting = f", waiting: {waiting_for}" if waiting_for else ""
        with suppress(OSError):  # nobody reads them any more
            self._out.write(
                f"{self._label}: {share}{events:,} events, {rate:,.0f}/s, {quarantined:,} quarantined{waiting}\n"
            )
            self._out.flush()

    def close(self) -> None:
        """Do nothing: lines are tidy."""


class Bar:
    """A bar with events, events/s and time left, drawn by rich."""

    def __init__(self, label: str, total: int | None, *, out: TextIO, now_ms: Callable[[], int]) -> None:
        from rich.progress import (  # noqa: PLC0415 - only where a bar is drawn
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        from producers.screen import Screen  # noqa: PLC0415 - the same

        self._now_ms = now_ms
        self._began_ms = now_ms()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[counts]}", markup=False),
            TimeRemainingColumn(),
            console=Screen(file=out),
            transient=True,
        )
        self._task = self._bar.add_task(label, total=total, counts="")
        self._bar.start()

    def update(self, *, done: int, events: int, quarantined: int, waiting_for: str | None = None) -> None:
        """Move the bar; rich draws it ten times a second."""
        elapsed_ms = max(self._now_ms() - self._began_ms, 1)
        counts = f"{events:,} events {events * 1000 / elapsed_ms:,.0f}/s"
        if quarantined:
            counts += f" {quarantined:,} quarantined"
        if waiting_for:
            counts += f" waiting: {waiting_for}"
        self._bar.update(self._task, completed=done, counts=counts)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def show_progress(label: str, total: int | None, *, out: TextIO, now_ms: Callable[[], int]) -> Progress:
    """Return a bar where *out* is a terminal, plain lines elsewhere; *total* None is unknown."""
    if out.isatty():
        try:
            return Bar(label, total, out=out, now_ms=now_ms)
        except ImportError:  # a device that has only what it needs to send
            pass
    return PlainLines(label, total, out=out, now_ms=now_ms)
