"""Numbers in groups of seven bits, lowest first, the last below 0x80: as protobuf, Avro and our blocks write them.

What runs per row reads the one or two bytes it knows of in its own loop (``reading.rows``): a call there costs more than
the number.

Source: https://protobuf.dev/programming-guides/encoding/#varints (checked 2026-11-28).
"""

from functools import lru_cache

MAX_VARINT_BYTES = 10  # of 64 bits


@lru_cache(maxsize=4096)  # lengths and indexes, again and again
def encode_varint(number: int) -> bytes:
    """Return *number*, which is not negative."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def varint_bytes(number: int) -> int:
    """Return how many bytes ``encode_varint`` makes of *number*."""
    return 1 if number < 0x80 else (number.bit_length() + 6) // 7


def decode_varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """Return the number at *at*, 0 to 2**64 - 1, and where it ends: at *stop* or before.

    Raises:
        ValueError: there is none; the text says why, and each format what that makes of its record.
    """
    number = shift = 0
    while at < stop:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if number >> 64:
                raise ValueError(f"a varint of {number.bit_length()} bits, above 64")
            return number, at
        shift += 7
        if shift == 7 * MAX_VARINT_BYTES:
            raise ValueError(f"a varint of more than {MAX_VARINT_BYTES} bytes")
    raise ValueError(f"a varint that goes on behind its end at byte {stop}")
