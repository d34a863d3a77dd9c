"""End to end: how many events a second the local stack sustains, how fresh its table is, and whether every total is exact.

The load is open-loop, from processes of its own; freshness is counted from when each event was due
(``benchmarks.load``). Every trial has a fresh stack, and compares every total with the senders' own.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Headline, Progress, Result, Series, Table, WrongAnswerError
from benchmarks.load.freshness import over_time
from benchmarks.load.trial import Load, Trial, run_trial
from benchmarks.load.verdict import SLOPE, Verdict, judge, search
from streamgage.limits import SHARD_IN_BYTES_PER_S

QUESTION = "How many events/s does the local stack sustain, how fresh is its table, and is every total exact?"

LOAD = Load(rate_per_s=50_000, seconds=40, devices=100, senders=2, pipeline=str(ROOT / "pipeline.toml"))
MANY_WINDOW_S = 20
MANY = replace(
    LOAD,
    devices=15_000,
    seconds=100,
    batching_window_s=MANY_WINDOW_S,
    p99_s=MANY_WINDOW_S + 10,
    blocks=True,
    drain_s=120,
)
"""30,000 keys x 3 windows: five batching windows, so that four are measured."""
_SMALL = replace(LOAD, rate_per_s=2_000, seconds=1, shards=2, batching_window_s=1, drain_s=30)
QUICK, QUICK_MANY = replace(_SMALL, devices=10), replace(_SMALL, devices=500, blocks=True)
FORMS = {"rows": False, "blocks": True}  # an Avro user record an event, or compressed columns of many
MANY_KEYS = "many keys"
PROBE_S = 25.0
PROBES = 3  # from 50,000 up to 168,750 at most: beyond some 200,000 a series would have two events in a millisecond
MANY_PROBES = 1
_POINTS = 20

_METHOD = """\
The whole local stack (our Kinesis, event source mapping, sandboxes of the real Lambda runtime client, its DynamoDB) and the
load on one machine: 200 keys in rows and in blocks, and {keys:,} keys in blocks, all with windows of a minute, an hour and a
day and all eight measures. Event n is due at start + n/rate, whatever became of those before it (open loop); its
freshness is the time from then until a look at its shard's progress item shows it applied, by when its windows can be
queried: an upper bound, too long by the time between two looks at most. HdrHistogram, three digits; the first batching
window is warm-up. CPU from /proc, by process, from the first event until all is applied. Sustained: all totals exact, the
sender on schedule, p99 within two batching windows and 5 s (with many keys: one and 10 s), and freshness grows by at most {slope} s a second (a straight
line through means of bins as long as the batching window)."""

_LIMITS = (
    "One machine does everything, the load too: on AWS each part has cores of its own.",
    "Our Kinesis ran without the limits of a shard; what the fullest shard took is among the facts.",
)


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure a fixed rate in both forms, then search the highest that is sustained; quick: small, for the totals.

    Raises:
        WrongAnswerError: a total is not what was sent.
    """
    load = replace(QUICK if quick else LOAD, seed=seed)
    many = replace(QUICK_MANY if quick else MANY, seed=seed)
    found = {form: _try(replace(load, blocks=blocks), progress) for form, blocks in FORMS.items()}
    found[MANY_KEYS] = _try(many, progress)
    probes: list[Verdict] = []
    many_probes: list[Verdict] = []
    if not quick:
        probes = _search(replace(load, blocks=True, seconds=PROBE_S), found["blocks"][1], PROBES, progress)
        many_probes = _search(many, found[MANY_KEYS][1], MANY_PROBES, progress)
    return Result(
        name="pipeline",
        question=QUESTION,
        method=_METHOD.format(slope=SLOPE, keys=many.devices * many.metrics),
        tables=(
            *_tables(found, load),
            *([_search_table("200 keys", probes)] if probes else []),
            *([_search_table("30,000 keys", many_probes)] if many_probes else []),
        ),
        configuration=asdict(load)
        | {"devices_with_many_keys": many.devices}
        | {"pipeline": Path(load.pipeline).name, "probe_s": PROBE_S},
        facts={form: facts(*each) for form, each in found.items()}
        | {"probes": [_probe(each) for each in (*probes, *many_probes)]},
        headlines=_headlines(many_probes, found[MANY_KEYS][1], probes),
        missing={
            f"totals, {form}": "not all was applied when the time was up"
            for form, (trial, _) in found.items()
            if not trial.drained
        },
        limits=_LIMITS,
    )


