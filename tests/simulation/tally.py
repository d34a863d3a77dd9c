"""What should be there: a naive account of the log, which shares no code with the pipeline's fold, codec or measures."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from simulation.definition import MAX_FUTURE_MS, MAX_LATENESS_MS, Sent
from streamgage.records import StreamRecord, UserRecord

ItemName = tuple[str, str]
"""(pk, sk) of an item, or of a progress item."""

_ROLLUPS = (
    # rollup, source, key fields, window label and its size in ms
    ("device_metrics", "reading", ("device_id", "metric"), "1m", 60_000),
    ("device_metrics", "reading", ("device_id", "metric"), "1h", 3_600_000),
    ("visits", "click", ("visitor_id",), "1d", 86_400_000),
)
LAYOUTS = {
    "device_metrics": "value@9:n,sum,sumsq,min,max,first,last",
    "visits": "bytes@0:sum;ts@0:min,max",
}


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
    items: dict[ItemName, list[Part]] = field(default_factory=dict)
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

    def __init__(self, *, parallel: bool) -> None:
        self._parallel = parallel
        self._sent: dict[bytes, Sent] = {}
        self._sealed: dict[bytes, tuple[UserRecord, ...]] = {}
        self._originals: dict[bytes, LogRecord] = {}
        self.accepted_data: set[bytes] = set()
        self.given_up_data: set[bytes] = set()
        self.stored_data: set[bytes] = set()
        self.by_shard: dict[str, list[LogRecord]] = defaultdict(list)
        self.by_lane: dict[str, list[LogRecord]] = defaultdict(list)
        self.by_item: dict[ItemName, list[LogRecord]] = defaultdict(list)
        self.by_place: dict[tuple[str, int], LogRecord] = {}
        self.poison: dict[str, LogRecord] = {}

    def lane_of(self, record: StreamRecord) -> str:
        """Return what Lambda delivers in order: a shard, or one partition key of it."""
        return f"{record.shard_id}|{record.partition_key}" if self._parallel else record.shard_id

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

    def stored(self, record: StreamRecord) -> None:
        """Take note of the next record of a shard."""
        lane = self.lane_of(record)
        entry = LogRecord(record, lane, self._originals.get(record.data))
        self._originals.setdefault(record.data, entry)
        held = self._sealed.get(record.data)
        place = f"{record.shard_id}:{record.sequence_number}"
        if held is None:
            entry.poison[place] = ("bad_kpl_framing", record.data)
        for sub, user_record in enumerate(held or ()):
            self.stored_data.add(user_record.data)
            sent = self._sent[user_record.data]
            code = sent.code or _verdict(sent, record.arrival_ms)
            if code:
                entry.poison[f"{place}:{sub}"] = (code, user_record.data)
                continue
            for name in _items_of(sent, lane):
                entry.items.setdefault(name, []).append(Part(record.sequence_number, sub, sent.event or {}))
        self.by_shard[record.shard_id].append(entry)
        self.by_lane[lane].append(entry)
        self.by_place[record.shard_id, record.sequence_number] = entry
        for name in entry.items:
            self.by_item[name].append(entry)
        for poison_id in entry.poison:
            self.poison[poison_id] = entry


def _verdict(sent: Sent, arrival_ms: int) -> str:
    """Return the poison code of a well-formed event, or nothing: only readings are bound to their arrival."""
    if sent.source != "reading" or sent.event is None:
        return ""
    if sent.event["ts"] > arrival_ms + MAX_FUTURE_MS:
        return "future"
    return "late" if sent.event["ts"] < arrival_ms - MAX_LATENESS_MS else ""


def _items_of(sent: Sent, lane: str) -> Iterable[ItemName]:
    event = sent.event or {}
    for rollup, source, key, label, size_ms in _ROLLUPS:
        if source == sent.source:
            start_ms = event["ts"] // size_ms * size_ms
            pk = "|".join([f"{rollup}.1", label, *(event[name] for name in key)])
            yield pk, f"{start_ms:015d}|{lane}"


def fold_naively(name: ItemName, parts: Iterable[Part]) -> list[Any]:
    """Return the state of item *name* after *parts*: one pass, in plain integers."""
    ordered = list(parts)
    if name[0].startswith("visits"):
        times = [part.event["ts"] for part in ordered]
        sizes = [part.event["bytes"] for part in ordered if part.event["bytes"] is not None]
        return [len(ordered), sum(sizes), min(times), max(times)]
    scaled = [int(Decimal(repr(part.event["value"])) * 10**9) for part in ordered]
    places = sorted(
        [part.event["ts"], part.sequence_number, part.sub_sequence_number, value]
        for part, value in zip(ordered, scaled, strict=True)
    )
    return [
        len(ordered),
        len(scaled),
        sum(scaled),
        sum(value * value for value in scaled),
        min(scaled),
        max(scaled),
        places[0],
        places[-1],
    ]
