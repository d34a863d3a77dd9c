"""A reply, as HTTP and Lambda take it: its form by Accept, its validators, its encoding, its bounds."""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from aws_lambda_powertools.event_handler import Response

from processors.live.problems import Refused

JSON, CSV = "application/json", "text/csv"
NDJSON, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"
ANSWER_FORMS = (JSON, CSV, NDJSON, PARQUET)
SETTLED_S = 60  # a late event may still correct what is settled

# An answer of a function is 6 MB at most, as JSON: a quote in its body takes two bytes.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (checked 2026-11-29)
MOST_SENT_BYTES = 6 * 1024 * 1024 - 128 * 1024
MOST_BYTES = 48 * 1024 * 1024  # before it is compressed
_WORTH_BYTES = 4 * 1024  # from where on it is compressed
_TO_ALL = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Vary": "Accept, Accept-Encoding, Authorization, Origin",
}
_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. *same* is what makes two replies the same: what of *body* is no news is not in it.

    *max_age_s* None: it may have changed whenever it is asked for again.
    """

    body: bytes
    content_type: str = JSON
    status: int = 200
    same: bytes | None = None
    max_age_s: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, **more: Any) -> "Reply":
        """Return *value* as JSON."""
        return cls(json.dumps(value).encode(), **more)

    @property
    def etag(self) -> str:
        """Its validator: weak, for an encoding, or what is no news, may differ."""
        known = sha256(self.content_type.encode() + b"\n" + (self.body if self.same is None else self.same))
        return f'W/"{known.hexdigest()[:32]}"'


def error_reply(refused: Refused, *, is_prometheus: bool = False) -> Reply:
    """Return how *refused* is told, as our API or Prometheus' does."""
    headers = {"Cache-Control": "no-store", **refused.headers}
    if is_prometheus:
        kind = {400: "bad_data", 403: "forbidden", 404: "not_found", 503: "unavailable", 504: "timeout"}
        error_type = kind.get(refused.status, "internal" if refused.status >= 500 else "bad_data")
        told = {"status": "error", "errorType": error_type, "error": refused.error}
        return Reply.json(told, status=refused.status, headers=headers)
    body = {"error": refused.error, "problems": list(refused.problems)}
    return Reply.json(body, status=refused.status, headers=headers)


def form_of(accept: str, forms: Sequence[str]) -> str:
    """Return which of *forms* suits *accept* best; of equal ones the first. Raises: Refused, 406, none does."""
    if not accept.strip():
        return forms[0]
    wanted = [_media(each) for each in accept.split(",")[:50]]
    best, found = 0.0, ""
    for form in forms:
        of_form = {form: 2, f"{form.partition('/')[0]}/*": 1, "*/*": 0}
        suits = [(of_form[name], quality) for name, quality in wanted if name in of_form]
        quality = max(suits, default=(0, 0.0))[1]
        if quality > best:
            best, found = quality, form
    if not found:
        raise Refused(406, f"this is answered as {', '.join(forms)}, and Accept takes none of them")
    return found


def _media(text: str) -> tuple[str, float]:
    name, *parameters = text.split(";")
    qualities = [float(match[1]) for each in parameters if (match := _QUALITY.fullmatch(each))]
    return name.strip().lower(), qualities[0] if qualities else 1.0


def response_of(reply: Reply, headers: Mapping[str, str]) -> "Response[Any]":
    """Return *reply* to a request with *headers*, for Powertools.

    Raises:
        Refused: 413, it is larger than Lambda takes.
    """
    sent: dict[str, str | list[str]] = {}
    sent |= _TO_ALL | dict(reply.headers)
    if reply.status == 200:
        sent["ETag"] = reply.etag
        sent.setdefault(
            "Cache-Control", "no-cache" if reply.max_age_s is None else f"private, max-age={reply.max_age_s}"
        )
        if _is_known(headers.get("if-none-match", ""), reply.etag):
            return Response(304, headers=sent, body="")
    body, encoding = _encoded(reply, headers.get("accept-encoding", ""))
    if encoding:
        sent["Content-Encoding"] = encoding
    kind = reply.content_type
    kind = f"{kind}; charset=utf-8" if kind == CSV else kind
    return Response(reply.status, content_type=kind, headers=sent, body=body)


def _is_known(if_none_match: str, etag: str) -> bool:
    """Tell whether *etag* is among those, as weak validators are compared. Source: RFC 9110, 8.8.3.2 and 13.1.2."""
    known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in known or etag.removeprefix("W/") in known


def _encoded(reply: Reply, accept_encoding: str) -> tuple[str | bytes, str]:
    """Return the body as it is sent, bytes where it goes as base64, and how it is encoded."""
    body = reply.body
    is_text = reply.content_type != PARQUET
    accepted = dict(_media(each) for each in accept_encoding.split(",")[:50])
    if is_text and len(body) >= _WORTH_BYTES and accepted.get("gzip", accepted.get("*", 0.0)) > 0:
        packed = gzip.compress(body, compresslevel=5, mtime=0)
        return _bounded(packed, len(b64encode(packed))), "gzip"
    base64_bytes = (len(body) + 2) // 3 * 4
    if not is_text:
        return _bounded(body, base64_bytes), ""
    if len(body) * 2 <= MOST_SENT_BYTES:  # whatever is in it
        return body.decode(), ""
    text = body.decode()
    as_text = len(json.dumps(text))
    return _bounded(text if as_text <= base64_bytes else body, min(as_text, base64_bytes)), ""


def _bounded(body: "str | bytes", sent_bytes: int) -> "str | bytes":
    if sent_bytes > MOST_SENT_BYTES:
        raise too_large(f"{sent_bytes / 1e6:,.1f} MB, and {MOST_SENT_BYTES / 1e6:,.1f} MB are sent at most")
    return body


def too_large(what: str) -> Refused:
    """Return the refusal of an answer that is too large."""
    return Refused(
        413,
        f"the answer has {what}: say limit=, narrow it by key.<field>=, where= or a shorter range, merge by group_by= or larger "
        "windows, or accept gzip",
    )


def without_body(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return *response* as the answer to HEAD."""
    return {**response, "body": "", "isBase64Encoded": False}


def with_headers(reply: Reply, **headers: str) -> Reply:
    """Return *reply* with more headers."""
    return replace(
        reply, headers={**reply.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    )
