r"""InfluxDB's line protocol, as Telegraf and InfluxDB's clients write it: ``weather,host=a temperature=20.5,wet=t 1767614400000000000``.

Names and tag values escape ``,``, ``=`` and a space with ``\``; any other backslash is itself, as in ``C:\temp``. Texts stand in
double quotes and escape ``"`` and ``\``; a line end in one belongs to it. So behind a quote that is never closed nobody can
tell what is a line: all the rest is refused as one.

Source: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ (checked 2026-11-29).
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from streamgage.formats.agents.items import Refused, pairs

_BLANK = re.compile(r"[ \t\r]*+(?:#[^\n]*+)?+(?:\n|\Z)")
_LINE = re.compile(
    r" *+((?:[^ \\\n]|\\[^\n])++) ++"
    r'((?:[^ "\\\r\n]|\\[^\n]|"(?:[^"\\]|\\[\s\S])*+")++)'
    r"(?: ++(-?[0-9]{1,19}))?+ *+\r?+(?:\n|\Z)"
)
_NAME = r"(?:[^,=\\]|\\[\s\S])++"
_TAG = re.compile(rf",({_NAME})=({_NAME})")
_MEASUREMENT = re.compile(r"(?:[^,\\]|\\[\s\S])++")
_FIELD = re.compile(rf'({_NAME})=(?:"((?:[^"\\]|\\[\s\S])*+)"|([^,"\\]++))(,|\Z)')
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?")
_NAME_ESCAPE = re.compile(r"\\([,= ])")
_TEXT_ESCAPE = re.compile(r'\\(["\\])')
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_MAX_NUMBER_CHARS = 400
_REMEMBERED, _REMEMBERED_CHARS = 4096, 512
_BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
Series = Mapping[str, object]
"""What the fields of a line share, by selector: ``measurement``, ``tags``, and each ``tag:…``."""


class Line(NamedTuple):
    """One line: its series, its fields in their order, and its timestamp in the writer's unit; None where it has none."""

    number: int
    series: Series
    fields: Mapping[str, object]
    time: int | None


def lines_of(body: bytes) -> Iterator[Line | Refused]:
    """Yield the lines of *body* in their order; comments and empty lines are none. Work grows with the bytes alone."""
    try:
        text, broken = body.decode(), False
    except UnicodeDecodeError:
        text, broken = body.decode("utf-8", "surrogateescape"), True
    at, number = 0, 1
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at, number = blank.end(), number + 1
            continue
        match = _LINE.match(text, at)
        if match:
            end = match.end()
        else:
            line_end = text.find("\n", at)
            end = len(text) if line_end < 0 else line_end + 1
        found = _line(match, number) if match else _no_line(text[at:end], number)
        if broken and _NOT_UTF8.search(text, at, end):
            found = Refused.at(("line", number), "not UTF-8")
        yield found
        if isinstance(found, Refused) and '"' in text[at:end]:
            if _BLANK.fullmatch(text, end) is None and end < len(text):
                yield Refused.at(
                    ("line", number),
                    "a quote in it: what stands behind it cannot be told from it, and is refused with it",
                )
            return
        number += text.count("\n", at, end)
        at = end


def _no_line(text: str, number: int) -> Refused:
    return Refused.at(
        ("line", number),
        f"{text[:80]!r} is not line protocol: measurement[,tag=value] field=value[,…] [timestamp]",
    )


def _line(match: re.Match[str], number: int) -> Line | Refused:
    series_text, fields_text, time = match.groups()
    try:
        short = len(series_text) <= _REMEMBERED_CHARS
        series = _series(series_text) if short else _read_series(series_text)
        stamp = None if time is None else _integer(time, -(2**63), 2**63 - 1)
        return Line(number, series, _fields(fields_text), stamp)
    except ValueError as error:
        return Refused.at(("line", number), str(error))


def _read_series(text: str) -> Series:
    """Return the series that *text* names. Raises: ValueError, it names none."""
    head = _MEASUREMENT.match(text)
    if head is None:
        raise ValueError("no measurement")
    tags, at = [], head.end()
    while at < len(text):
        tag = _TAG.match(text, at)
        if tag is None:
            raise ValueError(f"{text[at : at + 80]!r} is not ,tag=value")
        tags.append((_unescaped(tag[1]), _unescaped(tag[2])))
        at = tag.end()
    by_name = pairs([*tags], "tag")
    named = {f"tag:{name}": value for name, value in by_name.items()}
    measurement = head[0].replace("\\,", ",").replace("\\ ", " ")
    return {"measurement": measurement, "tags": by_name, **named}


_series = lru_cache(maxsize=_REMEMBERED)(_read_series)  # they come again and again; nobody changes one


def _fields(text: str) -> dict[str, object]:
    found: list[tuple[str, object]] = []
    at, end = 0, ","
    while end:
        field = _FIELD.match(text, at)
        if field is None:
            raise ValueError(f"{text[at : at + 80]!r} is not field=value")
        name, quoted, plain, end = field.groups()
        value = _plain(plain) if quoted is None else _TEXT_ESCAPE.sub(r"\1", quoted)
        found.append((_unescaped(name), value))
        at = field.end()
    return pairs(found, "field")


def _plain(text: str) -> object:
    """Return the number or truth value that *text* is. Raises: ValueError, it is none."""
    if len(text) <= _MAX_NUMBER_CHARS:
        if _FLOAT.fullmatch(text):
            return float(text)
        if text[-1] == "i":
            return _integer(text[:-1], -(2**63), 2**63 - 1)
        if text[-1] == "u":
            return _integer(text[:-1], 0, 2**64 - 1)
        if text in _BOOLEANS:
            return _BOOLEANS[text]
    raise ValueError(f"{text[:80]!r} is not a value: 1.5, 2i, 3u, true, or a text in double quotes")


def _integer(text: str, least: int, greatest: int) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or not least <= (number := int(text)) <= greatest:
        raise ValueError(f"{text[:80]!r} is not a whole number from {least} to {greatest}")
    return number


def _unescaped(name: str) -> str:
    return _NAME_ESCAPE.sub(r"\1", name) if "\\" in name else name
