"""From names to byte streams: globs, standard input, compressed files, other encodings."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from producers.files.lines import ByteLines, DamagedInput
from streamgage.errors import ConfigError

STDIN = "-"
_GLOB = frozenset("*?[")
_OURS = (".rejects.ndjson", ".undelivered.ndjson", ".position.json")  # made beside a file that is sent
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"
_ASCII = bytes(range(128))


def find_files(names: Sequence[str], folder: Path) -> list[str]:
    """Return the files that *names* mean, patterns (``logs/*.gz``) expanded in the order of their names.

    Raises:
        ConfigError: a pattern fits nothing, a file is named twice, or standard input stands beside files.
    """
    found: list[str] = []
    for name in names:
        if name == STDIN or not _GLOB & set(name) or (folder / name).exists():
            found.append(name)
            continue
        path = folder / name
        fixed = Path(*path.parts[: _fixed_parts(path)])
        matches = sorted(fixed.glob(str(path.relative_to(fixed))))
        files = [each for each in matches if each.is_file() and not each.name.endswith(_OURS)]
        if not files:
            raise ConfigError(f"{name}: no file fits this pattern")
        inside = not Path(name).is_absolute()
        found += [
            str(each.relative_to(folder) if inside and each.is_relative_to(folder) else each)
            for each in files
        ]
    # Not by Path.resolve, which before Python 3.13 raises a RuntimeError of links that lead to each other.
    places = [name if name == STDIN else _realpath(folder / name) for name in found]
    for name, place in zip(found, places, strict=True):
        if places.count(place) > 1:
            raise ConfigError(f"{name}: named twice; each of its rows would count twice")
    if STDIN in found and len(found) > 1:
        raise ConfigError("standard input (-) is sent by itself, not beside files")
    return found


def _realpath(path: Path) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # a name with a NUL: to open it says so
        return str(path)


def _fixed_parts(path: Path) -> int:
    return next((at for at, part in enumerate(path.parts) if _GLOB & set(part)), len(path.parts))


def check_encoding(name: str) -> str:
    """Return *name*, which is an encoding of text. Raises: ConfigError."""
    try:
        codec = codecs.lookup(name)
        bytes(4).decode(name)
    except (LookupError, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError):
            return name
        raise ConfigError(
            f"--encoding {name}: not an encoding; such as latin-1, cp1252, shift_jis, utf-16"
        ) from error
    return codec.name


def unpack(raw: BinaryIO, name: str, *, encoding: str = "utf-8") -> tuple[ByteLines, str]:
    """Return the lines of bytes in *raw*, decompressed where it is, and the encoding that they are in.

    Raises:
        ConfigError: it is compressed by what this machine cannot read.
    """
    stream = _decompressed(raw, name)
    if _is_ascii_like(encoding):
        return stream, encoding
    return _Recoded(stream, encoding), "utf-8"


def _decompressed(raw: BinaryIO, name: str) -> ByteLines:
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, _Raw(raw)))
    first = buffered.peek(8)[:8]
    if first.startswith(_GZIP):
        return _Unpacked(gzip.GzipFile(fileobj=buffered), name, (OSError, EOFError, zlib.error))
    if first.startswith(_BZIP2):
        return _Unpacked(bz2.BZ2File(buffered), name, (OSError, EOFError))
    if first.startswith(_XZ):
        return _Unpacked(lzma.LZMAFile(buffered), name, (OSError, EOFError, lzma.LZMAError))
    if first.startswith(_ZSTD):
        opened, errors = _zstd(buffered, name)
        return _Unpacked(opened, name, errors)
    return buffered


def _zstd(raw: BinaryIO, name: str) -> tuple[BinaryIO, tuple[type[Exception], ...]]:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415 - only for such a file
        else:
            from backports import zstd  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"{name} is compressed (zstd): pip install 'streamgage[zstd]', or zstd -dc FILE | streamgage send … -"
        ) from error
    return cast(BinaryIO, zstd.ZstdFile(raw)), (OSError, EOFError, zstd.ZstdError)


def _is_ascii_like(encoding: str) -> bool:
    """Tell whether a line of bytes can be decoded by itself: ASCII stands for itself, newlines too."""
    try:
        return _ASCII.decode(encoding) == _ASCII.decode("ascii")
    except UnicodeDecodeError:
        return False


class _Raw(io.RawIOBase):
    """A stream of a test, or of a library, that offers read alone."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # what io hands over
        data = self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Unpacked:
    """What was compressed, line by line; what is damaged is told as such."""

    def __init__(self, stream: object, name: str, errors: tuple[type[Exception], ...]) -> None:
        self._read_line: Callable[[int], bytes] = stream.readline  # type: ignore[attr-defined]  # each has one
        self._name, self._errors = name, errors

    def readline(self, size: int, /) -> bytes:
        try:
            return self._read_line(size)
        except self._errors as error:
            raise DamagedInput(
                f"the compressed data is damaged from here on, or cut off ({error})"
            ) from error


class _Recoded:
    """Text in an encoding of which a line of bytes cannot be decoded by itself (UTF-16), as UTF-8."""

    def __init__(self, stream: ByteLines, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding
        self._stream = stream
        self._ready = bytearray()
        self._ended = False

    def readline(self, size: int, /) -> bytes:
        """Return at most *size* bytes, up to and with the next newline."""
        while (end := self._ready.find(b"\n") + 1) == 0 and len(self._ready) < size and not self._ended:
            # A newline of two bytes ends with a NUL that the next read brings: so not by lines.
            chunk = self._stream.readline(65_536)
            self._ended = not chunk
            try:
                text = self._decoder.decode(chunk, final=self._ended)
            except UnicodeDecodeError as error:
                raise DamagedInput(f"not {self._encoding} from here on: {error.reason}") from error
            self._ready += text.encode("utf-8", "surrogatepass")
        end = min(end or len(self._ready), size)
        line = bytes(self._ready[:end])
        del self._ready[:end]
        return line
