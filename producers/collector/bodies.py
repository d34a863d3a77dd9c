"""From the body of a request to objects: inflated, parsed once, within bounds. No object is judged here.

JSON is one event, an array of events, or an envelope; NDJSON an event a line; CloudEvents one, or an array.
"""

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from producers.collector.limits import Bounds
from producers.collector.message import Refused
from streamgage.errors import PoisonRecord
from streamgage.formats.json_event import parse_json_object

Form = Literal["json", "ndjson", "cloudevents"]
_FORMS: Mapping[str, Form] = {
    "application/json": "json",
    "text/plain": "json",  # what sendBeacon says of a text: no preflight is asked for then
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/cloudevents+json": "cloudevents",
    "application/cloudevents-batch+json": "cloudevents",
}
_ENVELOPE = frozenset({"client", "batch", "events"})
_CLIENT = re.compile(r"[\x21-\x7e]{1,100}")
_MOST_BATCH = 2**53  # what each client's numbers hold exactly
_MEMBERS = 100  # of one gzip: what is behind each is copied, so that many empty ones would take long
_PER_EVENT = (
    20  # lines, or objects and arrays, for each event that a body may have: a parser takes many bytes for two
)


@dataclass(frozen=True, slots=True)
class Objects:
    """What a body holds: each object with its place, for a person, or a PoisonRecord where it is none.

    ``key`` is the idempotency key that an envelope says, "" without one.
    """

    form: Form
    items: Sequence[tuple[str, Mapping[str, Any] | PoisonRecord]]
    key: str = ""


def inflated(body: bytes, headers: Mapping[str, str], bounds: Bounds) -> bytes:
    """Return *body* as it was before its Content-Encoding. Raises: Refused, 400, 413 or 415."""
    if len(body) > bounds.body_bytes:
        raise Refused(413, f"the body has {len(body):,} bytes; at most {bounds.body_bytes:,} are taken")
    coding = headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise Refused(415, f"Content-Encoding {coding[:40]!r} is not read; gzip is, or none")
    parts, left, rest = list[bytes](), bounds.inflated_bytes, body
    while rest:  # RFC 1952: "a series of members"
        if len(parts) == _MEMBERS:
            raise Refused(413, f"the body has more than {_MEMBERS} gzip members: compress it as one")
        inflate = zlib.decompressobj(wbits=31)
        try:
            parts.append(inflate.decompress(rest, left + 1))
        except zlib.error as error:
            raise Refused(400, f"the body is no gzip, as its Content-Encoding says: {error}") from error
        left -= len(parts[-1])
        if left < 0:
            raise Refused(413, f"the body inflates to more than {bounds.inflated_bytes:,} bytes")
        if not inflate.eof:
            raise Refused(400, "the body is gzip, and its end is missing")
        rest = inflate.unused_data
    return b"".join(parts)


def objects_of(body: bytes, content_type: str, bounds: Bounds) -> Objects:
    """Return what the inflated *body* holds.

    Raises:
        Refused: 400, it cannot be read; 413, it holds too much; 415, its content type is none of ours.
    """
    media = content_type.partition(";")[0].strip().lower()
    form = _FORMS.get(media)
    if form is None:
        raise Refused(415, f"Content-Type {media[:80]!r} is not read; these are: {', '.join(_FORMS)}")
    if form == "ndjson":
        check_lines(body, bounds)
        return Objects(form, list(_lines(body, bounds)))
    check_json(body, bounds)
    found = _parsed(body)
    key = ""
    place = "events"
    if form == "json" and isinstance(found, dict) and isinstance(found.get("events"), list):
        key, found = _envelope(found), found["events"]
    elif isinstance(found, dict):
        return Objects(form, [("event", found)])
    if not isinstance(found, list):
        raise Refused(400, 'the body is neither an event, an array of events, nor {"events": [...]}')
    _check_count(len(found), bounds)
    return Objects(form, [(f"{place}[{at}]", _object(each)) for at, each in enumerate(found)], key)


def _object(found: Any) -> Mapping[str, Any] | PoisonRecord:
    return found if isinstance(found, dict) else PoisonRecord("undecodable", "not a JSON object")


def _envelope(found: Mapping[str, Any]) -> str:
    """Return the key that (client, batch) is, "" without them. Raises: Refused."""
    client, batch = found.get("client"), found.get("batch")
    problems = [
        f"{name[:80]!r}: an envelope has client, batch and events" for name in found if name not in _ENVELOPE
    ]
    if (client is None) != (batch is None):
        problems.append("client and batch stand together, or neither does")
    if client is not None and not (isinstance(client, str) and _CLIENT.fullmatch(client)):
        problems.append("client is 1 to 100 visible ASCII characters")
    if batch is not None and not (type(batch) is int and 0 <= batch < _MOST_BATCH):
        problems.append("batch is a whole number from 0 to 2**53")
    if problems:
        raise Refused(400, *problems[:20])
    return "" if client is None else f"{client} {batch}"


def _lines(body: bytes, bounds: Bounds) -> Iterator[tuple[str, Mapping[str, Any] | PoisonRecord]]:
    count = 0
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        count += 1
        _check_count(count, bounds)
        try:
            yield f"line {number}", parse_json_object(line)
        except PoisonRecord as poison:
            yield f"line {number}", poison


def check_lines(body: bytes, bounds: Bounds) -> None:
    """Let pass lines that are worth looking at one by one, before anybody does. Raises: Refused, 413."""
    _check_parts(body.count(b"\n"), "lines", bounds)


def check_json(body: bytes, bounds: Bounds) -> None:
    """Let pass JSON that is worth parsing, before anybody does. Raises: Refused, 413."""
    _check_parts(body.count(b"{") + body.count(b"["), "objects and arrays", bounds)


def _check_parts(count: int, what: str, bounds: Bounds) -> None:
    if count > _PER_EVENT * bounds.events:
        raise Refused(413, f"more than {_PER_EVENT * bounds.events:,} {what}: send smaller batches")


def _check_count(count: int, bounds: Bounds) -> None:
    if count > bounds.events:
        raise Refused(413, f"more than {bounds.events:,} events: send smaller batches")


def _parsed(body: bytes) -> Any:
    try:
        # Decoded here: json itself would guess UTF-16, and read the surrogates that UTF-8 forbids.
        return json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # brackets in brackets: the parser counts them
        raise Refused(400, f"the body is no JSON: {error}") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
