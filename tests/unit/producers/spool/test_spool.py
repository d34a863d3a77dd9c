"""A spool: what it takes is there, in order, until it is removed; bounded; of one process."""

import multiprocessing
import os
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from producers.spool.commits import Batch, GroupCommit
from producers.spool.pages import disk_bytes
from producers.spool.spool import Spool
from producers.spool.told import SpoolError, SpoolFull
from streamgage.errors import ConfigError
from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import SealedRecord
from support.spooled import CLOCK_MS, name_of, names_in, record_of

MOST = 10**9


def opened(path: Path, **options: object) -> Spool:
    return Spool.open(path, fsync=False, now_ms=lambda: CLOCK_MS, **options)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def test_what_was_appended_is_there_in_order_after_it_was_opened_again(path: Path) -> None:
    names = [f"a{number}" for number in range(40)]
    with opened(path) as spool:
        for name in names:
            spool.append([record_of(name)])
        spool.append([])
    with opened(path) as spool:
        found = spool.head(MOST, 100)
        assert [each.record for each in found] == [record_of(name) for name in names]
        assert {each.record.kept_ms for each in found} == {CLOCK_MS}
        stats = spool.stats
        assert (stats.records, stats.events) == (40, sum(record_of(name).events for name in names))
        assert (stats.oldest_ms, stats.damaged, stats.dropped_records) == (CLOCK_MS, 0, 0)
        spool.remove([each.id for each in found[:39]])
        spool.remove([each.id for each in found[:2]])
        spool.remove([])
    with opened(path) as spool:
        assert names_in(spool) == names[39:]
        spool.remove([spool.head(1, 1)[0].id])
        assert (spool.stats.records, spool.stats.events, spool.stats.bytes) == (0, 0, 0)
        assert spool.stats.oldest_ms is None


def test_a_record_keeps_since_when_it_was_kept_before(path: Path) -> None:
    with opened(path) as spool:
        spool.append([SealedRecord("k", b"x", kept_ms=7)])
        assert spool.head(MOST, 1)[0].record.kept_ms == spool.stats.oldest_ms == 7


def test_a_higher_priority_goes_first_and_each_keeps_its_order(path: Path) -> None:
    with opened(path) as spool:
        for number in range(6):
            spool.append([record_of(f"low{number}")], priority=-1)
            spool.append([record_of(f"high{number}")], priority=5)
        wanted = [f"high{number}" for number in range(6)] + [f"low{number}" for number in range(6)]
        assert names_in(spool) == wanted
        head = spool.head(MOST, 3, skip=[each.id for each in spool.head(MOST, 5)])
        assert [name_of(each.record) for each in head] == wanted[5:8]


def test_the_head_is_bounded_by_bytes_and_records_but_never_empty(path: Path) -> None:
    with opened(path) as spool:
        spool.append(
            [SealedRecord("k", b"x" * 99), SealedRecord("k", b"y" * 99), SealedRecord("k", b"z" * 99)]
        )
        assert [len(spool.head(size, 9)) for size in (0, 100, 199, 200, 300)] == [1, 1, 1, 2, 3]
        assert len(spool.head(MOST, 2)) == 2


def test_when_it_is_full_it_refuses_all_or_nothing_and_takes_again_what_was_made_room_for(path: Path) -> None:
    record = SealedRecord("k", b"x" * 20_000)
    with opened(path, max_bytes=400_000) as spool:
        with suppress(SpoolFull):
            while True:
                spool.append([record, record])
        before = spool.stats
        assert before.records % 2 == 0
        assert 350_000 < before.bytes <= 400_000
        with pytest.raises(SpoolFull, match="nothing of these was taken"):
            spool.append([record, record])
        assert spool.stats == before
        spool.remove([each.id for each in spool.head(MOST, 2)])
        spool.append([record, record])
    assert path.stat().st_size <= 400_000 + 8 * 8192


