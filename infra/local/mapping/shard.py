"""One shard of an event source mapping: what to invoke next, given what happened. No I/O, no clock.

A shard's records are dealt to ``ParallelizationFactor`` *lanes*. A lane is a queue that has at most one invocation
under way, so order holds within it. A partition key stays in one lane while any of its records is undone, and goes
to the least loaded lane when it next appears: its records are never in two batches at once, and which keys share
a lane is nothing that a function could rely on. A failing batch blocks its lane, and so only keys of that lane.

What becomes of a batch of *n* records when its invocation ends, and *k* leading records are done:

====================  ====================================================  =========================
k                     what follows                                          failures counted so far
====================  ====================================================  =========================
n                     the lane goes on
0 < k < n             the n - k remaining records are a batch               0: it is a new batch
0, bisect and n > 1   both halves are batches, the left one first           0: they are new batches
0, otherwise          the same batch again, or its discard                  one more
not invoked           the same batch again                                  as before
====================  ====================================================  =========================

A lane waits until its discards are delivered: were it to go on and the process to die, the discarded records would be
delivered again behind later ones, whose fences would drop them.

"Splitting batches doesn't consume the retry quota." AWS was recorded to do so with partial failures as well: batch
size 3, three retries, the last record of a batch bad: that record was delivered once in its batch and four times
alone; its dead letter says 4 invocations.

Source: https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html, with-kinesis.html, and
LocalStack's AWS-validated snapshots (checked 2026-11-21).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.mapping.config import MappingConfig
from infra.local.mapping.filters import passes
from infra.local.mapping.payload import ENVELOPE_BYTES, record_bytes
from infra.local.mapping.response import done_count
from infra.local.mapping.standing import Standing
from streamgage import limits
from streamgage.records import StreamRecord

Condition = Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """Invoke the function with these records, then call ``settle`` with how it ended."""

    invocation_id: int
    shard_id: str
    records: tuple[StreamRecord, ...]


@dataclass(frozen=True, slots=True)
class Discard:
    """Send these records to the on-failure destination, then call ``discarded``; until then they are not done.

    ``function_error`` is None where the function itself reported the failure; ``invocation_id`` is None where it
    never ran.
    """

    discard_id: int
    shard_id: str
    records: tuple[StreamRecord, ...]
    condition: Condition
    invoke_count: int
    function_error: str | None
    invocation_id: int | None


Work = Invocation | Discard


@dataclass(frozen=True, slots=True)
class _Item:
    record: StreamRecord
    size_bytes: int
    fed_ms: int


@dataclass(frozen=True, slots=True)
class _Batch:
    items: tuple[_Item, ...]
    failures: int = 0
    function_error: str | None = None
    last_invocation_id: int | None = None

    def records(self) -> tuple[StreamRecord, ...]:
        return tuple(item.record for item in self.items)


@dataclass(slots=True)
class _Lane:
    """``retries`` come before ``queue`` (whose bytes count a comma each); nothing is invoked before ``not_before_ms``."""

    queue: deque[_Item] = field(default_factory=deque)
    queue_bytes: int = 0
    retries: deque[_Batch] = field(default_factory=deque)
    in_flight: _Batch | None = None
    not_before_ms: int = 0
    throttles: int = 0
    discarding: int = 0
    undone: int = 0
    again: bool = False  # what is in flight was so before

    @property
    def waits(self) -> bool:
        """Whether something has to be settled or delivered before anything else."""
        return self.in_flight is not None or self.discarding > 0

    def take(self, count: int) -> tuple[_Item, ...]:
        items = tuple(self.queue.popleft() for _ in range(count))
        self.queue_bytes -= sum(item.size_bytes + 1 for item in items)
        return items


class ShardMapping:
    """The mapping's state of one shard.

    The driver feeds records in order, calls ``due`` whenever something happened or ``next_wake_ms`` has come,
    carries out what it returns, and reports each with ``settle`` or ``discarded``. ``checkpoint`` may be made
    durable at any moment: everything up to it is done, so reading after it loses nothing.
    """

    def __init__(
        self,
        shard_id: str,
        *,
        config: MappingConfig,
        stream_arn: str,
        checkpoint: int | None,
        ids: Iterator[int],
        applied: int | None = None,
    ) -> None:
        self.shard_id = shard_id
        self.checkpoint = checkpoint
        self.applied = applied
        self.ended = False
        self._config = config
        self._stream_arn = stream_arn
        self._ids = ids
        self._lanes = [_Lane() for _ in range(config.parallelization_factor)]
        self._lane_of_key: dict[str, tuple[int, int]] = {}  # partition key: (lane, its undone records)
        self._last_fed = -1 if checkpoint is None else checkpoint
        self._order: deque[int] = deque()  # what was fed and is not below the checkpoint
        self._done: set[int] = set()
        self._tail_is_filtered = False  # the last of the order is a record that a filter held back
        self._given_up: set[int] = set()  # of those, what the destination has
        self._undone_bytes = 0
        self._invocations: dict[int, int] = {}  # invocation id: lane
        self._discards: dict[int, tuple[int, _Batch]] = {}
        self._discards_due: list[Discard] = []

    @property
    def undone(self) -> int:
        """How many records were fed and are neither succeeded nor discarded."""
        return sum(lane.undone for lane in self._lanes)

    @property
    def remembered(self) -> int:
        """How many sequence numbers are kept above the checkpoint."""
        return len(self._order)

    @property
    def last_fed(self) -> int | None:
        """The sequence number to read after; None before any record, fed or restored."""
        return None if self._last_fed < 0 else self._last_fed

    @property
    def finished(self) -> bool:
        """Whether the shard was read to its end and all of it is done: its children may be read."""
        return self.ended and not self._order

    @property
    def wants_records(self) -> bool:
        """Whether there is room for another answer of GetRecords."""
        return (
            not self.ended
            and self.undone < self._config.buffer_records
            and self._undone_bytes < self._config.buffer_bytes
        )

    def feed(self, records: Sequence[StreamRecord], now_ms: int) -> int:
        """Take *records*, in the shard's order. What was fed before is skipped: a reader may start over.

        Returns:
            How many the mapping's filters held back. These are done: no lane sees them, and the checkpoint passes them.
        """
        filtered = 0
        for record in records:
            if record.sequence_number <= self._last_fed:
                continue
            self._last_fed = record.sequence_number
            if self._config.filters is not None and not passes(
                self._config.filters, record, stream_arn=self._stream_arn
            ):
                self._pass_by(record.sequence_number)
                filtered += 1
                continue
            self._order.append(record.sequence_number)
            self._tail_is_filtered = False
            item = _Item(record, record_bytes(record, stream_arn=self._stream_arn), now_ms)
            lane = self._lanes[self._deal(record.partition_key)]
            lane.queue.append(item)
            lane.queue_bytes += item.size_bytes + 1
            lane.undone += 1
            self._undone_bytes += item.size_bytes
        return filtered

    def _pass_by(self, sequence_number: int) -> None:
        """Let the checkpoint pass a record that goes nowhere, once all before it is done.

        It stands in for the filtered one directly before it, so that however many are filtered out behind a batch that
        is retried, no more is kept than that batch's records twice.
        """
        if self._order and self._tail_is_filtered:
            replaced = self._order.pop()
            self._done.remove(replaced)
            self._given_up.discard(replaced)
        self._order.append(sequence_number)
        self._done.add(sequence_number)
        self._given_up.add(sequence_number)  # done, and not applied
        self._tail_is_filtered = True
        self._mark_done(0, ())  # nothing more is done; where nothing stands before it, the checkpoint moves

    def end_of_shard(self) -> None:
        """Say that the shard is closed and was read to its end."""
        self.ended = True

    def due(self, now_ms: int) -> list[Work]:
        """Return what is to be carried out now. Each thing is returned once."""
        work: list[Work] = []
        for number, lane in enumerate(self._lanes):
            if lane.waits or now_ms < lane.not_before_ms:
                continue
            self._expire(number, now_ms)
            batch = None if lane.waits else self._next_batch(lane, now_ms)
            if batch is not None:
                invocation_id = next(self._ids)
                lane.again = batch.last_invocation_id is not None
                lane.in_flight = replace(batch, last_invocation_id=invocation_id)
                self._invocations[invocation_id] = number
                work.append(Invocation(invocation_id, self.shard_id, batch.records()))
        work[:0], self._discards_due = self._discards_due, []
        return work

    def settle(self, invocation_id: int, outcome: Outcome, now_ms: int) -> None:
        """Take note of how an invocation ended, by the table of the module.

        Raises:
            KeyError: no such invocation is under way; a mistake of the driver.
        """
        number = self._invocations.pop(invocation_id)
        lane = self._lanes[number]
        batch = lane.in_flight
        assert batch is not None, "an invocation is under way in its lane"  # noqa: S101  # narrows for mypy
        lane.in_flight = None
        if isinstance(outcome, NotInvoked):
            # "If a Lambda event source mapping is unable to invoke the function due to throttling or other issues,
            # it retries until the records expire or exceed the maximum age."
            lane.throttles += 1
            lane.retries.appendleft(batch)
            lane.not_before_ms = now_ms + self._config.backoff_ms(lane.throttles)
            return
        lane.throttles = 0
        count = self._done_count(batch, outcome)
        self._mark_done(number, batch.items[:count])
        if count == len(batch.items):
            return
        error = outcome.function_error if isinstance(outcome, Failed) else None
        self._fail(
            number, replace(batch, items=batch.items[count:], function_error=error), progress=count > 0
        )
        failures = lane.retries[0].failures if lane.retries else 0
        lane.not_before_ms = now_ms + self._config.backoff_ms(failures) if lane.retries else now_ms

    def clock_stepped(self, step_ms: int) -> None:
        """Take note that the clock was set by *step_ms*: what waits does so neither longer nor shorter for that."""
        for lane in self._lanes:
            lane.not_before_ms += step_ms
            lane.queue = deque(replace(item, fed_ms=item.fed_ms + step_ms) for item in lane.queue)

    def discarded(self, discard_id: int) -> None:
        """Take note that a discard has reached its destination; only now its records count as done."""
        number, batch = self._discards.pop(discard_id)
        self._lanes[number].discarding -= 1
        self._given_up.update(item.record.sequence_number for item in batch.items)
        self._mark_done(number, batch.items)

    def next_wake_ms(self) -> int | None:
        """Return when ``due`` will have something if nothing happens before; None: not before something does."""
        if self._discards_due:
            return 0
        wakes = []
        for lane in self._lanes:
            if lane.waits:
                continue
            if lane.retries or (lane.queue and self._is_full(lane)):
                wakes.append(lane.not_before_ms)
            elif lane.queue:
                wakes.append(max(lane.not_before_ms, lane.queue[0].fed_ms + self._config.window_ms))
        return min(wakes, default=None)

    def oldest_arrival_ms(self) -> int | None:
        """Return when the oldest record arrived that is not done: how far the shard lags; None where all is."""
        given_up = [batch.items[0] for _, batch in self._discards.values()]
        batches = [
            each for lane in self._lanes for each in (lane.in_flight, *lane.retries) if each is not None
        ]
        heads = [lane.queue[0] for lane in self._lanes if lane.queue]
        items = [*given_up, *heads, *(batch.items[0] for batch in batches)]
        return min((item.record.arrival_ms for item in items), default=None)

    def standing(self, now_ms: int) -> Standing | None:
        """Return where the shard stands: at the lowest record of a lane that failed; None where none has."""
        found = [self._standing(number, lane, now_ms) for number, lane in enumerate(self._lanes)]
        return min(
            (each for each in found if each is not None), key=lambda each: each.sequence_number, default=None
        )

    def _standing(self, number: int, lane: _Lane, now_ms: int) -> Standing | None:
        given_up = next((batch for of, batch in self._discards.values() if of == number), None)
        batch = given_up or (lane.in_flight if lane.again else None) or next(iter(lane.retries), None)
        if batch is None:
            return None
        first, age_ms = batch.items[0].record, self._config.max_record_age_ms
        return Standing(
            sequence_number=first.sequence_number,
            records=len(batch.items),
            arrival_ms=first.arrival_ms,
            failures=batch.failures,
            max_retries=self._config.max_retry_attempts,
            next_ms=None if lane.waits else max(lane.not_before_ms, now_ms),
            splits=self._config.bisect and len(batch.items) > 1,
            given_up=given_up is not None,
            expires_ms=None if age_ms < 0 else first.arrival_ms + age_ms,
            destination=self._config.on_failure_arn,
        )

    def _deal(self, key: str) -> int:
        if len(self._lanes) == 1:
            return 0
        number, undone = self._lane_of_key.get(key, (-1, 0))
        if number < 0:
            number = min(range(len(self._lanes)), key=lambda index: self._lanes[index].undone)
        self._lane_of_key[key] = (number, undone + 1)
        return number

    def _is_full(self, lane: _Lane) -> bool:
        """Whether waiting longer could add nothing to the lane's next batch."""
        return (
            len(lane.queue) >= self._config.batch_size
            or ENVELOPE_BYTES + lane.queue_bytes > limits.ESM_PAYLOAD_BYTES
            or not self.wants_records
        )

    def _next_batch(self, lane: _Lane, now_ms: int) -> _Batch | None:
        if lane.retries:
            return lane.retries.popleft()
        if not lane.queue:
            return None
        if not self._is_full(lane) and now_ms < lane.queue[0].fed_ms + self._config.window_ms:
            return None
        count, size_bytes = 0, ENVELOPE_BYTES - 1
        for item in lane.queue:
            size_bytes += item.size_bytes + 1
            # A record that alone is too long goes alone: only streams that opted into larger records have it.
            if count == self._config.batch_size or (count and size_bytes > limits.ESM_PAYLOAD_BYTES):
                break
            count += 1
        return _Batch(lane.take(count))

    def _expire(self, number: int, now_ms: int) -> None:
        """Discard what stands first in the lane and is older than MaximumRecordAgeInSeconds."""
        if self._config.max_record_age_ms < 0:
            return
        lane = self._lanes[number]
        horizon_ms = now_ms - self._config.max_record_age_ms
        while lane.retries:
            batch = lane.retries[0]
            count = _leading_before(batch.items, horizon_ms)
            if not count:
                return
            lane.retries.popleft()
            if count < len(batch.items):
                lane.retries.appendleft(replace(batch, items=batch.items[count:]))
            self._discard(number, replace(batch, items=batch.items[:count]), "RecordAgeExceeded")
        while count := min(self._config.batch_size, _leading_before(lane.queue, horizon_ms)):
            self._discard(number, _Batch(lane.take(count)), "RecordAgeExceeded")

    def _done_count(self, batch: _Batch, outcome: Answered | Failed) -> int:
        if isinstance(outcome, Failed):
            return 0
        numbers = [item.record.sequence_number for item in batch.items]
        return done_count(outcome.payload, numbers, report_item_failures=self._config.report_item_failures)

    def _fail(self, number: int, batch: _Batch, *, progress: bool) -> None:
        retries = self._lanes[number].retries
        if progress:
            # "... Lambda then retries all records starting from that checkpoint"; with bisect on, "the batch is
            # bisected at the returned sequence number": the same thing, for all before it is done.
            retries.appendleft(replace(batch, failures=0))
        elif self._config.bisect and len(batch.items) > 1:
            middle = (len(batch.items) + 1) // 2
            retries.appendleft(replace(batch, items=batch.items[middle:], failures=0))
            retries.appendleft(replace(batch, items=batch.items[:middle], failures=0))
        else:
            batch = replace(batch, failures=batch.failures + 1)
            if 0 <= self._config.max_retry_attempts < batch.failures:
                self._discard(number, batch, "RetryAttemptsExhausted")
            else:
                retries.appendleft(batch)

    def _discard(self, number: int, batch: _Batch, condition: Condition) -> None:
        discard_id = next(self._ids)
        self._discards[discard_id] = (number, batch)
        self._lanes[number].discarding += 1
        self._discards_due.append(
            Discard(
                discard_id,
                self.shard_id,
                batch.records(),
                condition,
                invoke_count=max(1, batch.failures),  # recorded: 1 where the function was never invoked
                function_error=batch.function_error,
                invocation_id=batch.last_invocation_id,
            )
        )

    def _mark_done(self, number: int, items: Sequence[_Item]) -> None:
        self._lanes[number].undone -= len(items)
        for item in items:
            self._done.add(item.record.sequence_number)
            self._undone_bytes -= item.size_bytes
            if len(self._lanes) > 1:
                key = item.record.partition_key
                lane_number, undone = self._lane_of_key.pop(key)
                if undone > 1:
                    self._lane_of_key[key] = (lane_number, undone - 1)
        while self._order and self._order[0] in self._done:
            self.checkpoint = self._order.popleft()
            self._done.remove(self.checkpoint)
            if self.checkpoint in self._given_up:
                self._given_up.remove(self.checkpoint)
            else:
                self.applied = self.checkpoint


def _leading_before(items: Sequence[_Item] | deque[_Item], horizon_ms: int) -> int:
    count = 0
    for item in items:
        if item.record.arrival_ms >= horizon_ms:
            break
        count += 1
    return count
