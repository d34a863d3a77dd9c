"""What should be there: a naive account of the log, which shares no code with the pipeline's fold, codec or measures."""

import base64
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any

from simulation.definition import MAX_FUTURE_MS, MAX_LATENESS_MS, Sent
from simulation.stream import NAME
from streamgage.records import StreamRecord, UserRecord

Place = tuple[str, str, str]
"""Of the states of one key: ``rollup.1|window``, ``start|lane``, the key as its item has it."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one rollup counts: of which source, by which fields, in windows of which sizes in ms, as which states."""

    rollup: str
    source: str
    key: tuple[str, ...]
    windows: tuple[tuple[str, int], ...]
    layout: str


COUNTED = {
    "main": (
        Counted(
            "device_metrics",
            "reading",
            ("device_id", "metric"),
            (("1m", 60_000), ("1h", 3_600_000)),
            "value@9:n,sum,sumsq,min,max,first,last",
        ),
        Counted(
            "bands",
            "reading",
            ("value",),
            (("1h", 3_600_000),),
            "device_id@-1:distinct;value@9:histogram,distinct,signal",
        ),
        Counted("latencies", "latency", ("service",), (("1h", 3_600_000),), "latency@-2:histogram"),
        Counted(
            "visits",
            "click",
            ("visitor_id",),
            (("1d", 86_400_000),),
            "bytes@0:sum;page@-1:entry1800,exit1800,sessions1800;ts@0:min,max",
        ),
    ),
    "second": (
        Counted(
            "latest", "reading", ("metric", "device_id"), (("1h", 3_600_000),), "ts@0:n;value@9:max,last"
        ),
    ),
}
LAYOUTS = {each.rollup: each.layout for of in COUNTED.values() for each in of}


@dataclass(frozen=True, slots=True)
class Part:
    """One event in one item, as it stood in the log."""

    sequence_number: int
    sub_sequence_number: int
    event: dict[str, Any]


@dataclass(slots=True, eq=False)
class LogRecord:
    """One Kinesis record, and what a reader should make of it, were it not a repeat.

    ``original`` is the earlier copy of the same bytes, where there is one. ``discarded`` says that Lambda gave this
    record up: it is in the on-failure destination, and no promise says how much of it was counted before.
    """

    record: StreamRecord
    lane: str
    original: "LogRecord | None"
    items: dict[Place, list[Part]] = field(default_factory=dict)
    poison: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    discarded: bool = False

    @property
    def optional(self) -> bool:
        """Whether it may be counted, and need not be.

        A discarded record may be: before it was given up, or by an invocation that Lambda gave up on. So may each copy
        of a discarded original, for the lane's progress need not know of it. A copy of any other never is.
        """
        return self.discarded if self.original is None else self.original.discarded

    @property
    def counts(self) -> bool:
        """Whether it must be counted."""
        return self.original is None and not self.discarded


