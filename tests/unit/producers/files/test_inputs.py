"""Names to streams: patterns, compression, encodings."""

import bz2
import errno
import gzip
import io
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from processors.pipeline_files import load_pipeline
from producers.files.inputs import check_encoding, find_files, unpack
from producers.files.lines import MAX_LINE_BYTES, DamagedInput, read_lines
from producers.files.tables import FileTables, ReadOptions
from streamgage.errors import ConfigError
from support.paths import ROOT

TEXT = "time,value\n2026-01-05,1\nä,2\n"


def zstd(data: bytes) -> bytes:
    module = pytest.importorskip("backports.zstd", reason="zstd is an extra")
    packed: bytes = module.compress(data)
    return packed


def texts(data: bytes, encoding: str = "utf-8") -> list[str]:
    stream, inner = unpack(io.BytesIO(data), "f", encoding=encoding)
    return [line.problem or line.text for line in read_lines(stream, "f", encoding=inner)]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_compressed_file_is_read_as_what_it_holds(pack: Callable[[bytes], bytes]) -> None:
    assert texts(pack(TEXT.encode())) == TEXT.splitlines(keepends=True)


def test_several_gzip_members_are_one_file() -> None:
    assert texts(gzip.compress(b"a\n") + gzip.compress(b"b\n")) == ["a\n", "b\n"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_what_is_cut_off_is_told_and_the_lines_before_it_are_kept(pack: Callable[[bytes], bytes]) -> None:
    lines = "".join(f"{number * 7919 % 10_007},{number}\n" for number in range(20_000))
    packed = pack(lines.encode())
    found = texts(packed[: len(packed) // 2])
    assert "damaged from here on, or cut off" in found[-1]
    assert "".join(found[:-1]) == lines[: len("".join(found[:-1]))]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp037", "latin-1", "utf-8-sig"])
def test_other_encodings_are_read_line_by_line(encoding: str) -> None:
    # U+0A0D and U+0D0A hold the bytes of line ends: a reader that cuts bytes would break there.
    text = TEXT if encoding in ("cp037", "latin-1") else TEXT + "\u0a0d\u0d0a,3\n"
    assert texts(text.encode(encoding), check_encoding(encoding)) == text.splitlines(keepends=True)


def test_a_very_long_line_of_utf_16_is_cut_as_any_other() -> None:
    found = texts(("x" * 3_000_000 + "\nshort\n").encode("utf-16"), "utf-16")
    assert "3,000,001 bytes long" in found[0]
    assert found[1] == "short\n"


@pytest.mark.parametrize("name", ["klingon", "base64", "rot13", ""])
def test_what_is_no_encoding_of_text_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="not an encoding"):
        check_encoding(name)


class TestNames:
    """Which files are meant."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("a.csv", "b.csv", "b.csv.rejects.ndjson", "odd[1].csv"):
            (tmp_path / name).write_text("x")
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "c.csv").write_text("x")
        return tmp_path

    def test_patterns_mean_files_in_the_order_of_their_names(self, folder: Path) -> None:
        assert find_files(["?.csv", "deep/*"], folder) == ["a.csv", "b.csv", "deep/c.csv"]
        assert find_files(["**/c.csv"], folder) == ["deep/c.csv"]
        assert find_files([str(folder / "a*")], Path("/")) == [str(folder / "a.csv")]

    def test_a_file_that_is_called_like_a_pattern_is_that_file(self, folder: Path) -> None:
        assert find_files(["odd[1].csv"], folder) == ["odd[1].csv"]

    def test_what_an_import_set_aside_fits_no_pattern(self, folder: Path) -> None:
        assert "b.csv.rejects.ndjson" not in find_files(["b*"], folder)

    @pytest.mark.parametrize(
        ("names", "problem"),
        [
            (["*.log"], "no file fits"),
            (["a.csv", "./a.csv"], "named twice"),
            (["a.csv", "*.csv"], "named twice"),
            (["-", "a.csv"], "by itself"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, folder: Path, names: list[str], problem: str) -> None:
        with pytest.raises(ConfigError, match=problem):
            find_files(names, folder)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_what_is_cut_off_within_a_very_long_line_is_told_too(pack: Callable[[bytes], bytes]) -> None:
    long = random.Random(1).randbytes(3 * MAX_LINE_BYTES).hex().encode()
    *_, last = texts(pack(b"a\n" + long + b"\nb\n")[: -MAX_LINE_BYTES // 2])
    assert "damaged from here on" in last


class Faulty(io.RawIOBase):
    """A file on a disk that gives *data* and then an error."""

    def __init__(self, data: bytes, error: Exception) -> None:
        self._data, self._error = data, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        if not self._data:
            raise self._error
        view = memoryview(buffer)  # type: ignore[arg-type]  # what io hands over
        view[: len(self._data)] = self._data
        read, self._data = len(self._data), b""
        return read


@pytest.mark.parametrize("data", [b"", b"time,va"])
@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), DamagedInput("Input/output error")]
)
def test_a_disk_that_fails_before_a_header_is_read_is_named_with_the_file(
    data: bytes, error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").touch()
    source = load_pipeline(ROOT / "pipeline.toml").sources["reading"]
    tables = FileTables(
        ["a.csv"], ReadOptions("csv"), source, folder=tmp_path, stdin=io.BytesIO(), warn=print
    )
    monkeypatch.setattr("producers.files.tables.open_input", lambda _: io.BufferedReader(Faulty(data, error)))
    with pytest.raises(ConfigError, match=r"a\.csv.*Input/output error"):
        next(iter(tables))


def test_a_link_that_leads_to_itself_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert find_files(["loop"], tmp_path) == ["loop"]
    source = load_pipeline(ROOT / "pipeline.toml").sources["reading"]
    with pytest.raises(ConfigError, match="loop: cannot be read"):
        FileTables(["loop"], ReadOptions("csv"), source, folder=tmp_path, stdin=io.BytesIO(), warn=print)
