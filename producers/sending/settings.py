"""How a Producer sends: what may be set."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from producers.client.batching import BatcherConfig
from producers.client.outbox import PATIENT, RetryConfig
from producers.client.settings import CoreConfig
from streamgage.errors import ConfigError
from streamgage.limits import MIB

WhenFull = Literal["block", "raise", "drop_oldest"]

_HELD_BYTES = 8 * MIB  # more than a forwarder has under way: its core never waits
_LEAST_MEMORY_BYTES = 2 * MIB
_COPIES = (
    4  # of a request under way: its JSON in base64, that in a header's company, and what a socket holds of it
)

_KEY_MEMORY_BYTES = 256  # of a partition key in a table, and what it leads to


@dataclass(frozen=True, slots=True)
class ProducerConfig:
    """How a Producer sends.

    Attributes:
        linger_ms: an event waits at most this long for company, whether or not anybody calls.
        max_memory_bytes: all that was put and is not safe yet takes no more in this process, requests under way included:
            what it takes, not what is sent. An event that comes when it is full waits, is refused, or replaces the oldest.
        when_full: "block" until there is room; "raise" BufferFull; "drop_oldest", which is counted and logged.
        put_timeout_s: with "block", for so long at most; None: for as long as it takes.
        one_key_per_record: as the stream's consumer needs it, where its mapping has a ParallelizationFactor > 1.
        concurrency: requests under way at once.
        retries: how long a Kinesis record is tried, and how many of them a second.
        exit_timeout_s: a producer that is not closed when the interpreter ends sends for so long what it holds.
    """

    linger_ms: int = 100
    max_memory_bytes: int = 32 * MIB
    when_full: WhenFull = "block"
    put_timeout_s: float | None = None
    one_key_per_record: bool = False
    concurrency: int = 2
    retries: RetryConfig = field(default_factory=RetryConfig)
    exit_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        problems = []
        if self.when_full not in get_args(WhenFull):
            problems.append(f"when_full is {self.when_full!r}, not one of {', '.join(get_args(WhenFull))}")
        if self.max_memory_bytes < _LEAST_MEMORY_BYTES:
            problems.append(
                f"max_memory_bytes is {self.max_memory_bytes}; the least is {_LEAST_MEMORY_BYTES}"
            )
        if not 1 <= self.concurrency <= 100:
            problems.append(f"concurrency is {self.concurrency}, outside 1 to 100")
        if min(self.put_timeout_s or 0, self.exit_timeout_s) < 0:
            problems.append("put_timeout_s and exit_timeout_s are 0 or more")
        if problems:
            raise ConfigError(*problems)
        self.core()

    @property
    def request_bytes(self) -> int:
        """What a request may have, so that those under way take half of the memory at most."""
        return min(MIB, self.max_memory_bytes // (2 * _COPIES * self.concurrency))

    @property
    def events_memory_bytes(self) -> int:
        """What events may take beside the requests under way, and the keys that are remembered."""
        requests_bytes = _COPIES * self.concurrency * self.request_bytes
        return self.max_memory_bytes - requests_bytes - 2 * _KEY_MEMORY_BYTES * self.remembered_keys

    @property
    def remembered_keys(self) -> int:
        """Of how many partition keys their shards are remembered, and their last numbers: an eighth of the memory."""
        return min(32_768, self.max_memory_bytes // (16 * _KEY_MEMORY_BYTES))

    def for_consumer(self, one_key_per_record: bool) -> "ProducerConfig":  # noqa: FBT001 - one fact
        """Return the same as a consumer that needs *one_key_per_record* has to have it."""
        return replace(self, one_key_per_record=self.one_key_per_record or one_key_per_record)

    def forwarding(self) -> CoreConfig:
        """Return how what is in a spool is sent."""
        return CoreConfig(
            retries=PATIENT,
            concurrency=self.concurrency,
            max_buffered_bytes=_HELD_BYTES,
            paced=True,
            in_background=True,
        )

    def core(self) -> CoreConfig:
        """Return the same for the engine."""
        usual = BatcherConfig()
        return CoreConfig(
            batching=BatcherConfig(
                linger_ms=self.linger_ms,
                request_bytes=self.request_bytes,
                block_bytes=min(usual.block_bytes, self.events_memory_bytes // 32),
                one_key_per_record=self.one_key_per_record,
                remembered_keys=self.remembered_keys,
            ),
            retries=self.retries,
            concurrency=self.concurrency,
            max_buffered_bytes=self.max_memory_bytes,
            paced=True,
            in_background=True,
        )
