"""What a record of an agent is made of: items, each with its values, or refused with its place and the reason."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from streamgage.errors import PoisonCode, PoisonRecord

_COPIED = 64  # values: faster to find in a copy
Place = tuple[str | int, ...]
"""Where an item stands in its record, for a person: ``("line", 3)``, ``("resource", 0, "metric", 2, "point", 1)``."""


class Values(Protocol):
    """What an item holds, by selector (``streamgage.formats.agents.mapping``)."""

    def get(self, selector: str, /) -> object:
        """Return the value; None where there is none."""


class Item(NamedTuple):
    """One measurement, as its agent wrote it."""

    values: Values
    place: Place


class Refused(NamedTuple):
    """One item that nobody can count; ``code`` is that of its poison, ``reason`` begins with its place.

    ``chars`` is how much text was looked at for it that it shares with its neighbours: so much work it was.
    """

    code: PoisonCode
    reason: str
    chars: int = 0

    @classmethod
    def at(cls, place: Place, reason: str, code: PoisonCode = "undecodable", *, chars: int = 0) -> "Refused":
        """Return the refusal of what stands at *place*."""
        return cls(code, f"{shown(place)}: {reason}", chars)


class PassedOver(NamedTuple):
    """One item that is nobody's business, and says so: ``others = "ignore"``, or a point without a recorded value.

    Where it is no item of its own, a field of a line that is one event, it has a place all the same: the places of a record are
    a function of its bytes alone, so that who sends refused ones anew by another definition means the same (``redrive``).
    """

    is_item: bool


PASSED_OVER: Final = PassedOver(is_item=True)
PART: Final = PassedOver(is_item=False)


class Composite:
    """A value that no column takes: an array, an object, bytes."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __repr__(self) -> str:
        return self._what


def shown(place: Place) -> str:
    """Return *place* as a message shows it."""
    return " ".join(str(each)[:200] for each in place)[:200]


def pairs(found: list[tuple[str, object]], what: str) -> dict[str, object]:
    """Return *found* by key. Raises: ValueError, a key stands there twice, and nobody can tell which is meant."""
    values = dict(found)
    if len(values) < len(found):
        twice = next(key for key, count in Counter(key for key, _ in found).items() if count > 1)
        raise ValueError(f"{what} {twice[:80]!r} stands there twice")
    return values


class Merged:
    """Values of an item beside those that it shares with its neighbours, which are not copied."""

    __slots__ = ("base", "own")

    def __init__(self, base: Values, own: Mapping[str, object]) -> None:
        self.base, self.own = base, own

    def get(self, selector: str, /) -> object:
        """Return the value; None where there is none."""
        return self.own[selector] if selector in self.own else self.base.get(selector)


def merged(base: Values, own: Mapping[str, object]) -> Values:
    """Return the values of an item: its *own*, before those that it shares with all of its neighbours, *base*.

    Where these are many they are not copied: a record of many attributes and many points would take the one times the other.
    """
    if isinstance(base, dict) and len(base) <= _COPIED:
        return {**base, **own}
    return Merged(base, own)


def undecodable(reason: str) -> PoisonRecord:
    """Return the poison of a record that cannot be taken apart."""
    return PoisonRecord("undecodable", reason)
