"""Keys that a person takes for one and a table for two: ``d1`` and ``d1`` with a blank behind it."""

import unicodedata
from collections.abc import Iterator, Sequence

from streamgage.formats.avro import Event

_REMEMBERED = 50_000  # keys of a field
_SHOWN = 5


class Lookalikes:
    """Remembers, bounded, the keys of events, and tells those that differ in blanks or in how accents are coded."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._seen: dict[str, set[str]] = {name: set() for name in fields}
        self._odd: dict[tuple[str, str], None] = {}

    def note(self, event: Event) -> None:
        """Take note of the keys of *event*."""
        for name, seen in self._seen.items():
            value = event.get(name)
            if type(value) is not str or value in seen:
                continue
            if len(seen) < _REMEMBERED:
                seen.add(value)
            if value != _plain(value) and len(self._odd) < _REMEMBERED:
                self._odd[name, value] = None

    def told(self) -> Iterator[str]:
        """Yield what a person should know, a line each."""
        for name, value in list(self._odd)[:_SHOWN]:
            twin = _plain(value)
            if twin in self._seen[name]:
                yield f"{name}: {value!r} and {twin!r} look alike and are two keys"
            else:
                yield f"{name}: {value!r} has blanks around it, or accents of two characters; they are part of the key"
        if len(self._odd) > _SHOWN:
            yield f"… and {len(self._odd) - _SHOWN:,} more such keys"


def _plain(value: str) -> str:
    stripped = value.strip()
    return stripped if stripped.isascii() else unicodedata.normalize("NFC", stripped)
