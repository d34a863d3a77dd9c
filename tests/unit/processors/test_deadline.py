"""A deadline is a moment of a clock: it can come sooner, never later."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.deadline import Deadline
from support.lean_server import FakeTime

SECONDS = st.integers(0, 2**30).map(lambda ticks: ticks / 1024)  # which floats add without rounding


def test_what_is_left_shrinks_with_the_clock_and_is_never_less_than_nothing() -> None:
    time = FakeTime(100.0)
    deadline = Deadline.after(2.0, time.clock)
    assert (deadline.left_s(), deadline.has_passed) == (2.0, False)
    time.now_s = 101.5
    assert (deadline.left_s(), deadline.has_passed) == (0.5, False)
    time.now_s = 102.0
    assert (deadline.left_s(), deadline.has_passed) == (0.0, True)
    time.now_s = 200.0
    assert (deadline.left_s(), deadline.has_passed) == (0.0, True)


@pytest.mark.parametrize(("seconds", "at_s"), [(1.0, 101.0), (2.0, 102.0), (3.0, 102.0), (0.0, 100.0)])
def test_a_sooner_one_is_the_earlier_of_both(seconds: float, at_s: float) -> None:
    time = FakeTime(100.0)
    assert Deadline.after(2.0, time.clock).sooner(seconds) == Deadline(at_s, time.clock)


@given(first=SECONDS, steps=st.lists(st.tuples(SECONDS, SECONDS)))
def test_however_work_is_divided_no_part_of_it_has_more_time_than_the_whole(
    first: float, steps: list[tuple[float, float]]
) -> None:
    time = FakeTime(0.0)
    whole = part = Deadline.after(first, time.clock)
    for passed, seconds in steps:
        time.now_s += passed
        part = part.sooner(seconds)
        assert part.at_s <= whole.at_s
        assert part.left_s() <= min(whole.left_s(), seconds)
        assert part.has_passed == (part.left_s() == 0)


def test_two_deadlines_of_one_moment_are_equal() -> None:
    time = FakeTime()
    assert Deadline.after(1.0, time.clock) == Deadline.after(1.0, time.clock)
    assert Deadline.after(1.0, time.clock) != Deadline.after(2.0, time.clock)
