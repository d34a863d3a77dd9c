"""Read a file line by line in bounded memory, and tell what is not text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from streamgage.errors import ConfigError
from streamgage.limits import KINESIS_RECORD_BYTES

MAX_LINE_BYTES = KINESIS_RECORD_BYTES  # a longer line would make an event that no stream takes
KEPT_BYTES = 4096  # what is kept of a line that is longer

_BOM = b"\xef\xbb\xbf"
_MAGIC = {
    b"\x1f\x8b": "compressed (gzip); decompress it first: gzip -dc FILE | streamgage send … -",
    b"BZh": "compressed (bzip2); decompress it first: bzip2 -dc FILE | streamgage send … -",
    b"\xfd7zXZ": "compressed (xz); decompress it first: xz -dc FILE | streamgage send … -",
    b"\x28\xb5\x2f\xfd": "compressed (zstd); decompress it first: zstd -dc FILE | streamgage send … -",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"\xff\xfe": "UTF-16 text: --encoding utf-16",
    b"\xfe\xff": "UTF-16 text: --encoding utf-16",
    b"\x89PNG": "an image, not text",
    b"PAR1": "Parquet, not text; export it as CSV or NDJSON first",
    b"Obj\x01": "an Avro file, not text; export it as NDJSON first",
}
_CP1252 = frozenset(range(0x80, 0x100)) - {0x81, 0x8D, 0x8F, 0x90, 0x9D}
# Control characters that no text begins with; NUL is not among them: a rotated log may begin with a hole of NULs.
_BINARY = bytes({*range(0x01, 0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20)})


class DamagedInput(Exception):
    """What follows cannot be read; what was read until then is whole."""


class ByteLines(Protocol):
    """What a binary stream offers that is needed here."""

    def readline(self, size: int, /) -> bytes:
        """Return at most *size* bytes, up to and with the next newline; nothing at the end."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stands in the file, its end included; ``number`` counts from 1.

    ``problem`` says why it is not usable text; ``text`` is empty then. ``end_bytes`` is its end's place in the file.
    """

    number: int
    raw: bytes
    text: str
    problem: str | None
    end_bytes: int

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing on the line."""
        return self.problem is None and not self.text.strip()


def read_lines(stream: ByteLines, name: str, *, encoding: str = "utf-8") -> Iterator[Line]:
    """Yield each line of *stream*. Memory is bounded: of a line over MAX_LINE_BYTES only its beginning is kept.

    Where the stream is damaged, the last line says so.

    Raises:
        ConfigError: *name* is compressed, binary, or UTF-16: no line of it would be usable.
    """
    number = end_bytes = 0
    while True:
        try:
            raw = stream.readline(MAX_LINE_BYTES + 1)
        except DamagedInput as error:
            yield Line(number + 1, b"", "", str(error), end_bytes + 1)
            return
        if not raw:
            return
        number += 1
        if number == 1:
            _refuse_binary(raw, name)
            end_bytes += len(raw)
            raw = raw.removeprefix(_BOM)
        else:
            end_bytes += len(raw)
        if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
            length_bytes, damage = _rest_of(stream, len(raw))
            end_bytes += length_bytes - len(raw)
            problem = (
                f"{length_bytes:,} bytes long; a line has at most {MAX_LINE_BYTES:,} (raw is its beginning)"
            )
            yield Line(number, raw[:KEPT_BYTES], "", damage or problem, end_bytes)
            if damage is not None:
                return
            continue
        yield _line(number, raw, end_bytes, encoding)


def _rest_of(stream: ByteLines, length_bytes: int) -> tuple[int, str | None]:
    """Read a line to its end, and return its length, and what is damaged in it."""
    try:
        while rest := stream.readline(MAX_LINE_BYTES):
            length_bytes += len(rest)
            if rest.endswith(b"\n"):
                break
    except DamagedInput as error:
        return length_bytes, str(error)
    return length_bytes, None


def _line(number: int, raw: bytes, end_bytes: int, encoding: str) -> Line:
    if b"\0" in raw:
        return Line(number, raw, "", "contains a NUL byte", end_bytes)
    try:
        return Line(number, raw, raw.decode(encoding), None, end_bytes)
    except UnicodeDecodeError as error:
        what = "UTF-8" if encoding == "utf-8" else encoding
        problem = f"not {what}: {error.reason} at byte {error.start + 1}"
        if encoding == "utf-8" and (likely := _likely_encoding(raw)):
            problem += f"; likely {likely}"
        return Line(number, raw, "", problem, end_bytes)


def _likely_encoding(raw: bytes) -> str | None:
    """Return what a line that is not UTF-8 may be in, None where its bytes are those of no western text."""
    high = {each for each in raw if each >= 0x80}
    if any(each >= 0xA0 for each in high) and all(each < 0x80 or each in _CP1252 for each in raw):
        return "Windows text (--encoding cp1252)" if min(high) < 0xA0 else "Latin-1 (--encoding latin-1)"
    return None


def _refuse_binary(first: bytes, name: str) -> None:
    for magic, what in _MAGIC.items():
        if first.startswith(magic):
            raise ConfigError(f"{name} is {what}")
    if first.translate(None, _BINARY) != first:
        raise ConfigError(f"{name} is binary, not text")
