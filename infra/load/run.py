"""Run a load: send, wait until it is applied, and compare every rollup that it fed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from infra.load.job import Job
from infra.load.senders import Progress, Senders, senders_of
from infra.load.verify import Verified, shared_rows, verify
from processors.query.cells import PartialStore
from processors.query.freshness import Freshness
from producers.files.stop import Stop
from producers.simulators.totals import Totals
from streamgage.definition.pipeline import Pipeline
from streamgage.durations import parse_duration
from streamgage.errors import RetryableError, StreamgageError

_TICK_S = 0.1
_AGAIN_S = 15.0  # between two comparisons, where nobody says up to when all is applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What is to be run. ``open`` connects to the table, and says how fresh it is; it is asked every *look_s*.

    ``drain_s`` is how long it waits, after the last event was stored, until all is applied.
    """

    pipeline: Pipeline
    jobs: Sequence[Job]
    mark: str
    open: Callable[[], tuple[PartialStore, Freshness, str]]
    look_s: float
    drain_s: float

    @property
    def seconds(self) -> float:
        """How long it sends."""
        return self.jobs[0].share.seconds


@dataclass(frozen=True, slots=True)
class Look:
    """How a load is doing. ``applied_behind_ms``: how long ago what is applied now arrived; None: not known."""

    elapsed_s: float
    phase: str
    progress: Progress
    applied_behind_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a load. ``verified`` is None where it was not compared, which ``why`` says.

    ``applied_s`` is how long after the last event was stored all was applied; None where it was not within the time.
    """

    progress: Progress
    sent_s: float
    applied_s: float | None = None
    verified: Verified | None = None
    why: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether everything was stored, and every number compared is what was sent."""
        found = self.verified
        return (
            found is not None and found.rows > 0 and not found.differences and not self.progress.undelivered
        )


class Teller(Protocol):
    """Shows how it goes."""

    def ready(self, senders: Senders) -> None:
        """Show what is about to be sent."""

    def look(self, look: Look) -> None:
        """Show how it is doing; called several times a second."""


def run_load(campaign: Campaign, *, stop: Stop, teller: Teller) -> Outcome:
    """Run it. *stop* ends the sending, and what was sent is compared; asked a second time, it ends without that.

    Raises:
        RetryableError: a sender ended by itself; or the table does not answer.
        Stopped: it was asked to stop before the first event was due.
    """
    horizon_ms = max(
        (
            parse_duration(each.label)
            for rollup in campaign.pipeline.rollups.values()
            for each in rollup.windows
        ),
        default=0,
    )
    now_ms = time.time_ns() // 1_000_000
    store, _, _ = campaign.open()
    before = shared_rows(
        campaign.pipeline, store, from_ms=max(now_ms - 2 * horizon_ms, 0), to_ms=now_ms + 2 * horizon_ms
    )
    with senders_of(campaign.jobs, check=stop.check) as senders:
        teller.ready(senders)
        watcher = _Watcher(campaign, senders, teller, senders.begin())
        watcher.until(lambda: senders.have_sent, stop)
        progress = senders.progress()
        sent_s = watcher.elapsed_s
        outcome = Outcome(progress=progress, sent_s=sent_s)
        watcher.phase = "tallying"
        watcher.until(lambda: senders.are_done, stop, stops=False)
        if stop.insisted:
            return replace(outcome, why="interrupted twice: nothing was compared")
        if progress.undelivered:
            return replace(
                outcome,
                why=f"{progress.undelivered:,} events could not be delivered, so nobody knows which of them count: "
                f"{progress.last_error}",
            )
        return _compare(campaign, senders, watcher, outcome, before=before, stop=stop)


def _compare(
    campaign: Campaign,
    senders: Senders,
    watcher: "_Watcher",
    outcome: Outcome,
    *,
    before: Totals,
    stop: Stop,
) -> Outcome:
    totals, ended_ms = senders.totals(), senders.ended_ms
    began_s = time.monotonic()
    deadline, again_s = began_s + campaign.drain_s, began_s + _AGAIN_S
    by_key = campaign.jobs[0].one_key_per_record
    watcher.phase = "applying"
    while True:
        watcher.look(min_age_s=0.0 if watcher.applied_ms is None else 0.5)
        if stop.insisted:
            return replace(outcome, why="interrupted again: nothing was compared")
        is_applied = (watcher.applied_ms or 0) > ended_ms
        now_s = time.monotonic()
        is_over = now_s > deadline
        if is_applied or is_over or (by_key and now_s > again_s):
            again_s = now_s + _AGAIN_S
            store, _, _ = campaign.open()
            found = verify(campaign.pipeline, store, totals, mark=campaign.mark, before=before)
            since_s = max(time.time_ns() / 1e6 - ended_ms, 0) / 1000
            applied_s = since_s if is_applied or not found.differences else None
            outcome = replace(outcome, verified=found, applied_s=applied_s)
            if is_applied or is_over or not found.differences:
                late = "" if applied_s is not None else f"not all was applied within {campaign.drain_s:.0f} s"
                return replace(outcome, why=late)
        time.sleep(_TICK_S)


class _Watcher:
    """Looks at senders and table, and tells."""

    def __init__(self, campaign: Campaign, senders: Senders, teller: Teller, start_ms: int) -> None:
        self.phase = "sending"
        self.applied_ms: float | None = None
        self._campaign, self._senders, self._teller, self._start_ms = campaign, senders, teller, start_ms
        self._looked_s = 0.0

    @property
    def elapsed_s(self) -> float:
        """How long ago the first event was due."""
        return max(0.0, (time.time_ns() / 1e6 - self._start_ms) / 1000)

    def until(self, holds: Callable[[], bool], stop: Stop, *, stops: bool = True) -> None:
        """Return when it *holds*, or who runs this insists on its end; asked once, the senders stop."""
        told = False
        while not holds() and not stop.insisted:
            if stop.asked and stops and not told:
                told, self.phase = True, "stopping"
                self._senders.stop()
            self.look(min_age_s=self._campaign.look_s)
            time.sleep(_TICK_S)

    def look(self, *, min_age_s: float) -> None:
        """Tell how it goes; the table is asked again where what is known of it is older than *min_age_s*."""
        if time.monotonic() - self._looked_s > min_age_s:
            try:
                _, fresh, _ = self._campaign.open()
                self.applied_ms = fresh.applied_ms or None
            except RetryableError:
                self.applied_ms = None  # a look that fails is no end of the load
            except StreamgageError:
                if self.phase != "sending":
                    raise
                self.applied_ms = None
            self._looked_s = time.monotonic()
        behind = None if self.applied_ms is None else time.time_ns() / 1e6 - self.applied_ms
        self._teller.look(Look(self.elapsed_s, self.phase, self._senders.progress(), behind))
