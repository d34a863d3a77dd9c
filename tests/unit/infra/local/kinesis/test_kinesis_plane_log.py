"""The durable log and the data directory: torn tails, damage, sealed indexes, trimming, ownership."""

import json
import resource
from pathlib import Path

import pytest

from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.errors import StorageError
from infra.local.kinesis.log import DiskLog
from infra.local.kinesis.shards import ShardMap
from infra.local.kinesis.storage import StoredRecord, StreamState
from streamgage.errors import ConfigError

ALL = {"max_records": 10_000, "max_bytes": 10**9}


def records(first: int, count: int, size: int = 20) -> list[StoredRecord]:
    return [StoredRecord(n, b"key", b"%d" % (n % 10) * size) for n in range(first, first + count)]


def filled(directory: Path, *, segment_bytes: int = 200) -> DiskLog:
    log = DiskLog(directory, segment_bytes=segment_bytes)
    for first in range(1, 31, 3):
        log.append(records(first, 3))
    log.close()
    return log


def state(number: int, *, shards: int = 1) -> StreamState:
    shard_map = ShardMap.uniform(shards, now_ms=1000)
    return StreamState(
        number=number,
        name=f"s{number}",
        on_demand=False,
        created_ms=1000,
        retention_hours=24,
        shards=tuple(shard_map.by_index.values()),
        next_index=shards,
        tags={"a": "b"},
    )


def test_what_was_appended_is_read_back_after_reopening(tmp_path: Path) -> None:
    filled(tmp_path)
    log = DiskLog(tmp_path, segment_bytes=200)
    assert log.read(0, **ALL) == records(1, 30)
    assert log.last_counter == 30
    assert len(list(tmp_path.glob("*.log"))) > 3  # several segments
    assert len(list(tmp_path.glob("*.idx"))) == len(list(tmp_path.glob("*.log"))) - 1


def test_a_log_never_written_leaves_no_file(tmp_path: Path) -> None:
    log = DiskLog(tmp_path / "new")
    assert log.read(0, **ALL) == []
    assert log.last_counter == 0
    assert not (tmp_path / "new").exists()


def test_a_torn_tail_is_cut_off_at_every_possible_length_and_the_log_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = DiskLog(tmp_path / "whole")
    log.append(records(1, 2))
    log.append(records(3, 1))
    log.close()
    (path,) = (tmp_path / "whole").glob("*.log")
    whole = path.read_bytes()
    one_bytes = len(whole) // 3
    for cut in range(1, one_bytes):
        directory = tmp_path / str(cut)
        directory.mkdir()
        (directory / path.name).write_bytes(whole[:-cut])
        torn = DiskLog(directory)
        assert torn.read(0, **ALL) == records(1, 2)
        torn.append(records(9, 1))
        torn.close()
        assert [r.counter for r in DiskLog(directory).read(0, **ALL)] == [1, 2, 9]
    assert "unfinished write" in capsys.readouterr().err


def test_a_torn_tail_of_a_full_segment_does_not_count_as_damage_later(tmp_path: Path) -> None:
    filled(tmp_path)
    last = max(tmp_path.glob("*.log"))
    last.write_bytes(last.read_bytes() + b"\x07" * 300)
    log = DiskLog(tmp_path, segment_bytes=1)  # so that the next append begins another segment
    log.append(records(31, 1))
    log.close()
    assert DiskLog(tmp_path).read(0, **ALL) == records(1, 31)


def test_zeros_at_the_end_as_a_power_cut_leaves_them_are_cut_off(tmp_path: Path) -> None:
    log = DiskLog(tmp_path)
    log.append(records(1, 2))
    log.close()
    (path,) = tmp_path.glob("*.log")
    path.write_bytes(path.read_bytes() + bytes(500))
    assert DiskLog(tmp_path).read(0, **ALL) == records(1, 2)


def test_damage_before_the_last_segment_is_an_error_that_names_file_and_byte(tmp_path: Path) -> None:
    filled(tmp_path)
    first = min(tmp_path.glob("*.log"))
    first.with_suffix(".idx").unlink()
    content = bytearray(first.read_bytes())
    content[60] ^= 1
    first.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{first.name} is damaged at byte \d+"):
        DiskLog(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 300])
