"""A forwarder: all of a spool reaches the stream, in order, each event counts once, whatever fails in between."""

import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from producers.client.batcher import BatcherConfig
from producers.client.core import CoreConfig, ProducerCore
from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.outbox import RetryConfig
from producers.client.ports import PutResult
from producers.clock import Clock, MonotonicClock
from producers.spool import PATIENT, Forwarder
from producers.spool.mend import damage_list
from producers.spool.spool import Spool
from streamgage.errors import ConfigError
from streamgage.formats.kpl import MAGIC
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import SealedRecord, UserRecord
from support.counting import CountingStream

FATES = ("stored", "refused", "lost answer", "lost request")


class Ticking:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time_ms = 0

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


def a_core(stream: CountingStream, clock: Clock, *, attempts: int = 3, concurrency: int = 1) -> ProducerCore:
    return ProducerCore(
        stream,
        clock=clock,
        rng=random.Random(1),
        config=CoreConfig(
            batching=BatcherConfig(request_bytes=4_000),
            retries=RetryConfig(max_attempts=attempts, base_ms=1),
            concurrency=concurrency,
        ),
    )


def sealed_by(identity: Identity, count: int, *, size: int = 30, first: int = 0) -> list[SealedRecord]:
    """Return records of one key, of one event each, whose data is their number."""
    records = []
    for number in range(first, first + count):
        builder = AggregateBuilder(identity.tags_for("shard"))
        builder.add(UserRecord("key", b"%08d" % number + bytes(size)))
        records.append(SealedRecord("key", builder.build()))
    return records


def run(forwarder: Forwarder, clock: Ticking, spool: Spool, *, steps: int = 3_000) -> int:
    """Step until the spool is empty; return for how many steps."""
    for step in range(steps):
        pause_ms = forwarder.step()
        if not spool.stats.records and not forwarder.under_way:
            return step
        clock.sleep_ms(pause_ms)
    raise AssertionError(f"{spool.stats} after {steps} steps")


@pytest.fixture
def spool(tmp_path: Path) -> "Spool":
    return Spool.open(tmp_path / "spool.db", fsync=False)


def test_what_is_spooled_is_sent_in_order_and_removed(spool: Spool) -> None:
    stream, clock, order = CountingStream(), Ticking(), []

    def note(entry: PutEntry) -> str:
        order.append(entry.data)
        return "stored"

    stream.fate = note
    records = sealed_by(spool.identity, 300)
    spool.append(records)
    forwarder = Forwarder(spool, a_core(stream, clock), clock=clock)
    run(forwarder, clock, spool)
    assert order == [each.data for each in records]
    assert (forwarder.sent_records, forwarder.sent_events, forwarder.waiting_for) == (300, 300, None)
    spool.close()


def test_whatever_fails_each_event_counts_once_and_order_is_kept_over_retries(spool: Spool) -> None:
    for seed in range(6):
        stream, clock, rng = CountingStream(), Ticking(), random.Random(seed)
        state = {"fate": "stored"}
        first: list[bytes] = []

        def fate(
            entry: PutEntry,
            rng: random.Random = rng,
            state: dict[str, str] = state,
            first: list[bytes] = first,
        ) -> str:
            if rng.random() < 0.02:  # for a while, whole requests
                state["fate"] = rng.choice(FATES)
            if state["fate"] in ("stored", "lost answer") and entry.data not in first:
                first.append(entry.data)
            return state["fate"]

        stream.fate = fate
        records = sealed_by(spool.identity, 150)
        spool.append(records)
        core = a_core(stream, clock, attempts=2)
        run(Forwarder(spool, core, clock=clock, rng=random.Random(seed)), clock, spool)
        assert set(stream.counts.values()) == {1}
        assert len(stream.counts) == 150
        assert not core.unstored()
    spool.close()


