"""Access logs in JSON: Caddy's and Traefik's.

Source: https://caddyserver.com/docs/caddyfile/directives/log and https://doc.traefik.io/traefik/observability/access-logs/
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from producers.files.access.fields import Hit, event_values, without_port

LAYOUTS = ("caddy", "traefik_json")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_json(text: str) -> Hit | None:
    """Return what *text* says, None where it is no JSON object of these. Raises: ValueError, see parse_apache."""
    entry = json_object(text)
    if entry is None:
        return None
    request = entry.get("request")
    if isinstance(request, Mapping) and "uri" in request:
        return _caddy(entry, request)
    if "ClientHost" in entry and "RequestPath" in entry:
        return _traefik(entry)
    return None


def json_object(text: str) -> Mapping[str, object] | None:
    """Return the JSON object that *text* is, None where it is none."""
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _caddy(entry: Mapping[str, object], request: Mapping[str, object]) -> Hit:
    client = request.get("client_ip") or request.get("remote_ip")
    if client is None:
        client = without_port(_text(request.get("remote_addr")))  # before Caddy 2.5
    headers = request.get("headers")
    return Hit(
        "caddy",
        event_values(
            client=_text(client),
            time=_time(entry.get("ts")),
            method=_text(request.get("method")),
            target=_text(request.get("uri")),
            status=_number(entry, "status"),
            size=_number(entry, "size"),
            referrer=_header(headers, "Referer"),
            agent=_header(headers, "User-Agent"),
            more={"host": _text(request.get("host"))},
        ),
    )


def _traefik(entry: Mapping[str, object]) -> Hit:
    def text(name: str) -> str:
        return _text(entry.get(name))

    return Hit(
        "traefik_json",
        event_values(
            client=text("ClientHost"),
            time=_time(entry.get("StartUTC", entry.get("time"))),
            method=text("RequestMethod"),
            target=text("RequestPath"),
            status=_number(entry, "DownstreamStatus"),
            size=_number(entry, "DownstreamContentSize"),
            referrer=text("request_Referer"),
            agent=text("request_User-Agent"),
            more={"host": text("RequestHost")},
        ),
    )


def _time(value: object) -> str:
    """Return a time as text: Caddy writes s since 1970 unless it is told otherwise."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 10**8 <= value < 10**11:  # 1973 to 5138
            raise ValueError(
                f'"ts" is {value!r}, not a number of s since 1970; Caddy may be told another time_format'
            )
        return (_EPOCH + timedelta(milliseconds=int(Decimal(repr(value)) * 1000))).isoformat()
    text = _text(value)
    if not text or not (text.endswith("Z") or text[-6:-5] in ("+", "-") or text[-5:-4] in ("+", "-")):
        raise ValueError(f"the time {text[:80]!r} has no offset from UTC")
    return text


def _header(headers: object, name: str) -> str | None:
    values = headers.get(name) if isinstance(headers, Mapping) else None
    return str(values[0]) if isinstance(values, list) and values else None


def _number(entry: Mapping[str, object], name: str) -> str | None:
    """Return a number, None where the log has none. Raises: ValueError, it is something else: not nothing, either."""
    value = entry.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
        return str(value)
    raise ValueError(f'"{name}" is {value!r:.80}, not a whole number')


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
