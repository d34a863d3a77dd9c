"""Protobuf's wire format, read field by field, as far as OTLP and Sparkplug need it.

Source: https://protobuf.dev/programming-guides/encoding/ (checked 2026-11-29).
"""

from collections.abc import Iterator
from struct import Struct

from streamgage.formats.agents.items import undecodable
from streamgage.formats.varint import decode_varint

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
read_double = Struct("<d").unpack_from
read_fixed64 = Struct("<Q").unpack_from
read_sfixed64 = Struct("<q").unpack_from
_SIZES = {FIXED64: 8, FIXED32: 4}


def wire_fields(
    data: bytes, at: int, stop: int, known: dict[int, int], what: str = "OTLP metrics"
) -> Iterator[tuple[int, int, int]]:
    """Yield (number, begin, end) of each field of the message that stands from *at* to *stop*, unknown ones too.

    Of a varint begin is its value. *known* holds the wire type of each field that the caller reads, *what* is what it expects.

    Raises:
        PoisonRecord: it is no message, or a known field has another wire type: it is a message of something else.
    """
    while at < stop:
        tag = data[at]
        at += 1
        if tag > 0x7F:
            tag, at = _varint(data, at - 1, stop)
        number, wire_type = tag >> 3, tag & 7
        if known.get(number, wire_type) != wire_type or not 0 < number < 2**29:
            raise undecodable(f"at byte {at}: field {number} has wire type {wire_type}: these are no {what}")
        if wire_type == BYTES:
            if at < stop and data[at] < 0x80:
                size, begin = data[at], at + 1
            else:
                size, begin = _varint(data, at, stop)
            at = begin + size
        elif wire_type == VARINT:
            begin, at = _varint(data, at, stop)
        elif wire_type in _SIZES:
            begin, at = at, at + _SIZES[wire_type]
        else:
            raise undecodable(f"at byte {at}: field {number} has wire type {wire_type}, not 0, 1, 2 or 5")
        if at > stop:
            raise undecodable(f"at byte {at}: field {number} goes on behind its end at byte {stop}")
        yield number, begin, at


def wire_text(data: bytes, begin: int, end: int) -> str:
    """Return the text in some bytes. Raises: PoisonRecord, they are not UTF-8."""
    try:
        return data[begin:end].decode()
    except UnicodeDecodeError as error:
        raise undecodable(f"at byte {begin + error.start}: not UTF-8: {error.reason}") from error


def packed_varints(data: bytes, begin: int, end: int) -> list[int]:
    """Return the numbers of a packed field. Raises: PoisonRecord, one of them is none."""
    whole = data[begin:end]
    if whole.isascii():  # each in a byte: what most counts are
        return list(whole)
    numbers, at = [], begin
    while at < end:
        number, at = _varint(data, at, end)
        numbers.append(number)
    return numbers


def _varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    try:
        return decode_varint(data, at, stop)
    except ValueError as error:
        raise undecodable(f"at byte {at}: {error}") from error
