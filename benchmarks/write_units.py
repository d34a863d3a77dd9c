"""How many DynamoDB write units a million events cost, counted: by batching window, shards and keys, and by lever."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, pairwise
from typing import Any

from benchmarks.clicks import clicks_of
from benchmarks.events import variant_pipeline
from benchmarks.harness import Headline, Progress, Result, Role, Series, Table, WrongAnswerError
from benchmarks.shard_slice import (
    CACHED_BYTES,
    Driven,
    Put,
    ReferenceLoad,
    Wire,
    cut,
    drive,
    shard_records,
    wire_of,
)
from infra.aws.cost.counting import CountingTable, Item
from infra.aws.cost.item_size import item_size_bytes, value_size_bytes
from streamgage.definition.pipeline import Pipeline
from streamgage.fold.chunk import decode_chunk
from streamgage.fold.items import window_start_ms
from streamgage.measures.catalogue import MEASURES

QUESTION = "how many DynamoDB write units does a million events take, and which lever gives what?"
METHOD = """The real producer (Batcher, linger 100 ms, blocks), the real function (progress, fold, fenced sink) and a table
in memory that counts units as AWS bills them (item bytes by the documented rules, 1 kB a unit, failed conditions included).
One whole shard is driven, with all its keys, for two minutes or two batches; the first batch warms up. How many events fit
into 6 MB of payload is measured at its full rate, in rows and in blocks, and batches end there too. All eight measures.
Peer (a) writes one UpdateItem a record, its item under 1 kB."""
LIMITS = (
    "Clickstream: 3,000 clicks/s of 1,000,000 visitors a day. In the evening hashes have spread those who come together.",
    "Keys are uniform and report on time; bursts, skew and late events cost more (a line shows 2 % late by up to 2 minutes).",
    "One producer: several fill smaller records, so 6 MB of payload holds fewer events.",
    "AWS's own billing was not at hand: DynamoDB Local agrees with the item sizes (tests/local/test_item_size_local.py).",
    "The day is young: what its items grow to, the planner's model adds; a key's state grows by less than a tenth.",
)
WINDOWS = {"1 window": ("1m",), "3 windows": ("1m", "1h", "1d")}
SHARDS = 12
PEER = 1_000_000
MOST_UNITS = {5: 32_000, 60: 4_000}  # three windows, at so many seconds
_BATCHING_S = (5, 20, 60, 300)
_SHARDS = (4, 8, 16, 32, 64)
_DEVICES = (100, 1_000, 10_000, 100_000, 1_000_000)
_DRIVEN_S = 120


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration."""

    load: ReferenceLoad
    windows: str
    blocks: bool
    batching_s: int
    sandboxes: int = 1
    cached_bytes: int = CACHED_BYTES


@cache
def pipeline_of(windows: str) -> Pipeline:
    """Return the definition with these windows and all measures."""
    return variant_pipeline(windows=WINDOWS[windows], measures=list(MEASURES))


@cache
def wire_at_full_rate(load: ReferenceLoad, *, blocks: bool) -> Wire:
    """Return what the events of one whole shard take on the way."""
    return wire_of(shard_records(load, pipeline_of("1 window"), seconds=4, blocks=blocks))


_driven: dict[ReferenceLoad, tuple[float, list[Put]]] = {}


def _puts(load: ReferenceLoad, seconds: float) -> Sequence[Put]:
    """Return what one shard is sent in *seconds*. How its events are encoded does not matter: batches are cut by number."""
    known_s, puts = _driven.get(load, (0.0, []))
    if known_s < seconds:
        _driven.clear()  # one is some MB
        puts = shard_records(load, pipeline_of("1 window"), seconds=seconds, blocks=True)
        _driven[load] = seconds, puts
    until_ms = puts[0].record.arrival_ms + seconds * 1000
    return [each for each in puts if each.record.arrival_ms <= until_ms]


