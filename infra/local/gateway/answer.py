"""What a function answered, as a response of HTTP: payload format 2.0.

What has a ``statusCode`` is a response; anything else is taken for the body of a 200 of JSON, a text as it is. A response that
breaks its form is an error of the function, and the client reads ``Internal Server Error``. Where nobody says what AWS makes of
something (a header that is a number), it is refused here: what runs here runs there.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html, and for what
has no form https://github.com/aws/aws-lambda-dotnet (LambdaTestTool-v2, InvokeResponseExtensions) (checked 2026-11-29).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from infra.local.http.message import Response

PAYLOAD_BYTES = 6_291_556
"""What a function may answer; asked it may be 6 MB. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
# Of the connection and of the server, which says them itself.
_DROPPED = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding", "upgrade"})


class MalformedAnswer(ValueError):
    """The function's answer is no response. The text ends a sentence about it, for the log."""


def message(status: int, text: str) -> Response:
    """Return an answer of API Gateway's own."""
    return Response(status, json.dumps({"message": text}, separators=(",", ":")).encode(), _JSON)


def response_of(payload: bytes) -> Response:
    """Return the response that the JSON *payload* says. Raises: MalformedAnswer."""
    if len(payload) > PAYLOAD_BYTES:
        raise MalformedAnswer(f"is of {len(payload):,} bytes; a function may answer {PAYLOAD_BYTES:,}")
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        return Response(200, payload, _JSON)
    if isinstance(said, dict) and "statusCode" in said:
        return _structured(said)
    if isinstance(said, str):
        return Response(200, said.encode("utf-8", "replace"), _JSON)
    return Response(200, payload, _JSON)


def _structured(said: Mapping[str, Any]) -> Response:
    status = said["statusCode"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise MalformedAnswer(f"has the statusCode {status!r}; it is a number from 200 to 599")
    headers = _headers(said.get("headers"))
    cookies = said.get("cookies") or []
    if not isinstance(cookies, list) or not all(_is_value(each) for each in cookies):
        raise MalformedAnswer("has cookies that are no list of texts, each without a line break")
    content_type = headers.pop("content-type", _TEXT)
    return Response(
        status, _body(said), content_type, headers, tuple(cookies) + _also(headers.pop("set-cookie", None))
    )


def _also(cookie: str | None) -> tuple[str, ...]:
    return () if cookie is None else (cookie,)


def _headers(said: Any) -> dict[str, str]:
    """Return the headers, names in lower case, without those that the server says itself."""
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise MalformedAnswer("has headers that are no object")
    found: dict[str, str] = {}
    for name, value in said.items():
        if not _TOKEN.fullmatch(name) or not _is_value(value):
            raise MalformedAnswer(
                f"has the header {name!r}, which is not a name and a text without a line break"
            )
        if name.lower() not in _DROPPED:
            found[name.lower()] = value
    return found


def _is_value(value: Any) -> bool:
    return isinstance(value, str) and _VALUE.fullmatch(value) is not None


def _body(said: Mapping[str, Any]) -> bytes:
    body, is_base64 = said.get("body"), said.get("isBase64Encoded", False)
    if not isinstance(is_base64, bool):
        raise MalformedAnswer("has an isBase64Encoded that is neither true nor false")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswer("has a body that is no text; json.dumps makes one of an object")
    if not is_base64:
        return body.encode("utf-8", "replace")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedAnswer(f"has a body that is not in base 64: {error}") from error
