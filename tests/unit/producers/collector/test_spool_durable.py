"""A server's batches: into the spool, or not accepted; by key once, over restarts and threads, and as long as it is said."""

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from producers.collector.durable import Batch, KeyReused, Once
from producers.collector.message import Asked
from producers.collector.spooled import SpoolDurable
from producers.spool import Spool
from producers.spool.remembered import DAY_MS, Remembered
from producers.spool.told import SpoolFull
from streamgage.records import SealedRecord
from streamgage.shards import Shard, ShardMap
from support.collecting import collector_over, counted, pipeline, post, reading, told

PIPELINE = pipeline()
READING = PIPELINE.sources["reading"]
SHARDS = ShardMap([Shard("s", 0, 2**128 - 1)])
SMALL_BYTES = 4 * 1024 * 1024


def opened(folder: Path, *, now_ms: Callable[[], int] = lambda: 5 * DAY_MS, most: int = 1_000) -> Spool:
    return Spool.open(
        folder / "spool", max_bytes=SMALL_BYTES, fsync=False, now_ms=now_ms, most_remembered=most
    )


def durable(spool: Spool) -> SpoolDurable:
    return SpoolDurable(spool, SHARDS, max_bytes=SMALL_BYTES, one_key_per_record=False)


def batch(number: int, *, content: int = 0, padding: str = "") -> Batch:
    event = {name: value for name, value in reading(number).items() if name != "source"}
    event["metric"] = f"temperature{padding}"
    return Batch({READING: [event]}, Once(number.to_bytes(16, "big"), content.to_bytes(16, "big")), 100)


def times_in(spool: Spool) -> dict[int, int]:
    return dict(counted([each.record.data for each in spool.records()], PIPELINE))


def test_a_batch_is_known_after_the_process_ended_and_counts_once(tmp_path: Path) -> None:
    for repeated in (False, True):
        with opened(tmp_path) as spool:
            assert durable(spool).keep(batch(1)) is repeated
            assert sum(times_in(spool).values()) == 1


def test_a_key_of_another_batch_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        durable(spool).keep(batch(1))
        with pytest.raises(KeyReused):
            durable(spool).keep(batch(1, content=1))


