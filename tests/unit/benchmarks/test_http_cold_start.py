"""What the benchmark of the HTTP API's function takes for an answer."""

import json
from collections import Counter
from typing import Any

import pytest

from benchmarks.coldstart.http_stage import EMPTY, FASTAPI, OURS, REQUEST, event_of
from benchmarks.harness import WrongAnswerError
from benchmarks.http_cold_start import check


def answer(status: int = 200, **body: Any) -> bytes:
    return json.dumps({"statusCode": status, "body": json.dumps({"rows": [], "left": 0, **body})}).encode()


def test_a_handler_that_answered_passes() -> None:
    check(EMPTY, b"null", Counter())
    check(FASTAPI, answer(), Counter(Query=1))
    check(OURS, answer(freshness={}), Counter(Query=2, ListShards=1))


@pytest.mark.parametrize(
    ("label", "given", "asked"),
    [
        (EMPTY, answer(), {}),
        (FASTAPI, answer(status=500), {"Query": 1}),
        (FASTAPI, answer(rows=[{}]), {"Query": 1}),
        (OURS, answer(), {"ListShards": 1}),
        (OURS, answer(left=1), {"Query": 1}),
        (OURS, b"null", {"Query": 1}),
    ],
)
def test_a_handler_that_did_something_else_is_told(label: str, given: bytes, asked: dict[str, int]) -> None:
    with pytest.raises(WrongAnswerError, match=label.partition(" ")[0]):
        check(label, given, Counter(asked))


def test_the_request_is_one_of_api_gateway() -> None:
    event = event_of(REQUEST)
    assert event["rawPath"] == "/v1/rollups/device_metrics/range"
    assert event["queryStringParameters"] == {"window": "1h", "limit": "1000"}
    assert (event["version"], event["isBase64Encoded"]) == ("2.0", False)
