"""What a WebSocket's function gets: the events of a WebSocket API, to the letter.

Headers and parameters are in the event of ``$connect`` only. (AWS sends a few empty headers with ``$disconnect`` too.) Headers
keep the case in which a browser sends them, as they do there. A disconnect says by which close code, and 1006 where none came.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-keys-connect-disconnect.html
and https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-mapping-template-reference.html
(checked 2026-11-29).
"""

from dataclasses import dataclass
from typing import Any

from infra.local.gateway.api import Stage
from infra.local.gateway.event import PORT_OF_HOST, SOURCE_IP, clf, headers_of, lists_of
from infra.local.http.message import Request

_SPELLED = {"websocket": "WebSocket", "sec": "Sec"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who is connected: what every event of the connection says of it."""

    id: str
    connected_ms: int
    host: str
    user_agent: str


def connect_event(
    request: Request, client: Client, *, stage: Stage, api_id: str, request_id: str, port: int, now_ms: int
) -> dict[str, Any]:
    """Return the event of a handshake."""
    context = _context(
        "$connect", "CONNECT", client, stage, api_id=api_id, request_id=request_id, now_ms=now_ms
    )
    headers = {
        _cased(name): value
        for name, value in headers_of(request, now_ms=now_ms, port=port).items()
        if name not in ("content-length", "upgrade", "connection")
    }
    parameters = lists_of(request)
    event: dict[str, Any] = {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if parameters:
        event["queryStringParameters"] = {name: values[-1] for name, values in parameters.items()}
        event["multiValueQueryStringParameters"] = parameters
    return event | _variables(stage)


def message_event(
    route_key: str, client: Client, body: str, *, stage: Stage, api_id: str, request_id: str, now_ms: int
) -> dict[str, Any]:
    """Return the event of a message."""
    context = _context(
        route_key, "MESSAGE", client, stage, api_id=api_id, request_id=request_id, now_ms=now_ms
    )
    context["messageId"] = request_id
    return {"requestContext": context, "body": body, "isBase64Encoded": False} | _variables(stage)


def disconnect_event(
    client: Client, code: int, reason: str, *, stage: Stage, api_id: str, request_id: str, now_ms: int
) -> dict[str, Any]:
    """Return the event of an end."""
    context = _context(
        "$disconnect", "DISCONNECT", client, stage, api_id=api_id, request_id=request_id, now_ms=now_ms
    )
    context |= {"disconnectStatusCode": code, "disconnectReason": reason}
    return {"requestContext": context, "isBase64Encoded": False} | _variables(stage)


def _context(
    route_key: str, kind: str, client: Client, stage: Stage, *, api_id: str, request_id: str, now_ms: int
) -> dict[str, Any]:
    identity = {"sourceIp": SOURCE_IP} | ({"userAgent": client.user_agent} if client.user_agent else {})
    return {
        "routeKey": route_key,
        "eventType": kind,
        "extendedRequestId": request_id,
        "requestTime": clf(now_ms),
        "messageDirection": "IN",
        "stage": stage.name,
        "connectedAt": client.connected_ms,
        "requestTimeEpoch": now_ms,
        "identity": identity,
        "requestId": request_id,
        "domainName": PORT_OF_HOST.sub("", client.host),
        "connectionId": client.id,
        "apiId": api_id,
    }


def _variables(stage: Stage) -> dict[str, Any]:
    return {"stageVariables": dict(stage.variables)} if stage.variables else {}


def _cased(name: str) -> str:
    return "-".join(_SPELLED.get(each, each.capitalize()) for each in name.split("-"))
