"""What a seed draws before anything happens: which faults strike and how often, sizes, configuration."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infra.local.mapping.config import MappingConfig
from simulation.trace import Trace

# Each fault, and the rate that is at most drawn for it: of the calls, invocations or events that it may strike.
FAULTS: Mapping[str, float] = {
    # producers and their way to Kinesis
    "put_throttled": 0.5,  # entries of PutRecords are refused
    "put_internal": 0.3,  # entries fail with InternalFailure
    "put_error": 0.3,  # the request fails, and nothing is stored
    "put_lost": 0.5,  # the answer is lost after the write
    "put_delayed": 0.4,  # the client gives up on a request that arrives later, perhaps after its retry
    "put_overtaken": 0.5,  # others act while a request or its answer is under way
    "old_map": 0.9,  # ListShards fails: the producer goes on with an old shard map
    "user_poison": 0.3,  # a user record that cannot be counted
    "frame_poison": 0.3,  # a stranger's Kinesis record with a broken KPL frame
    "skew": 1.0,  # clocks of producers, Kinesis and Lambda differ by minutes
    # senders with a spool
    "sender_killed": 0.15,  # the process dies before or after a call of its spool or of its producer
    "spool_put_back": 0.5,  # it starts from an old copy of its spool
    # clients that send by HTTP, and the collector
    "collector_killed": 0.2,  # it dies before or after a call of its table, its spool or Kinesis
    "collector_power_cut": 0.8,  # of a server that dies: what it removed from its spool since the last commit comes again
    "spool_full": 0.4,
    "disk_failed": 0.3,  # before or after it wrote
    "note_throttled": 0.4,
    "note_lost": 0.4,  # the answer is lost after a note was written
    "note_delayed": 0.2,  # a note that was given up arrives later
    "post_overtaken": 0.5,  # others act while a note or its answer is under way
    "post_again": 0.5,  # a client sends the same beside an older one
    "post_unanswered": 0.4,  # the answer does not come to the client
    "client_left": 0.3,  # whoever does not know what became of a batch goes for ever
    "client_back": 0.3,  # the same, and comes back after a day, or after five
    "key_reused": 0.5,  # another client sends other content under the same key
    "key_rotated": 1.0,  # API keys are rotated
    # the stream
    "split": 1.0,
    "merge": 1.0,
    "remerge": 1.0,  # the halves of a split are merged again
    "read_failed": 0.4,  # GetRecords is throttled or fails
    "read_short": 0.8,  # GetRecords returns a few records only: batch boundaries move
    "digit_more": 0.4,  # the sequence numbers of a shard gain a digit
    # the mapping
    "not_invoked": 0.3,  # Lambda is throttled
    "restart": 1.0,  # the mapping's process dies, and another starts from the checkpoint
    "checkpoint_lags": 0.8,  # the checkpoint is kept late
    "destination_failed": 0.4,  # the on-failure destination does not take a discard at once
    # invocations
    "crash": 0.12,  # the sandbox dies before or after a call took effect
    "out_of_time": 0.3,  # the time left runs out between two writes
    "zombie": 0.06,  # Lambda gives up on an invocation, which goes on later
    "overlap": 0.3,  # others act in the midst of an invocation
    "duplicate": 0.3,  # a batch is delivered twice, the second time perhaps much later
    "answer_lost": 0.2,  # the function ends, and Lambda takes it for failed
    "sandbox_lost": 0.5,  # a cold sandbox, with an empty memory
    "sandbox_stale": 0.8,  # the sandbox that was idle longest: its memory is old
    # DynamoDB, the quarantine, lineage
    "read_throttled": 0.2,
    "write_throttled": 0.3,
    "write_lost": 0.3,  # the answer is lost after a successful write
    "write_delayed": 0.2,  # a write that was given up arrives later
    "quarantine_failed": 0.4,
    "quarantine_lost": 0.3,  # the answer is lost after the messages were kept
    "lineage_failed": 0.4,  # the function's ListShards fails
}
SPOOL_FAULTS = ("sender_killed", "spool_put_back")
SERVER_FAULTS = ("collector_power_cut", "spool_full", "disk_failed")
FUNCTION_FAULTS = ("note_throttled", "note_lost", "note_delayed", "post_overtaken")
CLIENT_FAULTS = (
    "collector_killed",
    "post_again",
    "post_unanswered",
    "client_left",
    "client_back",
    "key_reused",
    "key_rotated",
)
_APART = {*SPOOL_FAULTS, *SERVER_FAULTS, *FUNCTION_FAULTS, *CLIENT_FAULTS}
_OFF = 0.5
_SPOOLED = 0.25  # of the worlds
_COLLECTED = 0.3  # of the worlds
TAIL_MS = 20_000  # faults go on for so long after the last event


@dataclass(frozen=True, slots=True)
class Plan:
    """One world: everything that is drawn once. The dice that fall while it runs are a function of the seed."""

    seed: int
    rates: Mapping[str, float]
    mapping: MappingConfig
    events: int
    shards: int
    producers: int
    span_ms: int
    aggregate_bytes: int
    linger_ms: int
    max_buffered_bytes: int
    put_timeout_ms: int
    cached_bytes: int
    write_attempts: int
    room_bytes: int
    slice_events: int
    devices: int
    second_at_ms: int | None
    is_spooled: bool
    collects: Literal["", "server", "function"] = ""
    batches: int = 0
    """That clients send to the collector: numbered behind the events."""
    left_out: frozenset[int] = frozenset()
    """Events and batches that are not put: shrinking takes them out, and leaves the others as they were."""

    @property
    def parallel(self) -> bool:
        """Whether lanes are partition keys."""
        return self.mapping.parallelization_factor > 1


def draw_plan(seed: int) -> Plan:
    """Return the plan of *seed*. About half of the faults are off in each, some strike often: swarm testing.

    Source: Groce et al., Swarm Testing, ISSTA 2012: leaving features out finds what a mix of all hides.
    """
    rng = random.Random(f"plan:{seed}")
    rates = {name: _draw_rate(rng, most) for name, most in FAULTS.items() if name not in _APART}
    spool_rng = random.Random(f"spool:{seed}")
    is_spooled = spool_rng.random() < _SPOOLED
    rates |= {name: _draw_rate(spool_rng, FAULTS[name]) if is_spooled else 0.0 for name in SPOOL_FAULTS}
    collects, batches, of_collector = _draw_collected(seed)
    rates |= of_collector
    return Plan(
        seed=seed,
        rates=rates,
        mapping=_draw_mapping(rng),
        events=rng.randint(12, 36),
        shards=rng.choice((1, 1, 1, 2, 3)),
        producers=rng.choice((1, 1, 2, 3)),
        span_ms=rng.choice((2_000, 10_000, 60_000)),
        aggregate_bytes=rng.choice((1, 200, 300, 600, 50_000)),
        linger_ms=rng.choice((0, 50, 500, 5_000)),
        max_buffered_bytes=rng.choice((400, 2_000, 1 << 20)),
        put_timeout_ms=rng.choice((3_000, 120_000, 120_000, 120_000)),
        cached_bytes=rng.choice((1, 4_000, 1 << 26, 1 << 26)),
        write_attempts=rng.choice((1, 2, 20, 20)),
        room_bytes=rng.choice((1, 40, 80, 200, 800)),
        slice_events=rng.choice((1, 3, 1_000)),
        devices=rng.choice((2, 4, 12)),
        second_at_ms=rng.choice((None, None, 0, 1_000, 30_000)),
        is_spooled=is_spooled,
        collects=collects,
        batches=batches,
    )


def _draw_collected(seed: int) -> tuple[Literal["", "server", "function"], int, Mapping[str, float]]:
    """Return where a collector runs, how many batches it is sent, and how often its faults strike."""
    rng = random.Random(f"collected:{seed}")
    if rng.random() >= _COLLECTED:
        return "", 0, dict.fromkeys((*SERVER_FAULTS, *FUNCTION_FAULTS, *CLIENT_FAULTS), 0.0)
    collects: Literal["server", "function"] = rng.choice(("server", "function"))
    batches = rng.randint(4, 10)
    own = {"server": SERVER_FAULTS, "function": FUNCTION_FAULTS}[collects]
    return (
        collects,
        batches,
        {
            name: _draw_rate(rng, FAULTS[name], _OFF / 2) if name in (*own, *CLIENT_FAULTS) else 0.0
            for name in (*SERVER_FAULTS, *FUNCTION_FAULTS, *CLIENT_FAULTS)
        },
    )


def _draw_rate(rng: random.Random, most: float, off: float = _OFF) -> float:
    return 0.0 if rng.random() < off else round(most * rng.choice((0.1, 0.3, 0.6, 1.0)), 4)


def _draw_mapping(rng: random.Random) -> MappingConfig:
    limited = rng.random() < 0.12
    return MappingConfig(
        batch_size=rng.choice((1, 2, 3, 4, 5, 8, 10, 100)),
        window_ms=rng.choice((0, 0, 300, 3_000)),
        parallelization_factor=rng.choice((1, 1, 1, 2, 3, 10)),
        bisect=rng.random() < 0.5,
        report_item_failures=True,
        max_retry_attempts=rng.randint(0, 3) if limited else -1,
        max_record_age_ms=60_000 if limited and rng.random() < 0.5 else -1,
        on_failure_arn="arn:aws:s3:::on-failure",
        retry_first_ms=rng.choice((10, 200)),
        retry_max_ms=2_000,
        buffer_records=rng.choice((3, 10, 20_000)),
    )


class Dice:
    """The faults of one world: each kind falls by itself, so leaving one out leaves the others as they were.

    ``fired`` counts them; ``calm`` ends them all.
    """

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self.calm = False
        self._trace = trace
        self.fired: Counter[str] = Counter()
        self._rates = plan.rates
        self._streams = {
            name: random.Random(f"{plan.seed}:{name}") for name, rate in plan.rates.items() if rate
        }

    def strikes(self, fault: str) -> bool:
        """Tell whether *fault* strikes now."""
        stream = self._streams.get(fault)
        if stream is None or self.calm or stream.random() >= self._rates[fault]:
            return False
        self.fired[fault] += 1
        self._trace.note("!", fault)
        return True

    def of(self, fault: str) -> random.Random:
        """Return the dice of a *fault* that struck, for how it strikes."""
        return self._streams[fault]