def test_when_it_drops_the_oldest_of_the_least_goes_first_and_is_counted(path: Path) -> None:
    def record(name: str) -> SealedRecord:
        return SealedRecord(name, b"x" * 20_000, None, 3)

    with opened(path, max_bytes=200_000, when_full="drop_oldest") as spool:
        spool.append([record("high")], priority=1)
        for number in range(20):
            spool.append([record(f"low{number}")])
        kept = [each.record.partition_key for each in spool.head(MOST, 99)]
        assert kept[0] == "high"
        assert kept[1:] == [f"low{number}" for number in range(20 - len(kept) + 1, 20)]
        assert spool.stats.dropped_records == 21 - len(kept)
        assert spool.stats.dropped_events == 3 * spool.stats.dropped_records


def test_what_is_being_sent_or_matters_more_is_not_dropped(path: Path) -> None:
    record = SealedRecord("k", b"x" * 20_000)
    with opened(path, max_bytes=150_000, when_full="drop_oldest") as spool:
        for _ in range(20):
            spool.append([record], priority=1)
        with pytest.raises(SpoolFull):
            spool.append([record])
        first = spool.head(MOST, 1)
        for _ in range(20):
            spool.append([record], priority=1)
        assert spool.head(MOST, 1) == first
        spool.head(MOST, 99)
        with pytest.raises(SpoolFull):
            spool.append([record], priority=1)


@pytest.mark.parametrize("size", [1, 20, 500, 3_000, 4_100, 8_000, 8_190, 20_000, 100_000])
def test_the_file_is_as_large_as_is_said(path: Path, size: int) -> None:
    with opened(path) as spool:
        for _ in range(40):
            spool.append([SealedRecord("k", b"x" * size)] * 10)
        said = spool.stats.bytes
    assert path.stat().st_size <= said + 8 * 8192
    assert said <= path.stat().st_size * 1.2 + 100 * 400
    assert disk_bytes(size) > size


@pytest.mark.parametrize(
    ("record", "priority"),
    [
        (SealedRecord("k", bytes(KINESIS_RECORD_BYTES + 1)), 0),
        (SealedRecord("k", b"x", 2**128), 0),
        (SealedRecord("k" * 70_000, b"x"), 0),
        (SealedRecord("k", b"x", None, -1), 0),
        (SealedRecord("k", b"x"), 128),
    ],
)
def test_what_no_stream_takes_is_refused(path: Path, record: SealedRecord, priority: int) -> None:
    with opened(path) as spool:
        with pytest.raises(ValueError, match=r".+"):
            spool.append([record_of("a"), record], priority=priority)
        assert spool.stats.records == 0
        spool.append([record_of("b")])
        assert names_in(spool) == ["b"]


def test_each_epoch_and_each_priority_marks_as_another_also_from_an_old_copy(path: Path) -> None:
    with opened(path) as spool:
        spool.append([record_of("a")])
        marks = [spool.identity.tags_for("s")["sg"], spool.identity_of(1).tags_for("s")["sg"]]
        assert spool.identity.tags_for("s")["sg"] == marks[0].replace(":1", ":2")
    copy = path.read_bytes()
    for _ in range(3):
        path.write_bytes(copy)
        with opened(path) as spool:
            assert spool.stats.epoch == 2
            marks.append(spool.identity.tags_for("s")["sg"])
    assert len({mark.partition(".")[0] for mark in marks}) == 5


def test_a_spool_has_one_owner(path: Path) -> None:
    with opened(path), pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
        opened(path)
    opened(path).close()


def test_after_it_is_closed_it_takes_nothing(path: Path) -> None:
    spool = opened(path)
    spool.close()
    spool.close()
    for call in (lambda: spool.append([record_of("a")]), lambda: spool.head(1, 1), lambda: spool.stats):
        with pytest.raises(SpoolError, match="closed"):
            call()


@pytest.mark.parametrize("bounds", [{"max_bytes": 10}, {"when_full": "block"}])
def test_bounds_that_bound_nothing_are_refused(path: Path, bounds: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="at least 131072; refuse or drop_oldest"):
        opened(path, **bounds)


