"""Several JSON documents in one record: behind each other, on lines of their own, or in an array.

A line end within a text is escaped in JSON. So of what is broken within its line only that line is refused, and the next one
that begins with ``{`` is read. Work grows with the bytes: what goes on over its line's end and is broken is read twice, and
that is borne a few times a record.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from streamgage.errors import PoisonRecord
from streamgage.formats.agents.items import Place, Refused, undecodable

_SPACES = " \t\r\n\x1e"  # RFC 8259's, and the record separator of RFC 7464
_RESUME = "\n{"
_MOST_BROKEN = 16  # documents over several lines


def documents_in(body: bytes) -> Iterator[tuple[Place, dict[str, Any]] | Refused]:
    """Yield the objects in *body*, each with its place; those of an array one by one.

    Raises:
        PoisonRecord: it is not UTF-8.
    """
    try:
        reader = _Documents(body.decode())
    except UnicodeDecodeError as error:
        raise undecodable(f"not UTF-8: {error}") from error
    number = 1
    while reader.goes_on:
        found = reader.next(number)
        for each in found if isinstance(found, list) else (found,):
            place: Place = ("event", number)
            if isinstance(each, Refused):
                yield each
            else:
                yield (place, each) if isinstance(each, dict) else Refused.at(place, "not a JSON object")
            number += 1


class _Documents:
    """The documents of a text, one at a time."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._line, self._line_start, self._line_end = "", 0, 0
        self._broken = 0
        self._skip()

    @property
    def goes_on(self) -> bool:
        """Whether there is another one."""
        return self._at < len(self._text)

    def next(self, number: int) -> Any:
        """Return the next document; Refused where it is broken."""
        if self._at >= self._line_end:
            self._line_start, found = self._at, self._text.find("\n", self._at)
            self._line_end = len(self._text) if found < 0 else found
            self._line = self._text[self._at : self._line_end]
        try:
            document, end = _DECODER.raw_decode(self._line, self._at - self._line_start)
            self._at = self._line_start + end
        except json.JSONDecodeError as error:
            if error.pos < len(self._line.rstrip()) and not error.msg.startswith("Unterminated"):
                document = self._refuse(number, str(error))
            else:
                document = self._over_lines(number)
        except (PoisonRecord, ValueError, RecursionError) as error:
            document = self._refuse(number, error)
        self._skip()
        return document

    def _over_lines(self, number: int) -> Any:
        """Return the document that goes on behind its line's end."""
        try:
            document, self._at = _DECODER.raw_decode(self._text, self._at)
        except (PoisonRecord, ValueError, RecursionError) as error:
            self._broken += 1
            document = self._refuse(number, error, last=self._broken == _MOST_BROKEN)
        return document

    def _refuse(self, number: int, error: object, *, last: bool = False) -> Refused:
        resume = -1 if last or self._text[self._at] != "{" else self._text.find(_RESUME, self._at)
        self._at = len(self._text) if resume < 0 else resume
        if isinstance(error, PoisonRecord):
            return Refused.at(("event", number), error.reason, error.code)
        return Refused.at(("event", number), f"not valid JSON: {error}")

    def _skip(self) -> None:
        while self.goes_on and self._text[self._at] in _SPACES:
            self._at += 1


def _refuse_constant(name: str) -> float:
    raise PoisonRecord("bad_value", f"{name} is not a finite number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


class PathValues:
    r"""The values of a JSON object by path: ``sensor.id``; where a key has a dot itself, ``sensor\.id``."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.found = found

    def get(self, selector: str) -> object:
        """Return the value at the path *selector*; None where there is none."""
        if "." not in selector:
            return self.found.get(selector)
        value: object = self.found
        for key in _keys(selector):
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value


@lru_cache(maxsize=1024)  # those of a definition
def _keys(path: str) -> tuple[str, ...]:
    return tuple(each.replace("\0", ".") for each in path.replace("\\.", "\0").split("."))