def _headlines(
    many_probes: Sequence[Verdict], many: Verdict, probes: Sequence[Verdict]
) -> tuple[Headline, ...]:
    headlines = []
    for keys, tried, target in (
        ("30,000 keys x 3 windows", many_probes, 50_000),
        ("200 keys", probes, 150_000),
    ):
        sustained = max((each.rate_per_s for each in tried if each.sustained), default=None)
        if sustained is not None:
            headlines.append(
                Headline(
                    what=f"the local stack, end to end, {keys}, every total exact: highest rate tried that was sustained, blocks",
                    ours=f"{sustained:,.0f} events/s",
                    peer="",
                    ratio=None,
                    target=f"≥ {target:,}",
                    first=True,
                )
            )
    if many_probes:
        p99_s = many.freshness_ms["p99"] / 1000
        headlines.append(
            Headline(
                what=f"freshness, p99, at {many.rate_per_s:,.0f} events/s over 30,000 keys, batching window {MANY_WINDOW_S} s",
                ours=f"{p99_s:.1f} s",
                peer="",
                ratio=None,
                target=f"≤ {MANY.p99_s:.0f} s",
                first=True,
            )
        )
    return tuple(headlines)


def _search(load: Load, known: Verdict, probes: int, progress: Progress) -> list[Verdict]:
    verdicts = [known]

    def sustained_at(rate: float) -> bool:
        _, verdict = _try(replace(load, rate_per_s=round(rate)), progress)
        verdicts.append(verdict)
        return verdict.sustained

    search(sustained_at, low=load.rate_per_s, known=known.sustained, probes=probes)
    return verdicts


def _try(load: Load, progress: Progress) -> tuple[Trial, Verdict]:
    form = "blocks" if load.blocks else "rows"
    progress(
        f"{load.rate_per_s:,.0f} events/s of {load.devices * load.metrics:,} keys in {form} for {load.seconds:.0f} s"
    )
    with tempfile.TemporaryDirectory(prefix="streamgage-bench-") as folder:
        trial = run_trial(load, Path(folder))
    if trial.differences:
        raise WrongAnswerError(
            f"at {load.rate_per_s:,.0f} events/s {len(trial.differences)} of {trial.rows} totals are not what was sent; "
            f"the first: {trial.differences[0]}"
        )
    return trial, judge(trial)


def facts(trial: Trial, verdict: Verdict) -> dict[str, Any]:
    """Return what is known of *trial* beside its tables."""
    batches = trial.batches
    cpu_s = sum(trial.cpu_s.values())
    return {
        "sustained": verdict.sustained,
        "reasons": list(verdict.reasons),
        "events": trial.events,
        "exact_totals": trial.rows if trial.drained else None,
        "applied_per_s": round(trial.events / trial.elapsed_s),
        "freshness_ms": verdict.freshness_ms,
        "freshness_slope": verdict.slope,
        "sampling": trial.resolution,
        "sender_late_ms": round(max(each.late_ms for each in trial.senders)),
        "cpu_us_per_event": round(cpu_s / trial.events * 1e6, 2),
        "cores_used": round(cpu_s / trial.elapsed_s, 2),
        "cores_used_by_others": round(max(0.0, trial.machine_cpu_s - cpu_s) / trial.elapsed_s, 2),
        "kinesis_records": trial.kinesis_records,
        "bytes_per_event": round(trial.kinesis_bytes / trial.events, 1),
        "fullest_shard": {
            "bytes_per_s": round(max(trial.bytes_by_shard.values()) / trial.load.seconds),
            "limit_bytes_per_s": SHARD_IN_BYTES_PER_S,
        },
        "batches": len(batches),
        "writes": sum(each["writes"] + each["progress_writes"] for each in batches),
        "writes_per_s": round(sum(each["writes"] for each in batches) / trial.elapsed_s),
        "conflicts": sum(each["conflicts"] for each in batches),
    }


