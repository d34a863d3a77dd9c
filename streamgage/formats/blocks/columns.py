"""The columns of a block: the values of one field of an Avro record, event after event. Layout: docs/formats.md."""

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from streamgage.formats.avro import AvroSchema
from streamgage.formats.blocks.decimal_column import DecimalColumn
from streamgage.formats.blocks.floats import decode_floats, encode_floats
from streamgage.formats.blocks.ints import (
    decode_ints,
    decode_unsigned,
    encode_ints,
    encode_long,
    malformed,
)
from streamgage.formats.varint import encode_varint
from streamgage.limits import KINESIS_RECORD_BYTES, MIB

Kind = Literal["boolean", "int", "long", "float", "double", "string", "enum", "avro"]
MAX_EXPANDED_BYTES = 16 * MIB  # of all values of a column of entries, each counted where it stands
_PLAIN, _DICTIONARY = 0, 1
_TEXT_END = b"\xff"  # a byte that UTF-8 never has
_SCALARS: dict[str, Kind] = {
    "boolean": "boolean",
    "int": "int",
    "long": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "enum": "enum",
}
_FLOAT_CODES = {"float": "f", "double": "d"}

Values = list[Any] | DecimalColumn
"""A column, decoded. Doubles that are decimals come as a DecimalColumn: the n-th is ``values[n] / 10**places``.

With |values[n]| < 10**15 and at most 22 places that decimal is also the double's shortest one, its ``repr``. So
``scale_number`` of the double, at a scale of at least *places*, is ``values[n] * 10**(scale - places)``.
"""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What a column holds. ``null_branch`` is null's place in a union of null and one other type; else None.

    Kind ``avro``: any other type; each value in Avro's binary encoding. ``avro_type`` names no type that it does not
    itself write out.
    """

    name: str
    kind: Kind
    null_branch: int | None
    symbols: tuple[str, ...]
    avro_type: Any

    def encode(self, values: Sequence[Any]) -> bytes:
        """Return the column of *values*, which fit: enums and Avro values as texts and bytes, numbers in range."""
        if self.null_branch is None:
            return _encode_values(self, values)
        missing = values.count(None)
        if missing in (0, len(values)):  # a list of equal integers is its first one
            return encode_ints([not missing]) + (b"" if missing else _encode_values(self, values))
        present = [each is not None for each in values]
        some = [each for each in values if each is not None]
        return encode_ints(present) + _encode_values(self, some)

    def decode(self, data: bytes, count: int) -> Values:
        """Return the *count* values that ``encode`` wrote to *data*; a double column perhaps as decimals.

        Raises:
            PoisonRecord: ``undecodable``.
        """
        at, here = 0, count
        present: list[int] | None = None
        if self.null_branch is not None:
            present, at = decode_ints(data, 0, count)
            here = present.count(1)
            if here + present.count(0) != count:
                raise malformed(f"column {self.name} marks values as neither there nor not")
        values: Values = []
        if here:
            values, at = _decode_values(self, data, at, here)
        if at != len(data):
            raise malformed(f"column {self.name} has bytes left over")
        if present is None or here == count:
            return values
        if isinstance(values, DecimalColumn):
            return DecimalColumn(values.places, _spread(values.values, present))
        return _spread(values, present)

    def wire(self, value: Any) -> bytes:
        """Return *value*, as ``decode`` gives it (a decimal as its double), in Avro's binary encoding."""
        if self.null_branch is None:
            return _WIRE[self.kind](self, value)
        if value is None:
            return encode_long(self.null_branch)
        return encode_long(1 - self.null_branch) + _WIRE[self.kind](self, value)


def column_types(schema: AvroSchema) -> tuple[ColumnType, ...]:
    """Return the columns of a block of *schema*'s events: its fields in their order."""
    named: dict[str, Any] = {}
    _collect_named(schema.parsed, named)
    return tuple(_column_type(each["name"], each["type"], named) for each in schema.parsed["fields"])


def _column_type(name: str, avro_type: Any, named: dict[str, Any]) -> ColumnType:
    whole = standalone(avro_type, named, set())
    inner, null_branch = whole, None
    if isinstance(whole, list) and len(whole) == 2 and "null" in whole:
        null_branch = whole.index("null")
        inner = whole[1 - null_branch]
    type_name = inner["type"] if isinstance(inner, dict) else inner
    kind = _SCALARS.get(type_name, "avro") if isinstance(type_name, str) else "avro"
    symbols = tuple(inner["symbols"]) if kind == "enum" else ()
    return ColumnType(name, kind, null_branch, symbols, whole if null_branch is None else inner)


def _collect_named(avro_type: Any, named: dict[str, Any]) -> None:
    if isinstance(avro_type, list):
        for each in avro_type:
            _collect_named(each, named)
    elif isinstance(avro_type, dict):
        if "name" in avro_type:
            named[avro_type["name"]] = avro_type
        for each in avro_type.get("fields", ()):
            _collect_named(each["type"], named)
        for key in ("items", "values"):
            if key in avro_type:
                _collect_named(avro_type[key], named)


def standalone(avro_type: Any, named: dict[str, Any], seen: set[str]) -> Any:
    """Return *avro_type* with each type that it names, of *named*, written out where it is named first."""
    if isinstance(avro_type, list):
        return [standalone(each, named, seen) for each in avro_type]
    if isinstance(avro_type, str):
        if avro_type not in named or avro_type in seen:
            return avro_type
        avro_type = named[avro_type]
    if "name" in avro_type:
        if avro_type["name"] in seen:
            return avro_type["name"]
        seen.add(avro_type["name"])
    whole = dict(avro_type)
    for key in ("items", "values"):
        if key in whole:
            whole[key] = standalone(whole[key], named, seen)
    if "fields" in whole:
        whole["fields"] = [
            {**each, "type": standalone(each["type"], named, seen)} for each in whole["fields"]
        ]
    return whole


