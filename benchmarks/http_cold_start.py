"""Cold starts of the HTTP API's function, beside FastAPI, Mangum and boto3 doing the same."""

import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.coldstart.http_stage import EMPTY, FASTAPI, OURS, REQUEST, staged
from benchmarks.coldstart.imports import by_package, ledger
from benchmarks.coldstart.stage import Stage
from benchmarks.coldstart.start import Start, init_cpu_ms, start
from benchmarks.harness import Headline, Progress, Result, Role, Series, Table, WrongAnswerError
from benchmarks.peers.external import ABSENT, are_installed

QUESTION = "How long does the HTTP API's function take from nothing to its first answer?"
_ROLES: Mapping[str, Role] = {EMPTY: "reference", FASTAPI: "peer", OURS: "ours"}
_TARGET = 0.9
_ROUNDS, _WARM = 15, 200


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Start every handler, in turns, and compare what each answered and asked AWS for. Nothing here is drawn by *seed*."""
    rounds, warm = (1, 3) if quick else (_ROUNDS, _WARM)
    missing = {} if are_installed() else {FASTAPI: ABSENT}
    with (
        tempfile.TemporaryDirectory(prefix="streamgage-http-cold-") as folder,
        staged(Path(folder)) as stage,
    ):
        starts: dict[str, list[Start]] = {label: [] for label in stage.functions}
        init_cpu: dict[str, list[float]] = {label: [] for label in stage.functions}
        for number in range(rounds + (rounds > 1)):  # the first of several warms caches up
            for label, function in stage.functions.items():
                progress(f"round {number + 1}: {label}")
                stage.stub.asked()
                each = start(function, stage.event)
                check(label, each.answer, stage.stub.asked())
                starts[label].append(each)
                init_cpu[label].append(init_cpu_ms(function))
        starts = {label: each[-rounds:] for label, each in starts.items()}
        init_cpu = {label: each[-rounds:] for label, each in init_cpu.items()}
        often = {
            label: list(start(each, stage.event, warm=warm).warm_ms)
            for label, each in stage.functions.items()
        }
        packages = _packages(stage, rounds=1 if quick else 5)
    return Result(
        name="http_cold_start",
        question=QUESTION,
        method=(
            "Each start is a new process of the real Lambda runtime client with an unpacked bundle and its bytecode. Init is "
            "from spawn to the first request for an invocation; the first invocation is one GET of a range, as API Gateway "
            "hands it over, which asks a table over TLS, at a process that answers in place of AWS. Handlers take turns. CPU "
            "time is of the whole process, from nothing to the end of the first invocation."
        ),
        tables=(*_tables(starts), _table("CPU time of init", init_cpu), _table("Warm invocation", often), packages),
        configuration={"rounds": rounds, "warm_invocations": warm, "python": sys.version.split()[0], **stage.config},
        facts={"target": f"ours at most {_TARGET} of FastAPI, Mangum and boto3", "request": REQUEST, "seed": seed},
        missing=missing,
        headlines=_headlines(starts, init_cpu),
        limits=(
            "Lambda adds what it takes to find a machine, fetch and mount the bundle, and start a microVM.",
            "Ours reads the stack's progress and asks the stream how fresh it is, beside what the peer asks: one query.",
            "boto3 lies in the runtime's folder, as on Lambda; the rest of the peer is in its bundle.",
        ),
    )  # fmt: skip


def check(label: str, answer: bytes, asked: Counter[str]) -> None:
    """See that a handler did its work: a 200 without rows, and the table was asked.

    Raises:
        WrongAnswerError: it did not.
    """
    got = json.loads(answer)
    if label == EMPTY:
        right = got is None and not asked
    else:
        body = json.loads(got["body"]) if got and got.get("statusCode") == 200 else {}
        right = (
            body.get("rows") == [] and body.get("left") == 0 and asked["Query"] + asked["BatchGetItem"] > 0
        )
    if not right:
        raise WrongAnswerError(f"{label}: answered {got}, and asked for {dict(asked)}")


def _tables(starts: Mapping[str, list[Start]]) -> tuple[Table, ...]:
    def table(title: str, of: Callable[[Start], float]) -> Table:
        return _table(title, {label: [of(one) for one in each] for label, each in starts.items()})

    return (
        table("Init: from spawn to the first request for an invocation", lambda each: each.init_ms),
        table("From nothing to the first answer", lambda each: each.both_ms),
        table("CPU time from nothing to the first answer", lambda each: each.cpu_ms),
    )


def _table(title: str, samples: Mapping[str, list[float]]) -> Table:
    series = tuple(Series(label, _ROLES[label], tuple(each)) for label, each in samples.items())
    baseline = FASTAPI if FASTAPI in samples else EMPTY
    return Table(title=title, unit="ms", series=series, baseline=baseline)


def _packages(stage: Stage, *, rounds: int) -> Table:
    series = tuple(
        Series(f"{label}: {package}", _ROLES[label], (ms,))
        for label, function in stage.functions.items()
        if label != EMPTY
        for package, ms in list(by_package(ledger(function, rounds=rounds)).items())[:8]
    )
    return Table(title="Imports on top of the runtime client, by package", unit="ms", series=series)


def _headlines(
    starts: Mapping[str, list[Start]], init_cpu: Mapping[str, list[float]]
) -> tuple[Headline, ...]:
    if FASTAPI not in starts:
        return ()

    def headline(what: str, times_ms: Mapping[str, list[float]], target: str = "") -> Headline:
        ours, theirs = (statistics.median(times_ms[label]) for label in (OURS, FASTAPI))
        return Headline(
            what, f"{ours:.0f} ms", f"{theirs:.0f} ms ({FASTAPI})", round(theirs / ours, 2), target
        )

    both = {label: [one.both_ms for one in each] for label, each in starts.items()}
    cpu = {label: [one.cpu_ms for one in each] for label, each in starts.items()}
    return (
        headline("HTTP API, cold start: CPU time to the first answer", cpu, f"≥ {1 / _TARGET:.2f}"),
        headline("HTTP API, cold start: CPU time of init", init_cpu),
        headline("HTTP API, cold start: to the first answer", both),
    )
