"""Poison: what fails the same way on every delivery, as it stood in the log."""

from dataclasses import dataclass

from streamgage.errors import PoisonRecord
from streamgage.records import StreamRecord


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that cannot be counted: what it was, where it stood, and why.

    ``sub_sequence_number`` is the event's place in its Kinesis record; None where the whole Kinesis record is poison.
    ``data`` is the user record's, or the Kinesis record's; of one event in a block, its row.
    """

    shard_id: str
    sequence_number: int
    sub_sequence_number: int | None
    partition_key: str
    arrival_ms: int
    data: bytes
    code: str
    reason: str

    @classmethod
    def of(
        cls,
        record: StreamRecord,
        poison: PoisonRecord,
        *,
        data: bytes,
        partition_key: str,
        sub_sequence_number: int | None,
    ) -> "Poison":
        """Return what stands in *record*, and why it is poison."""
        return cls(
            shard_id=record.shard_id,
            sequence_number=record.sequence_number,
            sub_sequence_number=sub_sequence_number,
            partition_key=partition_key,
            arrival_ms=record.arrival_ms,
            data=data,
            code=poison.code,
            reason=poison.reason,
        )
