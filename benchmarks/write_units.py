"""How many DynamoDB write units a million events cost, counted, and which lever gives what."""

import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, pairwise
from typing import Any

from benchmarks.events import variant_pipeline
from benchmarks.harness import Headline, Progress, Result, Role, Series, Table, WrongAnswerError
from benchmarks.shard_slice import Driven, Put, ReferenceLoad, Wire, cut, drive, shard_records, wire_of
from infra.aws.cost.counting import CountingTable, Item
from infra.aws.cost.item_size import item_size_bytes, value_size_bytes, write_units
from processors.aggregate.progress import SHARDS_PK
from streamgage.definition.pipeline import Pipeline
from streamgage.measures.monoids import MEASURES

QUESTION = "how many DynamoDB write units does a million events take, and which lever gives what?"
METHOD = """The real producer (Batcher, linger 100 ms), the real function (progress, fold, fenced sink, boto3 adapter) and a
table in memory that counts units as AWS bills them (item bytes by the documented rules, 1 kB a unit, failed conditions
included). How many events fit into 6 MB of payload is measured at the full rate of one shard; then a few devices of that
shard are driven, their batches cut at their share of it: keys are uniform, so units an event are those of the stream. All
eight measures; the first batch warms up. Peer (a) writes one UpdateItem a record, its item under 1 kB."""
LIMITS = (
    "Keys are uniform and report on time; bursts, skew and late events cost more (a line shows 2 % late by up to 2 minutes).",
    "One producer: several fill smaller records, so 6 MB of payload holds fewer events.",
    "AWS's own billing was not at hand: DynamoDB Local agrees with the item sizes (tests/local/test_item_size_local.py).",
)
WINDOWS = {"1 window": ("1m",), "3 windows": ("1m", "1h", "1d")}
SHARDS = 12
PEER = 1_000_000
TARGET_RATIO = 20
_BATCHING_S = (5, 10, 20, 30, 60, 120, 300)
_SHARDS = (2, 4, 8, 16, 32, 64)
_LONG_DIGITS = re.compile(r"\d{50,}")


@dataclass(frozen=True, slots=True)
class Case:
    """One configuration."""

    load: ReferenceLoad
    windows: str
    blocks: bool
    batching_s: int
    sandboxes: int = 1
    cached_items: int = 50_000


@cache
def pipeline_of(windows: str) -> Pipeline:
    """Return the definition with these windows and all measures."""
    return variant_pipeline(windows=WINDOWS[windows], measures=MEASURES)


@cache
def wire_at_full_rate(load: ReferenceLoad, *, blocks: bool) -> Wire:
    """Return what the events of one whole shard take on the way."""
    puts = shard_records(load, pipeline_of("1 window"), devices=load.shard_devices, seconds=4, blocks=blocks)
    return wire_of(puts)


@cache
def _slice(load: ReferenceLoad, devices: int, seconds: int) -> Sequence[Put]:
    # How its events are encoded does not matter here: batches are cut by their number.
    return shard_records(load, pipeline_of("1 window"), devices=devices, seconds=seconds)