class Tally:
    """The log of a world and what was sent, by the data: each user record's and each Kinesis record's occurs once."""

    def __init__(self, consumer: str, *, parallel: bool) -> None:
        self._consumer, self._parallel = consumer, parallel
        self._sent: dict[bytes, Sent] = {}
        self._sealed: dict[bytes, tuple[UserRecord, ...]] = {}
        self._originals: dict[bytes, LogRecord] = {}
        self.accepted_data: set[bytes] = set()
        self.given_up_data: set[bytes] = set()
        self.stored_data: set[bytes] = set()
        self.by_shard: dict[str, list[LogRecord]] = defaultdict(list)
        self.by_lane: dict[str, list[LogRecord]] = defaultdict(list)
        self.by_item: dict[Place, list[LogRecord]] = defaultdict(list)
        self.by_place: dict[tuple[str, int], LogRecord] = {}
        self.poison: dict[str, LogRecord] = {}

    def lane_of(self, record: StreamRecord) -> str:
        """Return what Lambda delivers in order: a shard, or one partition key of it."""
        shard = f"{NAME}/{record.shard_id}"
        return f"{shard}|{record.partition_key}" if self._parallel else shard

    def sent(self, sent: Sent) -> None:
        """Take note of what a user record is."""
        self._sent[sent.record.data] = sent

    def accepted(self, sent: Sent) -> None:
        """Take note that a producer took a user record."""
        self.accepted_data.add(sent.record.data)

    def given_up(self, record: UserRecord) -> None:
        """Take note that a producer handed a user record back."""
        self.given_up_data.add(record.data)

    def sealed(self, data: bytes, records: Iterable[UserRecord]) -> None:
        """Take note of what the data of a Kinesis record holds."""
        self._sealed[data] = tuple(records)

    def sealed_in(self, data: bytes) -> Sequence[UserRecord]:
        """Return what the data of a Kinesis record holds; nothing where nobody sealed it."""
        return self._sealed.get(data, ())

    def catch_up(self, other: "Tally") -> None:
        """Take note of all that *other* knows: this consumer begins later, at the oldest record."""
        self._sent, self._sealed = dict(other._sent), dict(other._sealed)
        self.accepted_data, self.given_up_data = set(other.accepted_data), set(other.given_up_data)
        for entry in other.by_place.values():
            self.stored(entry.record)

    def stored(self, record: StreamRecord) -> None:
        """Take note of the next record of a shard."""
        lane = self.lane_of(record)
        entry = LogRecord(record, lane, self._originals.get(record.data))
        self._originals.setdefault(record.data, entry)
        held = self._sealed.get(record.data)
        place = f"{record.shard_id}:{record.sequence_number}"
        if held is None:
            entry.poison[place] = ("bad_kpl_framing", record.data)
        first = 0
        for user_record in held or ():
            self.stored_data.add(user_record.data)
            sent = self._sent[user_record.data]
            first, numbers = first + len(sent.items), range(first, first + len(sent.items))
            if self._passes_over(sent):
                continue
            codes = [code or _verdict(sent.source, event, record.arrival_ms) for event, code in sent.items]
            ranges = [code for code, _ in groupby(codes) if code]
            if ranges:
                entry.poison[f"{place}:{numbers.start}"] = ("+".join(ranges), user_record.data)
            for sub, code, (event, _) in zip(numbers, codes, sent.items, strict=True):
                for name in () if code else self._places_of(sent.source, event or {}, lane):
                    entry.items.setdefault(name, []).append(Part(record.sequence_number, sub, event or {}))
        self.by_shard[record.shard_id].append(entry)
        self.by_lane[lane].append(entry)
        self.by_place[record.shard_id, record.sequence_number] = entry
        for name in entry.items:
            self.by_item[name].append(entry)
        for poison_id in entry.poison:
            self.poison[poison_id] = entry

    def _passes_over(self, sent: Sent) -> bool:
        """Tell whether an event is of a source that this consumer does not read: then it judges nothing of it."""
        return sent.source != "" and all(each.source != sent.source for each in COUNTED[self._consumer])

    def _places_of(self, source: str, event: dict[str, Any], lane: str) -> Iterable[Place]:
        for counted in COUNTED[self._consumer]:
            if counted.source == source and (counted.rollup != "bands" or event["value"] >= 0):
                for label, size_ms in counted.windows:
                    start_ms = event["ts"] // size_ms * size_ms
                    key = "|".join(_part_of_key(event[name]) for name in counted.key)
                    yield f"{counted.rollup}.1|{label}", f"{start_ms:015d}|{lane}", key


def _part_of_key(value: Any) -> str:
    """Return a text, or the band of fifty that a value lies in."""
    return value if isinstance(value, str) else str(int(value) - int(value) % 50)


def _bucket(value: float) -> int:
    """Return the place of a value above zero at scale 5: of (b**i, b**(i + 1)], b the 32nd root of two, 2i."""
    return 2 * (math.ceil(math.log2(value) * 32) - 1)


def _latencies(events: list[dict[str, Any]]) -> tuple[int, int, dict[int, int]]:
    """Return the state of the values behind histograms: at the least scale of those that have any but zeros, and 5."""
    values = [value for each in events for value in each["values"]]
    scale = min([5, *(each["latency"]["scale"] for each in events if any(each["values"]))])
    places = Counter(
        2 * (math.ceil(math.log2(abs(value)) * 2**scale) - 1) + (value < 0) for value in values if value
    )
    return scale, values.count(0), dict(sorted(places.items()))


