"""The aggregate function: a batch of Kinesis records → exact aggregates in DynamoDB.

Order inside: quarantine first, then the aggregates, then progress. A crash in between repeats a dead letter, and loses
nothing.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from processors.aggregate.own_stream import CheckStream, any_stream
from processors.aggregate.progress import ProgressReader
from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink, Applied
from streamgage.errors import RetryableError
from streamgage.fold.batch import BatchFold, Counting, Folded
from streamgage.formats.kinesis_event import decode_event, encode_response
from streamgage.reading.poison import Poison, counted
from streamgage.records import StreamRecord

MARGIN_MS = 300  # of an invocation's time, for the answer: nothing waits beyond it


class Quarantine(Protocol):
    """Where poison goes."""

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        """Keep each of *poison*, of one shard and in the order of the log, by *deadline*; a redelivery sends it again.

        Raises:
            RetryableError: some of it may not be kept.
        """


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What happened to one batch: the one log line and the metrics are made of it."""

    shard_id: str
    first_sequence_number: int
    last_sequence_number: int
    kinesis_records: int
    user_records: int
    redelivered_records: int
    repeated_records: int
    poison: Counter[str]
    applied: Applied
    progress: Applied
    failed_from: int | None
    behind_ms: int
    error: str = ""


class Aggregate:
    """Handle batches, one at a time. Built once a sandbox, by the composition root."""

    def __init__(
        self,
        *,
        fold: BatchFold,
        counting: Counting,
        progress: ProgressReader,
        sink: AggregateSink,
        quarantine: Quarantine,
        now_ms: Callable[[], int],
        report: Callable[[BatchReport], None],
        check_stream: CheckStream = any_stream,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fold, self._counting, self._progress = fold, counting, progress
        self._sink, self._quarantine = sink, quarantine
        self._now_ms, self._report, self._clock = now_ms, report, clock
        self._check_stream = check_stream

    def handle(self, event: Any, *, remaining_ms: Callable[[], int]) -> dict[str, list[dict[str, str]]]:
        """Return Lambda's answer: the lowest sequence number that is not durable, or none.

        Raises:
            ValueError, ConfigError: a mistake in the wiring; Lambda's retries and bisect keep the batch.
        """
        self._check_stream(event)
        records = decode_event(event)
        if not records:
            return encode_response(())
        deadline = Deadline.after((remaining_ms() - MARGIN_MS) / 1000, self._clock)
        outcome = _Outcome()
        try:
            self._apply(records, outcome, deadline)
        except RetryableError as failure:
            outcome.applied = Applied(failed_from=_first(records), errors=[str(failure)])
        self._report(self._report_of(records, outcome))
        failed_from = outcome.failed_from
        return encode_response(() if failed_from is None else (failed_from,))

    def _apply(self, records: Sequence[StreamRecord], outcome: "_Outcome", deadline: Deadline) -> None:
        """Quarantine, then aggregates, then progress: each only counts on what is durable before it."""
        progress = self._progress.open(records, deadline=deadline)
        fresh = [record for record in records if not progress.is_done(record)]
        outcome.redelivered_records = len(records) - len(fresh)
        counting = replace(self._counting, begin_ms=progress.begin_ms)
        with _no_collection():
            outcome.folded = folded = self._fold.fold(fresh, progress.is_repeat, counting)
            self._quarantine.send(folded.poison, deadline=deadline)
            outcome.quarantined = folded.poison
            outcome.applied = self._sink.apply(folded.items, deadline=deadline)
            entries = progress.entries(before=outcome.applied.failed_from)
            outcome.progress = self._sink.apply(entries, deadline=deadline)

    def _report_of(self, records: Sequence[StreamRecord], outcome: "_Outcome") -> BatchReport:
        folded = outcome.folded
        return BatchReport(
            shard_id=records[0].shard_id,
            first_sequence_number=_first(records),
            last_sequence_number=records[-1].sequence_number,
            kinesis_records=len(records),
            user_records=folded.user_records,
            redelivered_records=outcome.redelivered_records,
            repeated_records=folded.repeated_records,
            poison=outcome.poison,
            applied=outcome.applied,
            progress=outcome.progress,
            failed_from=outcome.failed_from,
            behind_ms=self._now_ms() - min(each.arrival_ms for each in records),
            error=next(iter(outcome.applied.errors + outcome.progress.errors), ""),
        )


@dataclass(slots=True)
class _Outcome:
    """What became of a batch so far."""

    folded: Folded = field(default_factory=Folded)
    applied: Applied = field(default_factory=Applied)
    progress: Applied = field(default_factory=Applied)
    quarantined: Sequence[Poison] = ()
    redelivered_records: int = 0

    @property
    def poison(self) -> Counter[str]:
        """What this delivery quarantined for good, by code: what comes again is counted then, and so once."""
        before = self.failed_from
        return counted(each for each in self.quarantined if before is None or each.sequence_number < before)

    @property
    def failed_from(self) -> int | None:
        """The lowest sequence number that is not durable: in its items, or in the progress of its lane."""
        numbers = [each.failed_from for each in (self.applied, self.progress) if each.failed_from is not None]
        return min(numbers, default=None)


def _first(records: Sequence[StreamRecord]) -> int:
    return min(each.sequence_number for each in records)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let the garbage collector rest: a batch is hundreds of thousands of objects and no cycle.

    To walk them takes up to a third of a fold.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
