"""What exporters compress is inflated within bounds."""

import gzip
import zlib

import pytest

from streamgage.errors import PoisonRecord
from streamgage.formats.agents.inflate import MAX_INFLATED_BYTES, inflated, is_compressed

TEXT = b"weather,host=a f=1\n" * 100


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT),
        zlib.compress(TEXT, 1),
        zlib.compress(TEXT),
        zlib.compress(TEXT, 9),
        gzip.compress(TEXT[:70]) + gzip.compress(TEXT[70:]),
        gzip.compress(TEXT) + gzip.compress(b"") * 99,
    ],
)
def test_gzip_and_zlib_are_undone(data: bytes) -> None:
    assert is_compressed(data)
    assert inflated(data) == TEXT


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (gzip.compress(TEXT)[:-1], "missing"),
        (gzip.compress(TEXT)[:-5] + b"12345", "gzip or zlib"),
        (gzip.compress(TEXT) + b"rest", "gzip or zlib"),
        (b"\x28\xb5\x2f\xfd rest", "zstd"),
        (gzip.compress(bytes(MAX_INFLATED_BYTES + 1)), "inflated"),
        (gzip.compress(bytes(MAX_INFLATED_BYTES // 2 + 1)) * 2, "inflated"),
        (gzip.compress(b"") * 50_000, "more than 100 gzip members"),
    ],
)
def test_what_is_broken_or_too_large_is_poison_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(PoisonRecord, match=why):
        inflated(data)


def test_no_text_and_none_of_our_formats_is_taken_for_compressed() -> None:
    assert not any(
        map(is_compressed, (b"x^", b"x,a=b f=1", b"\xc3\x01", b"\xf3\x89\x9a\xc2", b"\x0a", b"{", b""))
    )
