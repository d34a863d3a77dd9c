"""Poison: what fails the same way on every delivery, as it stood in the log, and which of its events were refused."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter

from streamgage.errors import PoisonCode, PoisonRecord
from streamgage.records import StreamRecord


@dataclass(frozen=True, slots=True)
class Refused:
    """Neighbouring events of one user record that count nowhere, for one code: the offsets *first* to *last* in it.

    ``reason`` is that of the first event of the code in the user record; the others differ in their numbers at most.
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
    """A user record of which something cannot be counted: what it was, where it stood, and what of it was refused, why.

    One value a user record, a block of many events too, never one an event: the events of ``data`` that no range of
    ``refused`` holds were counted. ``data`` is the user record as it came, ``events`` how many it holds: of what cannot
    be read, one. ``sub_sequence_number`` is that of its first event; None where the whole Kinesis record is poison.
    """

    shard_id: str
    sequence_number: int
    sub_sequence_number: int | None
    partition_key: str
    arrival_ms: int
    data: bytes
    events: int
    refused: tuple[Refused, ...]

    @classmethod
    def of(
        cls,
        record: StreamRecord,
        refused: tuple[Refused, ...],
        *,
        data: bytes,
        events: int,
        partition_key: str,
        sub_sequence_number: int | None,
    ) -> "Poison":
        """Return what stands in *record*, and what of it was *refused*."""
        return cls(
            shard_id=record.shard_id,
            sequence_number=record.sequence_number,
            sub_sequence_number=sub_sequence_number,
            partition_key=partition_key,
            arrival_ms=record.arrival_ms,
            data=data,
            events=events,
            refused=refused,
        )

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in its shard's log: poison sorts by it."""
        sub_sequence_number = self.sub_sequence_number
        return self.sequence_number, -1 if sub_sequence_number is None else sub_sequence_number

    @property
    def id(self) -> str:
        """Its place in the stream: the same on every delivery, so a reader can drop repeats."""
        sub = "" if self.sub_sequence_number is None else f":{self.sub_sequence_number}"
        return f"{self.shard_id}:{self.sequence_number}{sub}"

    @property
    def codes(self) -> Counter[str]:
        """How many of its events were refused, by code."""
        return counted((self,))


@dataclass(frozen=True, slots=True)
class Held:
    """A user record where it stands: its bytes, its key, and how many events it holds."""

    sub_sequence_number: int
    data: bytes
    partition_key: str
    events: int

    @property
    def sub_sequence_numbers(self) -> range:
        """Those of its events."""
        return range(self.sub_sequence_number, self.sub_sequence_number + self.events)

    def poison(self, record: StreamRecord, refused: tuple[Refused, ...]) -> Poison:
        """Return it, as it stands in *record*, with what of it is *refused*."""
        return Poison(
            record.shard_id,
            record.sequence_number,
            self.sub_sequence_number,
            self.partition_key,
            record.arrival_ms,
            self.data,
            self.events,
            refused,
        )


def refusals(refused: Iterable[tuple[int, PoisonRecord]]) -> tuple[Refused, ...]:
    """Return the ranges of what was *refused* of one user record: (offset, why), in rising order of offsets."""
    return _joined(Refused(offset, offset, poison.code, poison.reason) for offset, poison in refused)


def refused_whole(poison: PoisonRecord) -> tuple[Refused, ...]:
    """Return the range of a record that cannot be read, and so holds one event as far as anybody knows."""
    return (Refused(0, 0, poison.code, poison.reason),)


def _joined(ranges: Iterable[Refused]) -> tuple[Refused, ...]:
    reasons: dict[PoisonCode, str] = {}
    joined: list[Refused] = []
    for each in ranges:
        last = joined[-1] if joined else None
        if last is not None and last.code == each.code and last.last + 1 == each.first:
            joined[-1] = replace(last, last=each.last)
        else:
            joined.append(replace(each, reason=reasons.setdefault(each.code, each.reason)))
    return tuple(joined)


def in_log_order(poison: Iterable[Poison]) -> list[Poison]:
    """Return *poison* in the order of the log, one value a user record, though several checks refused events of it."""
    ordered: list[Poison] = []
    for each in sorted(poison, key=attrgetter("place")):
        if ordered and ordered[-1].place == each.place:
            both = sorted(ordered[-1].refused + each.refused, key=attrgetter("first"))
            ordered[-1] = replace(each, refused=_joined(both))
        else:
            ordered.append(each)
    return ordered


def counted(poison: Iterable[Poison]) -> Counter[str]:
    """Return how many events were refused, by code."""
    counts: Counter[str] = Counter()
    for each in poison:
        for refused in each.refused:
            counts[refused.code] += refused.events
    return counts
