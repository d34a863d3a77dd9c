"""Whatever a producer accepts is a Kinesis record within the limits, to the byte; and what it refuses could not be one."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_files import load_pipeline
from producers.client.batcher import Batcher, BatcherConfig
from producers.client.encoder import encoder_of
from producers.client.entry import UnsendableRecord
from producers.client.identity import Identity
from streamgage.definition.pipeline import Source
from streamgage.formats.avro import AvroSchema, Event
from streamgage.formats.kpl import MAGIC, decode_aggregate, is_aggregated
from streamgage.limits import KINESIS_RECORD_BYTES
from streamgage.records import SealedRecord, UserRecord
from streamgage.shards import Shard, ShardMap
from support.paths import ROOT

SHARDS = ShardMap([Shard("all", 0, 2**128 - 1)])
SCHEMA = AvroSchema.parse(
    json.dumps(
        {
            "type": "record",
            "name": "Sample",
            "fields": [
                {"name": "device_id", "type": "string"},
                {"name": "ts", "type": "long"},
                {"name": "value", "type": "double"},
                {"name": "payload", "type": "bytes"},
            ],
        }
    )
)
ROWS = replace(load_pipeline(ROOT / "pipeline.toml").sources["reading"], schema=SCHEMA)
BLOCKS = replace(ROWS, blocks=True)
AROUND = st.integers(-40, 40) | st.integers(-2_500, 400)
KEYS = st.sampled_from(["k", "k" * 256, "é" * 256, "\U0001f600" * 200])
NOISE = bytes(random.Random(1).randbytes(KINESIS_RECORD_BYTES))
ISSUE = NOISE[:1_048_500]  # "an incompressible block event of 1,048,500 bytes"


def batcher(*, marked: bool, one_key: bool = False, aggregate_bytes: int = 50_000) -> Batcher:
    config = BatcherConfig(aggregate_bytes=aggregate_bytes, one_key_per_record=one_key, block_bytes=1_000_000)
    return Batcher(SHARDS, config, tags_for=Identity(random.Random(1)).tags_for if marked else None)


def check(gathered: Batcher) -> int:
    """Check every entry against the limit; return the largest."""
    sizes = []
    for entry in gathered.take_all():
        assert entry.size_bytes == len(entry.data) + len(entry.partition_key.encode())
        assert entry.size_bytes <= KINESIS_RECORD_BYTES
        if is_aggregated(entry.data):
            assert decode_aggregate(entry.data).datas
        sizes.append(entry.size_bytes)
    return max(sizes, default=0)


@given(
    off_by=AROUND,
    key=KEYS,
    marked=st.booleans(),
    magic=st.booleans(),
    aggregate_bytes=st.sampled_from([50_000, KINESIS_RECORD_BYTES]),
)
@settings(deadline=None, max_examples=80)
def test_user_records_plain_and_aggregated(
    *, off_by: int, key: str, marked: bool, magic: bool, aggregate_bytes: int
) -> None:
    data = NOISE[: KINESIS_RECORD_BYTES - len(key.encode()) + off_by]
    if magic:
        data = MAGIC + data[4:]
    gathered = batcher(marked=marked, aggregate_bytes=aggregate_bytes)
    gathered.put(UserRecord("other", b"small"), 0)
    record = UserRecord(key, data)
    try:
        gathered.put(record, 0)
    except UnsendableRecord:
        assert off_by > (-2_500 if marked or magic else 0)
        gathered.put(UserRecord("other", b"small"), 0)
    else:
        assert off_by <= 0
    gathered.put(UserRecord(key, b"small"), 0)
    check(gathered)


@given(key=KEYS, marked=st.booleans())
@settings(deadline=None, max_examples=20)
def test_the_largest_user_record_that_is_taken_fills_its_kinesis_record_to_the_byte(
    *, key: str, marked: bool
) -> None:
    def largest(low: int, high: int) -> int:
        while low < high:
            middle = (low + high + 1) // 2
            try:
                batcher(marked=marked).put(UserRecord(key, NOISE[:middle]), 0)
                low = middle
            except UnsendableRecord:
                high = middle - 1
        return low

    gathered = batcher(marked=marked)
    gathered.put(UserRecord(key, NOISE[: largest(1_000_000, KINESIS_RECORD_BYTES)]), 0)
    assert check(gathered) == KINESIS_RECORD_BYTES


def event(payload: bytes, key: str) -> Event:
    return {"device_id": key, "ts": 1, "value": 1.5, "payload": payload}


@given(
    payload_bytes=st.integers(KINESIS_RECORD_BYTES - 3_000, KINESIS_RECORD_BYTES + 100),
    key=st.sampled_from(["d", "d" * 256, "é" * 256]),
    marked=st.booleans(),
    source=st.sampled_from([ROWS, BLOCKS]),
    one_key=st.booleans(),
    zeros=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_events_in_rows_and_in_blocks(
    *, payload_bytes: int, key: str, marked: bool, source: Source, one_key: bool, zeros: bool
) -> None:
    payload = bytes(payload_bytes) if zeros else NOISE[:payload_bytes]
    gathered = batcher(marked=marked, one_key=one_key)
    put_one(gathered, source, event(b"before", key))
    taken = put_one(gathered, source, event(payload, key))
    put_one(gathered, source, event(b"after", key))
    largest = check(gathered)
    if taken and not zeros:
        assert largest >= payload_bytes
    if zeros and source.blocks and payload_bytes < KINESIS_RECORD_BYTES - 600:
        assert taken  # it deflates to nothing: too large it is not


def put_one(gathered: Batcher, source: Source, each: Event) -> bool:
    try:
        if source.blocks:
            gathered.put_event(source, each, 0)
        else:
            gathered.put(encoder_of(source).user_record(each), 0)
    except ValueError:
        return False
    return True


def test_the_issues_event_is_refused_in_a_block_and_leaves_what_was_there() -> None:
    gathered = batcher(marked=True)
    gathered.put_event(BLOCKS, event(b"before", "d"), 0)
    before = gathered.buffered_bytes
    with pytest.raises(UnsendableRecord, match=r"makes a Kinesis record of .* the limit is 1048576"):
        gathered.put_event(BLOCKS, event(ISSUE, "d"), 0)
    assert gathered.buffered_bytes == before
    (entry,) = gathered.take_all()
    assert entry.events == 1


def test_what_is_refused_leaves_no_gap_in_the_marks() -> None:
    """Each gap is a range that the consumer has to remember, and it remembers 32."""
    gathered = batcher(marked=True)
    for number in range(40):
        with pytest.raises(UnsendableRecord):
            gathered.put(UserRecord("k", NOISE), 0)
        with pytest.raises(UnsendableRecord):
            gathered.put_event(BLOCKS, event(ISSUE, "d"), 0)
        gathered.put(UserRecord("k", b"%d" % number), 0)
        gathered.put_event(BLOCKS, event(b"m", "d"), 0)
        gathered.take_all()
    gathered.put(UserRecord("k", b"x"), 0)
    (entry,) = gathered.take_all()
    assert decode_aggregate(entry.data).tags["sg"].endswith(":81")


def test_a_sealed_record_that_is_too_large_is_refused() -> None:
    with pytest.raises(UnsendableRecord):
        batcher(marked=True).sealed(SealedRecord("k", NOISE), 0)
    with pytest.raises(UnsendableRecord, match="damaged"):
        batcher(marked=True).sealed(SealedRecord("k", MAGIC + b"\x00" * 40), 0)