def _encode_values(column: ColumnType, values: Sequence[Any]) -> bytes:
    kind = column.kind
    if kind == "string":
        return _encode_entries(values, _encode_texts)
    if kind == "avro":
        return _encode_entries(values, _encode_blobs)
    if kind in _FLOAT_CODES:
        return encode_floats(array(_FLOAT_CODES[kind], values))
    if kind == "enum":
        return encode_ints(list(map(column.symbols.index, values)))
    return encode_ints(values)


def _decode_values(column: ColumnType, data: bytes, at: int, count: int) -> tuple[Values, int]:
    kind = column.kind
    if kind == "string":
        return _decode_entries(data, at, count, _decode_texts)
    if kind == "avro":
        return _decode_entries(data, at, count, _decode_blobs)
    if kind in _FLOAT_CODES:
        return decode_floats(data, at, count, _FLOAT_CODES[kind])
    values, at = decode_ints(data, at, count)
    if kind == "boolean":
        return _chosen((False, True), values), at
    if kind == "enum":
        return _chosen(column.symbols, values), at
    return values, at


def _chosen(entries: Sequence[Any], indexes: list[int]) -> list[Any]:
    """Return the entry of each index."""
    if min(indexes) < 0:
        raise malformed("an index is negative")
    try:
        return list(map(entries.__getitem__, indexes))
    except IndexError:
        raise malformed(f"an index is beyond the {len(entries)} entries") from None


def _spread(values: Iterable[Any], present: list[int]) -> list[Any]:
    following = iter(values).__next__
    return [following() if each else None for each in present]


# Texts and Avro values: all of them, or each different one once and indexes.


def _encode_entries(values: Sequence[Any], encode: Callable[[list[Any]], bytes]) -> bytes:
    entries = list(dict.fromkeys(values))
    if len(entries) == len(values):
        return bytes((_PLAIN,)) + encode(entries)
    number = dict(zip(entries, range(len(entries)), strict=True))
    indexes = encode_ints(list(map(number.__getitem__, values)), (0, len(entries) - 1))
    return bytes((_DICTIONARY,)) + encode_varint(len(entries)) + encode(entries) + indexes


def _decode_entries(
    data: bytes, at: int, count: int, decode: Callable[[bytes, int, int], tuple[list[Any], int]]
) -> tuple[list[Any], int]:
    form = data[at] if at < len(data) else None
    if form == _PLAIN:
        return decode(data, at + 1, count)
    if form != _DICTIONARY:
        raise malformed(f"no column of texts has the form {form}")
    number, at = decode_unsigned(data, at + 1)
    if not 0 < number <= count:
        raise malformed(f"a dictionary of {number} for {count} values")
    entries, at = decode(data, at, number)
    indexes, at = decode_ints(data, at, count)
    values = _chosen(entries, indexes)
    # Each value must be no larger than a row can carry, and all of them than a block may be, however small the block.
    longest = max(map(len, entries))
    if longest * count > MAX_EXPANDED_BYTES and sum(map(len, values)) > MAX_EXPANDED_BYTES:
        raise malformed(f"a column of more than {MAX_EXPANDED_BYTES:,} bytes, once expanded")
    return values, at


def _encode_texts(texts: list[str]) -> bytes:
    data = _TEXT_END.join(map(str.encode, texts))
    return encode_varint(len(data)) + data


def _decode_texts(data: bytes, at: int, count: int) -> tuple[list[str], int]:
    size, at = decode_unsigned(data, at)
    stop = at + size
    if stop > len(data) or data.count(_TEXT_END, at, stop) != count - 1:
        raise malformed(f"not {count} texts in {size} bytes")
    parts = data[at:stop].split(_TEXT_END)
    _check_longest(map(len, parts))
    try:
        return list(map(bytes.decode, parts)), stop
    except UnicodeDecodeError as error:
        raise malformed(f"a text is not UTF-8: {error.reason}") from error


def _encode_blobs(blobs: list[bytes]) -> bytes:
    return encode_ints(list(map(len, blobs))) + b"".join(blobs)


def _decode_blobs(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    sizes, at = decode_ints(data, at, count)
    if min(sizes) < 0 or at + sum(sizes) > len(data):
        raise malformed(f"not {count} Avro values")
    _check_longest(sizes)
    blobs = []
    for size in sizes:
        blobs.append(data[at : at + size])
        at += size
    return blobs, at


def _check_longest(sizes: Iterable[int]) -> None:
    longest = max(sizes)
    if longest > KINESIS_RECORD_BYTES:
        raise malformed(f"a value of {longest:,} bytes, more than a Kinesis record has")


# Rows.

_PACK: dict[str, Callable[..., bytes]] = {
    "float": struct.Struct("<f").pack,
    "double": struct.Struct("<d").pack,
}


def _wire_text(_column: ColumnType, value: str) -> bytes:
    data = value.encode()
    return encode_long(len(data)) + data


_WIRE: dict[Kind, Callable[[ColumnType, Any], bytes]] = {
    "boolean": lambda _, value: b"\x01" if value else b"\x00",
    "int": lambda _, value: encode_long(value),
    "long": lambda _, value: encode_long(value),
    "float": lambda _, value: _PACK["float"](value),
    "double": lambda _, value: _PACK["double"](value),
    "string": _wire_text,
    "enum": lambda column, value: encode_long(column.symbols.index(value)),
    "avro": lambda _, value: value,
}
