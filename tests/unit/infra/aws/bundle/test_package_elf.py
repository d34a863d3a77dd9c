"""What is taken from a compiled module is nothing that a loader reads."""

import struct
from importlib.metadata import distribution
from pathlib import Path

import pytest

from infra.aws.bundle.elf import loadable

MODULES = [
    Path(str(each.locate())) for each in distribution("fastavro").files or () if str(each).endswith(".so")
]


def segments(content: bytes) -> list[tuple[int, ...]]:
    """Return the program headers: type, flags, offset, addresses, sizes, alignment."""
    (offset,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    return [struct.unpack_from("<IIQQQQQQ", content, offset + number * size) for number in range(count)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name.partition(".")[0])
def test_each_segment_keeps_its_bytes_and_its_place(path: Path) -> None:
    before = path.read_bytes()
    after = loadable(before)
    assert segments(after) == segments(before)
    for segment in segments(before):
        offset, end = segment[2], segment[2] + segment[5]
        first = max(offset, 64)  # the header itself says that there are no sections
        assert after[first:end] == before[first:end]
        assert end <= len(after)
    assert len(after) < len(before) / 4
    assert after[:40] == before[:40]
    assert struct.unpack_from("<Q", after, 40) == (0,)  # e_shoff
    assert after[48:60] == before[48:60]
    assert after[60:64] == bytes(4)  # e_shnum, e_shstrndx
    assert loadable(after) == after


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"x = 1\n" + content[:100],
        lambda content: content[:40],
        lambda content: content[:5_000],  # cut off: segments reach behind its end
        lambda content: content[:4] + b"\x01" + content[5:],  # 32 bits
        lambda content: content[:16] + b"\x01\x00" + content[18:],  # for a linker: it has sections only
        lambda content: content[:56] + b"\x00\x00" + content[58:],  # no segments
        lambda content: content[:32] + b"\xff" * 8 + content[40:],  # a table far away
    ],
)
def test_what_is_not_a_whole_shared_object_is_left_as_it_is(change: object) -> None:
    assert callable(change)
    content = change(MODULES[0].read_bytes())
    assert loadable(content) == content
