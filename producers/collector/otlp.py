"""How OTLP/HTTP is answered: in the form it was asked in, with what was refused, or with a Status.

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response (checked 2026-11-29): "The response body MUST be a
Protobuf-encoded [or JSON] Status message"; messages: opentelemetry/proto/collector/metrics/v1/metrics_service.proto,
google/rpc/status.proto.
"""

from collections.abc import Mapping

from producers.collector.message import JSON, Answer, Refused
from streamgage.formats.varint import encode_varint

PROTOBUF = "application/x-protobuf"
# google.rpc.Code, by HTTP status.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 413: 8, 415: 3, 429: 8, 503: 14}
_UNKNOWN = 2


def media_of(headers: Mapping[str, str]) -> str:
    """Return the content type of a request, one of two. Raises: Refused, 415."""
    media = _said(headers)
    if media not in (PROTOBUF, JSON):
        raise Refused(415, f"Content-Type {media[:80]!r} is not read; {PROTOBUF} and {JSON} are")
    return media


def exported(headers: Mapping[str, str], rejected: int, message: str) -> Answer:
    """Return an ExportMetricsServiceResponse; it says nothing where all were taken."""
    if media_of(headers) == JSON:
        partial = {"partialSuccess": {"rejectedDataPoints": str(rejected), "errorMessage": message}}
        return Answer.json(200, partial if rejected else {})
    partial_success = b"\x08" + encode_varint(rejected) + _text(2, message)
    body = b"\x0a" + encode_varint(len(partial_success)) + partial_success if rejected else b""
    return Answer(200, body, PROTOBUF, {"Cache-Control": "no-store"})


def failed(headers: Mapping[str, str], refused: Refused) -> Answer:
    """Return *refused* as a google.rpc.Status."""
    code, message = _CODES.get(refused.status, _UNKNOWN), "; ".join(refused.problems)
    if _said(headers) != PROTOBUF:
        return Answer.json(refused.status, {"code": code, "message": message}, refused.headers)
    body = b"\x08" + encode_varint(code) + _text(2, message)
    return Answer(refused.status, body, PROTOBUF, {"Cache-Control": "no-store", **refused.headers})


def _said(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _text(number: int, text: str) -> bytes:
    content = text.encode("utf-8", "backslashreplace")
    return bytes([number << 3 | 2]) + encode_varint(len(content)) + content
