"""One world: everything that a seed stands for, run to its end and judged."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from infra.local.kinesis.shards import shard_id
from processors.aggregate.batch import Aggregate, BatchReport
from processors.aggregate.lineage import KinesisLineage
from processors.aggregate.progress import BatchProgress, ProgressReader
from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink, SinkLimits
from simulation.definition import pipeline
from simulation.function import Calls, Function
from simulation.mapping import Driver, Watch
from simulation.oracle import Oracle
from simulation.plan import TAIL_MS, Dice, Plan
from simulation.schedule import Scheduler, SimulationError
from simulation.stream import NAME, Stream
from simulation.table import KeptPoison, Table
from simulation.tally import Tally
from simulation.trace import Trace
from simulation.traffic import Traffic
from streamgage.fold.folder import Folder, Lane
from streamgage.fold.items import lane_of_key, lane_of_shard
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

    def __init__(self, world: "World", sink: AggregateSink, lane: Lane) -> None:
        self._lineage_of_world = KinesisLineage(world.stream.list_for_function, NAME)
        super().__init__(sink, self._lineage_of_world, lane)
        self._world = world

    def open(self, records: Sequence[StreamRecord], *, deadline: Deadline) -> BatchProgress:
        """Open the progress of a batch, and watch it."""
        progress = super().open(records, deadline=deadline)
        rows, branches = self._world.table.rows, self._world.branches
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
        tally = self._world.tally
        by_id = {each.shard_id: each for each in self._world.stream.shards}
        shard = by_id[record.shard_id]
        parents = [shard_id(each) for each in (shard.parent, shard.adjacent_parent) if each is not None]
        lanes = [tally.lane_of(replace(record, shard_id=parent)) for parent in parents]
        known = sum(lane in tally.by_lane for lane in lanes)
        if known:
            self._world.branches[f"inherited from {known} parent{'s'[: known - 1]}"] += 1
        elif any(by_id[parent].parent is not None for parent in parents):
            self._world.branches["inherited from further up, or from nobody"] += 1


class World:
    """The world of a plan. ``run`` it once."""

    def __init__(self, plan: Plan) -> None:
        rng = random.Random(f"world:{plan.seed}")
        self.plan = plan
        self.branches: Counter[str] = Counter()
        self.trace = Trace()
        self.dice = Dice(plan, self.trace)
        self.tally = Tally(parallel=plan.parallel)
        self.oracle = Oracle(self.tally, self.branches)
        self.scheduler = Scheduler(start_ms=_START_MS, rng=rng, trace=self.trace)
        self._kinesis_skew_ms, self._lambda_skew_ms = self._draw_skew_ms(), self._draw_skew_ms()
        self.stream = Stream(
            self.scheduler, self.dice, shards=plan.shards, skew_ms=self._kinesis_skew_ms, stored=self._stored
        )
        self._calls = Calls(self.scheduler, self.dice)
        self.table = Table(self._calls, written=self.oracle.written, branches=self.branches, trace=self.trace)
        self._quarantine = KeptPoison(self._calls, sent=self.oracle.quarantined)
        self.function = Function(
            self.scheduler,
            self.dice,
            self._calls,
            build=self._sandbox,
            stream_arn=self.stream.arn,
            branches=self.branches,
            trace=self.trace,
        )
        watch = Watch(
            invoked=self.oracle.invoked,
            delivered=self.oracle.delivered,
            kept=self.oracle.kept,
        )
        self.driver = Driver(
            plan,
            stream=self.stream,
            function=self.function,
            dice=self.dice,
            watch=watch,
            branches=self.branches,
            trace=self.trace,
            rng=rng,
        )
        self.stream.resharded = self.driver.resharded
        self.traffic = Traffic(
            plan, stream=self.stream, driver=self.driver, tally=self.tally, dice=self.dice, rng=rng
        )

    def run(self) -> Summary:
        """Run to the end of all faults and beyond, and judge.

        Raises:
            SimulationError: a promise was broken.
        """
        self.scheduler.run(until_ms=_START_MS + self.plan.span_ms + TAIL_MS)
        self.dice.calm = True
        self.scheduler.drain(most_steps=_MOST_STEPS)
        self._check_idle()
        self.oracle.judge()
        for sender in self.traffic.senders:
            self.branches["producer: stored on another shard than predicted"] += (
                sender.producer.stats.entries_misrouted
            )
            self.branches["producer: gave up"] += sender.producer.stats.events_undelivered
        self.branches["stored twice"] += sum(
            each.original is not None for each in self.tally.by_place.values()
        )
        return Summary(
            self.dice.fired,
            self.branches,
            records=len(self.tally.by_place),
            invocations=self.function.invocations,
            steps=self.scheduler.steps,
        )

    def _check_idle(self) -> None:
        mapping = self.driver.mapping
        for shard in self.stream.shards:
            log = self.tally.by_shard.get(shard.shard_id, [])
            kept = self.driver.kept.get(shard.shard_id)
            last = log[-1].record.sequence_number if log else None
            if mapping.undone(shard.shard_id) or (log and (kept is None or kept.sequence != last)):
                raise SimulationError(
                    f"{shard.shard_id} of {NAME} stands still: kept {kept}, its log ends at {last}"
                )
        for sender in self.traffic.senders:
            if sender.producer.buffered_bytes:
                raise SimulationError(f"a producer still buffers {sender.producer.buffered_bytes} bytes")

    def _stored(self, record: StreamRecord) -> None:
        self.tally.stored(record)
        original = self.tally.by_place[record.shard_id, record.sequence_number].original
        copy = () if original is None else ("a copy of", original.record)
        self.trace.note("stored", record, record.partition_key, *copy)
        self.driver.appended(record.shard_id)

    def _sandbox(self) -> Aggregate:
        """Return a function with an empty memory, as the composition root builds it."""
        now_ms = self._lambda_now_ms
        limits = SinkLimits(
            concurrency=1, cached_items=self.plan.cached_items, write_attempts=self.plan.write_attempts
        )
        lane = lane_of_key if self.plan.parallel else lane_of_shard
        sink = AggregateSink(OneByOne(self.table, batch=BATCH), now_s=lambda: now_ms() // 1000, limits=limits)
        return Aggregate(
            folder=Folder(pipeline(), lane),
            progress=_NotedProgress(self, sink, lane),
            sink=sink,
            quarantine=self._quarantine,
            now_ms=now_ms,
            report=self._report,
        )

    def _draw_skew_ms(self) -> int:
        return self.dice.of("skew").randint(-120_000, 120_000) if self.dice.strikes("skew") else 0

    def _lambda_now_ms(self) -> int:
        return self.scheduler.now_ms + self._lambda_skew_ms

    def _report(self, report: BatchReport) -> None:
        self.branches["repeats dropped"] += report.repeated_records