def test_what_is_no_spool_is_left_as_it_is(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"device_id,value\n" * 1_000)
    with pytest.raises(ConfigError, match="is no spool of this version"):
        opened(path)
    assert path.read_bytes() == b"device_id,value\n" * 1_000
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(ConfigError, match="is no spool of this version"):
        opened(other)
    assert other.read_bytes() == before
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(tmp_path / "nowhere" / "spool.db")


def test_many_threads_append_and_nothing_is_lost_or_twice(path: Path) -> None:
    with opened(path) as spool:

        def work(thread: int) -> None:
            for number in range(60):
                spool.append([record_of(f"{thread}.{number}.{each}") for each in range(2)])

        threads = [threading.Thread(target=work, args=(each,)) for each in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        names = names_in(spool)
    assert len(names) == len(set(names)) == 8 * 60 * 2
    for thread in range(8):
        mine = [name for name in names if name.startswith(f"{thread}.")]
        assert mine == [f"{thread}.{number}.{each}" for number in range(60) for each in range(2)]


def test_those_who_wait_for_one_transaction_share_the_next() -> None:
    groups: list[int] = []
    go, begun = threading.Event(), threading.Event()

    def write(batches: list[Batch]) -> None:
        groups.append(len(batches))
        begun.set()
        go.wait()

    commits = GroupCommit[Batch](write)  # type: ignore[arg-type]
    threads = [threading.Thread(target=commits.commit, args=(Batch([record_of("a")], 0),)) for _ in range(6)]
    threads[0].start()
    begun.wait()
    for each in threads[1:]:
        each.start()
    while len(commits._waiting) < 5:
        pass
    go.set()
    for each in threads:
        each.join()
    assert groups == [1, 5]


def test_an_interrupt_in_the_one_who_writes_is_told_to_those_who_wait() -> None:
    commits: GroupCommit[Batch]

    def write(_: object) -> None:
        raise KeyboardInterrupt

    commits = GroupCommit(write)
    other = Batch([record_of("b")], 0)
    commits._waiting.append(other)
    with pytest.raises(KeyboardInterrupt):
        commits.commit(Batch([record_of("a")], 0))
    with pytest.raises(SpoolError, match="KeyboardInterrupt"):
        commits.commit(other)


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file of this process may grow beyond what the log is now, as on a disk that is full."""
    log = path.with_name(path.name + "-wal")
    most = max(log.stat().st_size, path.stat().st_size, 40_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_takes_nothing_by_halves_and_what_is_there_can_be_sent(path: Path) -> None:
    def refuses(call: Callable[[], object]) -> None:
        with pytest.raises(SpoolFull, match="the disk takes no more"):
            call()

    big = SealedRecord("k", b"x" * 1_000_000)
    with opened(path) as spool:
        for number in range(20):
            spool.append([record_of(f"a{number}")])
        before = spool.stats
        with full_disk(path):
            refuses(lambda: spool.append([big, big]))
            refuses(lambda: spool.append([big]))
            assert spool.stats == before
            assert len(spool.head(MOST, 99)) == 20
        spool.append([record_of("b")])
        with full_disk(path):
            refuses(lambda: spool.append([big]))
        spool.remove([spool.head(1, 1)[0].id])
    with opened(path) as spool:
        assert names_in(spool) == [f"a{number}" for number in range(1, 20)] + ["b"]
        assert spool.mended is None


def _in_child(spool: Spool, tell: Connection) -> None:
    try:
        spool.append([record_of("child")])
    except SpoolError as error:
        tell.send(str(error))
    spool.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_no_part_in_it(path: Path) -> None:
    with opened(path) as spool:
        spool.append([record_of("a")])
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=_in_child, args=(spool, theirs))
        child.start()
        assert ours.poll(60)
        assert "forked child" in ours.recv()
        child.join(60)
        assert child.exitcode == 0
        spool.append([record_of("b")])
    with opened(path) as spool:
        assert names_in(spool) == ["a", "b"]
        assert spool.mended is None
