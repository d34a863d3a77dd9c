"""Which files `send undelivered` takes for its own, and what it says of those that were put together, cut or edited."""

import gzip
import io
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import pytest

from producers.client.undelivered import Damaged, UndeliveredFile, UndeliveredReader
from producers.files.stop import Patience, Stop
from producers.files.undelivered import ResendJob, send_undelivered
from streamgage.errors import ConfigError
from streamgage.records import SealedRecord


class NoTime:
    """Time that stands still."""

    def now_ms(self) -> int:
        return 5

    def sleep_ms(self, duration_ms: int) -> None:
        del duration_ms


def kept(path: Path, count: int) -> bytes:
    """Return an undelivered file of *count* records."""
    file = UndeliveredFile(path, lambda: 1)
    for number in range(count):
        file.keep([SealedRecord("k", b"%d" % number)])
    file.close()
    data = path.read_bytes()
    path.unlink()
    return data


def resend(path: Path) -> None:
    """Send *path* to nobody: what is asked for a sink has passed every check."""

    def no_sink() -> NoReturn:
        raise AssertionError("asked for a stream")

    with path.open("rb") as stream:
        job = ResendJob(
            stream=stream,
            name=path.name,
            path=path,
            rest=path.with_name("rest"),
            rejects=path.with_name("rejects"),
            force=False,
            warn=lambda _: None,
        )
        send_undelivered(
            job, no_sink, patience=Patience(NoTime(), Stop()), noting=nullcontext, out=io.StringIO()
        )


@pytest.mark.parametrize(
    "of",
    [
        lambda _: b'{"device_id": "d", "ts": 1767614400000, "value": 1}\n' * 3,
        lambda _: b"time,value\n2026-01-01,1\n",
        gzip.compress,
    ],
)
def test_a_file_that_is_none_is_refused_and_stays_as_it_is(
    tmp_path: Path, of: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "in.ndjson"
    path.write_bytes(of(kept(tmp_path / "u", 3)))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"in\.ndjson is no undelivered file"):
        resend(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["in.ndjson"]


def read(data: bytes) -> tuple[list[bytes], list[str], bool]:
    """Return the data of the records in an undelivered file, what is damaged in it, and whether it is whole."""
    reader = UndeliveredReader(io.BytesIO(data), "u")
    lines = list(reader)
    records = [each.data for each in lines if isinstance(each, SealedRecord)]
    return records, [each.reason for each in lines if isinstance(each, Damaged)], reader.is_whole


def test_files_put_together_are_read_each_by_its_own_count(tmp_path: Path) -> None:
    three, two = kept(tmp_path / "a", 3), kept(tmp_path / "b", 2)
    assert read(three + two) == ([b"0", b"1", b"2", b"0", b"1"], [], True)


@pytest.mark.parametrize("cut", [0, 1])
def test_of_files_put_together_one_that_is_cut_at_a_line_is_told(tmp_path: Path, cut: int) -> None:
    files = [kept(tmp_path / "a", 3), kept(tmp_path / "b", 2)]
    files[cut] = b"".join(files[cut].splitlines(keepends=True)[:-1])
    _, damaged, is_whole = read(b"".join(files))
    assert damaged == []
    assert not is_whole


def test_a_byte_order_mark_and_line_ends_of_windows_damage_nothing(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + kept(tmp_path / "a", 2).replace(b"\n", b"\r\n")
    assert read(data) == ([b"0", b"1"], [], True)
