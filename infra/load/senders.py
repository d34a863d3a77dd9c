"""The processes that send a load: started together, listened to, stopped in order, and never left behind."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram

from infra.load.job import LONGEST_MS, Job
from producers.simulators.totals import Totals, add_totals, read_totals
from streamgage.errors import RetryableError

_READY_S = 60.0
_LOOK_S = 0.02
_LEAD_MS = 300  # between "begin" and the first event: time for every sender to hear it
_PERCENTILES = (50.0, 99.0, 99.9, 100.0)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the senders have done so far, together.

    ``behind_ms`` is how far the last event of the slowest was behind its schedule, ``late_ms`` the longest of it.
    ``latency_ms`` holds percentiles of the time from when an event was due until it was stored, by name.
    """

    sent: int = 0
    stored: int = 0
    undelivered: int = 0
    failed: int = 0
    throttled: int = 0
    records: int = 0
    bytes: int = 0
    behind_ms: float = 0.0
    late_ms: float = 0.0
    gave_up: bool = False
    last_error: str = ""
    latency_ms: dict[str, float] = field(default_factory=dict)


class Senders:
    """Processes that said they are ready. ``peak_per_s`` is the highest rate of all together, ``events`` how many are due."""

    def __init__(self, processes: "Sequence[_Sender]", totals: Sequence[Path]) -> None:
        self._processes, self._totals = processes, totals
        self.peak_per_s = sum(each.said["ready"]["peak_per_s"] for each in processes)
        self.events = sum(each.said["ready"]["events"] for each in processes)

    def begin(self) -> int:
        """Tell them when the first event is due; return it, in ms since the epoch."""
        start_ms = time.time_ns() // 1_000_000 + _LEAD_MS
        for each in self._processes:
            each.write(f"{start_ms}\n")
        return start_ms

    def stop(self) -> None:
        """Have them send no more; what they sent they deliver and tally."""
        for each in self._processes:
            each.write("stop\n")

    @property
    def have_sent(self) -> bool:
        """Whether all of them have sent what they will. Raises: RetryableError, one ended before."""
        return _all_said(self._processes, "sent")

    @property
    def are_done(self) -> bool:
        """Whether all of them have tallied what they sent. Raises: RetryableError, one ended before."""
        return _all_said(self._processes, "done")

    @property
    def ended_ms(self) -> float:
        """When the last event was stored; of those that are done."""
        return max(float(each.said["done"]["ended_ms"]) for each in self._processes)

    def progress(self) -> Progress:
        """Return what they last said."""
        last = [told for each in self._processes if (told := each.said.get("sent") or each.said.get("at"))]
        if not last:
            return Progress()
        histogram = HdrHistogram(1, LONGEST_MS, 3)
        for each in last:
            histogram.decode_and_add(each["latencies"].encode())
        counted = bool(histogram.get_total_count())
        return Progress(
            sent=sum(each["events"] for each in last),
            **{
                name: sum(each[name] for each in last)
                for name in ("stored", "undelivered", "failed", "throttled", "records", "bytes")
            },
            behind_ms=max(each["behind_ms"] for each in last),
            late_ms=max(each["late_ms"] for each in last),
            gave_up=any(each["gave_up"] for each in last),
            last_error=next((each["last_error"] for each in last if each["last_error"]), ""),
            latency_ms={
                "max" if each == 100 else f"p{each:g}": float(histogram.get_value_at_percentile(each))
                for each in _PERCENTILES
            }
            if counted
            else {},
        )

    def totals(self) -> Totals:
        """Return what all of them sent adds up to; once they are done."""
        totals: Totals = {}
        for each in self._totals:
            add_totals(totals, read_totals(each))
        return totals


@contextmanager
def senders_of(jobs: Sequence[Job], *, check: Callable[[], None] = lambda: None) -> Iterator[Senders]:
    """Start a process for each of *jobs*, and yield them once they are ready; in the end none of them runs.

    *check* is called while it waits, and may raise.

    Raises:
        RetryableError: one ended, or was not ready within a minute.
    """
    with tempfile.TemporaryDirectory(prefix="streamgage-load-") as folder:
        places = [Path(folder) / f"totals-{number}.json" for number in range(len(jobs))]
        processes: list[_Sender] = []
        try:
            for number, (job, place) in enumerate(zip(jobs, places, strict=True)):
                processes.append(_Sender(replace(job, totals=str(place)), Path(folder) / f"errors-{number}"))
            deadline = time.monotonic() + _READY_S
            while not _all_said(processes, "ready"):
                check()
                if time.monotonic() > deadline:
                    raise RetryableError(f"the senders were not ready within {_READY_S:.0f} s")
                time.sleep(_LOOK_S)
            yield Senders(processes, places)
        finally:
            for each in processes:
                each.end()


def _all_said(processes: "Sequence[_Sender]", word: str) -> bool:
    """Tell whether all said *word*; each is asked: one that ended is told of at once."""
    said = [each.has_said(word) for each in processes]
    return all(said)


class _Sender:
    """A sender's process, and the last that it said of each kind."""

    def __init__(self, job: Job, errors: Path) -> None:
        self._errors = errors
        self.said: dict[str, dict[str, Any]] = {}
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "infra.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,  # Ctrl-C is this process's: it has them stop in order
            )
        self._listener = threading.Thread(target=self._listen, name="listens", daemon=True)
        self._listener.start()
        self.write(job.line())

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            told = json.loads(line)
            self.said[told.pop("word")] = told

    def write(self, line: str) -> None:
        """Tell it something; one that ended hears nothing."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        with suppress(BrokenPipeError):  # has_said tells
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def has_said(self, word: str) -> bool:
        """Tell whether it said *word*. Raises: RetryableError, it ended instead, with its last words."""
        if word not in self.said and self._process.poll() is not None:
            self._listener.join()
            if word not in self.said:
                last = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                raise RetryableError(
                    f"a sender ended with status {self._process.returncode} before it was {word}: {''.join(last)}"
                )
        return word in self.said

    def end(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of what was written to it and never read
                    pipe.close()
