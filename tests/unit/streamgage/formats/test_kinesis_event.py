import json
from typing import Any

import pytest

from streamgage.formats.kinesis_event import decode_event, encode_event, encode_response
from streamgage.records import StreamRecord
from support.fakes import STREAM_ARN
from support.strategies import REAL_SEQUENCE

# The example of https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html, its second record as well.
RECORDED = """{"Records": [
 {"kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "1",
   "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
   "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==", "approximateArrivalTimestamp": 1545084650.987},
  "eventSource": "aws:kinesis", "eventVersion": "1.0",
  "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989136588898",
  "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
  "awsRegion": "us-east-2", "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"},
 {"kinesis": {"kinesisSchemaVersion": "1.0", "partitionKey": "1",
   "sequenceNumber": "49590338271490256608559692540925702759324208523137515618",
   "data": "VGhpcyBpcyBvbmx5IGEgdGVzdC4=", "approximateArrivalTimestamp": 1545084711.166},
  "eventSource": "aws:kinesis", "eventVersion": "1.0",
  "eventID": "shardId-000000000006:49590338271490256608559692540925702759324208523137515618",
  "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
  "awsRegion": "us-east-2", "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/lambda-stream"}]}"""


def test_the_documented_event_is_read() -> None:
    assert decode_event(json.loads(RECORDED)) == [
        StreamRecord("shardId-000000000006", REAL_SEQUENCE, "1", b"Hello, this is a test.", 1545084650987),
        StreamRecord(
            "shardId-000000000006",
            49590338271490256608559692540925702759324208523137515618,
            "1",
            b"This is only a test.",
            1545084711166,
        ),
    ]


def test_what_we_encode_has_the_shape_of_the_documented_event() -> None:
    recorded = json.loads(RECORDED)
    ours = encode_event(decode_event(recorded), stream_arn=recorded["Records"][0]["eventSourceARN"])
    for one, two in zip(ours["Records"], recorded["Records"], strict=True):
        two["invokeIdentityArn"] = one["invokeIdentityArn"]
    assert ours == recorded


@pytest.mark.parametrize("arrival_ms", [0, 1, 999, 1_700_000_000_001, 253_402_300_799_999])
def test_a_record_survives_the_event_to_the_millisecond(arrival_ms: int) -> None:
    records = [StreamRecord("shardId-000000000000", 10**128, "ключ|%", bytes(range(256)), arrival_ms)]
    event = json.loads(json.dumps(encode_event(records, stream_arn=STREAM_ARN)))
    assert decode_event(event) == records


def test_no_millisecond_is_lost_to_binary_fractions() -> None:
    instants_ms = range(1_000, 2_000)  # 1.001 * 1000 is 1000.9999999999999
    records = [StreamRecord("shardId-000000000000", 1, "p", b"", each) for each in instants_ms]
    assert decode_event(encode_event(records, stream_arn=STREAM_ARN)) == records


def broken(**changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(RECORDED)
    for path, value in changes.items():
        target = (
            event["Records"][1]["kinesis"] if path in event["Records"][1]["kinesis"] else event["Records"][1]
        )
        target[path] = value
    return event


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        [],
        "Records",
        {"Records": None},
        {"Records": [{"s3": {}}]},
        {"Records": [{"Sns": {"Message": "hello"}}]},
        {"Records": [{"kinesis": None, "eventID": "a:1"}]},
        broken(sequenceNumber="last"),
        broken(data="not base64!"),
        broken(data=None),
        broken(approximateArrivalTimestamp="noon"),
        broken(eventID="shardId-000000000006"),
        broken(eventID=7),
    ],
)
def test_another_event_is_a_wiring_mistake(event: Any) -> None:
    with pytest.raises(ValueError, match="event source mapping on a Kinesis stream"):
        decode_event(event)


def test_the_answer_always_has_its_key() -> None:
    assert encode_response(()) == {"batchItemFailures": []}
    assert encode_response((REAL_SEQUENCE,)) == {
        "batchItemFailures": [{"itemIdentifier": str(REAL_SEQUENCE)}]
    }
