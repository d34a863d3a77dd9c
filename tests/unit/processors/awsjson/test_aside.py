"""Work that may block for ever: it is begun aside, shared, and waited for no longer than a deadline."""

from collections.abc import Callable
from threading import Event, Thread

import pytest

from processors.awsjson.aside import Aside
from processors.deadline import Deadline
from support.fakes import PLENTY
from support.lean_server import FakeTime


class Spawned:
    """Work that was begun, and ends when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)


def test_what_the_work_returns_or_raises_reaches_whoever_waits() -> None:
    answers = iter([7, 8])
    aside = Aside(lambda: next(answers))
    assert [aside.result(PLENTY), aside.result(PLENTY)] == [7, 8]

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        Aside(fail).result(PLENTY)


def test_work_that_hangs_is_waited_for_until_the_deadline_and_goes_on() -> None:
    go_on = Event()
    aside = Aside(lambda: go_on.wait(30))
    with pytest.raises(TimeoutError):
        aside.result(Deadline.after(0.05))
    with pytest.raises(TimeoutError):
        aside.result(Deadline.after(0))
    pending = aside.begin()
    go_on.set()
    assert pending.result(30) is True


def test_all_who_ask_while_work_is_on_its_way_share_it() -> None:
    spawned = Spawned()
    aside = Aside(object, spawn=spawned)
    futures = [aside.begin() for _ in range(5)]
    assert len(spawned.waiting) == 1
    spawned.waiting[0]()
    assert len({id(each.result(0)) for each in futures}) == 1
    assert aside.begin() not in futures


def test_work_that_has_hung_for_long_is_begun_anew_but_never_more_than_a_few_times() -> None:
    spawned, time = Spawned(), FakeTime()
    aside = Aside(lambda: "found", clock=time.clock, spawn=spawned, stale_s=5, most=3)
    begun = []
    for _ in range(6):
        begun.append(aside.begin())
        time.now_s += 4.9
        assert aside.begin() is begun[-1]
        time.now_s += 0.1
    assert len(spawned.waiting) == 3
    assert begun[2:] == [begun[2]] * 4
    spawned.waiting[2]()
    assert begun[5].result(0) == "found"
    aside.begin()
    assert len(spawned.waiting) == 4  # one of the three has ended


def test_nobody_who_joined_is_left_waiting_where_no_thread_could_be_begun() -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    aside = Aside(lambda: 1, spawn=refuse)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="new thread"):
            aside.result(PLENTY)


def test_the_interpreter_does_not_wait_for_it() -> None:
    seen: list[bool] = []

    def look() -> None:
        import threading

        seen.append(threading.current_thread().daemon)

    Aside(look).result(PLENTY)
    assert seen == [True]
    assert Thread().daemon is False
