"""How a producer sends, and what it has done so far."""

from dataclasses import dataclass, field

from producers.client.batching import BatcherConfig
from producers.client.outbox import RetryConfig
from streamgage.errors import ConfigError
from streamgage.limits import MIB


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """How a producer sends.

    Attributes:
        batching: how user records are gathered.
        retries: how long a Kinesis record is tried.
        concurrency: requests in flight. With 1 everything happens in the caller's thread, in an order that the port,
            the clock and the dice decide.
        max_buffered_bytes: ``put`` waits while more than this is buffered, data and keys as Kinesis counts them; in
            memory small user records take some four times as much.
        paced: each shard is written to no faster than Kinesis takes it, and slower while it throttles.
        in_background: no call waits for Kinesis but those that say so: requests have threads of their own with a
            concurrency of 1, too.
    """

    batching: BatcherConfig = field(default_factory=BatcherConfig)
    retries: RetryConfig = field(default_factory=RetryConfig)
    concurrency: int = 2
    max_buffered_bytes: int = 8 * MIB
    paced: bool = False
    in_background: bool = False

    def __post_init__(self) -> None:
        """Refuse what would never send."""
        if self.concurrency < 1 or self.max_buffered_bytes < 1:
            raise ConfigError(
                f"concurrency is {self.concurrency}, max_buffered_bytes is {self.max_buffered_bytes}; least is 1"
            )


@dataclass(slots=True)
class ProducerStats:
    """What a producer has done so far; for progress bars.

    ``events_put`` is exact after an interrupt too: who was interrupted in a call knows by it how many events were taken.
    Those of ``entries`` and ``requests`` may then be off by what was under way.
    """

    events_put: int = 0
    events_stored: int = 0
    events_undelivered: int = 0  # handed back, kept elsewhere, or dropped; how many of these were dropped:
    events_dropped: int = 0
    entries_stored: int = 0
    bytes_stored: int = 0
    requests: int = 0
    entries_failed: int = 0  # one entry may fail several times; how many of these were throttled:
    entries_throttled: int = 0
    entries_misrouted: int = 0  # stored on a shard other than predicted
    refreshes: int = 0
