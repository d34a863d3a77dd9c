"""How user records are gathered into Kinesis records: what may be set."""

from dataclasses import dataclass

from streamgage.errors import ConfigError
from streamgage.formats.blocks.layout import MAX_EVENTS
from streamgage.limits import KINESIS_RECORD_BYTES, MIB, PUT_RECORDS_BYTES

_BLOCK_ROOM_BYTES = 4_096  # of a Kinesis record: for what goes around a block, its keys, tags and headers


@dataclass(frozen=True, slots=True)
class BatcherConfig:
    """How user records are gathered.

    Attributes:
        aggregate_bytes: an aggregated record grows up to this, with its partition key. A provisioned stream bills
            units of 25 KB, so 50,000 fills two (a nearly empty unit costs as much as a full one), and at a shard's
            1 MB/s makes 20 of the 1,000 records/s that it takes. Larger ones would save little more (the frame and
            tables are some 3 % here) and concentrate harm: a Kinesis record is throttled, retried, quarantined and
            folded whole.
        request_bytes: a PutRecords request grows up to this. A shard takes 1 MiB/s: more at once is throttled.
        linger_ms: a user record waits at most this long for company.
        block_bytes: a block of events grows up to this, before it is compressed (to a sixth or so). One that does not
            compress still fits into a Kinesis record.
        block_events: a block grows up to so many events. It is folded, and quarantined if it is damaged, whole.
        one_key_per_record: every Kinesis record holds user records of one partition key, which is also its own.
            Required by a mapping with ParallelizationFactor > 1; costs more records.
        remembered_keys: of so many partition keys the shard is remembered, which saves an MD5 each.
    """

    aggregate_bytes: int = 50_000
    request_bytes: int = MIB
    linger_ms: int = 100
    block_bytes: int = 500_000
    block_events: int = 10_000
    one_key_per_record: bool = False
    remembered_keys: int = 65_536

    def __post_init__(self) -> None:
        """Refuse what Kinesis would."""
        problems = [
            f"{name} is {value}, outside {low} to {high}"
            for name, value, low, high in (
                ("aggregate_bytes", self.aggregate_bytes, 1, KINESIS_RECORD_BYTES),
                ("request_bytes", self.request_bytes, 1, PUT_RECORDS_BYTES),
                ("linger_ms", self.linger_ms, 0, 3_600_000),
                ("block_bytes", self.block_bytes, 1, KINESIS_RECORD_BYTES - _BLOCK_ROOM_BYTES),
                ("remembered_keys", self.remembered_keys, 1, 10_000_000),
                ("block_events", self.block_events, 1, MAX_EVENTS),
            )
            if not low <= value <= high
        ]
        if problems:
            raise ConfigError(*problems)
