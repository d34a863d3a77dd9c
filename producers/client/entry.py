"""A Kinesis record as a producer holds it, from its sealing until it is stored or handed back; and what can never be one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from producers.client.outcomes import OnDelivery
from streamgage.errors import PoisonRecord, StreamgageError
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import SealedRecord, UserRecord

RECORD_MEMORY_BYTES = 288
"""What a user record takes in memory beside its data and key, as CPython 3.11 to 3.14 lay it out; see tests of memory."""


class UnsendableRecord(StreamgageError, ValueError):
    """A user record that Kinesis takes in no form. Nothing was buffered; set it aside and go on."""

    code = "unsendable"


@dataclass(frozen=True, slots=True, eq=False)
class PutEntry:
    """One Kinesis record to put: its bytes stay as they are however often it is sent.

    ``shard_id`` is where its user records were predicted to go. ``numbers`` says when each of ``records`` was put,
    counting every put of the batcher; a block counts as its first event. ``opened_ms`` is when the first was.
    ``kept_ms`` is as of a SealedRecord. ``outcomes`` are told what becomes of it.
    """

    shard_id: str
    partition_key: str
    explicit_hash_key: int | None
    data: bytes
    size_bytes: int
    records: tuple[UserRecord, ...]
    numbers: tuple[int, ...]
    opened_ms: int
    kept_ms: int | None = None
    outcomes: tuple[OnDelivery, ...] = ()

    @property
    def events(self) -> int:
        """How many events it holds."""
        return sum(each.events for each in self.records)

    @property
    def memory_bytes(self) -> int:
        """What it takes in memory, never less: its data, which its user records hold once more, and these."""
        return 2 * self.size_bytes + RECORD_MEMORY_BYTES * (len(self.records) + len(self.outcomes) + 4)

    @property
    def sealed(self) -> SealedRecord:
        """What is to be sent again, by whoever and whenever."""
        return SealedRecord(
            self.partition_key, self.data, self.explicit_hash_key, self.events, kept_ms=self.kept_ms
        )


def check_size(data_bytes: int, partition_key: str, *, made_of_bytes: int) -> None:
    """Let pass a Kinesis record of *data_bytes* under *partition_key*.

    Raises: UnsendableRecord, naming the user record of *made_of_bytes* that it was made of.
    """
    size_bytes = data_bytes + len(partition_key.encode())
    if size_bytes > KINESIS_RECORD_BYTES:
        raise UnsendableRecord(
            f"user record of {made_of_bytes} bytes (partition key {partition_key!r}) makes a Kinesis "
            f"record of {size_bytes}; the limit is {KINESIS_RECORD_BYTES}, with the partition key"
        )


def user_records_of(sealed: SealedRecord) -> Sequence[UserRecord]:
    """Return the user records in *sealed*, which hold as many events as it says.

    Raises: UnsendableRecord, it is a damaged aggregate.
    """
    if not is_aggregated(sealed.data):
        return [UserRecord(sealed.partition_key, sealed.data, sealed.explicit_hash_key, sealed.events)]
    try:
        records = list(decode_aggregate(sealed.data).user_records())
    except PoisonRecord as error:
        raise UnsendableRecord(f"a sealed record is damaged: {error}") from error
    # An aggregate does not say how many events a block in it holds.
    more = sealed.events - len(records)
    return [replace(records[0], events=1 + more), *records[1:]] if records and more > 0 else records
