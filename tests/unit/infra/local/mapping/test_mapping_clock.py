"""Whoever sets the clock of this machine makes nothing wait for it, and nothing look applied that is not."""

from itertools import count

from infra.local.function.outcome import Failed
from infra.local.mapping.clock import SteppedClock
from infra.local.mapping.config import MappingConfig
from infra.local.mapping.shard import ShardMapping
from infra.local.mapping.stream import Invocation
from streamgage.records import StreamRecord

HOUR_MS = 3_600_000


class Clocks:
    """The time of day, which somebody sets, and the one that nobody does."""

    def __init__(self) -> None:
        self.wall_s, self.steady_s = 1_700_000_000.0, 50.0

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds


def test_a_step_is_told_once_and_the_passing_of_time_never() -> None:
    clocks = Clocks()
    clock = SteppedClock(lambda: clocks.wall_s, lambda: clocks.steady_s)
    clocks.pass_s(500)
    assert clock.step_ms() == 0
    clocks.wall_s -= 3600
    assert (clock.step_ms(), clock.step_ms()) == (-HOUR_MS, 0)
    clocks.wall_s += 0.3  # led gently
    assert clock.step_ms() == 0
    assert clock.now_ms() == round(clocks.wall_s * 1000)


def test_a_clock_that_is_led_gently_for_long_is_followed() -> None:
    clocks = Clocks()
    clock = SteppedClock(lambda: clocks.wall_s, lambda: clocks.steady_s)
    told = 0
    for _ in range(20):
        clocks.wall_s -= 0.1
        told += clock.step_ms()
    assert told == -2_000


def shard(config: MappingConfig) -> ShardMapping:
    return ShardMapping(
        "s0",
        config=config,
        stream_arn="arn:aws:kinesis:us-east-1:000000000000:stream/s",
        checkpoint=None,
        ids=count(1),
    )


def record() -> StreamRecord:
    return StreamRecord("s0", 1, "k", b"x", 0)


def test_a_batch_that_gathers_is_due_when_it_was_although_the_clock_is_set_back() -> None:
    mapped = shard(MappingConfig(window_ms=5_000))
    mapped.feed([record()], HOUR_MS)
    mapped.clock_stepped(-HOUR_MS)
    assert mapped.next_wake_ms() == 5_000
    assert mapped.due(4_999) == []
    assert len(mapped.due(5_000)) == 1


def test_a_retry_waits_its_pause_whichever_way_the_clock_is_set() -> None:
    for step_ms in (-HOUR_MS, HOUR_MS):
        mapped = shard(MappingConfig())
        mapped.feed([record()], HOUR_MS)
        (work,) = mapped.due(HOUR_MS)
        assert isinstance(work, Invocation)
        mapped.settle(work.invocation_id, Failed("no"), HOUR_MS)
        wake_ms = mapped.next_wake_ms()
        assert wake_ms is not None
        pause_ms = wake_ms - HOUR_MS
        mapped.clock_stepped(step_ms)
        assert mapped.next_wake_ms() == HOUR_MS + step_ms + pause_ms