def test_a_damaged_index_is_rebuilt_from_the_segment(tmp_path: Path, damage: bytes) -> None:
    filled(tmp_path)
    for index in tmp_path.glob("*.idx"):
        index.write_bytes(damage or index.read_bytes()[:-1] + b"\xff")
    assert DiskLog(tmp_path).read(0, **ALL) == records(1, 30)


def test_a_page_ends_at_either_limit_but_is_never_empty(tmp_path: Path) -> None:
    filled(tmp_path)
    log = DiskLog(tmp_path, segment_bytes=200)
    assert len(log.read(1, max_records=7, max_bytes=10**9)) == 7
    assert log.read(5, max_records=1, max_bytes=10**9) == records(5, 1)
    size_bytes = records(1, 1)[0].size_bytes
    for count in range(1, 30):
        assert len(log.read(1, max_records=100, max_bytes=count * size_bytes)) == count
        assert len(log.read(1, max_records=100, max_bytes=count * size_bytes + size_bytes - 1)) == count
    assert log.read(4, max_records=100, max_bytes=1) == records(4, 1)
    assert log.read(31, **ALL) == []


def test_trimming_drops_whole_segments_and_never_the_last_counter(tmp_path: Path) -> None:
    filled(tmp_path)
    log = DiskLog(tmp_path, segment_bytes=200)
    log.trim(16)
    kept = [record.counter for record in log.read(0, **ALL)]
    assert kept[-1] == 30
    assert 1 < kept[0] <= 16
    log.trim(1000)
    assert DiskLog(tmp_path).last_counter == 30


def test_a_log_that_cannot_be_written_refuses_and_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a directory belongs")
    log = DiskLog(tmp_path / "logs" / "0")
    with pytest.raises(StorageError):
        log.append(records(1, 1))
    assert log.last_counter == 0


def test_a_full_disk_loses_what_was_refused_and_nothing_else(tmp_path: Path) -> None:
    log = DiskLog(tmp_path)
    log.append(records(1, 1))
    (path,) = tmp_path.glob("*.log")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 30, hard))  # room for part of a frame
    try:
        for _ in range(2):
            with pytest.raises(StorageError):
                log.append(records(2, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.last_counter == 1
    log.append(records(5, 2))
    expected = [*records(1, 1), *records(5, 2)]
    assert log.read(0, **ALL) == expected
    log.close()
    assert DiskLog(tmp_path).read(0, **ALL) == expected


def test_a_data_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    first = DiskStorage(tmp_path)
    with pytest.raises(ConfigError, match=r"in use by process \d+"):
        DiskStorage(tmp_path)
    first.close()
    DiskStorage(tmp_path).close()


def test_a_data_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot use"):
        DiskStorage(tmp_path / "file" / "data")


def test_streams_survive_and_logs_without_a_stream_are_deleted(tmp_path: Path) -> None:
    storage = DiskStorage(tmp_path)
    storage.save([state(1), state(2, shards=2)])
    for number, index in ((1, 0), (2, 0), (2, 1)):
        storage.open_log(number, index).append(records(1, 1))
    storage.save([state(2)])
    assert not (tmp_path / "logs/1").exists()
    assert [path.name for path in (tmp_path / "logs/2").iterdir()] == ["0"]
    (tmp_path / "logs/9/0").mkdir(parents=True)
    storage.close()
    again = DiskStorage(tmp_path)
    assert again.load() == [state(2)]
    assert not (tmp_path / "logs/9").exists()
    again.close()


def test_metadata_of_another_version_is_refused_with_its_path(tmp_path: Path) -> None:
    storage = DiskStorage(tmp_path)
    for content in ("{", json.dumps({"format": 99}), json.dumps({"format": 1, "streams": [{"name": "x"}]})):
        (tmp_path / "streams.json").write_text(content)
        with pytest.raises(ConfigError, match=r"streams\.json"):
            storage.load()
    storage.close()
