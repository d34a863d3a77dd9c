"""The body of an item, spelled out in docs/formats.md: the text there is what is checked here."""

import re
import zlib

from streamgage.fold.chunk import Chunk, decode_chunk, encode_chunk
from streamgage.measures.layout import EventColumns, StateLayout, plan_of
from support.paths import ROOT
from support.read_body import read_body

LAYOUT = StateLayout.parse("value@2:n,sum,sumsq,min,max,first,last")
START_MS = 1_767_225_600_000
KEYS = ["d1|t", "d2|t", "é|t"]
STATES = {
    "d1|t": [3, 3, 6475, 13_975_625, 2150, 2175, (START_MS + 1_000, 2150), (START_MS + 61_000, 2150)],
    "d2|t": [1, 1, -25, 625, -25, -25, (START_MS + 2_000, -25), (START_MS + 2_000, -25)],
    "é|t": [1, 0, 0, 0, None, None, None, None],
}


def spelled_out() -> tuple[bytes, bytes]:
    """Return the head and the payload of the document's example: the hexadecimal digits that each line begins with."""
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    example = text.partition("<!-- body example -->\n```\n")[2].partition("```")[0]
    lines = [
        bytes.fromhex(
            "".join(re.findall(r"[0-9a-f]+", re.split(r"  +(?![0-9a-f]{2}[ \n0-9a-f])|$", line)[0]))
        )
        for line in example.splitlines()
    ]
    return lines[0], b"".join(lines[1:])


def chunk() -> Chunk:
    values = [2150, 2175, 2150, -25, None]
    times = [START_MS + each for each in (1_000, 3_000, 61_000, 2_000, 2_500)]
    table = plan_of(LAYOUT).fold(EventColumns((values,), (True,), times), [[0, 1, 2], [3], [4]])
    return Chunk(0, table, KEYS)


def test_the_code_writes_the_bytes_of_the_document() -> None:
    head, payload = spelled_out()

    body = encode_chunk(chunk(), LAYOUT, start_ms=START_MS)

    assert body[: len(head)] == head
    assert zlib.decompress(body[len(head) :], wbits=-15) == payload


def test_the_bytes_of_the_document_are_read_as_it_says() -> None:
    head, payload = spelled_out()
    plain = head[:1] + b"\x00" + head[2:] + payload  # a writer may leave it as it is

    assert read_body(plain, LAYOUT.text, START_MS).states == STATES
    assert decode_chunk(plain, LAYOUT, start_ms=START_MS) == chunk()
