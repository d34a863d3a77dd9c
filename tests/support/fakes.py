"""Fakes of the processors' ports, with faults: what DynamoDB, SQS and a Lambda sandbox may do at the worst moment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal, cast, get_args

from processors.aggregate.batch import Aggregate, BatchReport
from processors.aggregate.progress import ProgressReader
from processors.deadline import Deadline
from processors.query.question import PartialStore, Question, Row, ask
from processors.sink.fenced import AggregateSink, ItemStore, SinkLimits
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.errors import RetryableError
from streamgage.fold.folder import Folder, Lane, Poison
from streamgage.fold.items import ItemKey, StoredItem, lane_of_shard
from streamgage.formats.kinesis_event import encode_event
from streamgage.measures.monoids import FieldColumns
from streamgage.reading.contributions import Contributions, Places, RollupEvents
from streamgage.records import StreamRecord
from support.one_by_one import FenceMovedError, OneByOne, SingleStore

STREAM_ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/telemetry"
NOW_MS = 1_700_000_000_000
PLENTY_MS = 60_000
PLENTY = Deadline(2.0**30)  # of the real clock: nothing ends by it

Fault = Literal["crash before", "crash after", "lost before", "lost after"]
"""A sandbox that dies, or an answer that never comes; before or after the call took effect."""
FAULTS: tuple[Fault, ...] = get_args(Fault)


class Crash(BaseException):  # not an Exception: nothing in a sandbox outlives its SIGKILL
    """The sandbox was killed."""


@dataclass
class Faulty:
    """Counts calls, and lets the n-th one (from 0, since ``arm``) fail in the way that was armed."""

    faults: dict[int, Fault] = field(default_factory=dict)
    hooks: dict[int, Callable[[], None]] = field(default_factory=dict)
    calls: int = 0
    fired: list[Fault] = field(default_factory=list)

    def arm(
        self, faults: Mapping[int, Fault] | None = None, hooks: Mapping[int, Callable[[], None]] | None = None
    ) -> None:
        """Start counting anew. A hook runs before its call: another invocation, at the worst moment."""
        self.calls, self.faults, self.hooks = 0, dict(faults or {}), dict(hooks or {})

    def call(self, effect: Callable[[], None]) -> None:
        """Make one call take effect, unless it fails first."""
        number, self.calls = self.calls, self.calls + 1
        fault = self.faults.get(number)
        if hook := self.hooks.pop(number, None):
            hook()
        if fault:
            self.fired.append(fault)
        if fault == "crash before":
            raise Crash
        if fault == "lost before":
            raise RetryableError("timed out")
        effect()
        if fault == "crash after":
            raise Crash
        if fault == "lost after":
            raise RetryableError("timed out after it was done")


class InMemoryItemStore:
    """A SingleStore and a PartialStore. Fences are kept as text, as DynamoDB keeps them."""

    def __init__(self) -> None:
        self.rows: dict[ItemKey, tuple[str, str, bytes, int]] = {}
        self.writes, self.reads = Faulty(), Faulty()
        self._lock = Lock()

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:  # noqa: ARG002 - the port's
        """Return those of *keys* that exist."""
        found: dict[ItemKey, StoredItem] = {}
        self.reads.call(lambda: found.update({key: self.item(key) for key in keys if key in self.rows}))
        return found

    def put(self, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        """Write *item* where the fence is the expected one."""
        self.writes.call(lambda: self._put(key, item, expected_fence))

    def _put(self, key: ItemKey, item: StoredItem, expected_fence: int | None) -> None:
        with self._lock:
            current = self.item(key) if key in self.rows else None
            if (current.fence if current else None) != expected_fence:
                raise FenceMovedError(current)
            self.rows[key] = (str(item.fence), item.counts, item.body, item.expires_s)

    def delete(self, key: ItemKey) -> None:
        """Remove *key*, as TTL does."""
        del self.rows[key]

    def item(self, key: ItemKey) -> StoredItem:
        """Return the item at *key*, which exists."""
        fence, counts, body, expires_s = self.rows[key]
        return StoredItem(int(fence), counts, body, expires_s)

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield (sk, item) of a range of a partition."""
        for key in sorted(self.rows):
            if key.pk == pk and first_sk <= key.sk <= last_sk:
                yield key.sk, self.item(key)


class InMemoryQuarantine:
    """A Quarantine that a test can look into."""

    def __init__(self) -> None:
        self.kept: list[Poison] = []
        self.sends = Faulty()

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:  # noqa: ARG002 - the port's
        """Keep *poison*."""
        if poison:
            self.sends.call(lambda: self.kept.extend(poison))


