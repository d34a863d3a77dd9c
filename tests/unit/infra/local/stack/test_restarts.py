"""When a child is started again: the table of the policy, row by row."""

import pytest

from infra.local.stack.restarts import Again, Enough, Life, Past, after

CRASH, KILLED, TERMINATED, SEGFAULT = 1, -9, -15, -11
FRESH = Past()


@pytest.mark.parametrize(
    ("past", "life", "then"),
    [
        (FRESH, Life(CRASH, None), (Past(own=1), Again(1.0))),
        (FRESH, Life(CRASH, 9.9), (Past(own=1), Again(1.0))),
        (FRESH, Life(SEGFAULT, 0.0), (Past(own=1), Again(1.0))),
        (Past(own=1), Life(CRASH, None), (Past(own=2), Enough("ended by itself 2 times in a row"))),
        (Past(own=1), Life(CRASH, 9.9), (Past(own=2), Enough("ended by itself 2 times in a row"))),
        (Past(own=1), Life(CRASH, 10.0), (FRESH, Again(0.0))),
        (Past(own=1, outside=9), Life(KILLED, 3600.0), (FRESH, Again(0.0))),
        (FRESH, Life(KILLED, None), (Past(outside=1), Again(0.0))),
        (FRESH, Life(TERMINATED, 1.0), (Past(outside=1), Again(0.0))),
        (FRESH, Life(0, 1.0), (Past(outside=1), Again(0.0))),
        (Past(outside=1), Life(KILLED, 1.0), (Past(outside=2), Again(0.2))),
        (Past(outside=2), Life(KILLED, 1.0), (Past(outside=3), Again(0.4))),
        (Past(outside=8), Life(KILLED, 1.0), (Past(outside=9), Again(5.0))),
        (Past(outside=9), Life(KILLED, 1.0), (Past(outside=10), Enough("was ended 10 times in a row"))),
        (Past(own=1), Life(KILLED, 1.0), (Past(own=1, outside=1), Again(0.0))),
    ],
)
def test_each_row_of_the_table(past: Past, life: Life, then: tuple[Past, Again | Enough]) -> None:
    assert after(past, life) == then


def test_a_child_that_always_ends_is_given_up_and_waits_longer_before_each_start() -> None:
    for status, most in ((CRASH, 2), (KILLED, 10)):
        past, waits = Past(), list[float]()
        while True:
            past, then = after(past, Life(status, None))
            if isinstance(then, Enough):
                break
            waits.append(then.after_s)
        assert len(waits) == most - 1
        assert waits == sorted(waits)
