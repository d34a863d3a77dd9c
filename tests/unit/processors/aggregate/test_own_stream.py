from typing import Any

import pytest

from processors.aggregate.own_stream import check_of_stream
from streamgage.errors import ConfigError
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord
from support.fakes import STREAM_ARN


def batch(*arns: str) -> dict[str, Any]:
    record = StreamRecord("shardId-000000000000", 7, "p", b"x", 0)
    return {"Records": [each for arn in arns for each in encode_event([record], stream_arn=arn)["Records"]]}


@pytest.mark.parametrize("arn", [STREAM_ARN, f"{STREAM_ARN}/consumer/fast:1699999200"])
def test_a_batch_of_the_stream_or_of_its_fan_out_is_taken(arn: str) -> None:
    check_of_stream(STREAM_ARN)(batch(arn, arn))


@pytest.mark.parametrize(
    "arn",
    [
        STREAM_ARN + "2",
        STREAM_ARN.replace("telemetry", "telemetr"),
        STREAM_ARN.replace("eu-central-1", "eu-west-1"),
        STREAM_ARN.replace("000000000000", "000000000001"),
        f"{STREAM_ARN}2/consumer/fast:1699999200",
        "",
    ],
)
def test_one_record_of_another_stream_refuses_the_batch_and_says_what_to_do(arn: str) -> None:
    event = batch(STREAM_ARN, STREAM_ARN)
    event["Records"][1]["eventSourceARN"] = arn
    with pytest.raises(ConfigError, match=r"STREAMGAGE_STREAM_ARN.*deploy it as another stack"):
        check_of_stream(STREAM_ARN)(event)


def test_a_record_that_names_no_stream_is_of_another() -> None:
    event = batch(STREAM_ARN)
    del event["Records"][0]["eventSourceARN"]
    with pytest.raises(ConfigError, match="a batch of None"):
        check_of_stream(STREAM_ARN)(event)


@pytest.mark.parametrize("event", [None, {}, {"Records": "x"}, {"Records": ["x"]}])
def test_what_is_no_event_of_a_stream_is_left_to_the_decoder(event: Any) -> None:
    check_of_stream(STREAM_ARN)(event)
