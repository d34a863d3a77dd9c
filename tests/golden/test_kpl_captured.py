"""Kinesis records that the real KPL wrote, captured by tests/interop/capture_kpl.py; no Java is needed to read them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import UserRecord

AGGREGATED = ("three", "one_key", "explicit_hash_keys", "many")


@dataclass(frozen=True, slots=True)
class Captured:
    """One Kinesis record as the KPL wrote it, and what went into it."""

    partition_key: str
    data: bytes
    user_records: list[UserRecord]


def captured(name: str) -> Captured:
    content = json.loads((Path(__file__).parent / f"kpl_{name}.json").read_text(encoding="utf-8"))
    user_records = [
        UserRecord(key, bytes.fromhex(data), number) for key, data, number in content["user_records"]
    ]
    return Captured(content["partition_key"], bytes.fromhex(content["data"]), user_records)


@pytest.mark.parametrize("name", AGGREGATED)
def test_what_the_kpl_wrote_decodes_to_what_it_was_given_in_its_order(name: str) -> None:
    record = captured(name)
    assert is_aggregated(record.data)
    assert list(decode_aggregate(record.data).user_records()) == record.user_records


@pytest.mark.parametrize("name", AGGREGATED)
def test_our_encoder_writes_the_bytes_that_the_kpl_wrote(name: str) -> None:
    record = captured(name)
    builder = AggregateBuilder()
    for user_record in record.user_records:
        builder.add(user_record)
    assert builder.size_bytes == len(record.data)
    assert builder.build() == record.data


def test_the_kpl_writes_a_user_record_without_company_as_it_is() -> None:
    record = captured("one")
    assert not is_aggregated(record.data)
    assert [UserRecord(record.partition_key, record.data)] == [
        UserRecord(each.partition_key, each.data) for each in record.user_records
    ]


@pytest.mark.parametrize("name", AGGREGATED)
def test_the_kpl_names_aggregated_records_a_whatever_they_hold(name: str) -> None:
    """So with ParallelizationFactor above 1 all of a shard's aggregated records share one lane."""
    assert captured(name).partition_key == "a"
