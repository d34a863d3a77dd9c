"""The aggregate function: a batch of Kinesis records → exact aggregates in DynamoDB.

Order inside: quarantine first, then the sink. A crash in between repeats a dead letter, and loses nothing.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from processors.quarantine import Quarantine
from processors.sink import AggregateSink, Applied
from streamgage.errors import RetryableError
from streamgage.fold import Folded, Folder
from streamgage.kinesis_event import decode_event, encode_response
from streamgage.records import StreamRecord

# A flood of poison is a bad deploy, upstream or here: the stream waits for a person, the queue is not a drain.
FLOOD_RECORDS = 1_000
FLOOD_RATIO = 0.5


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What happened to one batch: the one log line and the metrics are made of it."""

    shard_id: str
    first_sequence_number: int
    last_sequence_number: int
    kinesis_records: int
    user_records: int
    poison: Counter[str]
    applied: Applied
    behind_ms: int
    error: str = ""


class Aggregate:
    """Handle batches, one at a time. Built once a sandbox, by the composition root."""

    def __init__(
        self,
        *,
        folder: Folder,
        sink: AggregateSink,
        quarantine: Quarantine,
        now_ms: Callable[[], int],
        report: Callable[[BatchReport], None],
    ) -> None:
        self._folder, self._sink, self._quarantine = folder, sink, quarantine
        self._now_ms, self._report = now_ms, report

    def handle(self, event: Any, *, remaining_ms: Callable[[], int]) -> dict[str, list[dict[str, str]]]:
        """Return Lambda's answer: the lowest sequence number that is not durable, or none.

        Raises:
            ValueError, ConfigError: a mistake in the wiring; Lambda's retries and bisect keep the batch.
        """
        records = decode_event(event)
        if not records:
            return encode_response(())
        folded = self._folder.fold(records)
        applied, error = Applied(), ""
        try:
            _check_flood(folded)
            self._quarantine.send(folded.poison)
        except RetryableError as failure:
            applied.failed_from, error = _first(records), str(failure)
        else:
            applied = self._sink.apply(folded.items, remaining_ms=remaining_ms)
            error = applied.errors[0] if applied.errors else ""
        self._report(
            BatchReport(
                shard_id=records[0].shard_id,
                first_sequence_number=_first(records),
                last_sequence_number=records[-1].sequence_number,
                kinesis_records=folded.kinesis_records,
                user_records=folded.user_records,
                poison=Counter(each.code for each in folded.poison),
                applied=applied,
                behind_ms=self._now_ms() - min(each.arrival_ms for each in records),
                error=error,
            )
        )
        return encode_response(() if applied.failed_from is None else (applied.failed_from,))


def _first(records: Sequence[StreamRecord]) -> int:
    return min(each.sequence_number for each in records)


def _check_flood(folded: Folded) -> None:
    poison = len(folded.poison)
    if poison >= FLOOD_RECORDS and poison > FLOOD_RATIO * folded.user_records:
        raise RetryableError(
            f"{poison} of {folded.user_records} user records are poison: the batch waits instead of being quarantined. "
            f"The first: {folded.poison[0].reason}"
        )
