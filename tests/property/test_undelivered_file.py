"""The undelivered file: what was kept comes back to the byte, and whatever happens to the file, nothing else does."""

import io
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.client.undelivered import Damaged, UndeliveredFile, UndeliveredReader, lock
from streamgage.errors import ConfigError
from streamgage.records import SealedRecord

RECORDS = st.lists(
    st.builds(
        SealedRecord,
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        st.binary(max_size=60),
        st.none() | st.integers(0, 2**128 - 1),
        st.integers(1, 70_000),
    ),
    min_size=1,
    max_size=6,
)


def written(records: list[SealedRecord], *, closed: bool = True) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = UndeliveredFile(Path(folder) / "u.ndjson", lambda: 17)
        file.keep(records[:1])
        if len(records) > 1:
            file.keep(records[1:])
        if closed:
            file.close()
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        data = file.path.read_bytes()
        file.close()
    return data


def read(data: bytes) -> tuple[list[SealedRecord], list[Damaged], bool]:
    reader = UndeliveredReader(io.BytesIO(data), "u")
    kept = list(reader)
    return (
        [each for each in kept if isinstance(each, SealedRecord)],
        [each for each in kept if isinstance(each, Damaged)],
        reader.is_whole,
    )


@given(RECORDS)
@settings(deadline=None, max_examples=30)
def test_what_was_kept_comes_back_as_it_was_with_the_time_since_when(records: list[SealedRecord]) -> None:
    back, damaged, is_whole = read(written(records))
    assert (back, damaged, is_whole) == (records, [], True)
    assert [each.events for each in back] == [each.events for each in records]
    assert {each.kept_ms for each in back} == {17}


@given(RECORDS, st.data())
@settings(deadline=None, max_examples=50)
def test_a_file_cut_short_anywhere_gives_what_is_whole_and_says_that_it_has_no_end(
    records: list[SealedRecord], data: st.DataObject
) -> None:
    whole = written(records)
    cut = whole[: data.draw(st.integers(1, len(whole) - 2), label="cut")]
    back, damaged, is_whole = read(cut)
    assert back == records[: len(back)]
    assert not is_whole
    at_line = cut.endswith(b"\n") or whole[len(cut) : len(cut) + 1] == b"\n"
    assert bool(damaged) is not at_line


@given(RECORDS, st.data())
@settings(deadline=None, max_examples=100)
def test_one_flipped_bit_never_gives_another_record_and_is_named(
    records: list[SealedRecord], data: st.DataObject
) -> None:
    whole = bytearray(written(records))
    at = data.draw(st.integers(0, len(whole) - 1), label="byte")
    whole[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    try:
        back, damaged, _ = read(bytes(whole))
    except ConfigError:
        return  # the header says that it is of another version
    assert [each for each in back if each not in records] == []
    assert len(back) >= len(records) - 2
    if len(back) < len(records):
        assert damaged


@given(RECORDS, st.data())
@settings(deadline=None, max_examples=50)
def test_a_line_that_is_gone_is_missed(records: list[SealedRecord], data: st.DataObject) -> None:
    lines = written(records).splitlines(keepends=True)
    gone = data.draw(st.integers(1, len(records)), label="line")
    back, damaged, _ = read(b"".join(lines[:gone] + lines[gone + 1 :]))
    assert back == records[: gone - 1] + records[gone:]
    assert [each.reason for each in damaged] == ["1 records are missing above this line"]


def test_a_newer_version_is_refused() -> None:
    data = written([SealedRecord("k", b"x")])
    header = b'"version":2'
    assert header in data
    import zlib

    body = b'{"format":"streamgage undelivered","version":3}'
    line = b'{"crc32":"%08x","header":%s}\n' % (zlib.crc32(b"header" + body), body)
    with pytest.raises(ConfigError, match="a newer streamgage wrote it"):
        read(line + data.split(b"\n", 1)[1])


def test_a_file_that_is_being_written_is_not_sent(tmp_path: Path) -> None:
    file = UndeliveredFile(tmp_path / "u.ndjson", lambda: 17)
    file.keep([SealedRecord("k", b"x")])
    with file.path.open("rb") as stream:
        with pytest.raises(ConfigError, match="being written"):
            lock(stream, "u.ndjson")
        file.close()
        lock(stream, "u.ndjson")


def test_what_cannot_be_written_leaves_no_half_line_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    file = UndeliveredFile(tmp_path / "u.ndjson", lambda: 17)
    file.keep([SealedRecord("k", b"one")])
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 10:
            return write(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(ConfigError, match="No space left"):
            file.keep([SealedRecord("k", b"two")])
    file.keep([SealedRecord("k", b"three")])
    file.close()
    assert [each.data for each in read(file.path.read_bytes())[0]] == [b"one", b"three"]
