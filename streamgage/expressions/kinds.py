"""What values there are, and what is wrong with an expression."""

from enum import StrEnum


class Kind(StrEnum):
    """A kind of value. Any value may be null as well."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "true or false"
    MAP = "map of texts"
    NULL = "null"


class ExpressionError(ValueError):
    """An expression that cannot be: *at* is the position (from 0) in its text."""

    def __init__(self, what: str, text: str, at: int) -> None:
        self.what, self.at = what, at
        super().__init__(f"{what}, at character {at + 1} of {_shown(text, at)}")


def _shown(text: str, at: int) -> str:
    """Return *text* around *at*, in one line."""
    first, last = max(at - 30, 0), at + 30
    around = " ".join(text[first:last].split())
    return repr(f"{'…' if first else ''}{around}{'…' if last < len(text) else ''}")
