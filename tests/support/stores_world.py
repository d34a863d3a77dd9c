"""A home whose stores are copied, put back, deleted and reset: what the check of a start is held against.

Each record has a number of its own that nothing reuses, so a record that was dropped as a repeat of another is seen. The
numbers, gaps and findings are the real ones; files and processes are not.
"""

from array import array
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace

from infra.local.kinesis.sequence import counter_floor
from infra.local.kinesis.shards import Shard
from infra.local.mapping.stream import ShardCheckpoint
from infra.local.stack.stores.facts import CheckpointFacts, Facts, Finding, Mark, TableFacts, Verdict
from infra.local.stack.stores.judge import judge, refusals, settle
from infra.local.stack.stores.survey import ShardSurvey, StreamSurvey, new_stream_number

RETENTION_MS = 60_000
SHARDS = ("shardId-000000000000", "shardId-000000000001")


@dataclass
class Log:
    """The stream: of each shard the counters on the disk, each with its record; and what was deleted of it."""

    created_ms: int
    mark: Mark | None = None
    records: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: {each: [] for each in SHARDS})
    last: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARDS, 0))

    def shard(self, shard_id: str) -> Shard:
        index = SHARDS.index(shard_id)
        return Shard(index, 0, 0, created_ms=self.created_ms, epoch_s=self.created_ms // 1000)

    def number(self, shard_id: str, counter: int) -> int:
        return self.shard(shard_id).space.number(counter)


@dataclass
class Tables:
    mark: Mark | None = None
    progress: dict[str, int] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)


@dataclass
class Checkpoints:
    mark: Mark | None = None
    shards: dict[str, ShardCheckpoint] = field(default_factory=dict)


Store = Log | Tables | Checkpoints | None