class InMemoryLineage:
    """A ShardLineage that a test can write: the parents of each shard."""

    def __init__(self, parents: Mapping[str, Sequence[str]] | None = None) -> None:
        self.parents = dict(parents or {})

    def parents_of(self, shard_id: str, *, deadline: Deadline) -> Sequence[str]:  # noqa: ARG002 - the port's
        """Return the parents of *shard_id*."""
        return self.parents.get(shard_id, ())


@dataclass
class RemainingTime:
    """How much of an invocation is left; it runs out after *asked* more questions, where that is given."""

    ms: int = PLENTY_MS
    asked: int | None = None

    def __call__(self) -> int:
        """Return the ms that are left."""
        if self.asked is None:
            return self.ms
        self.asked -= 1
        return self.ms if self.asked >= 0 else 0


@dataclass
class World:
    """The table and the queue that every sandbox of the function shares, and how sandboxes are built."""

    pipeline: Pipeline
    lane: Lane = lane_of_shard
    concurrency: int = 1
    store: InMemoryItemStore = field(default_factory=InMemoryItemStore)
    quarantine: InMemoryQuarantine = field(default_factory=InMemoryQuarantine)
    reports: list[BatchReport] = field(default_factory=list)
    cached_items: int = 50_000
    lineage: InMemoryLineage = field(default_factory=InMemoryLineage)

    def sandbox(self) -> Aggregate:
        """Return a function with an empty memory of its own."""
        sink = sink_over(self.store, concurrency=self.concurrency, cached_items=self.cached_items)
        return Aggregate(
            folder=Folder(self.pipeline, self.lane),
            progress=ProgressReader(sink, self.lineage, self.lane),
            sink=sink,
            quarantine=self.quarantine,
            now_ms=lambda: NOW_MS,
            report=self.reports.append,
        )

    def ask(
        self, rollup: str, key: Mapping[str, str], window: str, *, from_ms: int = 0, to_ms: int = 2**47
    ) -> list[Row]:
        """Return the answer of the query side."""
        return ask_store(
            self.store, self.pipeline, rollup=rollup, key=key, window=window, from_ms=from_ms, to_ms=to_ms
        )


def sink_over(
    store: ItemStore | SingleStore,
    *,
    concurrency: int = 1,
    write_attempts: int = 20,
    cached_items: int = 50_000,
    batch: int = 1,
) -> AggregateSink:
    """Return a sink with an empty memory of its own: another sandbox. *batch*: of a store that writes one at a time."""
    many = cast("ItemStore", store) if hasattr(store, "put_many") else OneByOne(store, batch=batch)
    limits = SinkLimits(concurrency=concurrency, write_attempts=write_attempts, cached_items=cached_items)
    return AggregateSink(many, now_s=lambda: NOW_MS // 1000, limits=limits)


ItemRecord = tuple[int, tuple[int, ...]]
"""A Kinesis record as far as one item goes: its sequence number, and scaled values, which are their own event times."""


def contributions_of(rollup: Rollup, records: Sequence[ItemRecord]) -> Contributions:
    """Return what a batch of *records* adds to an item of *rollup*, which measures one field."""
    places, values = Places(), list[int]()
    for sequence_number, each in records:
        record = StreamRecord("shardId-000000000000", sequence_number, "k", b"", NOW_MS)
        places.begin(len(values), 0, record, 0)
        values += each
    columns = FieldColumns(values=(values,), gaps=(False,), times=values, place=places.place)
    events = RollupEvents(rollup, columns, places)
    ordinals = range(len(values))
    return Contributions(records[-1][0], events.fold(ordinals), [ordinals], events)


def ask_store(
    store: PartialStore,
    pipeline: Pipeline,
    *,
    rollup: str,
    key: Mapping[str, str],
    window: str,
    from_ms: int = 0,
    to_ms: int = 2**47,
) -> list[Row]:
    """Ask *store* as an analyst would."""
    question = Question.parse(pipeline, rollup=rollup, key=key, window=window, from_ms=from_ms, to_ms=to_ms)
    return list(ask(store, question, applied_ms=NOW_MS))


def invoke(
    sandbox: Aggregate, records: Sequence[StreamRecord], remaining: RemainingTime | None = None
) -> int | None:
    """Invoke *sandbox* with the event of *records*; return the sequence number that it names as failed, or None."""
    answer = sandbox.handle(
        encode_event(records, stream_arn=STREAM_ARN), remaining_ms=remaining or RemainingTime()
    )
    assert answer.keys() == {"batchItemFailures"}
    failures = answer["batchItemFailures"]
    assert len(failures) <= 1
    return int(failures[0]["itemIdentifier"]) if failures else None
