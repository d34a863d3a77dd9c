"""A function behind the gateway, as tests want it: the path says what it does. It is copied into a bundle of its own."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

Event = dict[str, Any]


def handler(event: Event, context: Any) -> Any:
    what = event["rawPath"].rpartition("/")[2]
    return DEEDS.get(what, ok)(event)


def ok(_: Event) -> Any:
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": '{"ok": true}'}


def asked(event: Event, name: str) -> str:
    return str(event["queryStringParameters"][name])


def slow(event: Event) -> Any:
    time.sleep(float(asked(event, "s")))
    return ok(event)


def fail(_: Event) -> Any:
    raise ZeroDivisionError("planted\nand a second line")


def crash(event: Event) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
    return ok(event)


def status(event: Event) -> Any:
    return {"statusCode": int(asked(event, "code")), "headers": {"ETag": '"1"'}, "body": "as it is"}


def cookies(event: Event) -> Any:
    return {"statusCode": 200, "cookies": ["a=1", "b=2; HttpOnly"], "body": json.dumps(event.get("cookies"))}


def socket(event: Event, context: Any) -> Any:
    """A WebSocket's function: the query says what $connect does, a message what its own."""
    kind = event["requestContext"]["eventType"]
    if kind == "MESSAGE":
        body = event["body"]
        try:
            what = json.loads(body).get("do", "echo")
        except ValueError:
            what = "echo"
        return SOCKET_DEEDS[what](event)
    print(json.dumps({"event": event}))  # the log is what is seen of a $disconnect
    return SOCKET_DEEDS[(event.get("queryStringParameters") or {}).get("do", "ok")](event)


def refuse(_: Event) -> Any:
    return {"statusCode": 403, "body": "not you"}


def sleep(event: Event) -> Any:
    time.sleep(30)
    return ok(event)


def keep(event: Event, _: Any) -> Any:
    """The WebSocket's function of a stack: keeps who is connected."""
    context = event["requestContext"]
    if context["eventType"] == "CONNECT":
        item = {"id": {"S": context["connectionId"]}}
        signed(
            os.environ["AWS_ENDPOINT_URL_DYNAMODB"],
            {"TableName": os.environ["CONNECTIONS_TABLE"], "Item": item},
            "PutItem",
        )
    return {"statusCode": 200, "body": json.dumps({"version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"]})}


def push(event: Event, _: Any) -> Any:
    """Tells whoever is connected which items changed."""
    asked = {"TableName": os.environ["CONNECTIONS_TABLE"]}
    found = json.loads(signed(os.environ["AWS_ENDPOINT_URL_DYNAMODB"], asked, "Scan"))
    told = {"records": event["Records"], "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"]}
    for each in found["Items"]:
        place = f"{os.environ['SOCKET_ENDPOINT']}/@connections/{quote(each['id']['S'], safe='')}"
        with suppress(HTTPError):  # 410: it has left
            signed(place, told)
    return None


def signed(url: str, body: Any, operation: str = "") -> bytes:
    """Ask a service of the stack, which looks at the key of a signature."""
    key = os.environ["AWS_ACCESS_KEY_ID"]
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/x/aws4_request, Signature=0"
    }
    if operation:
        headers["X-Amz-Target"] = f"DynamoDB_20120810.{operation}"
    request = Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - of the stack
    with urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
        return bytes(answer.read())


SOCKET_DEEDS: dict[str, Callable[[Event], Any]] = {
    "ok": lambda _: {"statusCode": 200},
    "chat": lambda _: {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "chat"}},
    "echo": lambda event: {"statusCode": 200, "body": json.dumps(event)},
    "large": lambda _: {"statusCode": 200, "body": "x" * 128 * 1024},
    "too large": lambda _: {"statusCode": 200, "body": "x" * (128 * 1024 + 1)},
    "nothing": lambda _: {"statusCode": 200},
    "nonsense": lambda _: "no response",
    "refuse": refuse,
    "raise": fail,
    "crash": crash,
    "sleep": sleep,
}


DEEDS: dict[str, Callable[[Event], Any]] = {
    "echo": lambda event: event,
    "slow": slow,
    "raise": fail,
    "crash": crash,
    "exit": lambda _: sys.exit(3),
    "nonsense": lambda _: {"statusCode": "OK", "body": {}},
    "split": lambda _: {"statusCode": 200, "headers": {"x-a": "1\r\nset-cookie: stolen=1"}, "body": ""},
    "large": lambda event: {"statusCode": 200, "body": "x" * int(asked(event, "bytes"))},
    "status": status,
    "cookies": cookies,
    "version": lambda _: {
        "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
        "table": os.environ.get("TABLE"),
    },
}