def measure(case: Case, *, events: int) -> Driven:
    """Drive about *events* events of one shard of *case* through the real function."""
    load = case.load
    full = wire_at_full_rate(load, blocks=case.blocks).batch_events
    batch_s = min(case.batching_s, full / load.shard_events_per_s) + load.linger_ms / 1000
    warm_up = 1 if case.sandboxes == 1 else 3 * case.sandboxes
    seconds = round(max(300, 8 * batch_s) + (warm_up + 1) * batch_s)
    devices = max(2, min(load.shard_devices, round(events / seconds / load.metrics)))
    share = devices * load.metrics * 1000 / load.period_ms / load.shard_events_per_s
    batches = cut(_slice(load, devices, seconds), window_ms=case.batching_s * 1000, batch_events=full * share)
    return drive(
        batches,
        pipeline_of(case.windows),
        share=share,
        sandboxes=case.sandboxes,
        cached_items=case.cached_items,
        warm_up=warm_up,
    )


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Sweep batching window, shards, blocks and windows; then each further lever alone.

    Raises:
        WrongAnswerError: more blocks, shards or seconds a batch made more writes.
    """
    events = 2_500 if quick else 24_000
    load = ReferenceLoad(shards=SHARDS, seed=seed)
    batching = (5, 60) if quick else _BATCHING_S
    shards = (4, 16) if quick else _SHARDS
    tables = []

    def units(case: Case) -> float:
        progress(
            f"{case.load.shards} shards, {case.batching_s} s, {case.windows}, {'blocks' if case.blocks else 'rows'}"
        )
        return measure(case, events=events).write_units_per_million

    def lines(cases: Sequence[tuple[float, Case]]) -> Iterator[Series]:
        for windows in WINDOWS:
            for blocks in (False, True):
                label = f"{'blocks' if blocks else 'rows'}, {windows}"
                for at, case in cases:
                    yield _series(label, "ours", units(replace(case, windows=windows, blocks=blocks)), at=at)

    usual = Case(load, "1 window", blocks=False, batching_s=60)
    tables.append(
        Table(
            f"write units a million events by batching window, {SHARDS} shards",
            "write units",
            tuple(lines([(each, replace(usual, batching_s=each)) for each in batching])),
            x="batching window, s",
            log_x=True,
            log_y=True,
        )
    )
    tables.append(
        Table(
            "write units a million events by shards, batching window 300 s",
            "write units",
            tuple(
                lines(
                    [
                        (each, replace(usual, load=replace(load, shards=each), batching_s=300))
                        for each in shards
                    ]
                )
            ),
            x="shards",
            log_x=True,
            log_y=True,
        )
    )
    best = {label: _lowest(tables[0], f"blocks, {label}", at=60) for label in WINDOWS}
    _check_monotone(tables)
    levers, facts = _levers(usual, events=events, progress=progress)
    return Result(
        name="write_units",
        question=QUESTION,
        method=METHOD,
        tables=(*tables, levers),
        configuration={
            "events_per_s": load.events_per_s, "devices": load.devices, "metrics": load.metrics,
            "period_ms": load.period_ms, "linger_ms": load.linger_ms, "measures": list(MEASURES),
            "windows": {label: list(each) for label, each in WINDOWS.items()}, "driven_events": events,
        },
        facts=facts,
        headlines=tuple(
            Headline(
                what=f"write units a million events, {label}, batching window 60 s, {SHARDS} shards, blocks",
                ours=f"{units_:,.0f}",
                peer=f"{PEER:,}",
                ratio=PEER / units_,
                target=f"≥ {TARGET_RATIO}",
            )
            for label, units_ in best.items()
        ),
        limits=LIMITS,
    )  # fmt: skip


def _levers(usual: Case, *, events: int, progress: Progress) -> tuple[Table, dict[str, Any]]:
    """Return what each further lever gives alone, with 3 windows and blocks, and what an item is made of."""
    base = replace(usual, windows="3 windows", blocks=True)
    sandboxes = base.load.shards
    cases = {
        "as it is: 60 s, a shard's batches stay in one sandbox": base,
        "batches go to any of the sandboxes": replace(base, sandboxes=sandboxes, batching_s=30),
        "the same 30 s, one sandbox": replace(base, batching_s=30),
        "the same 30 s, any sandbox, nothing remembered": replace(
            base, sandboxes=sandboxes, batching_s=30, cached_items=0
        ),
        "2 % of events late by up to 2 minutes": replace(base, load=replace(base.load, late_share=0.02)),
    }
    series = [_series("peer (a): one UpdateItem a record", "peer", PEER)]
    facts: dict[str, Any] = {}
    for label, case in cases.items():
        progress(label)
        driven = measure(case, events=events if case.sandboxes == 1 else events // 2)
        series.append(_series(label, "ours", driven.write_units_per_million))
        facts[label] = {
            "write_units": driven.write_units_per_million,
            "of_failed_conditions": driven.failed_write_units_per_million,
            "of_progress": driven.progress_write_units_per_million,
            "read_units": driven.read_units_per_million,
            "batch_seconds": driven.batch_seconds,
        }
        if case is base:
            pivot = pivoted_units(driven.table)
            series.append(
                _series(
                    "if the three metrics of a device shared an item",
                    "reference",
                    driven.write_units_per_million * pivot["units_ratio"],
                )
            )
            facts["item"] = item_bytes(driven.table)
            facts["pivot"] = pivot
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


def item_bytes(table: CountingTable) -> dict[str, float]:
    """Return the bytes of the median aggregate item by attribute; ``sequence_numbers`` are those inside the state."""
    items = _aggregates(table)
    sizes = sorted(items, key=item_size_bytes)
    median = sizes[len(sizes) // 2]
    found: dict[str, float] = {name: len(name) + value_size_bytes(value) for name, value in median.items()}
    found["all"] = item_size_bytes(median)
    digits = sum(map(len, _LONG_DIGITS.findall(median["body"]["B"].decode())))
    found["sequence_numbers"] = digits
    found["sequence_numbers_share"] = digits / found["all"]
    found["largest"] = max(map(item_size_bytes, items))
    return found


def pivoted_units(table: CountingTable) -> dict[str, float]:
    """Return what one item for all metrics of a device would weigh: what they share once, their states each.

    ``units_ratio`` is its write units over those of the items that it replaces.
    """

    def group(item: Item) -> tuple[str, str]:
        return item["pk"]["S"].rpartition("|")[0], item["sk"]["S"]

    bytes_, before, after = [], 0, 0
    for _, members in groupby(sorted(_aggregates(table), key=group), key=group):
        items = list(members)
        own = sum(value_size_bytes(each["body"]) + len(each["pk"]["S"].rpartition("|")[2]) for each in items)
        shared = item_size_bytes({name: value for name, value in items[0].items() if name != "body"})
        bytes_.append(shared + own + len("body"))
        before += sum(write_units(item_size_bytes(each)) for each in items)
        after += write_units(bytes_[-1])
    return {"bytes": statistics.median(bytes_), "largest": max(bytes_), "units_ratio": after / before}


def _aggregates(table: CountingTable) -> list[Item]:
    return [item for (pk, _), item in table.rows.items() if not pk.startswith(SHARDS_PK)]


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
