"""Varints, as protobuf, Avro and our blocks share them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgage.formats.varint import decode_varint, encode_varint, varint_bytes


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_a_number_comes_back_whatever_stands_behind_it(number: int, behind: bytes) -> None:
    encoded = encode_varint(number)
    assert len(encoded) == varint_bytes(number)
    assert decode_varint(b"x" + encoded + behind, 1, 1 + len(encoded) + len(behind)) == (
        number,
        1 + len(encoded),
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "goes on behind its end at byte 0"),
        (b"\x80", "goes on behind its end at byte 1"),
        (b"\xff" * 9 + b"\x02", "65 bits, above 64"),
        (b"\x80" * 10 + b"\x01", "more than 10 bytes"),
    ],
)
def test_what_is_no_number_of_64_bits_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_varint(data, 0, len(data))


def test_a_number_does_not_reach_behind_its_end() -> None:
    with pytest.raises(ValueError, match="at byte 1"):
        decode_varint(b"\x80\x01", 0, 1)
