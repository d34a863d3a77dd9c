"""Fakes of the processors' ports, with faults: what DynamoDB, SQS and a Lambda sandbox may do at the worst moment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Literal, cast, get_args

from processors.aggregate.batch import Aggregate, BatchReport
from processors.aggregate.progress import ProgressReader, Reader
from processors.deadline import Deadline
from processors.query.cells import PartialStore
from processors.query.question import Question, Row, ask
from processors.sink.breaker import Breaker
from processors.sink.fenced import AggregateSink, ItemStore, SinkLimits
from streamgage.definition.fingerprint import counts_of, reader_counts
from streamgage.definition.pipeline import DEFAULT_CONSUMER, Pipeline, Rollup
from streamgage.errors import RetryableError
from streamgage.fold.batch import BatchFold, Counting
from streamgage.fold.cells import FOREVER_S, FULL_BYTES, Cell, Contribution
from streamgage.fold.chunk import decode_chunk
from streamgage.fold.items import ItemKey, Lanes, StoredItem, hash_of
from streamgage.fold.states import Key
from streamgage.formats.kinesis_event import encode_event
from streamgage.measures.layout import EventColumns, plan_of
from streamgage.reading.poison import Poison
from streamgage.records import StreamRecord
from support.one_by_one import FenceMovedError, OneByOne, SingleStore

STREAM_ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/telemetry"
LANES = Lanes("telemetry")
KEY_LANES = Lanes("telemetry", by_key=True)
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
    """A SingleStore, and a PartialStore where it is asked through ``Reads``. Fences are kept as text, as DynamoDB keeps them."""

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
    """A ShardLineage that a test can write: the parents of each shard, and whether the stream is read from its start."""

    def __init__(self, parents: Mapping[str, Sequence[str]] | None = None) -> None:
        self.parents = dict(parents or {})
        self.from_first = True

    def parents_of(self, shard_id: str, *, deadline: Deadline) -> Sequence[str]:  # noqa: ARG002 - the port's
        """Return the parents of *shard_id*."""
        return self.parents.get(shard_id, ())

    def is_read_from_its_first_record(self, *, deadline: Deadline) -> bool:  # noqa: ARG002 - the port's
        """Return what a test said."""
        return self.from_first


@dataclass
class Clock:
    """The clock of invocations, in s. It stands still, and passes every deadline once it was read ``reads`` times."""

    now_s: float = 0.0
    reads: int | None = None

    def __call__(self) -> float:
        """Return the time."""
        if self.reads is None:
            return self.now_s
        self.reads -= 1
        return self.now_s if self.reads >= 0 else self.now_s + 2.0**20

    def run_out(self) -> None:
        """Pass every deadline from now on."""
        self.reads = 0

    def begin(self, reads: int | None = None) -> None:
        """Let an invocation begin: a while after the one before, so that no table is left alone any more."""
        self.now_s, self.reads = self.now_s + 60, reads


@dataclass
class World:
    """The table and the queue that every sandbox of the function shares, and how sandboxes are built."""

    pipeline: Pipeline
    lanes: Lanes = LANES
    concurrency: int = 1
    store: InMemoryItemStore = field(default_factory=InMemoryItemStore)
    quarantine: InMemoryQuarantine = field(default_factory=InMemoryQuarantine)
    reports: list[BatchReport] = field(default_factory=list)
    cached_bytes: int = 64 * 1024 * 1024
    consumer: str = DEFAULT_CONSUMER
    slice_events: int = 1_000
    room_bytes: int = FULL_BYTES
    lineage: InMemoryLineage = field(default_factory=InMemoryLineage)
    clock: Clock = field(default_factory=Clock)

    def sandbox(self) -> Aggregate:
        """Return a function with an empty memory of its own."""
        breaker = Breaker(clock=lambda: self.clock.now_s, random=lambda: 0.0)
        sink = sink_over(
            self.store, concurrency=self.concurrency, cached_bytes=self.cached_bytes, breaker=breaker
        )
        reader = Reader(self.consumer, self.lanes, reader_counts(self.consumer, STREAM_ARN))
        own = self.pipeline.of_consumer(self.consumer)
        return Aggregate(
            fold=BatchFold(own, self.lanes, slice_events=self.slice_events),
            counting=counting_of(own, room_bytes=self.room_bytes),
            progress=ProgressReader(sink, self.lineage, reader),
            sink=sink,
            quarantine=self.quarantine,
            now_ms=lambda: NOW_MS,
            report=self.reports.append,
            clock=self.clock,
        )

    def ask(
        self,
        rollup: str,
        key: Mapping[str, str] | None,
        window: str,
        *,
        from_ms: int = 0,
        to_ms: int = 2**47,
    ) -> list[Row]:
        """Return the answer of the query side; *key* None: of all keys."""
        return ask_store(
            Reads(self.store),
            self.pipeline,
            rollup=rollup,
            key=key,
            window=window,
            from_ms=from_ms,
            to_ms=to_ms,
        )


def sink_over(
    store: ItemStore | SingleStore,
    *,
    concurrency: int = 1,
    write_attempts: int = 20,
    cached_bytes: int = 64 * 1024 * 1024,
    batch: int = 1,
    breaker: Breaker | None = None,
) -> AggregateSink:
    """Return a sink with an empty memory of its own: another sandbox. *batch*: of a store that writes one at a time."""
    many = cast("ItemStore", store) if hasattr(store, "put_many") else OneByOne(store, batch=batch)
    limits = SinkLimits(concurrency=concurrency, write_attempts=write_attempts, cached_bytes=cached_bytes)
    return AggregateSink(many, breaker=breaker or fearless(), limits=limits)


def fearless() -> Breaker:
    """Return a breaker that stops nobody: each pause is over before it is asked again."""
    return Breaker(clock=count(0, 1_000).__next__, random=lambda: 0.0)


def counting_of(pipeline: Pipeline, *, room_bytes: int = FULL_BYTES, retention_ms: int = 0) -> Counting:
    """Return how the cells of *pipeline* are counted: whole, by their fingerprints."""
    counts = {name: counts_of(pipeline, each) for name, each in pipeline.rollups.items()}
    return Counting(counts, room_bytes=room_bytes, retention_ms=retention_ms)


ItemRecord = tuple[int, tuple[int, ...]]
"""A Kinesis record as far as one item goes: its sequence number, and scaled values, which are their own event times."""


def contribution_of(
    rollup: Rollup, records: Sequence[ItemRecord], *, counts: str = "counts", key: str = "k"
) -> Contribution:
    """Return what a batch of *records* adds to the root of a cell of *rollup*, which measures one field: to one key."""
    fence = records[-1][0]

    def cell_of(some: Sequence[ItemRecord]) -> Cell:
        values = [value for _, each in some for value in each]
        plan = plan_of(rollup.layout)
        table = plan.fold(EventColumns((values,), (False,), values), [range(len(values))])
        return Cell(
            rollup,
            rollup.windows[0],
            plan,
            counts,
            0,
            LANES.of_shard("shardId-000000000000"),
            fence,
            0,
            FOREVER_S,
            lambda _, beyond: (
                cell_of(rest) if (rest := [r for r in some if r[0] > beyond and r[1]]) else None
            ),
            keys=[Key(key, hash_of(key))],
            firsts=[some[0][0]],
            table=table,
        )

    return cell_of([each for each in records if each[1]]).contribution()


def values_of(rollup: Rollup, item: StoredItem) -> list[object]:
    """Return the state of the one key of *item*."""
    chunk = decode_chunk(item.body, rollup.layout, start_ms=0)
    return [column[0] for column in chunk.table]


class Reads:
    """A PartialStore over an InMemoryItemStore."""

    def __init__(self, store: InMemoryItemStore) -> None:
        self._store = store

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield (sk, item) of a range of a partition."""
        return self._store.range(pk, first_sk, last_sk)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist."""
        return {key: self._store.item(key) for key in keys if key in self._store.rows}


def ask_store(
    store: PartialStore,
    pipeline: Pipeline,
    *,
    rollup: str,
    key: Mapping[str, str] | None,
    window: str,
    from_ms: int = 0,
    to_ms: int = 2**47,
) -> list[Row]:
    """Ask *store* as an analyst would; *key* None: for all keys."""
    question = Question.parse(pipeline, rollup=rollup, key=key, window=window, from_ms=from_ms, to_ms=to_ms)
    return list(ask(store, question, applied_ms=NOW_MS, now_ms=NOW_MS))


def invoke(sandbox: Aggregate, records: Sequence[StreamRecord], *, left_ms: int = PLENTY_MS) -> int | None:
    """Invoke *sandbox* with the event of *records*; return the sequence number that it names as failed, or None."""
    answer = sandbox.handle(encode_event(records, stream_arn=STREAM_ARN), remaining_ms=lambda: left_ms)
    assert answer.keys() == {"batchItemFailures"}
    failures = answer["batchItemFailures"]
    assert len(failures) <= 1
    return int(failures[0]["itemIdentifier"]) if failures else None
