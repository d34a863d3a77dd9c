"""Cold starts: real ``awslambdaric`` sandboxes with real bundles, over TLS to a stand-in for AWS."""

import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.coldstart.cpu_cap import CpuCap, cpu_cap
from benchmarks.coldstart.imports import by_package, ledger
from benchmarks.coldstart.stage import BOTO3, EMPTY, EVENTS, OURS, POWERTOOLS, Stage, staged
from benchmarks.coldstart.start import Start, forked_start, init_cpu_ms, start
from benchmarks.harness import Headline, Progress, Result, Role, Series, Table, WrongAnswerError

QUESTION = "How long does a function take from nothing to its first answer?"
_ROLES: Mapping[str, Role] = {EMPTY: "reference", BOTO3: "peer", POWERTOOLS: "peer", OURS: "ours"}
_MEMORY_MB = (256, 512, 1_024, 1_769)
_COMPARED = (BOTO3, POWERTOOLS, OURS)
_TARGET = 0.4
_TOP = 15


@dataclass(frozen=True, slots=True)
class _Size:
    """How often each thing is done."""

    rounds: int
    variant_rounds: int
    warm: int
    memory_mb: tuple[int, ...]
    compared: tuple[str, ...]  # in circumstances, and by memory size


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Start every handler, in turns, and compare what each answered and asked AWS for."""
    size = _Size(1, 1, 3, _MEMORY_MB[-1:], (OURS,)) if quick else _Size(15, 5, 200, _MEMORY_MB, _COMPARED)
    with (
        tempfile.TemporaryDirectory(prefix="streamgage-cold-") as folder,
        staged(Path(folder), seed=seed) as stage,
    ):
        starts, init_cpu = _in_turns(stage, size, progress)
        warm = _warm(stage, size, progress)
        variants = _variants(stage, size, progress)
        missing: dict[str, str] = {}
        by_memory = _by_memory(stage, size, progress, missing)
        modules = {
            label: ledger(stage.functions[label], rounds=1 if quick else 5)
            for label in (BOTO3, POWERTOOLS, OURS)
        }
    return Result(
        name="cold_start",
        question=QUESTION,
        method=(
            "Each start is a new process of the real Lambda runtime client with an unpacked bundle and its bytecode. Init "
            "is from spawn to the first request for an invocation; the first invocation gets one small batch, and ours and "
            "Powertools' write it, over TLS, to a process that answers in place of AWS. Handlers take turns. CPU time is "
            "of the whole process, from nothing to the end of the first invocation."
        ),
        tables=(
            *_tables(starts),
            _init_cpu_table(init_cpu),
            *_warm_tables(warm),
            _variant_table(variants),
            *by_memory,
            _ledger_table(modules),
        ),
        configuration={
            "rounds": size.rounds,
            "rounds_of_variants": size.variant_rounds,
            "warm_invocations": size.warm,
            "python": sys.version.split()[0],
            **stage.config,
        },
        facts={
            "target": f"ours at most {_TARGET} of boto3 with a client",
            "modules_loaded": {label: len(each) for label, each in modules.items()},
            "import_ledger_ms": {
                label: {name: round(ms, 2) for name, ms in list(each.items())[:_TOP]}
                for label, each in modules.items()
            },
        },
        missing=missing,
        headlines=_headlines(starts, init_cpu),
        limits=(
            "Lambda adds what it takes to find a machine, fetch and mount the bundle, and start a microVM.",
            "boto3's handler makes a client and calls nobody: the first TLS connection is in our figure, not in its.",
            "The fork stands for SnapStart's restore without reading a snapshot from anywhere.",
            "The share of a core holds during init, too; Lambda is seen to give init more.",
            "Dropped pages are those of the bundle and the runtime client; Python itself stays in memory.",
        ),
    )


def check(label: str, answer: bytes, asked: Counter[str]) -> None:
    """See that a handler did its work: its answer, and what it asked AWS for, in one invocation.

    Raises:
        WrongAnswerError: it did not.
    """
    got = json.loads(answer)
    writes = {
        name: count
        for name, count in asked.items()
        if name not in {"ListShards", "DescribeStreamSummary", "BatchGetItem"}
    }
    if label in {EMPTY, BOTO3}:
        right = got is None and not asked
    elif label == POWERTOOLS:
        right = got == {"batchItemFailures": []} and writes == {"UpdateItem": EVENTS}
    else:
        right = got == {"batchItemFailures": []} and bool(writes) and not writes.keys() - _OUR_WRITES
    if not right:
        raise WrongAnswerError(f"{label}: answered {got}, and asked for {dict(asked)}")


_OUR_WRITES = {"PutItem", "BatchExecuteStatement"}


def _in_turns(
    stage: Stage, size: _Size, progress: Progress
) -> tuple[dict[str, list[Start]], dict[str, list[float]]]:
    """Return the starts of each handler, and the CPU time of as many that ended before the first invocation."""
    starts: dict[str, list[Start]] = {label: [] for label in stage.functions}
    init_cpu: dict[str, list[float]] = {label: [] for label in stage.functions}
    for number in range(size.rounds + (size.rounds > 1)):
        for label, function in stage.functions.items():
            progress(f"round {number + 1}: {label}")
            stage.stub.asked()
            each = start(function, stage.event)
            check(label, each.answer, stage.stub.asked())
            starts[label].append(each)
            init_cpu[label].append(init_cpu_ms(function))
    counted = slice(-size.rounds, None)  # the first one warms caches up
    return {label: each[counted] for label, each in starts.items()}, {
        label: each[counted] for label, each in init_cpu.items()
    }


def _warm(stage: Stage, size: _Size, progress: Progress) -> dict[str, list[Start]]:
    starts: dict[str, list[Start]] = {label: [] for label in (EMPTY, POWERTOOLS, OURS)}
    for number in range(size.variant_rounds):
        for label, each in starts.items():
            progress(f"warm, round {number + 1}: {label}")
            each.append(start(stage.functions[label], stage.event, warm=size.warm))
    return starts


def _variants(stage: Stage, size: _Size, progress: Progress) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def measure(label: str, how: str, begin: Callable[[], Start]) -> None:
        progress(f"{how}: {label}")
        stage.stub.asked()
        each = begin()
        check(label, each.answer, stage.stub.asked())
        found.setdefault(f"{label}, {how}", []).append(each.both_ms)

    for label in size.compared:
        function, bare = stage.functions[label], stage.without_bytecode(label)
        for _ in range(size.variant_rounds):
            measure(label, "as built", partial(start, function, stage.event))
            measure(label, "no bytecode", partial(start, bare, stage.event))
            stage.drop_page_cache(label)
            measure(label, "pages dropped", partial(start, function, stage.event))
            measure(label, "forked", partial(forked_start, function, stage.event))
    return found


def _by_memory(stage: Stage, size: _Size, progress: Progress, missing: dict[str, str]) -> tuple[Table, ...]:
    with cpu_cap() as cap:
        if not isinstance(cap, CpuCap):
            missing["by memory size"] = cap
            return ()
        series: list[Series] = []
        for memory_mb in size.memory_mb:
            cap.set_memory_mb(memory_mb)
            samples: dict[str, list[float]] = {label: [] for label in size.compared}
            for _ in range(min(3, size.variant_rounds)):
                for label, each in samples.items():
                    progress(f"{memory_mb} MB: {label}")
                    each.append(start(stage.functions[label], stage.event, cap=cap).both_ms)
            series += [
                Series(label, _ROLES[label], tuple(each), memory_mb) for label, each in samples.items()
            ]
        return (
            Table(
                title=f"From nothing to the first answer, with the share of a core of a memory size (cgroup {cap.kind})",
                unit="ms",
                series=tuple(series),
                x="MB",
                log_x=True,
                log_y=True,
            ),
        )


def _table(title: str, starts: Mapping[str, list[Start]], of: Callable[[Start], float]) -> Table:
    series = tuple(Series(label, _ROLES[label], tuple(map(of, each))) for label, each in starts.items())
    return Table(title=title, unit="ms", series=series, baseline=BOTO3)


def _tables(starts: Mapping[str, list[Start]]) -> tuple[Table, ...]:
    return (
        _table("Init: from spawn to the first request for an invocation", starts, lambda each: each.init_ms),
        _table("First invocation", starts, lambda each: each.first_ms),
        _table("From nothing to the first answer", starts, lambda each: each.both_ms),
        _table("CPU time from nothing to the first answer", starts, lambda each: each.cpu_ms),
    )


def _init_cpu_table(init_cpu: Mapping[str, list[float]]) -> Table:
    series = tuple(Series(label, _ROLES[label], tuple(each)) for label, each in init_cpu.items())
    return Table(title="CPU time of init", unit="ms", series=series, baseline=BOTO3)


def _warm_tables(starts: Mapping[str, list[Start]]) -> tuple[Table, ...]:
    def quantile(percent: int) -> Callable[[Start], float]:
        return lambda each: statistics.quantiles(each.warm_ms, n=100, method="inclusive")[percent - 1]

    return tuple(
        Table(
            title=f"Warm invocation, p{percent}",
            unit="ms",
            series=tuple(
                Series(label, _ROLES[label], tuple(map(quantile(percent), each)))
                for label, each in starts.items()
            ),
            baseline=POWERTOOLS,
        )
        for percent in (50, 99)
    )


def _variant_table(found: Mapping[str, list[float]]) -> Table:
    return Table(
        title="From nothing to the first answer, in other circumstances",
        unit="ms",
        series=tuple(Series(name, _ROLES[_label_of(name)], tuple(each)) for name, each in found.items()),
        baseline=f"{BOTO3}, as built",
    )


def _label_of(name: str) -> str:
    return name.rpartition(", ")[0]


def _ledger_table(modules: Mapping[str, Mapping[str, float]]) -> Table:
    series = tuple(
        Series(f"{label}: {package}", _ROLES[label], (ms,))
        for label, each in modules.items()
        for package, ms in list(by_package(each).items())[:6]
    )
    return Table(title="Imports on top of the runtime client, by package", unit="ms", series=series)


def _headlines(
    starts: Mapping[str, list[Start]], init_cpu: Mapping[str, list[float]]
) -> tuple[Headline, ...]:
    def headline(what: str, times_ms: Mapping[str, list[float]], peer: str, target: str = "") -> Headline:
        ours, theirs = (statistics.median(times_ms[label]) for label in (OURS, peer))
        return Headline(what, f"{ours:.0f} ms", f"{theirs:.0f} ms ({peer})", round(theirs / ours, 2), target)

    both = {label: [start.both_ms for start in each] for label, each in starts.items()}
    return (
        headline("cold start: CPU time of init", init_cpu, BOTO3, f"≥ {1 / _TARGET}"),
        headline("cold start: to the first answer", both, BOTO3),
        headline("cold start: to the first answer", both, POWERTOOLS),
    )
