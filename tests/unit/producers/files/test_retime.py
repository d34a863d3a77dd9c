"""Re-timing, with a clock that only moves when someone waits."""

import pytest

from producers.files.retime import Pace, Replay, Shift


class StoppedClock:
    """Time passes only in sleep; each look may be made to cost some."""

    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms
        self.slept_ms = 0

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        assert duration_ms > 0
        self.slept_ms += duration_ms
        self.time_ms += duration_ms


def test_as_is_keeps_every_event_time() -> None:
    assert [Shift().stamp(ms) for ms in (5, 3, 5)] == [5, 3, 5]


def test_shift_to_now_makes_the_last_event_now_and_keeps_distances() -> None:
    shift = Shift.to_now(2_000, StoppedClock(1_000_000))
    assert [shift.stamp(ms) for ms in (1_000, 2_000, 1_500)] == [999_000, 1_000_000, 999_500]


def test_a_replay_at_60_sends_a_minute_in_a_second() -> None:
    clock, flushed = StoppedClock(1_000_000), [0]
    replay = Replay(60, clock=clock, flush=lambda: flushed.append(clock.time_ms))
    assert [replay.stamp(ms) for ms in (7_000, 67_000, 127_000, 127_060)] == [
        1_000_000,
        1_001_000,
        1_002_000,
        1_002_001,
    ]
    assert clock.slept_ms == 2_001
    assert flushed[1:] == [1_000_000, 1_001_000]  # before each long pause, and not before the short one


def test_a_replay_sends_what_is_out_of_order_at_once_and_now() -> None:
    clock = StoppedClock(0)
    replay = Replay(1, clock=clock, flush=lambda: None)
    assert [replay.stamp(ms) for ms in (0, 100, 50, 120)] == [0, 100, 100, 120]


def test_a_replay_that_fell_behind_catches_up() -> None:
    clock = StoppedClock(0)
    replay = Replay(1, clock=clock, flush=lambda: None)
    replay.stamp(0)
    clock.time_ms = 500
    assert [replay.stamp(ms) for ms in (100, 200, 600)] == [500, 500, 600]


@pytest.mark.parametrize("per_s", [3, 1000, 4000.0])
def test_a_pace_is_kept_without_drift(per_s: float) -> None:
    clock = StoppedClock(0)
    pace = Pace(per_s, clock=clock, flush=lambda: None)
    count = int(per_s * 3) + 1
    for _ in range(count):
        pace.wait()
    assert clock.time_ms == 3_000


def test_a_clock_that_is_set_back_or_ahead_keeps_nobody_waiting() -> None:
    clock = StoppedClock(10_000_000)
    replay = Replay(1, clock=clock, flush=lambda: None)
    assert [replay.stamp(ms) for ms in (0, 100)] == [10_000_000, 10_000_100]
    clock.time_ms -= 3_600_000
    assert replay.stamp(200) == 6_400_200
    clock.time_ms += 3_600_000
    assert replay.stamp(300) == 10_000_200
