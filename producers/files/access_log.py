r"""Read web server logs in Combined or Common Log Format.

::

    %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"
    client ident user [17/May/2015:10:05:03 +0000] "GET /a?b HTTP/1.1" 200 203023 "referrer" "user agent"

"This is the same as the Common Log Format, with the addition of two more fields": a line may end after its bytes. In
quoted fields a quote and a backslash are escaped by a backslash; ``\xhh`` stays as it is written, since nobody knows
the encoding of the bytes it stands for.

Source: https://httpd.apache.org/docs/2.4/logs.html and https://httpd.apache.org/docs/2.4/mod/mod_log_config.html
"""

import re
from collections.abc import Iterable, Iterator

from producers.files.lines import Line
from producers.files.rows import AnyRow, BadRow, BlankLine, Row
from streamgage.errors import ConfigError

# What a line offers to the fields of a source, and to --map; properties.method, .query and .user_agent too.
COLUMNS = ("visitor_id", "page", "referrer", "action", "ts", "status", "bytes", "properties")

# Possessive repeats give nothing back: the time to match, or not to, is linear in the line.
_QUOTED = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_LINE = re.compile(
    rf"(?P<client>\S++) \S++ [^\[\]\"]*+\[(?P<time>[^\]]*+)\] {_QUOTED} "
    rf"(?P<status>[0-9]{{3}}) (?P<bytes>[0-9]{{1,18}}|-)(?: {_QUOTED} {_QUOTED})?[ \r\n]*+"
)
_TIME = re.compile(r"([0-3][0-9])/([A-Z][a-z]{2})/([0-9]{4}):([0-9:]{8}) ([+-][0-9]{4})")
_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_ESCAPE = re.compile(r'\\(["\\])')
# By name and not by strptime, which reads months in the language of the machine.
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_VIEWS = {"GET", "HEAD"}  # they ask for a page; what asks for more is named by its method


def read_access_log(lines: Iterable[Line], name: str) -> Iterator[AnyRow]:
    """Yield the row of each line, with a value for each of COLUMNS (None where there is none).

    Raises:
        ConfigError: there is no line but blank ones.
    """
    empty = True
    for line in lines:
        if line.is_blank:
            yield BlankLine(line.number, line.end_bytes)
            continue
        empty = False
        if line.problem is not None:
            yield BadRow(line.number, line.raw, line.problem, line.end_bytes)
            continue
        try:
            yield Row(line.number, line.raw, parse_line(line.text), line.end_bytes)
        except ValueError as error:
            yield BadRow(line.number, line.raw, str(error), line.end_bytes)
    if empty:
        raise ConfigError(f"{name} is empty; lines of an access log are expected")


def parse_line(text: str) -> dict[str, object]:
    """Return the values of one line by column. Raises: ValueError, with what was expected."""
    match = _LINE.fullmatch(text)
    if match is None:
        raise ValueError(
            'not Combined Log Format: client - user [time] "request" status bytes "referrer" "user agent"'
            + (" (a quote is not closed)" if len(re.findall(r'(?<!\\)"', text)) % 2 else "")
        )
    request, referrer, agent = (
        None if each is None else _ESCAPE.sub(r"\1", each) for each in match.group(3, 6, 7)
    )
    method, target = _request(request or "")
    page, has_query, query = target.partition("?")
    if not page:
        raise ValueError(f"the request {request!r} names no page")
    properties = {"method": method}
    if agent not in (None, "-", ""):
        properties["user_agent"] = str(agent)
    if has_query:
        properties["query"] = query
    return {
        "visitor_id": match["client"],
        "page": page,
        "referrer": None if referrer in ("-", "") else referrer,
        "action": "view" if method in _VIEWS else method.lower(),
        "ts": _iso_time(match["time"]),
        "status": int(match["status"]),
        "bytes": None if match["bytes"] == "-" else int(match["bytes"]),
        "properties": properties,
    }


def _request(request: str) -> tuple[str, str]:
    """Return method and target. A target may hold blanks that nobody escaped; HTTP/0.9 names no protocol."""
    method, _, rest = request.partition(" ")
    target, blank, protocol = rest.rpartition(" ")
    if not blank or not protocol.startswith("HTTP/"):
        target = rest
    if not target or not _METHOD.fullmatch(method):
        raise ValueError(f"the request {request[:80]!r} is not METHOD PAGE PROTOCOL")
    return method, target


def _iso_time(text: str) -> str:
    match = _TIME.fullmatch(text)
    if match is None or match[2] not in _MONTHS:
        raise ValueError(f"{text[:80]!r} is not a time such as 17/May/2015:10:05:03 +0000")
    day, month, year, clock, offset = match.groups()
    return f"{year}-{_MONTHS[month]:02d}-{day}T{clock}{offset}"
