"""The shape of a row: an Avro object of a schema as a regular expression, and what each of its groups means.

Only schemas, and objects, of the simple form have one: a field is a number, a text, a boolean, an enum, a fixed, null,
an empty map or array, or a union of such. Whatever is not of that form has no shape, and is left to fastavro.

Source: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding and #schema-resolution, as fastavro does it.
"""

import re
from collections.abc import Collection
from functools import cache
from typing import Any, NamedTuple

# A text's length is one alternative each, so they are bounded: longer ones are left to fastavro.
MAX_TEXT_BYTES = 127
# "int and long values are written using variable-length zig-zag coding": in eight bytes, 56 bits.
_NUMBER = rb"[\x80-\xff]{0,7}[\x00-\x7f]"
# What a number is read as where the reader's type is another (the specification's promotions).
_PROMOTED = {"int": {"long", "float", "double"}, "long": {"float", "double"}, "float": {"double"}}
_INTEGERS, _FLOATS, _TEXTS = {"int", "long"}, {"float", "double"}, {"string", "bytes"}
_PRIMITIVES = {"null", "boolean"} | _INTEGERS | _FLOATS | _TEXTS


# Named tuples, not dataclasses: each of those is 0.5 ms of a cold start.
class Leaf(NamedTuple):
    """A type that is no union. ``kind`` is the writer's; of a text it is the reader's.

    ``pattern`` matches a value, of ``size_bytes``, None where that varies. ``as_float``: an integer that the reader's
    type makes a float. ``is_utf8``: fastavro refuses what is not. ``symbols``: those of an enum that the reader has.
    """

    kind: str
    pattern: bytes
    size_bytes: int | None
    as_float: bool = False
    is_utf8: bool = False
    symbols: tuple[tuple[int, str], ...] = ()


