"""The event of payload format 2.0, beside expectations that follow AWS's documentation and what was recorded of AWS."""

import base64
import gzip
import json
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from hypothesis import given
from hypothesis import strategies as st

from infra.local.gateway.api import Route, Stage
from infra.local.gateway.event import event_of, path_of
from infra.local.gateway.routes import Match
from infra.local.http.message import Request

NOW_MS = 1_583_348_638_390  # Wed, 04 Mar 2020 19:03:58.390 UTC
DEFAULT = Match(Route("$default", "f"), {})


def event(
    target: str = "/",
    *,
    method: str = "GET",
    body: bytes = b"",
    match: Match = DEFAULT,
    stage: Stage | None = None,
    **headers: str,
) -> dict[str, Any]:
    named = {"host": "127.0.0.1:4568", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = Request(method, target, named, body)
    return event_of(
        request,
        match,
        stage or Stage(),
        path=path_of(request),
        account="000000000000",
        api_id="66f88e7ae3",
        request_id="JKJaXmPLvHcESHA=",
        now_ms=NOW_MS,
        port=4568,
    )


def test_the_event_has_the_fields_of_a_recorded_one_and_no_other() -> None:
    match = Match(Route("GET /pets/{id}", "f"), {"id": "6"})
    stage = Stage("prod", variables={"a": "b"})
    asked = event(
        "/prod/pets/6?x=1", match=match, stage=stage, user_agent="curl/8", cookie="a=1;b=2", accept="*/*"
    )
    assert asked == {
        "version": "2.0",
        "routeKey": "GET /pets/{id}",
        "rawPath": "/prod/pets/6",
        "rawQueryString": "x=1",
        "cookies": ["a=1", "b=2"],
        "headers": {
            "accept": "*/*",
            "content-length": "0",
            "host": "127.0.0.1:4568",
            "user-agent": "curl/8",
            "x-amzn-trace-id": "Root=1-5e5ffb9e-000000000000000000000186",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": "4568",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"x": "1"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "66f88e7ae3",
            "domainName": "127.0.0.1",
            "domainPrefix": "127.0.0.1",
            "http": {
                "method": "GET",
                "path": "/prod/pets/6",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "curl/8",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "GET /pets/{id}",
            "stage": "prod",
            "time": "04/Mar/2020:19:03:58 +0000",
            "timeEpoch": NOW_MS,
        },
        "pathParameters": {"id": "6"},
        "stageVariables": {"a": "b"},
        "isBase64Encoded": False,
    }


def test_what_is_absent_is_left_out() -> None:
    assert (
        not {"body", "cookies", "queryStringParameters", "pathParameters", "stageVariables"} & event().keys()
    )
    assert event()["rawQueryString"] == ""


# What is sent, rawPath, rawQueryString, queryStringParameters.
TARGETS = [
    ("/a%20b/%E2%98%83", "/a b/☃", "", None),
    ("/a%2Fb", "/a/b", "", None),
    ("/a%3Fadmin=1?b=1", "/a", "b=1", {"b": "1"}),
    ("/a%23b", "/a#b", "", None),
    ("/a+b", "/a+b", "", None),
    ("/%ff", "/\ufffd", "", None),
    ("/%", "/%", "", None),
    ("/a/", "/a/", "", None),
    ("/?a=1&a=2&b=3", "/", "a=1&a=2&b=3", {"a": "1,2", "b": "3"}),
    ("/?a=%2B+%20,", "/", "a=%2B+%20,", {"a": "+  ,"}),
    ("/?a", "/", "a", {"a": ""}),
    ("/?a=&a=", "/", "a=&a=", {"a": ","}),
    ("/?%5Ba%5D=%26", "/", "%5Ba%5D=%26", {"[a]": "&"}),
    ("/?a=b?c", "/", "a=b?c", {"a": "b?c"}),
]


@pytest.mark.parametrize(("target", "path", "raw", "parameters"), TARGETS)
def test_the_path_is_decoded_and_the_query_is_there_as_sent_and_decoded(
    target: str, path: str, raw: str, parameters: dict[str, str] | None
) -> None:
    made = event(target)
    assert (made["rawPath"], made["rawQueryString"], made.get("queryStringParameters")) == (
        path,
        raw,
        parameters,
    )
    assert made["requestContext"]["http"]["path"] == path


# Measured on AWS: https://github.com/ministackorg/ministack/pull/766
@pytest.mark.parametrize(
    ("kind", "is_base64"),
    [
        ("application/json", False),
        ("application/json; charset=utf-8", False),
        ("Application/JSON", False),
        ("text/csv", False),
        ("application/xml", False),
        ("application/javascript", False),
        ("application/x-www-form-urlencoded", True),
        ("application/octet-stream", True),
        ("application/vnd.api+json", True),
        ("image/svg+xml", True),
    ],
)
def test_a_body_is_text_by_its_content_type(kind: str, is_base64: bool) -> None:  # noqa: FBT001 - a column
    made = event("/", method="POST", body="é".encode(), content_type=kind)
    assert made["isBase64Encoded"] is is_base64
    assert made["body"] == (base64.b64encode("é".encode()).decode() if is_base64 else "é")
    assert made["headers"]["content-length"] == "2"


def test_a_compressed_body_stays_whole_whatever_type_it_is_of() -> None:
    body = gzip.compress(b'[{"source": "click"}]')
    made = event("/", method="POST", body=body, content_type="application/json", content_encoding="gzip")
    assert made["isBase64Encoded"] is True
    assert base64.b64decode(made["body"]) == body
    assert made["headers"]["content-encoding"] == "gzip"


def test_a_body_of_no_type_is_not_text() -> None:
    assert event("/", method="POST", body=b"a")["isBase64Encoded"] is True


def test_headers_of_one_connection_and_cookies_do_not_reach_the_function() -> None:
    headers = event(connection="keep-alive", te="trailers", cookie="a=1", x_forwarded_for="9.9.9.9")[
        "headers"
    ]
    assert not {"connection", "te", "cookie"} & headers.keys()
    assert headers["x-forwarded-for"] == "9.9.9.9, 127.0.0.1"


def test_the_domain_is_the_name_that_was_asked_for() -> None:
    context = event(host="Stack.localhost:99")["requestContext"]
    assert (context["domainName"], context["domainPrefix"]) == ("Stack.localhost", "Stack")
    assert event(host="[::1]:99")["requestContext"]["domainName"] == "[::1]"


@given(
    target=st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n \0"), max_size=40),
    body=st.binary(max_size=20),
    kind=st.sampled_from(["text/plain", "application/json", "x/y"]),
)
def test_whatever_is_asked_is_an_event_that_powertools_reads(target: str, body: bytes, kind: str) -> None:
    made = event(f"/{target}", method="POST", body=body, content_type=kind)
    read = APIGatewayProxyEventV2(json.loads(json.dumps(made)))
    assert read.path == made["rawPath"]
    assert "?" not in read.path
    assert read.raw_query_string == f"/{target}".partition("?")[2]
    if body and made["isBase64Encoded"]:
        assert base64.b64decode(read.body or "") == body
