"""What a producer needs of the world: one stream, and the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from producers.client.entry import PutEntry
from streamgage.errors import RetryableError
from streamgage.shards import Shard


@dataclass(frozen=True, slots=True)
class PutStored:
    """Kinesis holds the record."""

    shard_id: str
    sequence_number: int


@dataclass(frozen=True, slots=True)
class PutFailed:
    """Kinesis refused the record, or nobody knows: after a timeout it may have been stored all the same."""

    code: str
    message: str


PutResult = PutStored | PutFailed


class Throttled(RetryableError):
    """Kinesis takes no more just now."""

    code = "throttled"


THROTTLED_CODES = frozenset(
    {"ProvisionedThroughputExceededException", "KMSThrottlingException", Throttled.code}
)
"""Of a record: Kinesis takes no more of them just now."""


class CredentialsRefused(RetryableError):
    """The credentials were refused, or could not be had, that may be good again: expired, being renewed, a clock set back."""

    code = "credentials"


class KinesisPort(Protocol):
    """One stream. A call raises RetryableError for what may pass, and ConfigError for what a person must change."""

    def list_shards(self) -> Sequence[Shard]:
        """Return the shards of the stream, closed ones too if it likes."""

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Put *entries* in one request and return a result for each, in their order.

        Called from several threads at once where the producer's concurrency is above 1. When it raises
        RetryableError, entries may have been stored all the same.
        """
