"""The parts of a line that all layouts share: who asked, when, for what; each checked before it is believed."""

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

# What a line offers to the fields of a source, and to --map.
COLUMNS = ("visitor_id", "page", "referrer", "action", "ts", "status", "bytes", "properties")

# Possessive repeats give nothing back: the time to match, or not to, is linear in the line.
QUOTED = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*+(?:\.(?=[A-Za-z0-9_]))?)++\.?")
_DIGITS_LAST = re.compile(r"(?:^|\.)[0-9]++\.?$")
_PORT = re.compile(r":[0-9]{1,5}")
_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_ESCAPE = re.compile(r'\\(["\\])')
_TIME = re.compile(
    r"([0-3][0-9])/([A-Z][a-z]{2})/([0-9]{4}):([0-9:]{8}(?:\.[0-9]{1,9})?)(?: ([+-][0-9]{4}))?"
)
_ISO_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})")
_ORIGIN = re.compile(r"(?:https?|wss?)://[^/?]*+")
# By name and not by strptime, which reads months in the language of the machine.
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_VIEWS = {"GET", "HEAD"}  # they ask for a page; what asks for more is named by its method


class Hit(NamedTuple):
    """One line, understood: the layout that it is in, and its values by column."""

    layout: str
    values: dict[str, object]


@lru_cache(8192)
def is_address(text: str) -> bool:
    """Tell whether *text* is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@lru_cache(8192)
def is_client(text: str) -> bool:
    """Tell whether *text* can be who asked: an address or the name of a host.

    No name ends in digits alone (RFC 3696, 2): 203.0.113.300 is a damaged address, and 512 a number from another column.
    """
    if len(text) > 253:
        return False
    return is_address(text) or (_HOST.fullmatch(text) is not None and _DIGITS_LAST.search(text) is None)


def without_port(text: str) -> str:
    """Return the address in ``address:port``, as balancers write it; IPv6 with or without brackets."""
    address, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        return text
    return address.removeprefix("[").removesuffix("]")


def is_virtual_host(text: str) -> bool:
    """Tell whether *text* is ``%v`` or ``%v:%p``: a host that was asked, perhaps with its port."""
    return is_client(_PORT.sub("", text, count=1) if text.count(":") == 1 else text)


def event_values(
    *,
    client: str,
    time: str,
    method: str,
    target: str,
    status: str | None,
    size: str | None,
    referrer: str | None = None,
    agent: str | None = None,
    more: Mapping[str, str | None] | None = None,
) -> dict[str, object]:
    """Return the values of a line by column; ``-`` and nothing are null. Raises: ValueError, with what is wrong."""
    if not is_client(client):
        raise ValueError(f"{client[:80]!r}, where the client stands, is neither an address nor a host name")
    page, has_query, query = target.partition("?")
    if not page:
        raise ValueError(f"the request for {target[:80]!r} names no page")
    properties = {"method": method}
    if known := _known(agent):
        properties["user_agent"] = known
    if has_query:
        properties["query"] = query
    properties |= {key: each for key, text in (more or {}).items() if (each := _known(text))}
    return {
        "visitor_id": client,
        "page": page,
        "referrer": _known(referrer),
        "action": "view" if method in _VIEWS else method.lower(),
        "ts": time,
        "status": None if _known(status) is None else int(str(status)),
        "bytes": None if _known(size) is None else int(str(size)),
        "properties": properties,
    }


def split_request(request: str, *, absolute: bool = False) -> tuple[str, str]:
    """Return method and target. A target may hold blanks that nobody escaped; HTTP/0.9 names no protocol.

    *absolute*: the target is a whole URL, as balancers write it; its path is meant.
    """
    method, _, rest = request.partition(" ")
    target, blank, protocol = rest.rpartition(" ")
    if not blank or not (protocol.startswith("HTTP/") or protocol == "-"):
        target = rest
    if not target or not _METHOD.fullmatch(method):
        raise ValueError(f"the request {request[:80]!r} is not METHOD PAGE PROTOCOL")
    if absolute and (origin := _ORIGIN.match(target)):
        target = target[origin.end() :]
        target = target if target.startswith("/") else f"/{target}"
    return method, target


def unescape(text: str) -> str:
    r"""Return a quoted part as it was: ``\"`` and ``\\`` are read, ``\xhh`` stays, since nobody knows its encoding."""
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def iso_time(text: str, *, zoned: bool = True) -> str:
    """Return ``17/May/2015:10:05:03 +0000``, or ISO 8601 with an offset, as ISO 8601. Raises: ValueError."""
    match = _TIME.fullmatch(text)
    if match is None and _ISO_TIME.fullmatch(text):
        return text
    if match is None or match[2] not in _MONTHS or (zoned and match[5] is None):
        raise ValueError(f"{text[:80]!r} is not a time such as 17/May/2015:10:05:03 +0000")
    day, month, year, clock, offset = match.groups()
    return f"{year}-{_MONTHS[month]:02d}-{day}T{clock}{offset or ''}"


def _known(text: str | None) -> str | None:
    return None if text in (None, "-", "") else text