def measure(case: Case, *, seconds: float = _DRIVEN_S) -> Driven:
    """Drive one shard of *case* through the real function for *seconds*, or two batches."""
    load = case.load
    full = wire_at_full_rate(load, blocks=case.blocks).batch_events
    batch_s = min(case.batching_s, full / load.shard_events_per_s) + 2 * load.linger_ms / 1000
    warm_up = 1 if case.sandboxes == 1 else 3 * case.sandboxes
    if load.period_ms > batch_s * 1000:  # until each key was heard once
        warm_up += math.ceil(load.period_ms / batch_s / 1000)
    puts = _puts(load, (warm_up + max(2, math.ceil(seconds / batch_s)) + 0.5) * batch_s)
    return drive(
        cut(puts, window_ms=case.batching_s * 1000, batch_events=full),
        pipeline_of(case.windows),
        sandboxes=case.sandboxes,
        cached_bytes=case.cached_bytes,
        warm_up=warm_up,
    )


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Sweep batching window, shards, keys, forms and windows; then each further lever alone.

    Raises:
        WrongAnswerError: more blocks, shards or seconds a batch made more writes.
    """
    load = ReferenceLoad(shards=SHARDS, seed=seed)
    if quick:
        load = replace(load, devices=1_200, period_ms=2_000)
    batching = (5, 60) if quick else _BATCHING_S
    seconds = 60 if quick else _DRIVEN_S

    def units(case: Case) -> float:
        progress(
            f"{case.load.shards} shards, {case.load.devices:,} devices, {case.batching_s} s, {case.windows}, "
            f"{'blocks' if case.blocks else 'rows'}"
        )
        return measure(case, seconds=seconds).write_units_per_million

    def lines(cases: Sequence[tuple[float, Case]], forms: Sequence[bool]) -> Iterator[Series]:
        measured: dict[tuple[str, bool, float], float] = {}
        for at, case in cases:
            for windows in WINDOWS:
                for blocks in forms:
                    measured[windows, blocks, at] = units(replace(case, windows=windows, blocks=blocks))
        for (windows, blocks, at), value in sorted(measured.items()):
            yield _series(f"{'blocks' if blocks else 'rows'}, {windows}", "ours", value, at=at)

    usual = Case(load, "1 window", blocks=True, batching_s=60)
    by_window = Table(
        f"write units a million events by batching window, {SHARDS} shards",
        "write units",
        tuple(lines([(each, replace(usual, batching_s=each)) for each in reversed(batching)], (False, True))),
        x="batching window, s",
        log_x=True,
        log_y=True,
    )
    by_keys = Table(
        f"write units a million events by keys at {load.events_per_s:,.0f} events/s, {SHARDS} shards, batching window 60 s",
        "write units",
        tuple(
            lines(
                [
                    (each.devices * each.metrics, replace(usual, load=each))
                    for each in _fleets(load, quick=quick)
                ],
                (True,),
            )
        ),
        x="keys",
        log_x=True,
        log_y=True,
    )
    by_shards = Table(
        "write units a million events by shards, batching window 60 s",
        "write units",
        tuple(
            lines(
                [
                    (each, replace(usual, load=replace(load, shards=each)))
                    for each in ((8, 16) if quick else _SHARDS)
                ],
                (True,),
            )
        ),
        x="shards",
        log_x=True,
        log_y=True,
    )
    _check_monotone([by_window])
    levers, facts = _levers(usual, seconds=seconds, quick=quick, progress=progress)
    return Result(
        name="write_units",
        question=QUESTION,
        method=METHOD,
        tables=(by_window, by_keys, by_shards, levers),
        configuration={
            "events_per_s": load.events_per_s, "devices": load.devices, "metrics": load.metrics,
            "period_ms": load.period_ms, "linger_ms": load.linger_ms, "measures": list(MEASURES),
            "windows": {label: list(each) for label, each in WINDOWS.items()}, "driven_s": seconds,
        },
        facts=facts,
        headlines=tuple(_headline(by_window, batching_s, most) for batching_s, most in MOST_UNITS.items()),
        limits=LIMITS,
    )  # fmt: skip


def _headline(table: Table, batching_s: int, most: int) -> Headline:
    units = _lowest(table, "blocks, 3 windows", at=batching_s)
    return Headline(
        what=f"write units a million events, 30,000 keys x 3 windows, batching window {batching_s} s, {SHARDS} shards",
        ours=f"{units:,.0f}",
        peer=f"{len(WINDOWS['3 windows']) * PEER:,} (an UpdateItem an event and window)",
        ratio=len(WINDOWS["3 windows"]) * PEER / units,
        target=f"≤ {most:,}",
        first=True,
    )


def _fleets(load: ReferenceLoad, *, quick: bool) -> list[ReferenceLoad]:
    """Return fleets of more and fewer devices that send as many events a second."""
    devices = (120, 1_200) if quick else _DEVICES
    return [
        replace(load, devices=each, period_ms=max(4, round(load.period_ms * each / load.devices)))
        for each in devices
    ]


def _levers(usual: Case, *, seconds: float, quick: bool, progress: Progress) -> tuple[Table, dict[str, Any]]:
    """Return what each further lever gives alone, with 3 windows, and what an item is made of."""
    base = replace(usual, windows="3 windows")
    cases = {
        "as it is: 60 s, a shard's batches stay in one sandbox": base,
        "20 s": replace(base, batching_s=20),
        "20 s, batches go to any of 4 sandboxes": replace(base, sandboxes=4, batching_s=20),
        "20 s, any sandbox, nothing remembered": replace(base, sandboxes=4, batching_s=20, cached_bytes=0),
        "2 % of events late by up to 2 minutes": replace(base, load=replace(base.load, late_share=0.02)),
    }
    series = [_series("peer (a): one UpdateItem a record", "peer", PEER)]
    facts: dict[str, Any] = {}
    for label, case in cases.items():
        progress(label)
        driven = measure(case, seconds=seconds)
        series.append(_series(label, "ours", driven.write_units_per_million))
        facts[label] = facts_of(driven)
        if case is base:
            facts["item"] = item_bytes(driven.table, pipeline_of(base.windows))
    for evening in (False, True):
        label = f"clickstream, a rollup a visitor and one a page: {'evening' if evening else 'morning'}"
        progress(label)
        driven = clicks_of(batching_s=5 if quick else 60, evening=evening, quick=quick)
        series.append(_series(label, "ours", driven.write_units_per_million))
        facts[label] = facts_of(driven)
    for blocks in (False, True):
        wire = wire_at_full_rate(usual.load, blocks=blocks)
        facts["wire, blocks" if blocks else "wire, rows"] = {
            "bytes_an_event": wire.data_bytes,
            "payload_bytes_an_event": wire.payload_bytes,
            "events_of_a_full_batch": wire.batch_events,
            "seconds_of_a_full_batch": wire.batch_events / usual.load.shard_events_per_s,
        }
    table = Table(
        f"levers, {base.load.shards} shards, 3 windows",
        "write units",
        tuple(series),
        baseline=series[0].label,
    )
    return table, facts


def facts_of(driven: Driven) -> dict[str, float]:
    """Return what was counted, a million events."""
    return {
        "write_units": driven.write_units_per_million,
        "of_failed_conditions": driven.failed_write_units_per_million,
        "of_progress": driven.progress_write_units_per_million,
        "read_units": driven.read_units_per_million,
        "batch_seconds": driven.batch_seconds,
    }


def item_bytes(table: CountingTable, pipeline: Pipeline) -> dict[str, float]:
    """Return the bytes of the median aggregate item by attribute, and how many keys an item holds."""
    items = [item for (pk, _), item in table.rows.items() if not pk.startswith("~")]
    median = sorted(items, key=item_size_bytes)[len(items) // 2]
    found: dict[str, float] = {name: len(name) + value_size_bytes(value) for name, value in median.items()}
    found["all"] = item_size_bytes(median)
    found["largest"] = max(map(item_size_bytes, items))
    found["keys"] = chunk_keys(median, pipeline)
    found["keys_of_all_items"] = sum(chunk_keys(each, pipeline) for each in items)
    found["items"] = len(items)
    return found


def chunk_keys(item: Item, pipeline: Pipeline) -> int:
    """Return how many keys *item* holds."""
    rollup = pipeline.rollups[item["pk"]["S"].partition(".")[0]]
    chunk = decode_chunk(item["body"]["B"], rollup.layout, start_ms=window_start_ms(item["sk"]["S"]))
    return len(chunk.keys)


def _series(label: str, role: Role, value: float, *, at: float | None = None) -> Series:
    return Series(label, role, (value,), at)


def _lowest(table: Table, label: str, *, at: float) -> float:
    return next(each.median for each in table.series if each.label == label and each.at == at)


def _check_monotone(tables: Sequence[Table]) -> None:
    """Longer batches never write more: 3 % are for the luck of where windows end."""
    for table in tables:
        for label, series in groupby(table.series, key=lambda each: each.label):
            values = [each.median for each in series]
            if any(after > 1.03 * before for before, after in pairwise(values)):
                raise WrongAnswerError(f"{table.title}: {label} grows: {values}")
