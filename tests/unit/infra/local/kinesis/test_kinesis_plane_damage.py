"""Damage of a log: what is acknowledged and not there any more is named, and never taken for an unfinished write."""

import json
import os
import random
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.audit import audit
from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.errors import FrameDamage, KinesisError
from infra.local.kinesis.frames import encode, next_frame
from infra.local.kinesis.log import DiskLog
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.salvage import salvage
from infra.local.kinesis.storage import StoredRecord
from infra.local.kinesis.stream import Entry
from streamgage.errors import ConfigError

ALL = {"max_records": 10_000, "max_bytes": 10**9}
FRAME_BYTES = 18 + 3 + 20
NOW_MS = 1_700_000_000_000


def records(first: int, count: int) -> list[StoredRecord]:
    return [StoredRecord(n, b"key", b"%d" % (n % 10) * 20) for n in range(first, first + count)]


def filled(directory: Path) -> Path:
    """Thirty records in segments of six, the last of them open."""
    log = DiskLog(directory, segment_bytes=200)
    for first in range(1, 31, 3):
        log.append(records(first, 3))
    log.close()
    return directory


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.log"))


def flip(path: Path, at: int, mask: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)


def readable(log: DiskLog) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the counters that can be read, and the ranges that cannot, going on behind each."""
    found: list[int] = []
    damaged: list[tuple[int, int]] = []
    position = 0
    while True:
        try:
            page = log.read(position, **ALL)
        except FrameDamage as error:
            damaged.append((error.first, error.last))
            position = error.last + 1
            continue
        if not page:
            return found, damaged
        found += [record.counter for record in page]
        position = found[-1] + 1


@pytest.mark.parametrize(
    "byte", range(4, FRAME_BYTES)
)  # the length, which no checksum covers, is not needed to read
def test_a_flipped_byte_of_a_sealed_frame_is_named_and_all_others_are_read(tmp_path: Path, byte: int) -> None:
    first = segments(filled(tmp_path))[0]
    flip(first, 2 * FRAME_BYTES + byte)
    found, damaged = readable(DiskLog(tmp_path))
    assert damaged == [(3, 3)]
    assert found == [1, 2, *range(4, 31)]


@pytest.mark.parametrize("byte", range(3 * FRAME_BYTES))
def test_no_flipped_byte_of_the_open_segment_is_an_unfinished_write(tmp_path: Path, byte: int) -> None:
    log = DiskLog(tmp_path)
    log.append(records(1, 3))
    log.close()
    (path,) = segments(tmp_path)
    flip(path, byte, 0x80)
    before = path.read_bytes()
    with pytest.raises(
        ConfigError, match=r"is damaged at byte (0|41|82): 3 records in 123 bytes were acknowledged"
    ):
        DiskLog(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept_bytes", [0, 1, FRAME_BYTES, FRAME_BYTES + 7, 3 * FRAME_BYTES - 1])
def test_acknowledged_records_that_were_cut_off_are_missed_at_whatever_byte(
    tmp_path: Path, kept_bytes: int
) -> None:
    log = DiskLog(tmp_path)
    log.append(records(1, 3))
    log.close()
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(ConfigError, match="3 records in 123 bytes were acknowledged"):
        DiskLog(tmp_path)
    assert path.stat().st_size == kept_bytes


@pytest.mark.parametrize("number", range(5))
def test_a_deleted_segment_is_missed(tmp_path: Path, number: int) -> None:
    path = segments(filled(tmp_path))[number]
    path.unlink()
    with pytest.raises(ConfigError, match=rf"{path.name} is missing, with 6 acknowledged records"):
        DiskLog(tmp_path)


def test_an_index_that_says_fewer_records_is_not_believed(tmp_path: Path) -> None:
    filled(tmp_path)
    for index in tmp_path.glob("*.idx"):
        flip(index, 8)  # the count
    assert DiskLog(tmp_path).read(0, **ALL) == records(1, 30)


def test_an_index_of_another_segment_is_not_believed(tmp_path: Path) -> None:
    one, other = sorted(filled(tmp_path).glob("*.idx"))[:2]
    shutil.copy(other, one)
    assert DiskLog(tmp_path).read(0, **ALL) == records(1, 30)


def test_what_was_written_and_never_acknowledged_may_stay_or_go_but_not_half(tmp_path: Path) -> None:
    log = DiskLog(tmp_path / "log")
    log.append(records(1, 3))
    log.close()
    (path,) = segments(tmp_path / "log")
    content, _ = encode(records(4, 2))
    for cut in range(len(content)):
        copy = tmp_path / str(cut)
        shutil.copytree(tmp_path / "log", copy)
        with (copy / path.name).open("ab") as file:
            file.write(content[:cut])
        assert DiskLog(copy).read(0, **ALL) == records(1, 3 + cut // FRAME_BYTES)


def test_a_log_of_the_old_format_is_read_and_gets_a_mark(tmp_path: Path) -> None:
    (filled(tmp_path) / "mark").unlink()
    log = DiskLog(tmp_path)
    log.append(records(40, 1))
    log.close()
    assert DiskLog(tmp_path, marked=True).read(0, **ALL) == [*records(1, 30), *records(40, 1)]


@pytest.mark.parametrize("byte", range(FRAME_BYTES))
def test_a_log_of_the_old_format_is_not_cut_where_its_last_frame_is_all_there(
    tmp_path: Path, byte: int
) -> None:
    path = segments(filled(tmp_path))[-1]
    (tmp_path / "mark").unlink()
    flip(path, path.stat().st_size - FRAME_BYTES + byte, 0x10)
    try:
        log = DiskLog(tmp_path)
    except ConfigError:
        return
    # Of a length that flipped upwards the start still looks like a write that was cut; only that may go.
    assert byte < 4, "a frame that is all there was cut off"
    assert log.read(0, **ALL) == records(1, 29)


def test_the_old_format_finds_damage_in_the_middle_of_its_last_segment(tmp_path: Path) -> None:
    path = segments(filled(tmp_path))[-1]
    (tmp_path / "mark").unlink()
    for at in (0, FRAME_BYTES):  # a length that runs past the end, too
        flip(path, at + 1, 0xF0)
        with pytest.raises(ConfigError, match="is damaged at byte"):
            DiskLog(tmp_path)
        flip(path, at + 1, 0xF0)


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: flip(p, 20), lambda p: flip(p, 60)])
def test_a_mark_that_is_gone_or_damaged_is_named(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    filled(tmp_path)
    damage(tmp_path / "mark")
    with pytest.raises(ConfigError, match=r"mark is (missing|damaged)"):
        DiskLog(tmp_path, marked=True)


def test_no_byte_of_a_mark_flips_unseen(tmp_path: Path) -> None:
    mark = filled(tmp_path) / "mark"
    for at in range(mark.stat().st_size):
        flip(mark, at)
        with pytest.raises(ConfigError, match="mark is damaged"):
            DiskLog(tmp_path, marked=True)
        flip(mark, at)
    assert DiskLog(tmp_path, marked=True).read(0, **ALL) == records(1, 30)


def test_trimming_is_not_taken_for_damage(tmp_path: Path) -> None:
    log = DiskLog(filled(tmp_path), segment_bytes=200)
    log.trim(16)
    log.append(records(31, 9))
    log.close()
    assert DiskLog(tmp_path).read(16, **ALL) == records(16, 24)
    assert audit(tmp_path, tmp_path / "mark", marked=True).lost == []


def test_a_crash_between_trimming_and_deleting_deletes_later(tmp_path: Path) -> None:
    log = DiskLog(filled(tmp_path), segment_bytes=200)
    shutil.copytree(tmp_path, tmp_path.parent / "before")
    log.trim(16)
    log.close()
    shutil.copy(tmp_path / "mark", tmp_path.parent / "before" / "mark")
    again = DiskLog(tmp_path.parent / "before")
    assert again.read(0, **ALL)[0].counter == 13
    assert len(segments(tmp_path.parent / "before")) == len(segments(tmp_path))


def test_a_frame_is_found_behind_damage_wherever_it_begins() -> None:
    rng = random.Random(5)
    for first in (1, 255, 2**40, NOW_MS << 20):
        content, _ = encode(records(first, 2))
        for skipped in (1, 7, 300):
            noise = rng.randbytes(skipped)
            assert next_frame(noise + content, 0, last=first - 1, highest=first + 10**6) == skipped
    assert next_frame(b"\0" * 500, 0, last=4, highest=2**60) is None


class TestOfAStream:
    """A reader and a writer of a stream whose log is damaged, or whose disk is full."""

    def model(self, folder: Path) -> tuple[KinesisModel, DiskStorage]:
        storage = DiskStorage(folder, segment_bytes=300)
        return KinesisModel(clock_ms=lambda: NOW_MS + 5, storage=storage), storage

    def written(self, folder: Path) -> list[int]:
        model, storage = self.model(folder)
        model.create("s", shard_count=1, on_demand=False, tags={})
        stream = model.find("s")
        for number in range(30):
            stream.put([Entry(0, b"key", b"%d" % number * 9)])
        found = [record.counter for record in stream.read(0, 0, **ALL).records]
        storage.close()
        return found

    def test_get_records_answers_an_error_that_names_shard_and_records(self, tmp_path: Path) -> None:
        counters = self.written(tmp_path)
        flip(segments(tmp_path / "logs" / str(NOW_MS + 5) / "0")[0], 70)
        model, storage = self.model(tmp_path)
        space = model.find("s").map.by_index[0].space
        api = KinesisApi(model)
        asked = {"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
        iterator = api.call("GetShardIterator", asked)["ShardIterator"]  # type: ignore[index]
        page = api.call("GetRecords", {"ShardIterator": iterator})
        assert page is not None
        whole = len(page["Records"])
        with pytest.raises(KinesisError) as refused:
            api.call("GetRecords", {"ShardIterator": page["NextShardIterator"]})
        assert refused.value.code == "InternalFailure"
        bad = space.number(counters[whole])
        assert f"damaged: stream s, shardId-000000000000, records {bad} to {bad}" in refused.value.message
        asked |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(bad)}
        behind = api.call("GetShardIterator", asked)["ShardIterator"]  # type: ignore[index]
        answer = api.call("GetRecords", {"ShardIterator": behind})
        assert answer is not None
        assert answer["Records"]
        storage.close()

    def test_a_first_write_that_failed_leaves_no_shard_that_never_ends(self, tmp_path: Path) -> None:
        model, storage = self.model(tmp_path)
        model.create("s", shard_count=1, on_demand=False, tags={})
        stream = model.find("s")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))  # the mark fits, a record does not
        try:
            (answer,) = stream.put([Entry(0, b"key", b"x" * 500)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert isinstance(answer, KinesisError)
        assert stream.read(0, 0, **ALL).behind_ms == 0
        model.reshard(stream, stream.map.split(stream.map.open[0].index, at=2**127, now_ms=NOW_MS + 9))
        assert stream.read(0, 0, **ALL).next_counter is None
        storage.close()
        model, storage = self.model(tmp_path)
        assert model.find("s").read(0, 0, **ALL).next_counter is None
        storage.close()

    def test_a_shard_whose_last_record_is_given_up_ends_all_the_same(self, tmp_path: Path) -> None:
        counters = self.written(tmp_path)
        directory, mark = tmp_path / "logs" / str(NOW_MS + 5) / "0", tmp_path / "marks" / f"{NOW_MS + 5}-0"
        flip(segments(directory)[-1], segments(directory)[-1].stat().st_size - 1)
        salvage(directory, mark, audit(directory, mark, marked=True), given_up=tmp_path / "aside")
        model, storage = self.model(tmp_path)
        stream = model.find("s")
        model.reshard(stream, stream.map.split(0, at=2**127, now_ms=NOW_MS + 9))
        page = stream.read(0, 0, **ALL)
        assert [record.counter for record in page.records] == counters[:-1]
        if page.next_counter is not None:
            page = stream.read(0, page.next_counter, **ALL)
        assert (page.records, page.next_counter, page.behind_ms) == ([], None, 0)
        storage.close()

    def test_streams_that_are_gone_take_no_records_with_them(self, tmp_path: Path) -> None:
        self.written(tmp_path)
        (tmp_path / "streams.json").unlink()
        storage = DiskStorage(tmp_path)
        with pytest.raises(ConfigError, match=r"streams\.json is missing, and records are there"):
            storage.load()
        storage.close()
        assert segments(tmp_path / "logs" / str(NOW_MS + 5) / "0")

    def test_a_flipped_digit_of_the_streams_is_found(self, tmp_path: Path) -> None:
        self.written(tmp_path)
        path = tmp_path / "streams.json"
        path.write_text(path.read_text().replace('"retention_hours": 24', '"retention_hours": 14'))
        storage = DiskStorage(tmp_path)
        with pytest.raises(ConfigError, match="its checksum differs"):
            storage.load()
        storage.close()

    def test_streams_of_the_old_format_are_read_and_brought_to_the_new(self, tmp_path: Path) -> None:
        counters = self.written(tmp_path)
        path = tmp_path / "streams.json"
        document = json.loads(path.read_text())
        path.write_text(json.dumps({"format": 1, "streams": document["streams"]}))
        shutil.rmtree(tmp_path / "marks")
        for _ in range(2):
            model, storage = self.model(tmp_path)
            assert [record.counter for record in model.find("s").read(0, 0, **ALL).records] == counters
            storage.close()
        assert json.loads(path.read_text())["format"] == 2
        shutil.rmtree(tmp_path / "marks")
        with pytest.raises(ConfigError, match="is missing"):
            self.model(tmp_path)


def damaged_bytes(path: Path) -> None:
    flip(path, FRAME_BYTES + 30)
    flip(path, 2 * FRAME_BYTES + 3)  # a length, and its record: what follows is found again
    flip(path, 2 * FRAME_BYTES + 35)


@pytest.mark.parametrize(
    ("number", "damage", "lost"),
    [
        (0, damaged_bytes, [2, 3]),
        (4, damaged_bytes, [26, 27]),
        (2, lambda path: path.unlink(), [13, 14, 15, 16, 17, 18]),
        (4, lambda path: path.unlink(), [25, 26, 27, 28, 29, 30]),
        (1, lambda path: path.write_bytes(path.read_bytes()[:100]), [9, 10, 11, 12]),
        (4, lambda path: path.write_bytes(path.read_bytes()[:FRAME_BYTES]), [26, 27, 28, 29, 30]),
    ],
)
def test_the_extent_of_a_loss_is_told_and_all_else_goes_on_without_it(
    tmp_path: Path, number: int, damage: Callable[[Path], None], lost: list[int]
) -> None:
    directory = filled(tmp_path / "log")
    mark = directory / "mark"
    damage(segments(directory)[number])
    before = {path: path.read_bytes() for path in directory.iterdir()}
    found = audit(directory, mark, marked=True)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before
    assert [each.records for each in found.lost] == [len(lost)]
    (told,) = found.lost
    assert (told.after, told.before) == (lost[0] - 1, lost[-1] + 1 if number < 4 or lost[-1] < 30 else None)
    salvage(directory, mark, found, given_up=tmp_path / "aside")
    assert audit(directory, mark, marked=True).lost == []
    log = DiskLog(directory, marked=True)
    kept = [n for n in range(1, 31) if n not in lost]
    assert readable(log) == (kept, [])
    assert log.last_counter == 30  # no sequence number is given twice
    log.append(records(31, 1))
    log.close()
    assert readable(DiskLog(directory, marked=True)) == ([*kept, 31], [])
    assert list((tmp_path / "aside").iterdir())


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("frame", [0, 2, 5])
def test_a_length_that_flipped_costs_no_record(tmp_path: Path, number: int, frame: int) -> None:
    directory = filled(tmp_path / "log")
    flip(segments(directory)[number], frame * FRAME_BYTES + 2)
    found = audit(directory, directory / "mark", marked=True)
    assert [each.records for each in found.lost] == [0]
    salvage(directory, directory / "mark", found, given_up=tmp_path / "aside")
    assert audit(directory, directory / "mark", marked=True).lost == []
    assert DiskLog(directory, marked=True).read(0, **ALL) == records(1, 30)


class Steps:
    """Copies a log's folder before each system call that changes it, and half of each write: a kill right there."""

    def __init__(self, directory: Path, copies: Path, patched: pytest.MonkeyPatch) -> None:
        self.acknowledged, self.put, self.floor = 0, 0, 0
        self.kept: list[tuple[Path, int, int, int]] = []  # the copy, and these three as they were then
        self._directory, self._copies = directory, copies
        patched.setattr(os, "write", self._halved(os.write))
        for name in ("pwrite", "ftruncate", "open"):
            patched.setattr(os, name, self._before(getattr(os, name)))
        for name in ("replace", "unlink", "write_bytes"):
            patched.setattr(Path, name, self._before(getattr(Path, name)))

    def _copy(self) -> Path:
        target = self._copies / str(len(self.kept))
        if self._directory.exists():
            shutil.copytree(self._directory, target)
        self.kept.append((target, self.acknowledged, self.put, self.floor))
        return target

    def _before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def spied(*arguments: Any, **options: Any) -> Any:
            self._copy()
            return call(*arguments, **options)

        return spied

    def _halved(self, write: Callable[..., int]) -> Callable[..., int]:
        def spied(fd: int, content: memoryview) -> int:
            self._copy()
            with max(self._copy().glob("*.log")).open("ab") as file:
                file.write(content[: len(content) // 2])
            return write(fd, content)

        return spied


def test_a_kill_before_any_step_of_any_write_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        steps = Steps(tmp_path / "log", tmp_path / "copies", patched)
        log = DiskLog(tmp_path / "log", segment_bytes=200)
        for first in range(1, 31, 3):
            steps.put = first + 2
            log.append(records(first, 3))
            steps.acknowledged = first + 2
            if first == 19:
                steps.floor = 12
                log.trim(steps.floor)
        log.close()
    assert len(steps.kept) > 50
    for target, acknowledged, put, floor in steps.kept:
        found, damaged = readable(DiskLog(target))
        assert damaged == []
        assert acknowledged <= max(found, default=0) <= put
        behind = [n for n in found if n > floor]
        assert behind == list(range(floor + 1, floor + 1 + len(behind)))
        assert audit(target, target / "mark", marked=False).lost == []
