"""Keys that a person takes for one and a table for two: ``d1`` and ``d1`` with a blank behind it."""

import unicodedata
from collections.abc import Iterator, Sequence

from streamgage.formats.avro import Event

_UNSEEN = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"  # byte order mark, blanks and marks of no width
_REMEMBERED = 50_000  # keys of a field
_SHOWN = 5


class Lookalikes:
    """Remembers, bounded, the keys of events, and tells those that differ in blanks, in what nobody sees, or in how accents are coded."""

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
                yield f"{name}: {_spelt(value)} and {_spelt(twin)} look alike and are two keys"
            else:
                yield f"{name}: {_spelt(value)} has blanks around it, or accents of two characters; they are part of the key"
        if len(self._odd) > _SHOWN:
            yield f"… and {len(self._odd) - _SHOWN:,} more such keys"


def _spelt(value: str) -> str:
    """Return *value* in quotes; where it is not seen to differ from its plain form, with what it is made of."""
    return repr(value) if value.strip() != value or _plain(value) == value else ascii(value)


def _plain(value: str) -> str:
    stripped = value.strip().strip(_UNSEEN).strip()
    return stripped if stripped.isascii() else unicodedata.normalize("NFC", stripped)
