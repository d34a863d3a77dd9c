"""What stands in the quarantine says what, where and why, and comes back whole."""

import json
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.quarantine.bulk import decode_bulk, encode_bulk
from processors.quarantine.message import (
    MESSAGE_BYTES,
    BulkRef,
    decode_message,
    decode_poison,
    encode_poison,
    encode_reference,
)
from streamgage.errors import POISON_CODES, PoisonRecord
from streamgage.reading.poison import Poison, Refused, counted, refusals
from support.strategies import refused_of

SIZES = [0, 1, 144 * 1024, 144 * 1024 + 1, 1024 * 1024, 10 * 1024 * 1024]
LATE = (Refused(0, 2, "late", "bad"), Refused(5, 5, "late", "bad"))


def poison(data: bytes = b"junk", *, number: int = 10**55, sub: int | None = 3, key: str = "k") -> Poison:
    return Poison("shardId-0", number, sub, key, 1_700_000_000_000, data, 7, LATE)


def test_a_message_says_what_where_and_why() -> None:
    assert json.loads(encode_poison(poison(b"\x00\xff"), deflate=True)) == {
        "id": f"shardId-0:{10**55}:3",
        "shard_id": "shardId-0",
        "sequence_number": str(10**55),
        "sub_sequence_number": 3,
        "partition_key": "k",
        "arrival_ms": 1_700_000_000_000,
        "events": 7,
        "codes": {"late": 4},
        "reasons": {"late": "bad"},
        "refused": [[0, 2, "late"], [5, 5, "late"]],
        "data": "AP8=",
    }
    assert poison(sub=None).id == f"shardId-0:{10**55}"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("random", [False, True], ids=["compressible", "random"])
def test_a_payload_of_any_size_comes_back(size: int, deflate: bool, random: bool) -> None:  # noqa: FBT001 - parameters
    sent = poison(Random(size).randbytes(size) if random else b"a" * size)
    message = encode_poison(sent, deflate=deflate)
    assert decode_poison(message) == sent
    if deflate:
        assert (len(message) > MESSAGE_BYTES) == (random and size > 1024 * 1024 // 4)


def test_nothing_that_a_sender_makes_up_outgrows_a_message() -> None:
    refused = (Refused(0, 0, "bad_key", "🌊" * 300_000),)
    hostile = Poison("s", 7, 3, "🌊" * 300_000, 1, Random(1).randbytes(144 * 1024), 1, refused)
    message = encode_poison(hostile, deflate=True)
    assert len(message.encode()) <= MESSAGE_BYTES
    read = decode_poison(message)
    assert (read.partition_key, read.data) == ("🌊" * 256, hostile.data)
    assert read.refused[0].reason == "🌊" * 1_000


POISON = st.builds(
    Poison,
    st.just("shardId-000000000000"),
    st.integers(0, 2**186),
    st.none() | st.integers(0, 10**7),
    st.text(max_size=256),
    st.integers(0, 2**43),
    st.binary(max_size=300),
    st.just(40),
    refused_of(40),
)


@settings(deadline=None)
@given(st.lists(POISON, min_size=1, max_size=5))
def test_what_is_written_is_what_is_read_by_itself_and_in_an_object(sent: list[Poison]) -> None:
    for each in sent:
        for deflate in (False, True):
            message = encode_poison(each, deflate=deflate)
            assert decode_poison(message) == each
            assert decode_message(message) == each
    bulk = encode_bulk(sent)
    assert list(decode_bulk(bulk.body)) == sent
    reference = BulkRef("bucket", bulk.key, len(sent), counted(sent))
    assert decode_message(encode_reference("bucket", bulk.key, sent)) == reference


@given(st.lists(st.sampled_from([None, None, "late", "future", "bad_key"]), max_size=30))
def test_ranges_hold_exactly_the_events_that_were_refused_and_no_two_of_them_could_be_one(
    verdicts: list[str | None],
) -> None:
    refused = [
        (offset, PoisonRecord(code, f"{offset}"))  # type: ignore[arg-type] # drawn
        for offset, code in enumerate(verdicts)
        if code
    ]
    ranges = refusals(refused)
    held = {offset: each.code for each in ranges for offset in range(each.first, each.last + 1)}
    assert held == {offset: code for offset, code in enumerate(verdicts) if code}
    assert sum(each.events for each in ranges) == len(held)
    assert not [(a, b) for a, b in pairwise(ranges) if a.last + 1 == b.first and a.code == b.code]


def test_the_name_of_an_object_is_the_same_on_each_delivery_and_another_of_anything_else() -> None:
    batch = [poison(b"a", number=10**55), poison(b"b", number=10**55 + 9)]
    key = encode_bulk(batch).key
    assert key.startswith(f"quarantine/2023-11-14/shardId-0/{10**55}-{10**55 + 9}-")
    assert key.endswith(".ndjson.gz")
    assert encode_bulk(list(batch)) == encode_bulk(batch)
    others = [
        batch[:1],
        batch[1:],
        [batch[0], poison(b"c", number=10**55 + 9)],
        [batch[0], batch[0], batch[1]],
    ]
    assert len({key, *(encode_bulk(each).key for each in others)}) == 1 + len(others)


def test_an_object_is_written_in_the_size_of_what_it_compresses_to() -> None:
    block = poison(b"x" * 1_000)
    bulk = encode_bulk([block] * 10_000)
    assert len(bulk.body) < 200_000
    assert sum(1 for _ in decode_bulk(bulk.body)) == 10_000


def test_every_code_comes_back() -> None:
    for code in POISON_CODES:
        one = Poison("s", 7, None, "k", 1, b"", 1, (Refused(0, 0, code, "why"),))  # type: ignore[arg-type] # of the list
        assert decode_poison(encode_poison(one, deflate=False)) == one


def test_a_reason_is_said_once_a_code() -> None:
    late = [(offset, PoisonRecord("late", f"{offset} ms")) for offset in (3, 4, 9)]
    assert refusals(late) == (Refused(3, 4, "late", "3 ms"), Refused(9, 9, "late", "3 ms"))
