import hashlib

import pytest

from streamgage.errors import RetryableError
from streamgage.shards import Shard, ShardMap, decode_shard, hash_key_of


def test_a_hash_key_is_the_md5_of_the_utf8_as_a_big_endian_number() -> None:
    # RFC 1321: MD5 ("a") = 0cc175b9c0f1b6a831c399e269772661
    assert hash_key_of("a") == 0x0CC175B9C0F1B6A831C399E269772661
    assert hash_key_of("é") == int.from_bytes(hashlib.md5(b"\xc3\xa9", usedforsecurity=False).digest(), "big")


def test_each_hash_key_goes_to_the_open_shard_whose_range_has_it() -> None:
    shards = ShardMap(
        [
            Shard("right", 2**127, 2**128 - 1),
            Shard("parent", 0, 2**127 - 1, is_open=False),
            Shard("low", 0, 99, ("parent",)),
            Shard("high", 100, 2**127 - 1, ("parent",)),
        ]
    )
    expected = {0: "low", 99: "low", 100: "high", 2**127 - 1: "high", 2**127: "right", 2**128 - 1: "right"}
    assert {hash_key: shards.shard_for(hash_key) for hash_key in expected} == expected
    assert shards.shard_ids == {"low", "high", "right"}


def test_a_gap_in_the_list_still_gives_a_shard() -> None:
    shards = ShardMap([Shard("b", 100, 199), Shard("c", 300, 399)])
    assert [shards.shard_for(key) for key in (0, 250, 500)] == ["b", "b", "c"]


def test_a_stream_without_an_open_shard_is_to_be_listed_again() -> None:
    with pytest.raises(RetryableError, match="no open shard"):
        ShardMap([Shard("closed", 0, 2**128 - 1, is_open=False)])


def test_shards_are_read_from_the_answer_of_list_shards() -> None:
    merged = {
        "ShardId": "shardId-000000000004",
        "ParentShardId": "shardId-000000000001",
        "AdjacentParentShardId": "shardId-000000000002",
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)},
        "SequenceNumberRange": {"StartingSequenceNumber": "4968"},
    }
    parents = ("shardId-000000000001", "shardId-000000000002")
    assert decode_shard(merged) == Shard("shardId-000000000004", 0, 2**128 - 1, parents)
    merged["SequenceNumberRange"] = {"StartingSequenceNumber": "4968", "EndingSequenceNumber": "4969"}
    assert not decode_shard(merged).is_open
