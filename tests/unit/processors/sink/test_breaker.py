"""A table that takes no writes is left alone: asked little, by one at a time, and by all again when it recovers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.sink.breaker import Breaker, BreakerLimits
from support.lean_server import FakeTime

LIMITS = BreakerLimits(failures=3, base_s=1.0, cap_s=8.0)


def breaker(time: FakeTime, random: Callable[[], float] = lambda: 0.0) -> Breaker:
    return Breaker(clock=time.clock, random=random, limits=LIMITS)


def opened(time: FakeTime, random: Callable[[], float] = lambda: 0.0) -> Breaker:
    made = breaker(time, random)
    for _ in range(LIMITS.failures):
        assert made.admits()
        made.failed()
    return made


def test_failures_between_successes_stop_nobody() -> None:
    made = breaker(FakeTime())
    for _ in range(50):
        assert made.admits()
        made.failed()
        made.failed()
        made.worked()
    assert (made.admits(), made.pause_s()) == (True, 0)


def test_failures_in_a_row_stop_all_for_a_while() -> None:
    time = FakeTime()
    made = opened(time)
    assert not any(made.admits() for _ in range(100))
    assert made.pause_s() == 0.5
    time.now_s += 0.49
    assert not made.admits()
    time.now_s += 0.01
    assert made.pause_s() == 0
    assert made.admits()


def test_one_probe_goes_alone_and_where_it_works_all_go_again() -> None:
    time = FakeTime()
    made = opened(time)
    time.now_s += 1
    assert [made.admits() for _ in range(5)] == [True, False, False, False, False]
    made.worked()
    assert all(made.admits() for _ in range(5))
    made.failed()
    assert made.admits()  # it counts from nothing again


def test_each_probe_that_fails_doubles_the_pause_up_to_the_cap() -> None:
    time, pauses = FakeTime(), list[float]()
    made = opened(time)
    for _ in range(7):
        pauses.append(made.pause_s())
        time.now_s += made.pause_s()
        assert made.admits()
        made.failed()
    assert pauses == [0.5, 1, 2, 4, 4, 4, 4]


@given(numbers=st.lists(st.floats(0, 1, exclude_max=True), min_size=40, max_size=40))
def test_a_pause_is_half_certain_and_half_chance(numbers: list[float]) -> None:
    time, dice = FakeTime(), iter(numbers)
    made = opened(time, lambda: next(dice))
    for longest_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert longest_s / 2 <= made.pause_s() <= longest_s
        time.now_s += LIMITS.cap_s
        assert made.admits()
        made.failed()


def test_sandboxes_do_not_come_back_at_once() -> None:
    pauses = {opened(FakeTime(), Random(seed).random).pause_s() for seed in range(20)}
    assert len(pauses) == 20


def test_requests_that_were_on_their_way_when_the_pause_began_do_not_lengthen_it() -> None:
    time = FakeTime()
    made = breaker(time)
    assert all(made.admits() for _ in range(16))
    for _ in range(16):
        made.failed()
    assert made.pause_s() == 0.5


def test_one_of_them_that_works_ends_it() -> None:
    made = opened(FakeTime())
    made.worked()
    assert made.admits()


def test_a_probe_of_which_nothing_is_heard_stops_nobody_for_ever() -> None:
    time = FakeTime()
    made = opened(time)
    for _ in range(3):
        time.now_s += made.pause_s()
        assert made.admits()  # and the sandbox was frozen, or the request raised
        assert not made.admits()


def chunks_of(made: Breaker, time: FakeTime, *, throttled_until_s: float) -> Iterator[bool | None]:
    """Yield for each chunk whether it was written; None where it was not tried. A failure takes its tries' 1.8 s."""
    for _ in range(2_160):
        if not made.admits():
            yield None
        elif time.now_s < throttled_until_s:
            time.now_s += 1.8
            made.failed()
            yield False
        else:
            time.now_s += 0.01
            made.worked()
            yield True


def test_of_54_000_writes_to_a_throttled_table_hardly_any_is_tried() -> None:
    time = FakeTime()
    tried = [each for each in chunks_of(breaker(time), time, throttled_until_s=1e9) if each is not None]
    assert tried == [False] * LIMITS.failures


def test_a_table_that_recovers_is_written_again_by_the_next_batch_that_waits_for_the_pause() -> None:
    time = FakeTime()
    made = breaker(time)
    list(chunks_of(made, time, throttled_until_s=time.now_s + 4))
    time.now_s += made.pause_s()
    assert list(chunks_of(made, time, throttled_until_s=0)) == [True] * 2_160


@pytest.mark.parametrize("threads", [2, 16])
def test_threads_that_ask_at_once_send_one_probe(threads: int) -> None:
    time = FakeTime()
    made = opened(time)
    time.now_s += 1
    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(lambda _: made.admits(), range(200))) == 1
