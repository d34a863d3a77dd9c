"""Poison: what fails the same way on every delivery, as it stood in the log. One value a user record, whatever it holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from streamgage.errors import PoisonCode, PoisonRecord
from streamgage.records import StreamRecord


@dataclass(frozen=True, slots=True)
class Refused:
    """Neighbouring events of a user record that were refused for the same kind of reason; ``reason`` is the first's.

    ``first`` and ``last`` count from 0 within the user record; both are included.
    """

    first: int
    last: int
    code: PoisonCode
    reason: str

    @property
    def events(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Poison:
    """A user record, or a whole Kinesis record, of which something cannot be counted; the rest of it was.

    ``sub_sequence_number`` is the place of its first event in its Kinesis record; None where the whole Kinesis record
    is poison. ``data`` is as it came. ``events`` is how many it holds, 1 where that cannot be known.
    """

    shard_id: str
    sequence_number: int
    sub_sequence_number: int | None
    partition_key: str
    arrival_ms: int
    data: bytes
    events: int
    refused: tuple[Refused, ...]

    @property
    def refused_events(self) -> int:
        """How many of its events count nowhere."""
        return sum(each.events for each in self.refused)

    @classmethod
    def whole(
        cls,
        record: StreamRecord,
        reason: PoisonRecord,
        *,
        data: bytes,
        partition_key: str,
        sub_sequence_number: int | None,
    ) -> "Poison":
        """Return what stands in *record*, of which nothing can be counted."""
        return cls(
            record.shard_id,
            record.sequence_number,
            sub_sequence_number,
            partition_key,
            record.arrival_ms,
            data,
            1,
            (Refused(0, 0, reason.code, reason.reason),),
        )


def joined(refused: Sequence[tuple[int, PoisonRecord]]) -> tuple[Refused, ...]:
    """Return events (each with its place, ascending) and their reasons as ranges."""
    ranges: list[Refused] = []
    for at, reason in refused:
        if ranges and ranges[-1].last == at - 1 and ranges[-1].code == reason.code:
            ranges[-1] = Refused(ranges[-1].first, at, reason.code, ranges[-1].reason)
        else:
            ranges.append(Refused(at, at, reason.code, reason.reason))
    return tuple(ranges)