def test_twins_that_come_at_one_time_are_written_once(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        port, found, lock = durable(spool), list[bool](), threading.Lock()

        def send(number: int) -> None:
            repeated = port.keep(batch(number % 10))
            with lock:
                found.append(repeated)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(80)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert found.count(False) == 10
        assert sum(times_in(spool).values()) == 10


def test_while_the_stream_is_down_the_spool_fills_within_its_bound_and_then_nothing_is_accepted(
    tmp_path: Path,
) -> None:
    most_bytes, dice = 400_000, random.Random(7)
    with Spool.open(tmp_path / "spool", max_bytes=most_bytes, fsync=False) as spool:
        port = SpoolDurable(spool, SHARDS, max_bytes=most_bytes, one_key_per_record=False)
        collector = collector_over(port, definition=PIPELINE)
        accepted, status, number = 0, 200, 0
        while status == 200:
            events = [reading(number + at, metric=dice.randbytes(2_000).hex()) for at in range(10)]
            answer = post(collector, events, idempotency_key=f"k{number}")
            status, number = answer.status, number + 10
            accepted += told(answer).get("accepted", 0)
        assert (status, answer.headers["Retry-After"]) == (503, "5")
        assert (tmp_path / "spool").stat().st_size <= most_bytes
        assert sum(times_in(spool).values()) == accepted > 0
        assert collector.answer(Asked("GET", "/v1/events/ready", "", {}, b"")).status == 503


def test_a_batch_for_which_there_was_no_room_leaves_no_key_and_no_gap_among_the_marks(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool", max_bytes=140_000, fsync=False) as spool:
        port = durable(spool)
        for number in range(3):
            port.keep(batch(number))
        full = batch(3, padding=random.Random(7).randbytes(150_000).hex())
        drawn = spool.identity.drawn()
        with pytest.raises(SpoolFull):
            port.keep(full)
        assert port.keep(batch(3)) is False
        (before,), (after,) = drawn.groups.values(), spool.identity.drawn().groups.values()
        assert after[1] == before[1] + 1


def test_keys_are_remembered_for_two_days_and_forgotten_a_little_at_a_time(tmp_path: Path) -> None:
    now_ms = [10 * DAY_MS]
    with opened(tmp_path, now_ms=lambda: now_ms[0]) as spool:
        port = durable(spool)
        for number in range(50):
            port.keep(batch(number))
        now_ms[0] += 2 * DAY_MS
        assert port.keep(batch(0)) is True
        now_ms[0] += 2 * DAY_MS
        for number in range(100, 120):
            port.keep(batch(number))
        assert spool._run(lambda contents: contents._memory.count) == 20
        assert port.keep(batch(0)) is False


def test_a_clock_that_is_set_back_forgets_nothing(tmp_path: Path) -> None:
    now_ms = [10 * DAY_MS]
    with opened(tmp_path, now_ms=lambda: now_ms[0]) as spool:
        durable(spool).keep(batch(1))
    now_ms[0] = 2 * DAY_MS
    with opened(tmp_path, now_ms=lambda: now_ms[0]) as spool:
        assert durable(spool).keep(batch(1)) is True
        assert durable(spool).keep(batch(2)) is False
        assert durable(spool).keep(batch(2)) is True


def test_no_more_keys_are_kept_than_was_said(tmp_path: Path) -> None:
    with opened(tmp_path, most=30) as spool:
        for number in range(100):
            durable(spool).keep(batch(number))
        assert spool._run(lambda contents: contents._memory.count) <= 31


def test_a_damaged_file_gives_the_keys_that_can_be_read_still(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for number in range(20):
            durable(spool).keep(batch(number))
    path = tmp_path / "spool"
    content = bytearray(path.read_bytes())
    content[2 * 8192 : 3 * 8192] = bytes(8192)  # the page of the queue
    path.write_bytes(content)
    with opened(tmp_path) as spool:
        assert spool.mended is not None
        assert any("keys of batches" in each for each in spool.mended.damage)
        assert durable(spool).keep(batch(3)) is True


class Killed(BaseException):
    """The process is gone."""


class Mortal(Spool):
    """A spool whose process may be killed right before a transaction, and right behind it."""

    dice: random.Random
    forgets = False  # planted: keys are not written with the records

    def append(
        self,
        records: Sequence[SealedRecord],
        *,
        priority: int = 0,
        remember: Sequence[Remembered] = (),
    ) -> None:
        if self.dice.random() < 0.3:
            raise Killed
        super().append(records, priority=priority, remember=() if self.forgets else remember)
        if self.dice.random() < 0.3:
            raise Killed


def run(path: Path, seed: int, *, forgets: bool = False) -> None:
    """Have a client send five batches, each until it is told 200, to a process that is killed and begun anew; judge the totals."""
    dice, acknowledged = random.Random(seed), list[int]()
    waiting = list(range(5))
    while waiting:
        with Mortal.open(path, fsync=False, now_ms=lambda: DAY_MS) as spool:
            spool.dice, spool.forgets = dice, forgets
            with suppress(Killed):
                while waiting:
                    durable(spool).keep(batch(waiting[0]))
                    acknowledged.append(waiting.pop(0))
    with Spool.open(path, fsync=False) as spool:
        assert list(times_in(spool).values()) == [1] * 5, f"seed {seed}"
    assert acknowledged == list(range(5))


@pytest.mark.parametrize("seed", range(10))
def test_a_process_that_is_killed_around_its_transactions_counts_each_batch_once(
    tmp_path: Path, seed: int
) -> None:
    run(tmp_path / "mortal", seed)


def test_a_key_that_is_not_written_with_its_records_is_caught(tmp_path: Path) -> None:
    def run_all() -> None:
        for seed in range(10):
            run(tmp_path / f"mortal{seed}", seed, forgets=True)

    with pytest.raises(AssertionError, match="seed"):
        run_all()
