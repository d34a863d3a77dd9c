"""What a function answers, as a response."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.gateway.answer import PAYLOAD_BYTES, MalformedAnswer, message, response_of
from infra.local.http.message import Response

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

# Payload, status, content type, body. Source: the documentation that answer.py names.
INFERRED = [
    ('"Hello from Lambda!"', b"Hello from Lambda!"),
    ('{"message": "Hello"}', b'{"message": "Hello"}'),
    ('{"body": "x", "headers": {}}', b'{"body": "x", "headers": {}}'),
    ("[1, 2]", b"[1, 2]"),
    ("7", b"7"),
    ("null", b"null"),
    ("not json", b"not json"),
    ("", b""),
]


@pytest.mark.parametrize(("payload", "body"), INFERRED)
def test_what_has_no_status_code_is_the_body_of_a_200_of_json(payload: str, body: bytes) -> None:
    assert response_of(payload.encode()) == Response(200, body, JSON)


@pytest.mark.parametrize(
    ("said", "response"),
    [
        ({"statusCode": 201}, Response(201, b"", TEXT)),
        ({"statusCode": 200, "body": "é"}, Response(200, "é".encode(), TEXT)),
        (
            {"statusCode": 200, "body": "é", "headers": None, "cookies": None},
            Response(200, "é".encode(), TEXT),
        ),
        ({"statusCode": 200, "body": "AAH/", "isBase64Encoded": True}, Response(200, b"\0\1\xff", TEXT)),
        (
            {"statusCode": 404, "headers": {"Content-Type": JSON, "ETag": '"1"'}, "body": "{}"},
            Response(404, b"{}", JSON, {"etag": '"1"'}),
        ),
        (
            {"statusCode": 200, "cookies": ["a=1", "b=2"], "headers": {"Set-Cookie": "c=3"}},
            Response(200, b"", TEXT, {}, ("a=1", "b=2", "c=3")),
        ),
        (
            {
                "statusCode": 200,
                "headers": {"Content-Length": "9", "Transfer-Encoding": "chunked", "Date": "x"},
            },
            Response(200, b"", TEXT),
        ),
        ({"statusCode": 200, "multiValueHeaders": {"a": ["b"]}, "other": 1}, Response(200, b"", TEXT)),
    ],
)
def test_what_has_a_status_code_is_a_response(said: dict[str, Any], response: Response) -> None:
    assert response_of(json.dumps(said).encode()) == response


@pytest.mark.parametrize(
    "said",
    [
        {"statusCode": "200"},
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 200.5},
        {"statusCode": 101},
        {"statusCode": 99},
        {"statusCode": 600},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": 1},
        {"statusCode": 200, "body": "é", "isBase64Encoded": True},
        {"statusCode": 200, "body": "AAH", "isBase64Encoded": True},
        {"statusCode": 200, "body": "AA!H/", "isBase64Encoded": True},
        {"statusCode": 200, "body": "", "isBase64Encoded": "true"},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a": 1}},
        {"statusCode": 200, "headers": {"a": "1\r\nb: 2"}},
        {"statusCode": 200, "headers": {"a": "1\nb"}},
        {"statusCode": 200, "headers": {"a b": "1"}},
        {"statusCode": 200, "headers": {"": "1"}},
        {"statusCode": 200, "headers": {"a\r\n": "1"}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": [1]},
        {"statusCode": 200, "cookies": ["a=1\r\nb: 2"]},
    ],
)
def test_a_response_that_breaks_its_form_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswer):
        response_of(json.dumps(said).encode())


def test_more_than_a_function_may_answer_is_refused() -> None:
    assert response_of(b'"' + b"x" * (PAYLOAD_BYTES - 2) + b'"').status == 200
    with pytest.raises(MalformedAnswer, match="6,291,557 bytes"):
        response_of(b'"' + b"x" * (PAYLOAD_BYTES - 1) + b'"')


@given(said=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each) | st.dictionaries(st.sampled_from(["statusCode", "headers", "cookies", "body", "isBase64Encoded", "a"]), each)))  # fmt: skip
def test_whatever_a_function_answers_no_line_of_its_own_is_in_the_head(said: Any) -> None:
    try:
        response = response_of(json.dumps(said).encode())
    except MalformedAnswer:
        return
    for text in (*response.headers, *response.headers.values(), *response.cookies, response.content_type):
        assert not {"\r", "\n", "\0"} & set(text)


def test_an_answer_of_api_gateways_own_has_its_words() -> None:
    assert message(429, "Too Many Requests") == Response(429, b'{"message":"Too Many Requests"}', JSON)
