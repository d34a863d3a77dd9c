"""What signals do to a command, in this process."""

import _thread
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from infra.commands.main import main
from infra.commands.signals import Ended, ending_by_signals, noting_signals
from producers.clock import WallClock
from producers.files.stop import Patience, Stop, Stopped

LATER = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    inherited = [signal.getsignal(each) for each in numbers]
    for each in numbers:  # a job in the background is started with SIGINT ignored
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    before = [signal.getsignal(each) for each in numbers]
    yield
    now = [signal.getsignal(each) for each in numbers]
    for each, handler in zip(numbers, inherited, strict=True):
        signal.signal(each, handler)
    assert now == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_that_holds_nothing(number: signal.Signals) -> None:
    with pytest.raises(Ended) as ended, ending_by_signals(is_last=False):
        signal.raise_signal(number)
    assert ended.value.number == number


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_by_signals(is_last=True):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def test_a_signal_that_meets_the_hook_of_destructors_comes_again_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two signals: the first in a destructor, the second while it is seen to. The later one is not the system's either."""

    class Unlucky:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def started(*given: Any) -> None:
        if not raised:
            raised.append(True)
            signal.raise_signal(signal.SIGHUP)  # in a function that the hook calls
        real(*given)

    raised: list[bool] = []
    real = _thread.start_new_thread
    monkeypatch.setattr(_thread, "start_new_thread", started)
    was_met = [signal.signal(each, lambda number, _frame: late.append(number)) for each in LATER]
    late: list[int] = []

    def wait_for_it() -> None:
        Unlucky()
        while True:
            time.sleep(0.01)

    with pytest.raises(Ended), ending_by_signals(is_last=False):
        wait_for_it()
    time.sleep(0.1)  # ten times what either waits before it comes again
    for number, handler in zip(LATER, was_met, strict=True):
        signal.signal(number, handler)
    assert raised
    assert late == []
    assert "Traceback" not in capsys.readouterr().err


def test_a_signal_that_meets_a_destructor_comes_again() -> None:
    class Unlucky:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def run() -> None:
        with ending_by_signals(is_last=False):
            unlucky = Unlucky()
            del unlucky
            signal.sigtimedwait([], 5)

    with pytest.raises(Ended):
        run()


def test_a_signal_is_noted_by_who_holds_something_and_wakes_whoever_waits() -> None:
    stop = Stop()
    patience = Patience(WallClock(), stop)
    reading, writing = os.pipe()
    try:
        with ending_by_signals(is_last=False), noting_signals(stop):
            signal.raise_signal(signal.SIGTERM)
            assert (stop.asked, stop.insisted, stop.exit_code) == (True, False, 143)
            assert stop.wake_fd is not None
            assert os.read(stop.wake_fd, 9) == bytes(
                [signal.SIGTERM]
            )  # written before the handler runs: no wait misses it
            with pytest.raises(Stopped):
                patience.until_readable(reading)
            signal.raise_signal(signal.SIGINT)
            assert (stop.insisted, stop.exit_code) == (True, 143)
        assert stop.wake_fd is None
    finally:
        os.close(reading)
        os.close(writing)


def test_a_command_that_is_interrupted_says_so_with_the_code_of_the_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infra.commands import check

    def run(_args: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    monkeypatch.setattr(check, "run", run)
    assert main(["check"]) == 143
    assert capsys.readouterr().err == "streamgage: interrupted\n"
