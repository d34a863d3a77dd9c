"""How a load is shown to who started it: a line that moves at a terminal, one every five seconds elsewhere; and what it found."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

from infra.load.run import Campaign, Look, Outcome
from infra.load.senders import Senders
from producers.files.stop import Stop
from streamgage.visible import visible

_TERMINAL_S, _ELSEWHERE_S = 0.5, 5.0
_SHOWN = 10  # differences


class LoadTeller:
    """Shows how it goes on the error stream *err*, if there still is one."""

    def __init__(self, err: TextIO, *, is_terminal: bool) -> None:
        self._err, self._is_terminal = err, is_terminal
        self._told_s, self._width, self._phase = time.monotonic(), 0, ""

    def say(self, text: str) -> None:
        """Show a line that stays."""
        with suppress(OSError):
            print(text, file=self._err, flush=True)

    def ready(self, senders: Senders) -> None:
        """Show what is about to be sent."""
        self.say(f"{senders.events:,} events, at most {senders.peak_per_s:,.0f} a second")

    def look(self, look: Look) -> None:
        """Show how it is doing, where it is time to."""
        every_s = _TERMINAL_S if self._is_terminal else _ELSEWHERE_S
        now_s = time.monotonic()
        if now_s - self._told_s < every_s and look.phase == self._phase:
            return
        self._told_s, self._phase = now_s, look.phase
        line = line_of(look)
        if not self._is_terminal:
            self.say(line)
            return
        with suppress(OSError):
            print("\r" + line.ljust(self._width), end="", file=self._err, flush=True)
        self._width = len(line)

    def close(self) -> None:
        """End the line that moves."""
        if self._width:
            self.say("")
            self._width = 0


def line_of(look: Look) -> str:
    """Return how a load is doing, in a line."""
    progress = look.progress
    latency = progress.latency_ms
    rate = progress.sent / look.elapsed_s if look.elapsed_s > 0 else 0.0
    parts = [
        f"{look.elapsed_s:6.1f} s {look.phase}: {progress.sent:,} sent ({rate:,.0f}/s)",
        f"{progress.stored:,} stored",
        f"{progress.failed:,} failed",
        f"{progress.behind_ms:,.0f} ms behind schedule",
    ]
    if latency:
        parts.append(
            f"stored after p50 {latency['p50']:,.0f}, p99 {latency['p99']:,.0f}, max {latency['max']:,.0f} ms"
        )
    if look.applied_behind_ms is not None:
        parts.append(f"applied up to {max(look.applied_behind_ms, 0) / 1000:.1f} s ago")
    return "; ".join(parts)


def lines_of(outcome: Outcome, campaign: Campaign) -> Iterator[str]:
    """Yield what a load did, and what was found of it."""
    progress, latency = outcome.progress, outcome.progress.latency_ms
    seconds = max(outcome.sent_s, 1e-3)
    yield (
        f"sent {progress.sent:,} events in {seconds:.1f} s ({progress.sent / seconds:,.0f}/s), "
        f"{progress.records:,} Kinesis records, {progress.bytes:,} bytes; {progress.failed:,} puts of a record failed "
        f"({progress.throttled:,} throttled) and were tried again"
    )
    if latency:
        told = ", ".join(f"{name} {value:,.0f} ms" for name, value in latency.items())
        yield f"stored after it was due: {told} (each event as the oldest of its Kinesis record)"
    gave_up = "; it gave up there: this machine or the stream takes less" if progress.gave_up else ""
    yield f"schedule: at most {progress.late_ms:,.0f} ms behind{gave_up}"
    if outcome.applied_s is not None:
        yield f"applied: all of it, {outcome.applied_s:.1f} s after the last was stored"
    if outcome.why:
        yield f"NOT VERIFIED: {visible(outcome.why)}" if outcome.verified is None else visible(outcome.why)
    found = outcome.verified
    if found is None:
        return
    for line in found.differences[:_SHOWN]:
        yield f"different: {visible(line)}"
    unsure = (
        f"; {found.unsure:,} values are not told apart: first or last of events of one moment, or of rows that others feed too"
        if found.unsure
        else ""
    )
    if found.differences:
        yield f"{len(found.differences):,} differences in {found.rows:,} rows{unsure}"
        return
    if not progress.sent:
        yield "nothing was sent: there is nothing to compare"
        return
    if not found.rows:
        yield "NOT VERIFIED: no rollup counts any of what was sent, so there is no row to compare"
        return
    fed = ", ".join(f"{name} {events:,}" for name, events in found.events.items())
    yield (
        f"exact: {found.values:,} values of {found.rows:,} rows are what was sent (events counted: {fed}){unsure}"
    )
    if campaign.jobs[0].profile.duplicate_share:
        yield "what it sent twice on purpose carries no mark of its own, and counts twice; what the producer sent again counts once"


def exit_code(outcome: Outcome, stop: Stop) -> int:
    """Return what a shell is told."""
    if stop.insisted or (stop.exit_code and not outcome.progress.sent):
        return stop.exit_code
    return stop.exit_code if outcome.is_exact and outcome.applied_s is not None else 1