class Piece(NamedTuple):
    """One field of an object: of one type, ``leaf``, or a union of ``branches``, each with its number.

    ``is_known``: the reader has the field. Otherwise fastavro skips it, and does not look whether a text is UTF-8.
    """

    name: str
    is_known: bool
    is_needed: bool
    leaf: Leaf | None
    branches: tuple[tuple[int, Leaf], ...]

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The types that a value may have."""
        return (self.leaf,) if self.leaf else tuple(leaf for _, leaf in self.branches)

    @property
    def is_text(self) -> bool:
        """Whether fastavro looks whether it is UTF-8."""
        return self.is_known and any(each.is_utf8 for each in self.leaves)

    @property
    def pattern(self) -> bytes:
        """The expression that matches the values; it has no groups of its own that capture."""
        if self.leaf:
            return self.leaf.pattern
        return b"(?:" + b"|".join(_byte(2 * number) + leaf.pattern for number, leaf in self.branches) + b")"

    @property
    def size_bytes(self) -> int | None:
        """How many bytes it takes; None where that varies."""
        sizes = {each.size_bytes for each in self.leaves}
        size = sizes.pop()
        return None if sizes or size is None else size + (self.leaf is None)


class Shape(NamedTuple):
    """The pieces of an object in their order, and the defaults of needed fields that the writer has not."""

    prefix: bytes
    pieces: tuple[Piece, ...]
    defaults: dict[str, Any]


class _NotSimpleError(Exception):
    """A schema, or a branch of a union, that has no shape."""


def shape_of(prefix: bytes, writer: Any, reader: Any | None, needed: Collection[str]) -> Shape | None:
    """Return the shape of objects of *writer*, read as *reader* (None: as they are), both as parse_schema gives them.

    None where fastavro is to read them: the schemas are not of the simple form, or do not fit together. The reader's
    fields that are *needed* must have types that a column holds: numbers, texts, booleans, enums, null, unions of them.
    """
    try:
        return Shape(prefix, *_resolve_record(writer, reader or writer, reader is None, needed))
    except _NotSimpleError:
        return None


def _resolve_record(
    writer: Any,
    reader: Any,
    same: bool,  # noqa: FBT001 - one call
    needed: Collection[str],
) -> tuple[tuple[Piece, ...], dict[str, Any]]:
    if writer["name"] != reader["name"] or (not same and any("aliases" in each for each in reader["fields"])):
        raise _NotSimpleError
    wanted = {each["name"]: each for each in reader["fields"]}
    pieces = []
    for each in writer["fields"]:
        name = each["name"]
        field = wanted.pop(name, None)
        to = None if same or field is None else field["type"]
        is_needed = field is not None and name in needed
        leaf, branches = _resolve(each["type"], to, is_needed)
        pieces.append(Piece(name, field is not None, is_needed, leaf, branches))
    if not all("default" in each for each in wanted.values()):
        raise _NotSimpleError
    defaults = {name: each["default"] for name, each in wanted.items() if name in needed}
    if any(
        each and isinstance(each, dict | list) for each in defaults.values()
    ):  # a reader makes something of them
        raise _NotSimpleError
    return tuple(pieces), defaults


def _resolve(
    writer: Any,
    reader: Any | None,
    is_needed: bool,  # noqa: FBT001 - one call
) -> tuple[Leaf | None, tuple[tuple[int, Leaf], ...]]:
    if not isinstance(writer, list):
        return _leaf(writer, reader, is_needed), ()
    branches = []
    for number, each in enumerate(writer[:64]):  # a number of one byte
        try:
            leaf = _leaf(each, reader, is_needed)
        except _NotSimpleError:
            continue  # an object with this branch in it is left to fastavro
        if leaf.kind not in ("map", "array"):
            branches.append((number, leaf))
    if not branches:
        raise _NotSimpleError
    return None, tuple(branches)


def _leaf(writer: Any, reader: Any | None, is_needed: bool) -> Leaf:  # noqa: FBT001 - passed on
    """Return how a value of *writer* is read as *reader*, or as the first branch of it that fits."""
    leaf = _make_leaf(writer, writer if reader is None else _first_that_fits(writer, reader))
    if is_needed and leaf.kind in ("bytes", "fixed", "map", "array"):
        raise _NotSimpleError
    return leaf


def _first_that_fits(writer: Any, reader: Any) -> Any:
    for each in reader if isinstance(reader, list) else [reader]:
        if _fits(writer, each):
            return each
    raise _NotSimpleError


def _fits(writer: Any, reader: Any) -> bool:
    """Tell whether fastavro reads *writer* as *reader*. Raises: _NotSimpleError where that is not for sure."""
    from_kind, to_kind = _kind(writer), _kind(reader)
    if from_kind in _PRIMITIVES:
        if {from_kind, to_kind} <= _TEXTS:
            return True
        return from_kind == to_kind or to_kind in _PROMOTED.get(from_kind, ())
    if to_kind in _PRIMITIVES:
        return False
    same = from_kind == to_kind
    if same and from_kind == "enum" and writer["name"] == reader["name"]:
        return True
    if same and from_kind in ("fixed", "map", "array") and writer == reader:
        return True
    raise _NotSimpleError


def _kind(schema: Any) -> str:
    """Return the kind of a type; what is a record, or the name of a type defined elsewhere, is what it is."""
    if isinstance(schema, dict):
        return str(schema["type"])
    return str(schema)


def _make_leaf(writer: Any, reader: Any) -> Leaf:
    kind = _kind(writer)
    if kind in _INTEGERS:
        return Leaf(kind, _NUMBER, None, as_float=_kind(reader) in _FLOATS)
    if kind in _TEXTS:
        return Leaf(_kind(reader), _any_text(), None, is_utf8="string" in (kind, _kind(reader)))
    if kind == "enum":
        known = tuple(
            (number, symbol)
            for number, symbol in enumerate(writer["symbols"][:64])  # a number of one byte
            if symbol in reader["symbols"]
        )
        if not known:
            raise _NotSimpleError
        return Leaf(kind, b"[" + b"".join(_byte(2 * number) for number, _ in known) + b"]", 1, symbols=known)
    if kind in ("map", "array"):
        return Leaf(kind, _byte(0), 1)  # "A block with count zero indicates the end"
    sizes = {"null": 0, "boolean": 1, "float": 4, "double": 8}
    if kind == "fixed":
        sizes[kind] = writer["size"]
    if kind not in sizes:
        raise _NotSimpleError
    return Leaf(kind, b"(?:.{%d})" % sizes[kind], sizes[kind])


@cache
def _any_text() -> bytes:
    """Return the expression of a length and as many bytes, of up to MAX_TEXT_BYTES."""
    alternatives = []
    for size in range(MAX_TEXT_BYTES + 1):
        low, high = 2 * size & 0x7F, 2 * size >> 7
        length = _byte(low | 0x80) + _byte(high) if high else _byte(low)
        alternatives.append(length + b".{%d}" % size)
    return b"(?:" + b"|".join(alternatives) + b")"


def _byte(value: int) -> bytes:
    return re.escape(bytes((value,)))
