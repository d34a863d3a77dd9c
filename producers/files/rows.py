"""What a reader of files yields: each row, whether it can be used or not."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its first line's number, the bytes it was read from, and its values by column.

    A value is text, or what JSON gave. ``end_bytes`` is how far the file is read.
    """

    line: int
    raw: bytes
    values: Mapping[str, object]
    end_bytes: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, and why."""

    line: int
    raw: bytes
    reason: str
    end_bytes: int


@dataclass(frozen=True, slots=True)
class BlankLine:
    """A line with nothing on it: skipped, and counted apart."""

    line: int
    end_bytes: int


AnyRow = Row | BadRow | BlankLine
