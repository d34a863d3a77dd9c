"""A mapping of a stream that is not there, and what of it is waited for."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from infra.local.mapping.readers import refuse_missing_stream
from streamgage.errors import ConfigError

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/absent"


class Kinesis:
    """Answers DescribeStreamSummary with what it was given, an exception by raising it."""

    def __init__(self, answer: Exception | None) -> None:
        self.answer = answer

    def describe_stream_summary(self, **_: str) -> dict[str, str]:
        if self.answer is not None:
            raise self.answer
        return {}


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "as told"}}, "DescribeStreamSummary")


def look_up(answer: Exception | None) -> None:
    refuse_missing_stream(Kinesis(answer), stream_name="absent", stream_arn=ARN)


def test_a_mapping_on_a_missing_stream_is_refused_as_recorded() -> None:
    with pytest.raises(ConfigError, match=f"^Stream not found: {ARN}$"):
        look_up(refused("ResourceNotFoundException"))


@pytest.mark.parametrize(
    "answer", [None, refused("LimitExceededException"), EndpointConnectionError(endpoint_url="http://x")]
)
def test_a_stream_that_is_there_or_cannot_be_asked_for_is_not_refused(answer: Exception | None) -> None:
    look_up(answer)
