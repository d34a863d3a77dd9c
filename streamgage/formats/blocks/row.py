"""An event's row, written from its values by column: compiled for one schema, as the check of these is.

fastavro takes more than twice as long, most of it for unions and defaults, which the check has dealt with.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

from streamgage.formats.blocks.columns import ColumnType
from streamgage.formats.varint import encode_varint

WriteRow = Callable[[tuple[Any, ...]], bytes]

_DOUBLE = Struct("<d").pack


def compile_row(columns: Sequence[ColumnType], prefix: bytes) -> WriteRow:
    """Return a function that writes *prefix* and the values that ``compile_check``'s function gave, in Avro's binary encoding.

    It raises ValueError or OverflowError where a text is not UTF-8, or a number no float: the row encoder says more.
    """
    known: dict[str, Any] = {"prefix": prefix, "join": b"".join}
    pieces = ["prefix"]
    for at, column in enumerate(columns):
        write = _WRITERS.get(column.kind, column.wire)
        known[f"w{at}"] = (
            write if column.null_branch is None or write == column.wire else _nullable(column, write)
        )
        pieces.append(f"w{at}(v{at})")
    names = "".join(f"v{at}, " for at in range(len(columns)))
    lines = ["def row(values):", f" {names}= values", f" return join(({', '.join(pieces)},))"]
    # Nothing of the text comes from outside the program.
    exec("\n".join(lines), known)  # noqa: S102 - see the module
    row: WriteRow = known["row"]
    return row


def _nullable(column: ColumnType, write: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    null, there = column.wire(None), b"\x00" if column.null_branch else b"\x02"
    return lambda value: null if value is None else there + write(value)


def _write_text(value: str) -> bytes:
    data = value.encode()
    return encode_varint(2 * len(data)) + data


def _write_integer(value: int) -> bytes:
    """Write a zigzag number: what is above its lowest 14 bits changes seldom, of times, and is remembered."""
    number = value << 1 ^ value >> 63
    if number < 0x4000:
        return encode_varint(number)
    return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80)) + encode_varint(number >> 14)


_WRITERS: dict[str, Callable[[Any], bytes]] = {
    "int": _write_integer,
    "long": _write_integer,
    "double": _DOUBLE,
    "string": _write_text,
}
