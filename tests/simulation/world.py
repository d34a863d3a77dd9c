"""One world: everything that a seed stands for, run to its end and judged."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from infra.local.kinesis.shards import shard_id
from processors.aggregate.batch import Aggregate, BatchReport
from processors.aggregate.lineage import KinesisLineage
from processors.aggregate.own_stream import check_of_stream
from processors.aggregate.progress import BatchProgress, ProgressReader, Reader
from processors.deadline import Deadline
from processors.sink.breaker import Breaker
from processors.sink.fenced import AggregateSink, SinkLimits
from simulation.asking import check_answers
from simulation.definition import pipeline
from simulation.function import Calls, Function
from simulation.mapping import Driver, Watch
from simulation.oracle import Oracle
from simulation.plan import TAIL_MS, Dice, Plan
from simulation.schedule import Scheduler, SimulationError
from simulation.spooled import SpooledSender
from simulation.stream import NAME, Stream
from simulation.table import KeptPoison, Row, Table
from simulation.tally import Tally
from simulation.trace import Trace
from simulation.traffic import Traffic
from streamgage.definition.fingerprint import counts_of, reader_counts
from streamgage.fold.batch import BatchFold, Counting
from streamgage.fold.items import ItemKey, Lanes
from streamgage.formats.mark import Mark
from streamgage.records import StreamRecord
from support.one_by_one import OneByOne

_START_MS = 1_700_000_000_000
_MOST_STEPS = 30_000  # after the last fault

BATCH = 4  # writes that the sink makes at once; the world may end between any two


@dataclass(frozen=True, slots=True)
class Summary:
    """How one world ran: what fired, which branches were taken, and how large it was."""

    fired: Mapping[str, int]
    branches: Mapping[str, int]
    records: int
    invocations: int
    steps: int


class _NotedProgress(ProgressReader):
    """The real reader, which takes note of how repeats are judged and of what is inherited."""

    def __init__(self, consumer: "Consumer", sink: AggregateSink, reader: Reader) -> None:
        super().__init__(sink, KinesisLineage(consumer.call_kinesis, NAME, now_ms=consumer.now_ms), reader)
        self._consumer = consumer

    def open(self, records: Sequence[StreamRecord], *, deadline: Deadline) -> BatchProgress:
        """Open the progress of a batch, and watch it."""
        progress = super().open(records, deadline=deadline)
        rows, branches = self._consumer.world.table.rows, self._consumer.world.branches
        fences = {key: int(rows[key].fence) for key in map(progress.key_of, records) if key in rows}
        if not fences:
            self._note_inherited(records[0])
        judge, done = progress.is_repeat, progress.is_done

        def is_repeat(record: StreamRecord, mark: Mark | None) -> bool:
            repeat = judge(record, mark)
            branches["repeat seen beyond the fence"] += repeat
            return repeat

        def is_done(record: StreamRecord) -> bool:
            before = done(record)
            branches["dealt with before, passed over"] += before
            return before

        progress.is_repeat = is_repeat  # type: ignore[method-assign]  # an observer of this one batch
        progress.is_done = is_done  # type: ignore[method-assign]  # the same
        return progress

    def _note_inherited(self, record: StreamRecord) -> None:
        """Count which ancestors of a new lane have something to bequeath."""
        tally, world = self._consumer.tally, self._consumer.world
        by_id = {each.shard_id: each for each in world.stream.shards}
        shard = by_id[record.shard_id]
        parents = [shard_id(each) for each in (shard.parent, shard.adjacent_parent) if each is not None]
        lanes = [tally.lane_of(replace(record, shard_id=parent)) for parent in parents]
        known = sum(lane in tally.by_lane for lane in lanes)
        if known:
            world.branches[f"inherited from {known} parent{'s'[: known - 1]}"] += 1
        elif any(by_id[parent].parent is not None for parent in parents):
            world.branches["inherited from further up, or from nobody"] += 1


class Consumer:
    """One consumer of the stream: its rollups, its function and mapping, its quarantine, and what judges it.

    It knows nothing of another, and shares with it the stream and the table.
    """

    def __init__(self, name: str, world: "World") -> None:
        self.name, self.world = name, world
        self.tally = Tally(name, parallel=world.plan.parallel)
        self.oracle = Oracle(name, self.tally, world.branches)
        self._pipeline = pipeline().of_consumer(name)
        self._quarantine = KeptPoison(world.calls, sent=self.oracle.quarantined)
        self.function = Function(
            world.scheduler,
            world.dice,
            world.calls,
            build=self._sandbox,
            stream_arn=world.stream.arn,
            branches=world.branches,
            trace=world.trace,
        )
        self.driver = Driver(
            world.plan,
            stream=world.stream,
            function=self.function,
            dice=world.dice,
            watch=Watch(invoked=self.oracle.invoked, delivered=self.oracle.delivered, kept=self.oracle.kept),
            branches=world.branches,
            trace=world.trace,
            rng=world.rng,
        )

    def call_kinesis(self, operation: str, request: Mapping[str, Any], /, *, deadline: Deadline) -> Any:
        """Ask Kinesis, as the function does."""
        return self.world.stream.call_of_function(operation, request, deadline=deadline)

    def now_ms(self) -> int:
        """Return the time of day of its sandboxes."""
        return self.world.lambda_now_ms()

    def check_idle(self) -> None:
        """Check that nothing waits any more."""
        mapping = self.driver.mapping
        for shard in self.world.stream.shards:
            log = self.tally.by_shard.get(shard.shard_id, [])
            kept = self.driver.kept.get(shard.shard_id)
            last = log[-1].record.sequence_number if log else None
            if mapping.undone(shard.shard_id) or (log and (kept is None or kept.sequence != last)):
                raise SimulationError(
                    f"{shard.shard_id} of {NAME} stands still for {self.name}: kept {kept}, its log ends at {last}"
                )

    def ask(self) -> None:
        """Check that the reader finds what the table holds."""
        asked = check_answers(self._pipeline, self.world.table.rows, self.oracle.held())
        self.world.branches["keys that stand together, found below the root"] += asked

    def _sandbox(self) -> Aggregate:
        """Return a function with an empty memory, as the composition root builds it."""
        world, plan, arn = self.world, self.world.plan, self.world.stream.arn
        sink = AggregateSink(
            OneByOne(world.table, batch=BATCH),
            breaker=Breaker(clock=lambda: world.scheduler.now_ms / 1000, random=world.rng.random),
            sleep=lambda _: None,
            limits=SinkLimits(
                concurrency=1, cached_bytes=plan.cached_bytes, write_attempts=plan.write_attempts
            ),
        )
        lanes = Lanes(NAME, by_key=plan.parallel)
        counts = {name: counts_of(self._pipeline, each) for name, each in self._pipeline.rollups.items()}
        return Aggregate(
            fold=BatchFold(self._pipeline, lanes, slice_events=plan.slice_events),
            counting=Counting(counts, room_bytes=plan.room_bytes),
            progress=_NotedProgress(self, sink, Reader(self.name, lanes, reader_counts(self.name, arn))),
            sink=sink,
            quarantine=self._quarantine,
            now_ms=self.now_ms,
            report=self._report,
            check_stream=check_of_stream(arn),
            clock=world.calls.clock_s,
        )

    def _report(self, report: BatchReport) -> None:
        self.world.branches["repeats dropped"] += report.repeated_records


class World:
    """The world of a plan. ``run`` it once."""

    def __init__(self, plan: Plan) -> None:
        self.rng = random.Random(f"world:{plan.seed}")
        self.plan = plan
        self.branches: Counter[str] = Counter()
        self.trace = Trace()
        self.dice = Dice(plan, self.trace)
        self.scheduler = Scheduler(start_ms=_START_MS, rng=self.rng, trace=self.trace)
        self._kinesis_skew_ms, self._lambda_skew_ms = self._draw_skew_ms(), self._draw_skew_ms()
        self.stream = Stream(
            self.scheduler, self.dice, shards=plan.shards, skew_ms=self._kinesis_skew_ms, stored=self._stored
        )
        self.calls = Calls(self.scheduler, self.dice)
        self.table = Table(self.calls, written=self._written, branches=self.branches, trace=self.trace)
        self.consumers: list[Consumer] = []
        self._begin("main")
        self.traffic = Traffic(
            plan,
            stream=self.stream,
            consumers=self.consumers,
            dice=self.dice,
            branches=self.branches,
            rng=self.rng,
        )
        self.stream.resharded = self._resharded
        if plan.second_at_ms is not None:
            self.scheduler.after(plan.second_at_ms, partial(self._begin, "second"))

    @property
    def tally(self) -> Tally:
        """The account of the first consumer."""
        return self.consumers[0].tally

    @property
    def oracle(self) -> Oracle:
        """What judges the first consumer."""
        return self.consumers[0].oracle

    def run(self) -> Summary:
        """Run to the end of all faults and beyond, and judge.

        Raises:
            SimulationError: a promise was broken.
        """
        try:
            return self._run()
        finally:
            self.traffic.close()

    def _run(self) -> Summary:
        self.scheduler.run(until_ms=_START_MS + self.plan.span_ms + TAIL_MS)
        self.dice.calm = True
        self.scheduler.drain(most_steps=_MOST_STEPS)
        self._check_idle()
        for consumer in self.consumers:
            consumer.oracle.judge()
            consumer.ask()
        if self.traffic.clients is not None:
            self.traffic.clients.judge(self.tally)
        for sender in self.traffic.senders:
            stats = sender.stats
            self.branches["producer: stored on another shard than predicted"] += stats.entries_misrouted
            is_spooled = isinstance(sender, SpooledSender)
            gave_up = "a spool took back what was given up" if is_spooled else "producer: gave up"
            self.branches[gave_up] += stats.events_undelivered
        self.branches["stored twice"] += sum(
            each.original is not None for each in self.tally.by_place.values()
        )
        return Summary(
            self.dice.fired,
            self.branches,
            records=len(self.tally.by_place),
            invocations=sum(each.function.invocations for each in self.consumers),
            steps=self.scheduler.steps,
        )

    def _check_idle(self) -> None:
        for consumer in self.consumers:
            consumer.check_idle()
        for sender in self.traffic.senders:
            sender.check_idle()
        if self.traffic.clients is not None:
            self.traffic.clients.host.check_idle()

    def _begin(self, name: str) -> None:
        """Let a consumer begin, at the oldest record of each shard."""
        consumer = Consumer(name, self)
        if self.consumers:
            self.branches["a second consumer"] += 1
            consumer.tally.catch_up(self.tally)
            consumer.driver.resharded()
        self.consumers.append(consumer)

    def _stored(self, record: StreamRecord) -> None:
        for consumer in self.consumers:
            consumer.tally.stored(record)
        original = self.tally.by_place[record.shard_id, record.sequence_number].original
        copy = () if original is None else ("a copy of", original.record)
        self.trace.note("stored", record, record.partition_key, *copy)
        for consumer in self.consumers:
            consumer.driver.appended(record.shard_id)

    def _written(self, key: ItemKey, row: Row, before: int | None) -> None:
        for consumer in self.consumers:
            if consumer.oracle.owns(key):
                consumer.oracle.written(key, row, before)
                return
        raise SimulationError(f"{key} is nobody's")

    def _resharded(self) -> None:
        for consumer in self.consumers:
            consumer.driver.resharded()

    def _draw_skew_ms(self) -> int:
        return self.dice.of("skew").randint(-120_000, 120_000) if self.dice.strikes("skew") else 0

    def lambda_now_ms(self) -> int:
        """Return the time of day in every sandbox."""
        return self.scheduler.now_ms + self._lambda_skew_ms
