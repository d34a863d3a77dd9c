"""The thread that sends lives as long as there is something to send, whatever meets it."""

import threading
from typing import Any

import pytest

from producers import Delivered, ProducerConfig
from producers.client.outcomes import Outcome
from support.counting import CountingStream
from support.interrupts import CtrlC
from support.sending import BLOCKS, numbers_of, producer_over, reading

LONG_S = 60.0


def couriers() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "streamgage-producer"}


def test_an_interrupt_as_its_thread_starts_leaves_one_thread_that_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream, before = CountingStream(), couriers()
    producer = producer_over(stream)
    start = threading.Thread.start

    def start_and_interrupt(thread: threading.Thread) -> None:
        start(thread)
        raise CtrlC

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_and_interrupt)
        with pytest.raises(CtrlC):
            producer.put("reading", reading(1))
    (orphan,) = couriers() - before
    producer.put("reading", reading(2))
    orphan.join(LONG_S)
    assert not orphan.is_alive()
    assert len(couriers() - before) == 1
    producer.close()
    assert numbers_of(stream.counts) == {1: 1, 2: 1}


def test_a_callback_that_ends_its_thread_stops_nothing() -> None:
    stream, told = CountingStream(), list[Outcome]()

    def leave(_: Outcome) -> None:
        raise SystemExit

    with producer_over(stream) as producer:
        producer.put("reading", reading(1), on_delivery=leave)
        producer.put("reading", reading(2), on_delivery=told.append)
        producer.commit(LONG_S)
        producer.put("reading", reading(3))
        producer.commit(LONG_S)
    assert [type(each) for each in told] == [Delivered]
    assert numbers_of(stream.counts) == {1: 1, 2: 1, 3: 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_was_ended_all_the_same_has_a_follower() -> None:
    stream = CountingStream()
    producer = producer_over(stream, config=ProducerConfig(linger_ms=3_600_000))
    producer.put("reading", reading(1))
    thread, send_due = producer._courier._thread, producer._engine.send_due
    assert thread is not None

    def end() -> None:
        producer._engine.send_due = send_due  # type: ignore[method-assign]
        raise CtrlC

    producer._engine.send_due = end  # type: ignore[method-assign]
    producer._courier.wake()
    thread.join(LONG_S)
    producer.commit(LONG_S)
    producer.close()
    assert numbers_of(stream.counts) == {1: 1}


def test_a_fault_that_lasts_until_it_can_be_given_up_and_is_mended_then_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream, failed = CountingStream(), threading.Event()
    producer = producer_over(stream, pipeline=BLOCKS)
    engine: Any = producer._engine

    def fail(*_: object) -> None:
        raise MemoryError

    def fail_too() -> None:
        monkeypatch.undo()
        failed.set()
        raise MemoryError

    monkeypatch.setattr("producers.sending.courier._FAULTS", 2)
    monkeypatch.setattr(engine, "send_due", fail)
    monkeypatch.setattr(engine, "give_up", fail_too)
    producer.put("reading", reading(1))
    assert failed.wait(LONG_S)
    producer.commit(LONG_S)
    producer.close()
    assert numbers_of(stream.counts) == {1: 1}
    assert "what is held cannot be given up either" in caplog.messages
