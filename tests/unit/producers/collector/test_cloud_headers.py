"""CloudEvents by HTTP, in each of its modes: an event counts the same, however it was carried."""

import json
from typing import Any

import pytest

from producers.collector import cloud_headers
from producers.collector.cloud_headers import is_binary
from producers.collector.limits import Bounds
from producers.collector.message import Refused
from support.agents import agents_pipeline
from support.collecting import Kept, collector_over, post, told

# What the Python SDK, cloudevents 2.2.0, makes of one event by to_binary_event.
BINARY = {
    "ce-id": "1",
    "ce-source": "/plant/%C3%BC%207",
    "ce-type": "com.example.reading",
    "ce-specversion": "1.0",
    "ce-subject": "d%C3%A9",
    "ce-time": "2026-01-05T12:00:00.123000Z",
    "content-type": "application/json",
}
DATA = b'{"what": {"name": "t"}, "value": 20.5}'
STRUCTURED = {
    "specversion": "1.0",
    "id": "1",
    "source": "/plant/ü 7",
    "type": "com.example.reading",
    "subject": "dé",
    "time": "2026-01-05T12:00:00.123000Z",
    "datacontenttype": "application/json",
    "data": {"what": {"name": "t"}, "value": 20.5},
}


def structured(headers: dict[str, str], body: bytes) -> bytes:
    return cloud_headers.structured(headers, body, Bounds())


def kept(body: bytes, headers: dict[str, str]) -> tuple[int, Any, list[Any]]:
    port = Kept()
    collector = collector_over(port, definition=agents_pipeline())
    answer = post(collector, body, **{name.replace("-", "_"): value for name, value in headers.items()})
    return answer.status, told(answer), port.events


def test_an_event_counts_the_same_in_binary_mode_structured_and_in_a_batch() -> None:
    binary = kept(DATA, BINARY)
    assert binary[0] == 200
    assert [(each["device_id"], each["metric"], each["value"], each["ts"]) for each in binary[2]] == [
        ("dé", "t", 20.5, 1_767_614_400_123)
    ]
    one = json.dumps(STRUCTURED).encode()
    assert kept(one, {"content-type": "application/cloudevents+json"}) == binary
    assert (
        kept(b"[%s]" % one, {"content-type": "application/cloudevents-batch+json; charset=utf-8"}) == binary
    )


def test_where_the_content_type_says_cloudevents_the_headers_say_nothing() -> None:
    headers = {**BINARY, "content-type": "application/cloudevents+json"}
    assert not is_binary(headers)
    assert kept(json.dumps({**STRUCTURED, "subject": "body"}).encode(), headers)[2][0]["device_id"] == "body"


@pytest.mark.parametrize("media", ["application/json", "application/vnd.x+json; charset=utf-8", ""])
def test_data_in_json_stays_as_it_stands_there(media: str) -> None:
    made = structured(
        {**BINARY, "content-type": media}, b"\xef\xbb\xbf" + b'{"v": 0.10000000000000000000001}'
    )
    assert b'"data": {"v": 0.10000000000000000000001}' in made
    assert json.loads(made)["data"] == {"v": 0.1}


def test_text_is_a_text_and_other_bytes_are_base64_and_no_body_is_no_data() -> None:
    made = structured({**BINARY, "content-type": "text/plain; charset=utf-8"}, "é".encode())
    assert json.loads(made)["data"] == "é"
    assert json.loads(structured({**BINARY, "content-type": "image/png"}, b"\xff"))["data_base64"] == "/w=="
    assert json.loads(structured(BINARY, b"")).keys() == STRUCTURED.keys() - {"data"}


@pytest.mark.parametrize(
    "body", [b"{", b'1}, {"a": 2', b'1, "subject": "other"', b"NaN", b"\xff", b"[" * 100_000, b" "]
)
def test_a_body_that_is_not_one_json_value_is_refused_and_nothing_is_taken(body: bytes) -> None:
    status, said, events = kept(body, BINARY)
    assert (status, events) == (400, [])
    assert "the data of the CloudEvent is no JSON" in said["error"]


def test_headers_are_unquoted_and_what_the_body_says_no_header_says() -> None:
    odd = {**BINARY, "ce-subject": r'"a \"b\" %C3%BC"', "ce-data": "x", "ce-data_base64": "eA==", "ce-": "x"}
    assert json.loads(structured(odd, DATA)) == {
        **STRUCTURED, "subject": 'a "b" ü', "data": json.loads(DATA),
    }  # fmt: skip
    with pytest.raises(Refused, match="ce-subject is no percent-encoded UTF-8"):
        structured({**BINARY, "ce-subject": "%FF"}, DATA)


def test_what_is_no_event_of_the_definition_is_refused_with_the_reason() -> None:
    status, said, events = kept(DATA, {**BINARY, "ce-type": "other"})
    assert (status, events, said["accepted"]) == (422, [], 0)
    status, said, _ = kept(DATA, {name: value for name, value in BINARY.items() if name != "ce-id"})
    assert status == 422
    assert "id missing" in said["refused"][0]["reason"]


def test_under_a_key_it_counts_once_and_another_time_in_its_header_is_another_batch() -> None:
    port = Kept()
    collector = collector_over(port, definition=agents_pipeline())
    for headers, batches in ((BINARY, 1), (BINARY, 1), ({**BINARY, "ce-time": "2026-01-05T12:00:00Z"}, 2)):
        named = {name.replace("-", "_"): value for name, value in headers.items()}
        assert post(collector, DATA, idempotency_key="k", **named).status == 200
        assert len(port.batches) == batches
