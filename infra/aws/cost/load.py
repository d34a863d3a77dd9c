"""What a pipeline has to carry, and what its events and items weigh: the planner's input."""

from dataclasses import dataclass, field, replace

from infra.aws.cost.chunks import BodyBytes
from streamgage.errors import ConfigError
from streamgage.limits import ESM_BATCH_RECORDS, ESM_PARALLELIZATION_FACTOR, ESM_WINDOW_S

_FULL_CPU_MB = 1769  # "At 1,769 MB, a function has the equivalent of one vCPU"
# Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html (checked 2026-11-21)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What one event takes; measured by ``streamgage bench write_units`` at the reference load.

    Attributes:
        event_bytes: of a user record, as it stands in an aggregated record with its share of the tables.
        block_event_bytes: of an event inside a compressed block.
        record_bytes: of what an invocation's JSON adds to the Base64 of one Kinesis record.
    """

    event_bytes: float = 59.0
    block_event_bytes: float = 4.2
    record_bytes: float = 480.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """How fast the function is; CPU at a whole vCPU. Sources: docs/adr/0013 (writes), docs/adr/0026 (the rest).

    ``key_us`` is of a key whose state is merged and encoded, once a window size. ``request_ms`` is DynamoDB's answer time
    as the network has it, to *batch* writes; ``concurrency`` requests are under way.
    """

    batch_ms: float = 5.0
    event_us: float = 2.0
    key_us: float = 6.0
    write_us: float = 30.0
    request_ms: float = 10.0
    batch: int = 25
    concurrency: int = 16

    def duration_s(self, *, events: float, keys: float, writes: float, memory_mb: int) -> float:
        """Return the seconds of an invocation: CPU at the share of *memory_mb*, or the waiting, whichever is longer."""
        cpu_share = min(1.0, memory_mb / _FULL_CPU_MB)
        cpu_s = self.write_us / 1e6 / cpu_share
        waiting_s = self.request_ms / 1e3 / self.batch / self.concurrency
        fixed_s = (self.batch_ms / 1e3 + (events * self.event_us + keys * self.key_us) / 1e6) / cpu_share
        return fixed_s + writes * max(cpu_s, waiting_s)


@dataclass(frozen=True, slots=True)
class Together:
    """Keys that stand together: there are *groups* groups, by *fields*. *apart*: what bodies take without that.

    ``spread`` says that the fields do not hold the partition key: each shard sees something of every group.
    """

    fields: tuple[str, ...]
    groups: int
    apart: BodyBytes
    spread: bool = False

    def keys_of(self, keys: int, *, of_cell: float) -> float:
        """Return how many of the *keys* keys of a rollup stand together in a cell, which has *of_cell* of them."""
        return max(1.0, (of_cell if self.spread else keys) / self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupLoad:
    """One rollup: *keys* keys in all, tumbling *windows_ms*, bodies of so many *bytes*, kept *keep_s* after a window's end.

    ``spread`` says that the key does not hold the partition key: each shard then sees every key, and writes partials.
    """

    name: str
    keys: int
    windows_ms: tuple[int, ...]
    bytes: BodyBytes
    keep_s: float
    spread: bool = False
    together: Together | None = None

    def apart(self) -> "RollupLoad":
        """Return the same rollup, of which each key stands by itself."""
        return self if self.together is None else replace(self, bytes=self.together.apart, together=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of the pipeline, checked as a whole.

    Attributes:
        hottest_share: the part of all events that the busiest device sends, 0 to 1; None where they are alike.
        freshness_s: from an event to its aggregate, at most.
        shards, batching_window_s: None lets the planner choose.
        peak: the peak rate over the average one. Shards carry the peak; the bill is of the average.
        conflicts: the part of writes that meet an item which another sandbox wrote meanwhile, 0 to 1.
    """

    events_per_s: float
    devices: int
    rollups: tuple[RollupLoad, ...]
    weights: Weights = field(default_factory=Weights)
    speeds: Speeds = field(default_factory=Speeds)
    blocks: bool = False
    aggregated: bool = True
    hottest_share: float | None = None
    freshness_s: float = 60.0
    shards: int | None = None
    batching_window_s: int | None = None
    batch_size: int = ESM_BATCH_RECORDS
    parallelization_factor: int = 1
    memory_mb: int = 512
    timeout_s: int = 60
    linger_s: float = 0.1
    peak: float = 1.5
    producers: int = 1
    conflicts: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no load, all at once."""
        limits = (
            ("events-per-s", self.events_per_s, 0.001, 1e9),
            ("devices", self.devices, 1, 1e9),
            ("event-bytes", self.weights.event_bytes, 1, 1024 * 1024),
            ("block-event-bytes", self.weights.block_event_bytes, 0.1, 1024 * 1024),
            ("freshness-s", self.freshness_s, 0.5, 3600),
            ("shards", self.shards or 1, 1, 100_000),
            ("batching-window-s", self.batching_window_s or 0, 0, ESM_WINDOW_S),
            ("batch-size", self.batch_size, 1, ESM_BATCH_RECORDS),
            ("parallelization-factor", self.parallelization_factor, 1, ESM_PARALLELIZATION_FACTOR),
            ("memory-mb", self.memory_mb, 128, 10_240),
            ("timeout-s", self.timeout_s, 1, 900),
            ("linger-s", self.linger_s, 0, 3600),
            ("peak", self.peak, 1, 1000),
            ("producers", self.producers, 1, 1e7),
            ("conflicts", self.conflicts, 0, 1),
            ("hottest-share", self.hottest_share or 0, 0, 1),
        )
        problems = [
            f"--{name} is {value:g}; it is {low:g} to {high:g}"
            for name, value, low, high in limits
            if not low <= value <= high
        ]
        if not self.rollups:
            problems.append("there is no rollup to write")
        if self.blocks and not self.aggregated:
            problems.append("--blocks and --no-aggregation contradict each other")
        if problems:
            raise ConfigError(*problems)

    @property
    def device_events_per_s(self) -> float:
        """The rate of the busiest device."""
        even = self.events_per_s / self.devices
        return even if self.hottest_share is None else max(even, self.hottest_share * self.events_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked, on average. The defaults are of a dear question: a day by the minute, of one of 10,000 keys.

    Attributes:
        per_s: questions a second, of all callers together.
        read_units: of DynamoDB, a question; docs/benchmarks.md. A day by the hour takes a sixtieth.
        ms: of the function at *memory_mb*, a question.
        answer_bytes: of an answer.
        by_page: they come by the page's CloudFront.
        listeners: WebSocket connections that are open, on average.
    """

    per_s: float = 0.0
    read_units: float = 229.0
    ms: float = 200.0
    memory_mb: int = 1024
    answer_bytes: float = 100_000.0
    by_page: bool = False
    listeners: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what nobody asks, all at once."""
        limits = (
            ("questions-per-s", self.per_s, 0, 10_000),
            ("question-units", self.read_units, 0, 1e6),
            ("question-ms", self.ms, 0, 29_000),
            ("question-bytes", self.answer_bytes, 0, 6 * 1024 * 1024),
            ("api-memory-mb", self.memory_mb, 128, 10_240),
            ("listeners", self.listeners, 0, 10_000),
        )
        problems = [
            f"--{name} is {value:g}; it is {low:g} to {high:g}"
            for name, value, low, high in limits
            if not low <= value <= high
        ]
        if problems:
            raise ConfigError(*problems)

    @property
    def sandboxes(self) -> float:
        """How many are at work at a time, on average: what they take of the account's concurrency."""
        return self.per_s * self.ms / 1000
