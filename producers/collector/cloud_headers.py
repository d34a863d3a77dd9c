"""CloudEvents in HTTP's binary mode: attributes in headers, the data as the body. They come to the JSON of structured mode.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, 3 and 3.1 (checked
2026-11-29): "if the value of the Content-Type header [...] is prefixed with application/cloudevents [...] structured mode.
Otherwise [...] binary".
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from producers.collector.bodies import check_json
from producers.collector.limits import Bounds
from producers.collector.message import JSON, Refused

_PREFIX: Final = "ce-"
_MARK: Final = "ce-specversion"
_NAME = re.compile(r"[a-z0-9_]{1,64}")  # 1.0 says lower case and digits; Kafka's bridges write _ too
_RESERVED = frozenset({"data", "data_base64", "datacontenttype"})  # what the body and its Content-Type say
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def is_binary(headers: Mapping[str, str]) -> bool:
    """Tell whether a request carries one CloudEvent in binary mode."""
    return _MARK in headers and not _media(headers).startswith("application/cloudevents")


def structured(headers: Mapping[str, str], body: bytes, bounds: Bounds) -> bytes:
    """Return the event that a request ``is_binary`` carries, as one JSON object.

    JSON stays as it stands there, digit by digit; text is a text, and all else base64.

    Raises:
        Refused: 400, a header or the JSON cannot be read; 413, the JSON holds too much.
    """
    event = {"datacontenttype": media} if (media := _media(headers)) else {}
    for name, value in headers.items():
        attribute = name.removeprefix(_PREFIX)
        if name.startswith(_PREFIX) and _NAME.fullmatch(attribute) and attribute not in _RESERVED:
            event[attribute] = _decoded(name, value)
    if not body:
        return json.dumps(event).encode()
    if media in ("", JSON) or media.endswith("+json"):
        check_json(body, bounds)
        return f'{json.dumps(event)[:-1]}, "data": {_checked(body)}}}'.encode()
    if media.startswith("text/"):
        try:
            return json.dumps({**event, "data": body.decode()}).encode()
        except UnicodeDecodeError as error:
            raise Refused(400, f"the body is no UTF-8: {error}") from error
    return json.dumps({**event, "data_base64": b64encode(body).decode()}).encode()


def _media(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _decoded(name: str, value: str) -> str:
    """Return the attribute in a header. Source: 3.1.3.2, "MUST [...] percent-decoded [...] RFC3986 [...] UTF-8"."""
    quoted = _QUOTED.fullmatch(value)
    plain = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value
    try:
        return unquote_to_bytes(plain).decode()
    except UnicodeDecodeError as error:
        raise Refused(400, f"the header {name} is no percent-encoded UTF-8") from error


def _checked(body: bytes) -> str:
    """Return *body*, which is one JSON value and nothing behind it. Raises: Refused, 400."""
    try:
        text = body.decode("utf-8-sig")
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the data of the CloudEvent is no JSON: {error}") from error
    return text


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
