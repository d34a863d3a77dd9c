"""Run a schedule of what Lambda may do against the real handler, and judge it by an oracle that shares none of its code."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any
from zlib import crc32

from processors.aggregate.batch import Aggregate
from support.fakes import Crash, World, invoke
from support.strategies import Entry, Step

SIZES_MS = {"1m": 60_000, "90s": 90_000, "1h": 3_600_000, "1d": 86_400_000}
ROLLUPS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], dict[str, int]]] = {
    # name: source, key, windows, decimal places of each measured field; as strategies.DEFINITION says
    "device_metrics": ("reading", ("device_id", "metric"), ("1m", "90s", "1h"), {"value": 9}),
    "page_views": ("click", ("page",), ("1h",), {"bytes": 0}),
    "visits": ("click", ("visitor_id",), ("1d",), {"ts": 0, "bytes": 0}),
}
Place = tuple[str, tuple[str, ...], str, int]
"""Rollup, key, window label, window start."""
_Order = tuple[int, str, str, int, int]


class Attack:
    """The lanes of a stream, and Lambda's checkpoint on each, while a schedule runs."""

    def __init__(self, world: World, lanes: Sequence[Sequence[Entry]]) -> None:
        self.world = world
        self.lanes = [[entry.record for entry in lane] for lane in lanes]
        self.checkpoints = [0] * len(lanes)
        self.sandboxes: dict[object, Aggregate] = {}

    def run(self, steps: Iterable[Step]) -> None:
        """Take each step, then let calm return and the rest of each lane be delivered."""
        for step in steps:
            self._take(step)
        self._arm()
        for lane, records in enumerate(self.lanes):
            for start in range(self.checkpoints[lane], len(records), 3):
                self.world.clock.begin()
                assert invoke(self._sandbox(0), records[start : start + 3]) is None

    def _take(self, step: Step) -> None:
        lane = step.lane % len(self.lanes)
        start, stop = self._cut(lane, step.back, step.length)
        batch = self.lanes[lane][start:stop]
        if step.stutter:
            batch = batch[: len(batch) // 2 + 1] + batch
        overtake = {}
        if step.overtaken_at is not None:
            overtake[step.overtaken_at] = lambda: self._overtake(lane, step)
        self.world.store.writes.arm(step.write_faults, overtake)
        self.world.store.reads.arm(step.read_faults)
        self.world.quarantine.sends.arm(step.quarantine_faults)
        self.world.clock.begin(step.asked)
        who = step.sandbox
        try:
            failed_from = invoke(self._sandbox(who), batch)
        except Crash:
            del self.sandboxes[who]
            return
        if step.zombie:
            return
        durable = stop if failed_from is None else self._index(lane, failed_from)
        assert start <= durable <= stop
        self.checkpoints[lane] = max(self.checkpoints[lane], durable)

    def _overtake(self, lane: int, step: Step) -> None:
        start, stop = self._cut(lane, step.overtaken_back, step.length + 1)
        try:
            invoke(self._sandbox("overtaking"), self.lanes[lane][start:stop])
        except Crash:
            del self.sandboxes["overtaking"]

    def _cut(self, lane: int, back: int, length: int) -> tuple[int, int]:
        """Return a cut that Lambda may deliver: everything before its start is durable."""
        size = len(self.lanes[lane])
        start = max(0, min(self.checkpoints[lane], size - 1) - back)
        return start, min(size, start + 1 + length)

    def _index(self, lane: int, sequence_number: int) -> int:
        return [record.sequence_number for record in self.lanes[lane]].index(sequence_number)

    def _sandbox(self, who: object) -> Aggregate:
        if who not in self.sandboxes:
            self.sandboxes[who] = self.world.sandbox()
        return self.sandboxes[who]

    def _arm(self) -> None:
        for faulty in (self.world.store.writes, self.world.store.reads, self.world.quarantine.sends):
            faulty.arm()


def shared_out(log: Iterable[Entry], shares: int) -> list[list[Entry]]:
    """Return *log* as Lambda hands it out by partition key, to so many invocations at once: each key to one of them."""
    lanes: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in log:
        lanes[crc32(entry.record.partition_key.encode()) % shares].append(entry)
    return list(lanes.values())


def judge(world: World, log: Sequence[Entry]) -> None:
    """Compare the table and the quarantine of *world* with what *log* holds."""
    expected = one_pass(log, by_key=world.lanes.by_key)
    assert answers(world) == expected, "what is stored, asked for all keys of all windows"
    for place, answer in expected.items():
        rollup, key, label, start_ms = place
        named = dict(zip(ROLLUPS[rollup][1], key, strict=True))
        rows = world.ask(rollup, named, label, from_ms=start_ms, to_ms=start_ms + 1)
        assert [(row.window.start_ms, row.window.end_ms) for row in rows] == [
            (start_ms, start_ms + SIZES_MS[label])
        ], place
        assert {"events": rows[0].events, **rows[0].values} == answer, place
    kept = {
        (each.shard_id, each.sequence_number, each.sub_sequence_number, tuple(each.codes), each.data)
        for each in world.quarantine.kept
    }
    assert kept == {
        (entry.record.shard_id, entry.record.sequence_number, bad.sub_sequence_number, (bad.code,), bad.data)
        for entry in log
        for bad in entry.bad
    }


def answers(world: World) -> dict[Place, dict[str, Any]]:
    """Return what the query side says of every window of every key; a key stands in each of its windows once."""
    found: dict[Place, dict[str, Any]] = {}
    for rollup, (_, _, labels, _) in ROLLUPS.items():
        for label in labels:
            for row in world.ask(rollup, None, label):
                place = rollup, row.key, label, row.window.start_ms
                assert place not in found, f"{place} is answered twice"
                found[place] = {"events": row.events, **row.values}
    return found


def one_pass(log: Iterable[Entry], *, by_key: bool = False) -> dict[Place, dict[str, Any]]:
    """Return what every window of every key holds: one naive pass, in plain dicts and Decimals.

    Of one instant what comes first in its lane is the first, and between lanes the one of the lesser name.
    """
    found: dict[Place, list[tuple[_Order, dict[str, Any]]]] = defaultdict(list)
    for entry in log:
        record = entry.record
        lane = record.shard_id, record.partition_key if by_key else ""
        for sent in entry.good:
            order = (sent.event["ts"], *lane, record.sequence_number, sent.sub_sequence_number)
            for rollup, (source, key, labels, _) in ROLLUPS.items():
                if source == sent.source:
                    for label in labels:
                        start_ms = sent.event["ts"] // SIZES_MS[label] * SIZES_MS[label]
                        values = tuple(str(sent.event[name]) for name in key)
                        found[rollup, values, label, start_ms].append((order, sent.event))
    return {place: _measure(place[0], events) for place, events in found.items()}


def _measure(rollup: str, events: list[tuple[_Order, dict[str, Any]]]) -> dict[str, Any]:
    answer: dict[str, Any] = {"events": len(events)}
    wanted: dict[str, dict[str, tuple[str, ...]]] = {
        "device_metrics": {"value": ("count", "sum", "min", "max", "mean", "variance", "first", "last")},
        "page_views": {"bytes": ("count", "sum", "mean", "max")},
        "visits": {"ts": ("min", "max"), "bytes": ("sum",)},
    }
    ordered = [event for _, event in sorted(events, key=lambda each: each[0])]
    for name, measures in wanted[rollup].items():
        places = ROLLUPS[rollup][3][name]
        values = [rounded(event[name], places) for event in ordered if event[name] is not None]
        answer[name] = {measure: _one(measure, values, places) for measure in measures}
    return answer


def rounded(value: float, places: int) -> Decimal:
    """Return *value* as it is written, rounded half to even."""
    return Decimal(repr(value)).quantize(
        Decimal(1).scaleb(-places), context=Context(prec=100, rounding=ROUND_HALF_EVEN)
    )


def _one(  # noqa: PLR0911 - a table of formulas
    measure: str, values: list[Decimal], places: int
) -> int | Decimal | None:
    fractions = [Fraction(each) for each in values]
    n = len(fractions)
    match measure:
        case "count":
            return n
        case "sum":
            return _decimal(sum(fractions, Fraction(0)), places)
        case "mean" if n:
            return _decimal(sum(fractions) / n, places + 3)
        case "variance" if n > 1:
            mean = sum(fractions) / n
            return _decimal(sum((each - mean) ** 2 for each in fractions) / (n - 1), 2 * places + 3)
        case "min" if n:
            return min(values)
        case "max" if n:
            return max(values)
        case "first" if n:
            return values[0]
        case "last" if n:
            return values[-1]
    return None


def _decimal(value: Any, places: int) -> Decimal:
    return Decimal(round(Fraction(value) * 10**places)).scaleb(-places, Context(prec=1000))
