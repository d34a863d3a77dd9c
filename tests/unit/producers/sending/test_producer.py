"""What a program sends with: taken in microseconds, sent by a thread of its own, told what became of it."""

import asyncio
import gc
import logging
import random
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import producers
from producers import (
    BufferFull,
    ConfigError,
    Delivered,
    DeliveryError,
    NotYetStored,
    Producer,
    ProducerClosed,
    ProducerConfig,
    RefusedEvents,
    RetryConfig,
)
from producers.client.entry import PutEntry
from producers.client.outcomes import Outcome
from producers.client.ports import PutResult
from streamgage.limits import MIB
from support.counting import CountingStream
from support.sending import BLOCKS, ROWS, numbers_of, producer_over, reading

LONG_S = 60.0  # generous: nothing takes so long but a fault
SMALL = 2 * MIB
WEAK = RetryConfig(max_attempts=1, base_ms=0)


class Gated(CountingStream):
    """Answers no PutRecords until ``open``."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.asked = threading.Event(), threading.Event()

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        self.asked.set()
        assert self.gate.wait(LONG_S)
        return super().put_records(entries)


def fill(producer: Producer) -> int:
    """Put until it is full; return how many were taken."""
    taken = 0
    while True:
        try:
            producer.put("reading", reading(taken), timeout_s=0)
        except BufferFull:
            return taken
        taken += 1


@pytest.mark.parametrize("pipeline", [ROWS, BLOCKS])
def test_what_was_put_once_and_never_again_is_stored_after_its_linger(pipeline: Any) -> None:
    stream, stored = CountingStream(), threading.Event()

    def fate(_: PutEntry) -> str:
        stored.set()
        return "stored"

    stream.fate = fate
    with producer_over(stream, pipeline=pipeline) as producer:
        producer.put("reading", reading(1))
        assert stored.wait(LONG_S)
    assert numbers_of(stream.counts) == {1: 1}


@pytest.mark.parametrize("pipeline", [ROWS, BLOCKS])
def test_one_by_one_and_many_at_once_each_event_is_stored_once(pipeline: Any) -> None:
    stream = CountingStream()
    with producer_over(stream, pipeline=pipeline) as producer:
        for number in range(100):
            producer.put("reading", reading(number))
        producer.put_many("reading", [reading(number) for number in range(100, 2_000)])
        producer.flush(LONG_S)
        assert producer.stats.events_stored == 2_000
    assert numbers_of(stream.counts) == dict.fromkeys(range(2_000), 1)


def test_an_event_that_does_not_fit_and_a_source_that_is_none_are_refused() -> None:
    with producer_over(CountingStream()) as producer:
        with pytest.raises(ConfigError, match="no source 'readings'; its sources are"):
            producer.put("readings", reading(1))
        with pytest.raises(ValueError, match="not a finite number"):
            producer.put("reading", {**reading(1), "value": float("nan")})
        with pytest.raises(RefusedEvents) as refused:
            producer.put_many("reading", [reading(1), {}, reading(2), {"ts": 1}])
        assert [each.at for each in refused.value.refused] == [1, 3]
        assert producer.stats.events_put == 2


def test_a_closed_producer_takes_nothing_and_closes_again() -> None:
    producer = producer_over(CountingStream())
    producer.close()
    producer.close()
    with pytest.raises(ProducerClosed):
        producer.put("reading", reading(1))


def test_full_and_not_to_wait_it_says_why_and_takes_again_once_there_is_room() -> None:
    stream = Gated()
    producer = producer_over(stream, config=ProducerConfig(max_memory_bytes=SMALL))
    taken = fill(producer)
    with pytest.raises(BufferFull, match="the stream does not keep up"):
        producer.put("reading", reading(taken), timeout_s=0.01)
    stream.gate.set()
    producer.put("reading", reading(taken))  # waits for room
    producer.close()
    assert numbers_of(stream.counts) == dict.fromkeys(range(taken + 1), 1)


def test_with_raise_nobody_waits() -> None:
    stream = Gated()
    producer = producer_over(stream, config=ProducerConfig(max_memory_bytes=SMALL, when_full="raise"))
    taken = fill(producer)
    with pytest.raises(BufferFull):
        producer.put("reading", reading(taken))
    stream.gate.set()
    producer.close()
    assert len(stream.counts) == taken


def test_with_drop_oldest_the_newest_are_kept_and_the_dropped_are_counted_logged_and_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream, told = Gated(), list[Outcome]()
    config = ProducerConfig(max_memory_bytes=SMALL, when_full="drop_oldest", linger_ms=3_600_000)
    producer = producer_over(stream, config=config)
    events = 30_000
    with caplog.at_level(logging.WARNING):
        for number in range(events):
            producer.put("reading", reading(number), on_delivery=told.append)
    stream.gate.set()
    producer.close()
    stats = producer.stats
    assert 0 < stats.events_dropped < events
    assert stats.events_put == events == stats.events_stored + stats.events_undelivered
    assert len(stream.counts) == stats.events_stored
    assert events - 1 in numbers_of(stream.counts)
    assert any("were dropped, the oldest" in each for each in caplog.messages)
    assert Counter(map(type, told)) == {Delivered: stats.events_stored, DeliveryError: stats.events_dropped}


@pytest.mark.parametrize("pipeline", [ROWS, BLOCKS])
def test_with_drop_oldest_nobody_waits_while_all_that_is_sealed_is_under_way(pipeline: Any) -> None:
    stream = Gated()
    config = ProducerConfig(max_memory_bytes=SMALL, when_full="drop_oldest", linger_ms=3_600_000)
    producer = producer_over(stream, pipeline=pipeline, config=config)
    producer.put("reading", reading(0))
    with pytest.raises(NotYetStored):
        producer.commit(0)
    assert stream.asked.wait(LONG_S)  # event 0 is under way, and what follows stays open for an hour
    events = 1
    while not producer.stats.events_dropped:
        event = {**reading(events), "metric": f"m{random.Random(events).random()}"}
        producer.put("reading", event, timeout_s=0)
        events += 1
    stream.gate.set()
    producer.close()
    stats = producer.stats
    assert stats.events_put == events == stats.events_stored + stats.events_dropped
    assert {0, events - 1} <= numbers_of(stream.counts).keys()


def test_with_drop_oldest_who_waits_for_a_request_drops_what_it_brings_back() -> None:
    stream = Gated()
    stream.fate = lambda entry: "refused" if entry.size_bytes > MIB // 2 else "stored"
    config = ProducerConfig(max_memory_bytes=SMALL, when_full="drop_oldest")
    producer = producer_over(stream, config=config)
    producer.put("reading", {**reading(0), "metric": "m" * (MIB * 3 // 4)})
    with pytest.raises(NotYetStored):
        producer.commit(0)
    assert stream.asked.wait(LONG_S)  # all that is held is under way, and it is too much
    call_after_turn = producer._courier.call_after_turn

    def note_waiting(tell: Callable[[], object]) -> None:
        stream.gate.set()
        call_after_turn(tell)

    producer._courier.call_after_turn = note_waiting  # type: ignore[method-assign]
    producer.put("reading", reading(1), timeout_s=LONG_S)
    producer.close()
    assert producer.stats.events_dropped == 1
    assert numbers_of(stream.counts) == {1: 1}


def test_of_a_list_that_met_a_full_buffer_it_is_told_how_many_were_taken() -> None:
    stream = Gated()
    config = ProducerConfig(max_memory_bytes=SMALL, when_full="raise")
    producer = producer_over(stream, pipeline=BLOCKS, config=config)
    events = [{**reading(number), "metric": f"m{random.Random(number).random()}"} for number in range(60_000)]
    events[5] = {}
    with pytest.raises(BufferFull) as full:
        producer.put_many("reading", events)
    assert [each.at for each in full.value.refused] == [5]
    assert full.value.done == producer.stats.events_put + 1
    stream.gate.set()
    producer.close()
    assert sum(numbers_of(stream.counts).values()) == full.value.done - 1


@pytest.mark.parametrize("pipeline", [ROWS, BLOCKS])
def test_who_asks_is_told_where_each_event_is_stored(pipeline: Any) -> None:
    stream, told = CountingStream(), list[Outcome]()
    with producer_over(stream, pipeline=pipeline) as producer:
        future = producer.put_future("reading", reading(1))
        for number in range(2, 50):
            producer.put("reading", reading(number), on_delivery=told.append)
        where = future.result(LONG_S)
    assert where.shard_id in ("low", "high")
    assert where.sequence_number
    assert len(told) == 48
    assert all(isinstance(each, Delivered) for each in told)


def test_what_cannot_be_delivered_is_raised_once_and_sent_again_counts_once() -> None:
    stream = CountingStream()
    stream.fate = lambda _: "lost answer"  # stored, and nobody knows
    producer = producer_over(stream, config=ProducerConfig(retries=WEAK))
    producer.put("reading", reading(1))
    with pytest.raises(DeliveryError) as failed:
        producer.flush(LONG_S)
    stream.fate = lambda _: "stored"
    producer.put("reading", reading(2))
    producer.put_sealed(failed.value.sealed)
    producer.close()
    assert stream.stored == 3
    assert numbers_of(stream.counts) == {1: 1, 2: 1}


def test_a_put_after_a_failure_raises_it_and_takes_nothing() -> None:
    stream, tried = CountingStream(), threading.Event()

    def fate(_: PutEntry) -> str:
        tried.set()
        return "refused"

    stream.fate = fate
    producer = producer_over(stream, config=ProducerConfig(retries=WEAK, linger_ms=0))
    producer.put("reading", reading(1))
    assert tried.wait(LONG_S)
    producer._courier.wait(lambda: bool(producer._engine.outbox.given_up), LONG_S)
    with pytest.raises(DeliveryError):
        producer.put("reading", reading(2))
    stream.fate = lambda _: "stored"
    producer.close()
    assert stream.stored == 0


def test_a_failure_that_its_future_tells_is_raised_nowhere_else() -> None:
    stream = CountingStream()
    stream.fate = lambda _: "refused"
    with producer_over(stream, config=ProducerConfig(retries=WEAK)) as producer:
        future = producer.put_future("reading", reading(1))
        with pytest.raises(DeliveryError):
            future.result(LONG_S)
        producer.put("reading", reading(1), on_delivery=lambda _: None)
    assert producer.stats.events_undelivered == 2


def test_a_flush_that_is_not_done_in_time_loses_nothing_and_a_close_hands_back_what_is_left() -> None:
    stream = Gated()
    producer = producer_over(stream)
    producer.put("reading", reading(1))
    with pytest.raises(NotYetStored, match="It is still being sent"):
        producer.flush(0.01)
    try:
        with pytest.raises(DeliveryError) as failed:
            producer.close(0.01)
    finally:
        stream.gate.set()
    assert [each.events for each in failed.value.sealed] == [1]


def test_in_an_event_loop_full_waits_and_the_loop_goes_on() -> None:
    stream = Gated()

    async def work() -> None:
        config = ProducerConfig(max_memory_bytes=SMALL)
        async with producer_over(stream, config=config) as producer:
            taken = fill(producer)
            waiting = asyncio.ensure_future(producer.asend("reading", reading(taken)))
            await asyncio.sleep(0)
            assert not waiting.done()
            stream.gate.set()
            await waiting
            await producer.aflush(LONG_S)
            assert producer.stats.events_stored == taken + 1

    asyncio.run(work())


def test_callbacks_and_hooks_that_fail_are_logged_and_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stream, told = CountingStream(), list[Outcome]()

    def fail(_: Any) -> None:
        raise ZeroDivisionError

    with producer_over(stream, on_metrics=fail) as producer:
        producer.put("reading", reading(1), on_delivery=fail)
        producer.put("reading", reading(2), on_delivery=told.append)
    assert len(told) == 1
    assert {"an on_delivery callback failed", "the metrics hook failed"} <= set(caplog.messages)


def test_the_metrics_hook_has_the_figures_of_the_end() -> None:
    seen: list[producers.ProducerStats] = []
    with producer_over(CountingStream(), on_metrics=seen.append) as producer:
        producer.put_many("reading", [reading(number) for number in range(10)])
    assert seen[-1].events_stored == 10


def test_a_producer_that_goes_unclosed_warns_and_what_it_holds_is_sent_all_the_same() -> None:
    stream, stored = CountingStream(), threading.Event()

    def fate(_: PutEntry) -> str:
        stored.set()
        return "stored"

    stream.fate = fate
    producer = producer_over(stream)
    producer.put("reading", reading(1))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del producer
        gc.collect()
    assert any("1 events was not closed" in str(each.message) for each in warned)
    assert stored.wait(LONG_S)


def _setting(**settings: Any) -> Callable[[], ProducerConfig]:
    return lambda: ProducerConfig(**settings)


@pytest.mark.parametrize(
    "make",
    [
        _setting(when_full="drop"),
        _setting(max_memory_bytes=1),
        _setting(concurrency=0),
        _setting(put_timeout_s=-1),
        _setting(linger_ms=-1),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], ProducerConfig]) -> None:
    with pytest.raises(ConfigError):
        make()


def test_what_the_package_offers_is_there_and_nothing_else_is() -> None:
    for name in producers.__all__:
        assert getattr(producers, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Prodcuer'"):
        _ = producers.Prodcuer
