"""What a reader of files yields: each row, whether it can be used or not."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamgage.errors import ConfigError


class EmptyFile(ConfigError):
    """There is no row in a file; among several that is no reason to stop."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its first line's number, the bytes it was read from, and its values by column.

    A value is text, or what JSON gave. ``end_bytes`` is how far the file is read. ``about`` begins what is said of it, where
    it is only a part of the row.
    """

    line: int
    raw: bytes
    values: Mapping[str, object]
    end_bytes: int
    about: str = ""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, and why."""

    line: int
    raw: bytes
    reason: str
    end_bytes: int


@dataclass(frozen=True, slots=True)
class BlankLine:
    """A line that holds no row: skipped, and counted apart, by *what* it is."""

    line: int
    end_bytes: int
    what: str = "blank lines"


AnyRow = Row | BadRow | BlankLine
