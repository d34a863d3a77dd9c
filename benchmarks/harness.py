"""What a benchmark measures, and how: interleaved rounds, CPU time, and the circumstances it was measured in.

A benchmark is a module with ``QUESTION`` (one line) and ``run(*, quick, seed, progress) -> Result``. It lets its
contestants take turns (ours, peer, ours, peer, …), so that a machine that slows down slows all of them, and compares
their answers: a figure of a wrong answer is no figure.
"""

import gc
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from streamgage.errors import StreamgageError

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"

Prepared = TypeVar("Prepared")

Role = Literal["ours", "peer", "reference"]
"""A peer is what people use instead; a reference is a bound, such as a library alone."""

Progress = Callable[[str], None]
"""Told, in a few words, what is being measured now."""


class WrongAnswerError(StreamgageError):
    """Contestants of one benchmark disagree about the result: nothing that it measured counts."""

    code = "wrong_answer"


@dataclass(frozen=True, slots=True)
class Measured:
    """One turn of a contestant: the CPU time of what is compared, and the answer."""

    cpu_s: float
    answer: Any


Contestant = Callable[[], Measured]


@dataclass(frozen=True, slots=True)
class Series:
    """All rounds of one contestant, at one point of an axis if the table has one."""

    label: str
    role: Role
    samples: tuple[float, ...]
    at: float | None = None

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.samples)


@dataclass(frozen=True, slots=True)
class Table:
    """One comparison. With *x*, series of one label form a line over their ``at``.

    *baseline* is the label that ratios compare with. *log_x* and *log_y* say that the range asks for such an axis.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    baseline: str | None = None
    better: Literal["less", "more"] = "less"
    x: str | None = None
    log_x: bool = False
    log_y: bool = False

    def median_of(self, label: str) -> float | None:
        """Return the median of *label*, or None where it was not measured."""
        return next((each.median for each in self.series if each.label == label), None)


@dataclass(frozen=True, slots=True)
class Headline:
    """A row of the README's table: a figure of ours beside a peer's; *ratio* is how many times better ours is.

    Without a peer there is no ratio. The README shows those that are ``first``; the page shows all.
    """

    what: str
    ours: str
    peer: str
    ratio: float | None
    target: str = ""
    first: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What a benchmark found.

    *method* says what was measured, *limits* what its figures do not show. *configuration* and *facts* hold JSON values.
    *missing* maps what was not measured to the reason.
    """

    name: str
    question: str
    method: str
    tables: tuple[Table, ...]
    configuration: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    headlines: tuple[Headline, ...] = ()
    limits: tuple[str, ...] = ()


def timed(work: Callable[[], Any]) -> Contestant:
    """Return the contestant that does *work* in this process; CPU time of all its threads."""
    return timed_after(lambda: None, lambda _: work())


def timed_after(prepare: Callable[[], Prepared], work: Callable[[Prepared], Any]) -> Contestant:
    """Return the contestant that does *work* on what *prepare* gives anew each turn; only *work* is measured."""

    def turn() -> Measured:
        prepared = prepare()
        gc.collect()
        began_s = time.process_time()
        answer = work(prepared)
        return Measured(time.process_time() - began_s, answer)

    return turn


def take_turns(
    contestants: Mapping[str, Contestant],
    *,
    rounds: int,
    check: Callable[[str, Any], None],
    progress: Progress,
) -> dict[str, tuple[float, ...]]:
    """Return the CPU seconds of each contestant in each round.

    Every answer goes to *check*, which raises WrongAnswerError. With more than two rounds a first one is not counted:
    it warms caches up. What is alive before (the workload) is hidden from the garbage collector, which would walk it for
    whoever happens to allocate, as in no process that does only this work.
    """
    seconds: dict[str, list[float]] = {label: [] for label in contestants}
    gc.collect()
    gc.freeze()
    try:
        for number in range(rounds + (rounds > 2)):
            for label, contestant in contestants.items():
                progress(f"round {number + 1}: {label}")
                measured = contestant()
                check(label, measured.answer)
                seconds[label].append(measured.cpu_s)
    finally:
        gc.unfreeze()
    return {label: tuple(each[-rounds:]) for label, each in seconds.items()}


def per_event_us(seconds: tuple[float, ...], events: int) -> tuple[float, ...]:
    """Return µs an event."""
    return tuple(each / events * 1e6 for each in seconds)


def slope(points: Mapping[float, float]) -> float:
    """Return the slope of a line through *points* (x → y) in log-log: y grows as x ** slope."""
    xs, ys = [math.log(x) for x in points], [math.log(y) for y in points.values()]
    return statistics.linear_regression(xs, ys).slope


def circumstances(*, seed: int, quick: bool) -> dict[str, Any]:
    """Return what a reader needs to judge or repeat a measurement: commit, machine, seed, date (UTC)."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "seed": seed,
        "quick": quick,
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            "system": platform.platform(),
            "python": platform.python_version(),
            "load_average": round(os.getloadavg()[0], 2),
        },
    }


def figure(value: float) -> str:
    """Return *value* with three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return (
        f"{value:.2f}"
        if abs(value) >= 1 or not value
        else f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"
    )


def write_result(result: Result, directory: Path, *, seed: int, quick: bool) -> Path:
    """Write *result* with its circumstances as ``directory/NAME.json``, and return that path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result.name}.json"
    content = {**asdict(result), "circumstances": circumstances(seed=seed, quick=quick)}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def read_result(path: Path) -> tuple[Result, dict[str, Any]]:
    """Return what ``write_result`` wrote: the result, and its circumstances."""
    content = json.loads(path.read_text(encoding="utf-8"))
    around = content.pop("circumstances")
    tables = tuple(
        Table(**{**table, "series": tuple(_series(each) for each in table["series"])})
        for table in content.pop("tables")
    )
    headlines = tuple(Headline(**each) for each in content.pop("headlines"))
    limits = tuple(content.pop("limits"))
    return Result(**content, tables=tables, headlines=headlines, limits=limits), around


def _series(content: Mapping[str, Any]) -> Series:
    return Series(**{**content, "samples": tuple(content["samples"])})


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],  # noqa: S607 - git as the person finds it
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (each.partition(":")[2].strip() for each in lines if each.startswith("model name")), "unknown"
    )
