"""Where bytes are written around json, they are what json would have written."""

import binascii
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.kinesis import wire
from infra.local.kinesis.fields import Instant
from infra.local.mapping.payload import ENVELOPE_BYTES, encode_payload, record_bytes
from streamgage.formats.kinesis_event import decode_event, encode_event
from streamgage.records import StreamRecord

ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/telemetry"
HOSTILE = st.sampled_from(
    ['"data":""', '\\"data":""', '"Data":null', "\\", "", '","Data":null,"', '"data":"x"']
)
KEYS = HOSTILE | st.text(max_size=20)
RECORDS = st.lists(
    st.builds(
        StreamRecord,
        shard_id=st.just("shardId-000000000000"),
        sequence_number=st.integers(0, 10**56),
        partition_key=KEYS,
        data=st.binary(max_size=40),
        arrival_ms=st.integers(0, 2**42),
    ),
    max_size=5,
)  # fmt: skip


@settings(deadline=None)
@given(records=RECORDS)
def test_a_payload_is_the_json_of_its_event(records: list[StreamRecord]) -> None:
    payload = encode_payload(records, stream_arn=ARN)
    assert payload == json.dumps(encode_event(records, stream_arn=ARN), separators=(",", ":")).encode()
    assert decode_event(json.loads(payload)) == records
    foretold = (
        ENVELOPE_BYTES + sum(record_bytes(each, stream_arn=ARN) + 1 for each in records) - bool(records)
    )
    assert len(payload) == foretold


ANSWER_RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "SequenceNumber": st.text("0123456789", min_size=1),
            "ApproximateArrivalTimestamp": st.builds(Instant, st.integers(0, 2**42)),
            "Data": st.binary(max_size=40),
            "PartitionKey": KEYS,
        }
    ),
    max_size=5,
)


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return binascii.b2a_base64(value, newline=False).decode()
    return value.ms / 1000


@settings(deadline=None)
@given(records=ANSWER_RECORDS, token=KEYS)
def test_an_answer_is_the_json_of_its_values(records: list[dict[str, Any]], token: str) -> None:
    answer = {"Records": records, "NextShardIterator": token, "MillisBehindLatest": 0}
    assert wire.encode(wire.JSON, answer) == json.dumps(answer, default=plain, separators=(",", ":")).encode()