def _token(kind: bytes, text: str) -> int:
    """Return 32 bits of a value: the low 26 of its hash, and how many zeros the others begin with."""
    bits = f"{int.from_bytes(hashlib.blake2b(kind + text.encode(), digest_size=8).digest(), 'big'):064b}"
    return int(bits[-26:], 2) * 64 + len(bits[:-26].partition("1")[0])


def _visits(views: list[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """Return the runs of *views* with no pause above half an hour."""
    found: list[list[tuple[int, str]]] = []
    for view in sorted(views):
        if not found or view[0] > found[-1][-1][0] + 1_800_000:
            found.append([])
        found[-1].append(view)
    return found


def _short(page: str) -> str:
    """Return a page of up to 96 bytes; of a longer one what fits into 89, and the hash of all."""
    if len(page.encode()) <= 96:
        return page
    told = base64.urlsafe_b64encode(hashlib.blake2b(page.encode(), digest_size=8).digest())[:11].decode()
    return page.encode()[:89].decode(errors="ignore") + "…" + told


def _signal(points: list[tuple[int, int]]) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """Return the coarseness at which *points* lie in 64 cells of time at most, and what each of these holds."""
    level = 0
    while len({time // 2**level for time, _ in points}) > 64:
        level += 1
    cells: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for point in sorted(points):
        cells[point[0] // 2**level].append(point)
    found = []
    for held in cells.values():
        values = [value for _, value in held]
        (end, last), total = held[-1], sum(values)
        found.append((held[0][0], end, last, min(values), max(values), len(values), total))
    return level, tuple(found)


def _verdict(source: str, event: dict[str, Any] | None, arrival_ms: int) -> str:
    """Return the poison code of a well-formed event, or nothing: only readings are bound to their arrival."""
    if source != "reading" or event is None:
        return ""
    if event["ts"] > arrival_ms + MAX_FUTURE_MS:
        return "future"
    return "late" if event["ts"] < arrival_ms - MAX_LATENESS_MS else ""


def fold_naively(place: Place, parts: Iterable[Part]) -> list[Any]:
    """Return the state at *place* after *parts*: one pass, in plain integers."""
    ordered = list(parts)
    rollup = place[0].partition(".")[0]
    if rollup == "visits":
        views = [(part.event["ts"], _short(part.event["page"])) for part in ordered]
        sizes = [part.event["bytes"] for part in ordered if part.event["bytes"] is not None]
        visits = [(*each[0], *each[-1], len(each)) for each in _visits(views)]
        return [
            len(ordered),
            sum(sizes),
            [(begin, end, entry) for begin, entry, end, _, _ in visits],
            [(begin, end, left) for begin, _, end, left, _ in visits],
            [(begin, end, count) for begin, _, end, _, count in visits],
            min(views)[0],
            max(views)[0],
        ]
    if rollup == "latencies":
        return [len(ordered), _latencies([part.event for part in ordered])]
    scaled = [int(Decimal(repr(part.event["value"])) * 10**9) for part in ordered]
    places = sorted(
        [part.event["ts"], part.sequence_number, part.sub_sequence_number, value]
        for part, value in zip(ordered, scaled, strict=True)
    )
    first, last = (places[0][0], places[0][3]), (places[-1][0], places[-1][3])
    if rollup == "bands":
        values = [part.event["value"] for part in ordered]
        buckets = Counter(_bucket(each) for each in values if each)
        return [
            len(ordered),
            {_token(b"t", part.event["device_id"]) for part in ordered},
            (5, values.count(0), dict(sorted(buckets.items()))),
            {_token(b"n", str(each)) for each in scaled},
            _signal([(part.event["ts"], value) for part, value in zip(ordered, scaled, strict=True)]),
        ]
    if rollup == "latest":
        return [len(ordered), len(ordered), max(scaled), last]
    return [
        len(ordered),
        len(scaled),
        sum(scaled),
        sum(value * value for value in scaled),
        min(scaled),
        max(scaled),
        first,
        last,
    ]
