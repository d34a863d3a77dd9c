"""A request as the function gets it: the event of payload format 2.0, to the letter.

What the documentation leaves open is as it was measured on AWS:

- the path is decoded, and cut at a question mark that appears by it; the query string is as it was sent.
  https://github.com/middleapi/standard-server/pull/93
- a body is text of ``text/*``, ``application/json``, ``application/xml`` and ``application/javascript`` only: a form too is
  encoded in base 64. https://github.com/ministackorg/ministack/pull/766
- what such a text is when its bytes are none, compressed ones above all, is not known of AWS. Here it is encoded in base 64:
  replaced bytes would be another body. Compressed bodies go by a type of their own (docs/adr/0047).
- what is absent is left out, and not null: ``body``, ``cookies``, ``queryStringParameters``, ``pathParameters``.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html (checked
2026-11-29).
"""

import base64
import re
import time
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote

from infra.local.gateway.api import Stage
from infra.local.gateway.routes import Match
from infra.local.http.message import Request

_TEXT = frozenset({"application/json", "application/xml", "application/javascript"})
# Of one connection (RFC 9110, section 7.6.1), and cookies, which have a field of their own.
_DROPPED = frozenset(
    {
        "connection",
        "cookie",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
PORT_OF_HOST = re.compile(r":\d*$")
SOURCE_IP = "127.0.0.1"
_MOST_PARAMETERS = 10_000  # more than fit into a head
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def path_of(request: Request) -> str:
    """Return the path that the event has: decoded, and without what stands behind a question mark in it then."""
    return unquote(request.path, errors="replace").partition("?")[0]


def event_of(
    request: Request,
    match: Match,
    stage: Stage,
    *,
    path: str,
    account: str,
    api_id: str,
    request_id: str,
    now_ms: int,
    port: int,
) -> dict[str, Any]:
    """Return the event of *request*, whose decoded *path* has its stage in it, taken at *now_ms* on *port*."""
    headers = request.headers
    domain = PORT_OF_HOST.sub("", headers.get("host", ""))
    key = match.route.key
    body, is_base64 = _body(request)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": key,
        "rawPath": path,
        "rawQueryString": request.target.partition("?")[2],
        "headers": headers_of(request, now_ms=now_ms, port=port),
        "requestContext": {
            "accountId": account,
            "apiId": api_id,
            "domainName": domain,
            "domainPrefix": domain
            if domain[-1:].isdecimal()
            else domain.partition(".")[0],  # an address is whole
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": SOURCE_IP,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": key,
            "stage": stage.name,
            "time": clf(now_ms),
            "timeEpoch": now_ms,
        },
        "isBase64Encoded": is_base64,
    }
    optional = {
        "cookies": [each.strip() for each in headers.get("cookie", "").split(";") if each.strip()],
        "queryStringParameters": {name: ",".join(each) for name, each in lists_of(request).items()},
        "pathParameters": dict(match.parameters),
        "stageVariables": dict(stage.variables),
        "body": body,
    }
    return event | {field: value for field, value in optional.items() if value}


def headers_of(request: Request, *, now_ms: int, port: int) -> dict[str, str]:
    """Return the request's headers as they reach a function, with those that API Gateway adds."""
    headers = {name: value for name, value in request.headers.items() if name not in _DROPPED}
    before = headers.get("x-forwarded-for")
    return {
        "content-length": str(len(request.body)),
        **headers,
        "x-amzn-trace-id": f"Root=1-{now_ms // 1000:08x}-{now_ms % 1000:024x}",
        "x-forwarded-for": f"{before}, {SOURCE_IP}" if before else SOURCE_IP,
        "x-forwarded-port": str(port),
        "x-forwarded-proto": "http",
    }


def lists_of(request: Request) -> dict[str, list[str]]:
    """Return the parameters of the query, decoded, each with all its values."""
    found: dict[str, list[str]] = {}
    query = request.target.partition("?")[2]
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS):
        found.setdefault(name, []).append(value)
    return found


def _body(request: Request) -> tuple[str, bool]:
    """Return the body as the event has it, and whether it is encoded in base 64."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not request.body:
        return "", False
    if kind.startswith("text/") or kind in _TEXT:
        with suppress(UnicodeDecodeError):
            return request.body.decode("utf-8"), False
    return base64.b64encode(request.body).decode("ascii"), True


def clf(now_ms: int) -> str:
    """Return the time as access logs have it, whatever language the system speaks: ``12/Mar/2020:19:03:58 +0000``."""
    at = time.gmtime(now_ms // 1000)
    return f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000"