class Moody(CountingStream):
    """A stream whose requests succeed or fail whole."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(seed)

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        fate = self._rng.choice(FATES)
        self.fate = lambda _: fate
        return super().put_records(entries)


@pytest.mark.parametrize("seed", range(3))
def test_order_is_kept_over_retries(spool: Spool, seed: int) -> None:
    stream, clock = Moody(seed), Ticking()
    spool.append(sealed_by(spool.identity, 200))
    run(Forwarder(spool, a_core(stream, clock, attempts=PATIENT.max_attempts), clock=clock), clock, spool)
    assert list(stream.counts) == [b"%08d" % number + bytes(30) for number in range(200)]
    assert set(stream.counts.values()) == {1}
    spool.close()


def test_a_stream_that_is_gone_is_waited_for_and_nothing_is_lost(spool: Spool) -> None:
    stream, clock = CountingStream(), Ticking()
    stream.fate = lambda _: "refused"
    spool.append(sealed_by(spool.identity, 50))
    forwarder = Forwarder(spool, a_core(stream, clock), clock=clock)
    for _ in range(200):
        clock.sleep_ms(forwarder.step())
    assert clock.time_ms > 600_000
    assert forwarder.waiting_for == "InternalFailure"
    assert (spool.stats.records, stream.stored) == (50, 0)
    stream.fate = lambda _: "stored"
    run(forwarder, clock, spool)
    assert (len(stream.counts), forwarder.failure) == (50, None)
    spool.close()


def test_a_process_that_ends_sends_the_same_bytes_again_and_they_count_once(spool: Spool) -> None:
    stream = CountingStream()
    for epoch in range(6):
        clock = Ticking()
        spool.append(sealed_by(spool.identity, 40, first=40 * epoch))
        stream.fate = lambda _, epoch=epoch: "lost answer" if epoch % 2 else "stored"  # type: ignore[misc]
        forwarder = Forwarder(spool, a_core(stream, clock), clock=clock)
        for _ in range(epoch):
            forwarder.step()
        path = spool.path
        spool.close()
        forwarder.stop()  # it cannot remove anything any more
        spool = Spool.open(path, fsync=False)
    stream.fate = lambda _: "stored"
    clock = Ticking()
    run(Forwarder(spool, a_core(stream, clock), clock=clock), clock, spool)
    assert len(stream.counts) == 240
    assert set(stream.counts.values()) == {1}
    spool.close()


def test_an_old_copy_that_is_put_back_sends_again_what_counts_once_and_new_marks(spool: Spool) -> None:
    stream, clock, path = CountingStream(), Ticking(), spool.path
    spool.append(sealed_by(spool.identity, 30))
    spool.close()
    copy = path.read_bytes()
    for number in range(4):
        path.write_bytes(copy)
        spool = Spool.open(path, fsync=False)
        spool.append(sealed_by(spool.identity, 30, first=1_000 * (number + 1)))
        run(Forwarder(spool, a_core(stream, clock), clock=clock), clock, spool)
        spool.close()
    assert len(stream.counts) == 30 * 5
    assert set(stream.counts.values()) == {1}


def test_the_bandwidth_is_not_exceeded_over_any_second(spool: Spool) -> None:
    stream, clock = CountingStream(), Ticking()
    sent: list[tuple[int, int]] = []

    def note(entry: PutEntry) -> str:
        sent.append((clock.time_ms, entry.size_bytes))
        return "stored"

    stream.fate = note
    spool.append(sealed_by(spool.identity, 200, size=400))
    forwarder = Forwarder(spool, a_core(stream, clock), clock=clock, bytes_per_s=5_000)
    for _ in range(3):
        forwarder.step()
    assert forwarder.waiting_for == "bandwidth"
    run(forwarder, clock, spool)
    largest = max(size for _, size in sent)
    for begin_ms, _ in sent:
        within = sum(size for at_ms, size in sent if begin_ms <= at_ms < begin_ms + 1_000)
        assert within <= 2 * 5_000 + largest
    total = sum(size for _, size in sent)
    assert total / 5_000 - 2 <= clock.time_ms / 1_000 <= total / 5_000 + 2
    with pytest.raises(ConfigError, match="bytes_per_s is 0"):
        Forwarder(spool, a_core(stream, clock), bytes_per_s=0)
    spool.close()


def test_a_higher_priority_overtakes_what_is_not_under_way(spool: Spool) -> None:
    stream, clock, order = CountingStream(), Ticking(), []

    def note(entry: PutEntry) -> str:
        order.append(entry.data)
        return "stored"

    stream.fate = note
    low, high = sealed_by(spool.identity, 20), sealed_by(spool.identity_of(1), 3, first=100)
    spool.append(low)
    forwarder = Forwarder(spool, a_core(stream, clock), clock=clock, bytes_per_s=300)
    forwarder.step()
    spool.append(high, priority=1)
    run(forwarder, clock, spool)
    begun = order.index(high[0].data)
    assert begun < 10
    assert order[begun : begun + 3] == [each.data for each in high]
    assert [each for each in order if each not in {each.data for each in high}] == [each.data for each in low]
    spool.close()


def test_what_no_stream_takes_is_set_aside_and_does_not_stand_in_the_way(spool: Spool) -> None:
    stream, clock = CountingStream(), Ticking()
    spool.append([SealedRecord("key", MAGIC + b"no aggregate" * 3), *sealed_by(spool.identity, 2)])
    run(Forwarder(spool, a_core(stream, clock), clock=clock), clock, spool)
    assert len(stream.counts) == 2
    assert spool.stats.damaged == 1
    assert "a sealed record is damaged" in damage_list(spool.path).read_text()
    spool.close()


def test_what_the_core_had_of_others_goes_into_the_spool(spool: Spool) -> None:
    stream, clock = CountingStream(), Ticking()
    stream.fate = lambda _: "refused"
    core = a_core(stream, clock)
    (other,) = sealed_by(Identity(random.Random(7)), 1, first=500)
    core.put_sealed(other)
    spool.append(sealed_by(spool.identity, 2))
    forwarder = Forwarder(spool, core, clock=clock)
    while forwarder.failure is None:
        clock.sleep_ms(forwarder.step())
    assert [each.record.data for each in spool.records()][-1] == other.data
    stream.fate = lambda _: "stored"
    run(forwarder, clock, spool)
    assert len(stream.counts) == 3
    spool.close()


def test_a_disk_that_takes_no_removal_is_tried_again_and_nothing_is_sent_twice(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from producers.spool.told import SpoolFull

    stream, clock = CountingStream(), Ticking()

    def full(*_: object) -> None:
        raise SpoolFull("the disk takes no more")

    spool.append(sealed_by(spool.identity, 30))
    forwarder = Forwarder(spool, a_core(stream, clock), clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(spool, "remove", full)
        for _ in range(20):
            clock.sleep_ms(forwarder.step())
        assert (forwarder.waiting_for, forwarder.under_way) == ("spool_full", 30)
    run(forwarder, clock, spool)
    assert stream.stored == len(stream.counts) == 30
    spool.close()


def test_a_thread_of_its_own_sends_what_comes_until_it_is_stopped(spool: Spool) -> None:
    stream, stored = CountingStream(), threading.Event()
    stream.fate = lambda _: "stored"
    core = a_core(stream, MonotonicClock(), concurrency=2)
    forwarder = Forwarder(spool, core)
    forwarder.start()
    with pytest.raises(ValueError, match="start"):
        forwarder.start()
    for number in range(20):
        spool.append(sealed_by(spool.identity, 5, first=5 * number))
    while spool.stats.records:
        stored.wait(0.01)
    forwarder.stop()
    forwarder.stop()
    core.close()
    assert len(stream.counts) == 100
    assert set(stream.counts.values()) == {1}
    spool.close()


def test_what_ends_the_thread_is_told_by_stop(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    def broken(*_: object, **__: object) -> None:
        ended.set()
        raise ZeroDivisionError

    forwarder = Forwarder(spool, a_core(CountingStream(), MonotonicClock()))
    monkeypatch.setattr(spool, "head", broken)
    forwarder.start()
    ended.wait(60)
    with pytest.raises(ZeroDivisionError):
        forwarder.stop()
    assert "nothing is sent any more" in caplog.text
    spool.close()