class World:
    """One home over many starts. ``acceptable`` is what need not be counted: it was named, or its loss was accepted."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000
        self.stores: dict[str, Store] = {"stream": None, "tables": Tables(), "checkpoints": Checkpoints()}
        self.copies: dict[str, list[Store]] = {name: [] for name in self.stores}
        self.settled = False
        self.noted: Mark | None = None
        self.accepted: dict[str, int] = {}
        self.put_ever: set[int] = set()
        self.discarded: set[int] = set()
        self.acceptable: set[int] = set()
        self.trimmed: dict[str, set[int]] = {each: set() for each in SHARDS}
        self._done: dict[str, ShardCheckpoint] = {}

    @property
    def log(self) -> Log:
        log = self.stores["stream"]
        assert isinstance(log, Log)
        return log

    @property
    def tables(self) -> Tables:
        tables = self.stores["tables"]
        assert isinstance(tables, Tables)
        return tables

    @property
    def checkpoints(self) -> Checkpoints:
        checkpoints = self.stores["checkpoints"]
        assert isinstance(checkpoints, Checkpoints)
        return checkpoints

    def copy(self, name: str) -> None:
        self.copies[name].append(deepcopy(self.stores[name]))

    def put_back(self, name: str, which: int) -> None:
        if self.copies[name]:
            self.stores[name] = deepcopy(self.copies[name][which % len(self.copies[name])])

    def delete(self, name: str) -> None:
        self.stores[name] = {"stream": None, "tables": Tables(), "checkpoints": Checkpoints()}[name]

    def pass_time(self, ms: int) -> None:
        """Let time pass; or the clock step back, but not behind a time by which records were deleted: the log forgets that."""
        if ms > 0 or not any(self.trimmed.values()):
            self.now_ms += ms

    def trim(self) -> None:
        """Delete what has expired, as the data plane does now and then."""
        if isinstance(self.stores["stream"], Log):
            for shard_id, records in self.log.records.items():
                kept = [each for each in records if each[0] >= self._horizon]
                self.trimmed[shard_id] |= {record for counter, record in records if counter < self._horizon}
                records[:] = kept

    def put(self, shard_id: str, count: int) -> None:
        log = self.log
        for _ in range(count):
            floor = counter_floor(max(self.now_ms, log.created_ms))
            log.last[shard_id] = max(log.last[shard_id] + 1, floor)
            record = len(self.put_ever)
            self.put_ever.add(record)
            log.records[shard_id].append((log.last[shard_id], record))
        self.now_ms += 1

    def work(self, shard_id: str, count: int, *, discard: bool = False) -> None:
        """Do the next records of a shard, as the mapping and the function do: by fence, in order."""
        done = self._done.get(shard_id, ShardCheckpoint())
        for number, record in list(self._readable(shard_id, done.sequence))[:count]:
            if discard:
                self.discarded.add(record)
                done = replace(done, sequence=number)
                continue
            if number > self.tables.progress.get(shard_id, -1):
                self.tables.counted.add(record)
                self.tables.progress[shard_id] = number
            done = replace(done, sequence=number, applied=number)
        self._done[shard_id] = done

    def save(self) -> None:
        self.checkpoints.shards = dict(self._done)

    def start(self, *, accept_loss: bool) -> bool:
        """Start as ``up`` does; return whether it did. Asserts that what has expired uncounted is named."""
        facts = self._facts()
        findings = judge(facts)
        if refusals(findings, accept_loss=accept_loss):
            return False
        if any(each.verdict is Verdict.REFUSE for each in findings):
            self.acceptable |= self.put_ever
            self.accepted |= {
                each.shard_id: each.accepts for each in findings if each.shard_id and each.accepts
            }
        if self.stores["stream"] is None:
            self.stores["stream"] = Log(self.now_ms)
        self._name_what_expired(findings)
        self.checkpoints.shards = settle(self.checkpoints.shards, findings)
        found = (self.log.mark, self.tables.mark, self.checkpoints.mark, self.noted)
        known = [mark for mark in found if mark]
        home = known[0].home if known else "home"
        mark = Mark(home, 1 + max((each.epoch for each in known if each.home == home), default=0))
        self.log.mark = self.tables.mark = self.checkpoints.mark = mark
        self.noted = mark
        self.settled = True
        self._done = dict(self.checkpoints.shards)
        return True

    def work_all(self) -> None:
        for shard_id in SHARDS:
            self.work(shard_id, len(self.put_ever))

    def counts_what_is_put_now(self) -> bool:
        """Tell whether a record that is put into each shard is counted, and not dropped as a repeat."""
        world = deepcopy(self)
        before = len(world.put_ever)
        for shard_id in SHARDS:
            world.put(shard_id, 1)
        world.work_all()
        return set(range(before, len(world.put_ever))) <= world.tables.counted

    def missing(self) -> set[int]:
        """Return what is neither counted, nor discarded, nor acceptable."""
        return self.put_ever - self.tables.counted - self.discarded - self.acceptable

    @property
    def _horizon(self) -> int:
        return counter_floor(max(self.log.created_ms, self.now_ms - RETENTION_MS))

    def _readable(self, shard_id: str, after: int | None) -> Iterator[tuple[int, int]]:
        for counter, record in self.log.records[shard_id]:
            number = self.log.number(shard_id, counter)
            if counter >= self._horizon and (after is None or number > after):
                yield number, record

    def _name_what_expired(self, findings: list[Finding]) -> None:
        named = {each.shard_id for each in findings if each.lost is not None}
        for shard_id in SHARDS:
            expired = {record for counter, record in self.log.records[shard_id] if counter < self._horizon}
            lost = (expired | self.trimmed[shard_id]) - self.tables.counted - self.discarded - self.acceptable
            assert not lost or shard_id in named, f"{shard_id}: {lost} expired and are not named: {findings}"
            self.acceptable |= lost

    def _facts(self) -> Facts:
        log, tables, checkpoints = self.stores["stream"], self.tables, self.checkpoints
        stream = None
        if isinstance(log, Log):
            surveys = {
                shard_id: ShardSurvey(
                    log.shard(shard_id),
                    log.last[shard_id],
                    self._horizon,
                    array("Q", [counter for counter, _ in log.records[shard_id] if counter < self._horizon]),
                    self.now_ms,
                )
                for shard_id in SHARDS
            }
            read = {shard_id: each.sequence for shard_id, each in checkpoints.shards.items()}
            stream = StreamSurvey(log.mark, surveys, len(SHARDS)).facts(progress=tables.progress, read=read)
        return Facts(
            stream,
            TableFacts(tables.mark, dict(tables.progress)),
            CheckpointFacts(checkpoints.mark, dict(checkpoints.shards)),
            self.settled,
            new_stream_number(self.now_ms),
            dict(self.accepted),
            self.noted,
        )
