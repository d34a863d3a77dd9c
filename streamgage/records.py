"""Records: what a producer puts, and what Kinesis gives back."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UserRecord:
    """One event as a producer puts it, or a block of them: bytes and the key that chooses its shard.

    ``explicit_hash_key`` (0 to 2**128 - 1), where given, chooses the shard in place of the partition key. ``events`` is
    how many it holds, as whoever made it knows: more than one only in a block.
    """

    partition_key: str
    data: bytes
    explicit_hash_key: int | None = None
    events: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A Kinesis record as a producer sealed it: sent again, its bytes and the mark in them are the same.

    ``events`` is how many it holds. ``kept_ms`` says since when it lies in a file, in ms since the epoch; None elsewhere.
    """

    partition_key: str
    data: bytes
    explicit_hash_key: int | None = None
    events: int = 1
    kept_ms: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One Kinesis record as a consumer reads it.

    ``data`` is what was put: an aggregated record (KPL format) or a plain one. ``arrival_ms`` is Kinesis's
    ApproximateArrivalTimestamp in ms since the epoch. Sequence numbers grow within a shard; they are not dense.
    """

    shard_id: str
    sequence_number: int
    partition_key: str
    data: bytes
    arrival_ms: int