def _tables(found: Mapping[str, tuple[Trial, Verdict]], load: Load) -> list[Table]:
    rate = f"{load.rate_per_s:,.0f} events/s"
    return [
        Table(
            title=f"Freshness at {rate}",
            unit="s",
            series=tuple(
                Series(f"{form}, {name}", "ours", (value_ms / 1000,))
                for form, (_, verdict) in found.items()
                for name, value_ms in verdict.freshness_ms.items()
            ),
        ),
        Table(
            title=f"CPU at {rate}, by process",
            unit="µs/event",
            series=tuple(
                Series(f"{form}, {role}", "ours", (used_s / trial.events * 1e6,))
                for form, (trial, _) in found.items()
                for role, used_s in trial.cpu_s.items()
            ),
        ),
        Table(
            title=f"Freshness over time at {rate}",
            unit="s",
            series=tuple(
                Series(f"{form}, {label}", "ours", (point[name] / 1000,), at=point["due_s"])
                for form, (trial, _) in found.items()
                for label, name in (("median", "p50_ms"), ("p99", "p99_ms"))
                for point in _points(trial)
            ),
            x="due, seconds after the first event",
        ),
    ]


def _points(trial: Trial) -> list[dict[str, float]]:
    line = over_time(trial.latencies.by_second)
    return line[:: max(1, len(line) // _POINTS)]


def _search_table(keys: str, verdicts: Sequence[Verdict]) -> Table:
    ordered = sorted(verdicts, key=lambda each: each.rate_per_s)
    return Table(
        title=f"The highest rate that is sustained, {keys}, in blocks: p99 freshness by rate",
        unit="s",
        series=tuple(
            Series(
                "sustained" if each.sustained else "not sustained",
                "ours",
                (each.freshness_ms["p99"] / 1000,),
                at=each.rate_per_s,
            )
            for each in ordered
        ),
        x="events/s",
    )


def _probe(verdict: Verdict) -> dict[str, Any]:
    return {
        "rate_per_s": verdict.rate_per_s,
        "sustained": verdict.sustained,
        "p99_ms": verdict.freshness_ms["p99"],
        "slope": verdict.slope,
        "reasons": list(verdict.reasons),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one trial of a load of one's own, and print its facts: ``python -m benchmarks.pipeline --rate 30000``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=main.__doc__)
    parser.add_argument("--rate", type=float, default=LOAD.rate_per_s, help="events a second (%(default)s)")
    for name, default in (
        ("seconds", LOAD.seconds),
        ("devices", LOAD.devices),
        ("senders", LOAD.senders),
        ("shards", LOAD.shards),
        ("batching-window-s", LOAD.batching_window_s),
        ("memory-mb", LOAD.memory_mb),
        ("seed", LOAD.seed),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help="%(default)s")
    parser.add_argument("--pipeline", default=LOAD.pipeline)
    parser.add_argument("--blocks", action="store_true", help="send blocks of events, not rows")
    given = vars(parser.parse_args(arguments))
    trial, verdict = _try(Load(rate_per_s=given.pop("rate"), **given), lambda what: print(what, flush=True))
    cpu = {role: round(used_s / trial.events * 1e6, 2) for role, used_s in trial.cpu_s.items()}
    for name, fact in (facts(trial, verdict) | {"cpu_us_per_event_by_process": cpu}).items():
        print(f"{name:28} {fact}")
    return 0 if verdict.sustained else 1


if __name__ == "__main__":
    sys.exit(main())
