"""A Producer with a spool: kept first, sent from there, whether or not the stream answers."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from producers import Delivered, NotYetStored, Producer, ProducerConfig
from producers.client.entry import PutEntry
from producers.client.outcomes import Outcome
from producers.client.patience import within
from producers.client.ports import PutResult
from producers.spool import Spool, SpoolFull
from producers.spool.remembered import Remembered
from streamgage.errors import RetryableError
from streamgage.records import SealedRecord
from streamgage.shards import Shard
from support.counting import CountingStream
from support.paths import ROOT
from support.sending import BLOCKS, numbers_of, producer_over, reading

LONG_S = 120.0


class Down(CountingStream):
    """A stream that does not answer."""

    def list_shards(self) -> Sequence[Shard]:
        raise RetryableError("nobody is there")

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:  # noqa: ARG002
        raise RetryableError("nobody is there")


def put(producer: Producer, numbers: range) -> None:
    producer.put_many("reading", [reading(number) for number in numbers])


def test_what_was_committed_is_in_the_spool_and_reaches_the_stream(tmp_path: Path) -> None:
    stream, told = CountingStream(), list[Outcome]()
    with producer_over(stream, pipeline=BLOCKS, spool=tmp_path / "spool") as producer:
        producer.put("reading", reading(0), on_delivery=told.append)
        producer.commit(LONG_S)
        assert told == [Delivered()]
        put(producer, range(1, 1_000))
        producer.flush(LONG_S)
        assert numbers_of(stream.counts) == dict.fromkeys(range(1_000), 1)


def test_a_stream_that_is_down_from_the_start_stops_nothing_and_the_next_producer_sends_it(
    tmp_path: Path,
) -> None:
    down, place = Down(), tmp_path / "spool"
    with producer_over(down, pipeline=BLOCKS, spool=place) as producer:
        put(producer, range(500))
        producer.commit(LONG_S)
        with pytest.raises(NotYetStored):
            producer.flush(0.01)
    stream = CountingStream()
    with producer_over(stream, pipeline=BLOCKS, spool=place) as producer:
        put(producer, range(500, 600))
        producer.flush(LONG_S)
    assert numbers_of(stream.counts) == dict.fromkeys(range(600), 1)


def test_a_stream_that_is_silent_at_the_start_delays_nobody_and_gets_all_when_it_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within, "__defaults__", (0.01,))
    speaks = threading.Event()

    class Silent(CountingStream):
        def list_shards(self) -> Sequence[Shard]:
            speaks.wait(LONG_S)
            return super().list_shards()

        def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
            speaks.wait(LONG_S)
            return super().put_records(entries)

    stream = Silent()
    with producer_over(stream, pipeline=BLOCKS, spool=tmp_path / "spool") as producer:
        put(producer, range(500))
        producer.commit(LONG_S)
        assert not speaks.is_set()
        speaks.set()
        producer.flush(LONG_S)
    assert numbers_of(stream.counts) == dict.fromkeys(range(500), 1)


def test_answers_that_are_lost_count_nothing_twice(tmp_path: Path) -> None:
    stream, fates = CountingStream(), iter(["lost answer", "lost request", "lost answer"])
    stream.fate = lambda _: next(fates, "stored")
    with producer_over(stream, pipeline=BLOCKS, spool=tmp_path / "spool") as producer:
        put(producer, range(100))
        producer.flush(LONG_S)
    assert numbers_of(stream.counts) == dict.fromkeys(range(100), 1)
    assert stream.stored > len(stream.counts)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_flush_says_what_ended_the_forwarder_and_does_not_wait_for_it(tmp_path: Path) -> None:
    class Torn(CountingStream):
        def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
            raise ZeroDivisionError(len(entries))

    place = tmp_path / "spool"
    producer = producer_over(Torn(), pipeline=BLOCKS, spool=place)
    put(producer, range(10))
    with pytest.raises(ZeroDivisionError):
        producer.flush()
    with pytest.raises(ZeroDivisionError):
        producer.close()
    producer.close()
    stream = CountingStream()
    with producer_over(stream, pipeline=BLOCKS, spool=place) as again:
        again.flush(LONG_S)
    assert numbers_of(stream.counts) == dict.fromkeys(range(10), 1)


def test_a_flush_waits_no_longer_than_it_was_told_with_a_spool_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with producer_over(CountingStream(), pipeline=BLOCKS, spool=tmp_path / "spool") as producer:
        left: list[float] = []

        def is_done(left_s: float) -> bool:
            left.append(left_s)
            return True

        monkeypatch.setattr(producer._forwarding, "is_done", is_done)
        put(producer, range(10))
        producer.flush(LONG_S)
        assert 0 <= left[0] < LONG_S  # the commit took some of it


def test_a_spool_that_is_full_is_waited_for_and_said(tmp_path: Path) -> None:
    class Full(Spool):
        is_full = True

        def append(
            self,
            records: Sequence[SealedRecord],
            *,
            priority: int = 0,
            remember: Sequence[Remembered] = (),
        ) -> None:
            if self.is_full:
                raise SpoolFull("no room")
            super().append(records, priority=priority, remember=remember)

    stream = CountingStream()
    with Full.open(tmp_path / "spool") as spool:
        with producer_over(stream, spool=spool, config=ProducerConfig(linger_ms=0)) as producer:
            producer.put("reading", reading(1))
            assert producer._courier.wait(lambda: producer.waiting_for == "spool_full", LONG_S)
            with pytest.raises(NotYetStored):
                producer.commit(0.01)
            spool.is_full = False
            producer.flush(LONG_S)
        assert numbers_of(stream.counts) == {1: 1}
        assert spool.stats.records == 0  # it is the caller's, and open


def test_a_forked_child_has_no_part_in_the_spool_and_sends_by_itself(tmp_path: Path) -> None:
    stream = CountingStream()
    with producer_over(stream, pipeline=BLOCKS, spool=tmp_path / "spool") as producer:
        put(producer, range(10))
        producer.flush(LONG_S)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                stream.counts.clear()
                put(producer, range(10, 20))
                producer.flush(LONG_S)
                assert numbers_of(stream.counts) == dict.fromkeys(range(10, 20), 1)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        put(producer, range(20, 30))
        producer.flush(LONG_S)
    assert sorted(numbers_of(stream.counts)) == [*range(10), *range(20, 30)]


SCRIPT = """
import os, signal, sys
from producers.client.ports import PutFailed
from support.sending import BLOCKS, producer_over, reading
from support.counting import CountingStream
stream = CountingStream()
stream.put_records = lambda entries: [PutFailed("InternalFailure", "no")] * len(entries)
producer = producer_over(stream, pipeline=BLOCKS, spool=sys.argv[1])
producer.put_many("reading", [reading(number) for number in range(300)])
producer.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_committed_before_a_kill_9_is_sent_by_the_next_process(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(place)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))},
        check=False,
        timeout=LONG_S,
    )
    assert done.returncode == -9
    stream = CountingStream()
    with producer_over(stream, pipeline=BLOCKS, spool=place) as producer:
        producer.flush(LONG_S)
    assert numbers_of(stream.counts) == dict.fromkeys(range(300), 1)


def test_shards_that_changed_while_a_spool_was_forwarded_are_predicted_with(tmp_path: Path) -> None:
    class Late(CountingStream):
        is_listed = False

        def list_shards(self) -> Sequence[Shard]:
            if not self.is_listed:
                self.is_listed = True
                raise RetryableError("not yet")
            return super().list_shards()

    stream, number, until_s = Late(), 0, time.monotonic() + LONG_S
    with producer_over(stream, pipeline=BLOCKS, spool=tmp_path / "spool") as producer:
        while producer._engine.batcher.shards.shard_ids != {"low", "high"}:
            assert time.monotonic() < until_s
            put(producer, range(number, number + 10))
            producer.flush(LONG_S)
            number += 10
    assert numbers_of(stream.counts) == dict.fromkeys(range(number), 1)
