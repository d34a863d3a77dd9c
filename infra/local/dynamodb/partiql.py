"""The statements of PartiQL that we write, and no others. Each text is parsed once.

::

    INSERT INTO "table" VALUE {'pk': ?, 'sk': ?, 'name': ?, …}
    UPDATE "table" SET "name"=? SET "name"=? … WHERE "pk"=? AND "sk"=? AND "fence"=?

A comma may stand for the second SET, and another comparison for the last ``=``. Every value is a parameter.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.html (checked 2026-11-28).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from infra.local.dynamodb.errors import DynamoError, invalid

STATEMENT_BYTES = 8192
_KEPT = 1024
_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|\"(?P<quoted>(?:[^\"]|\"\")+)\"|'(?P<text>(?:[^']|'')+)'"
    r"|(?P<operator><>|<=|>=|[=<>{}:,?]))"
)
_KNOWN = (
    "this engine carries out INSERT INTO \"table\" VALUE {'name': ?, …} and "
    'UPDATE "table" SET "name"=? … WHERE "name"=? AND …'
)
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


class Clause(NamedTuple):
    """``"name" symbol ?``, of a WHERE."""

    name: str
    symbol: str
    parameter: int


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT: ``names`` in the order of its parameters."""

    table: str
    names: tuple[str, ...]

    @property
    def parameters(self) -> int:
        """How many parameters it takes."""
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Change:
    """An UPDATE: ``sets`` in the order of its first parameters, ``where`` of the others."""

    table: str
    sets: tuple[str, ...]
    where: tuple[Clause, ...]

    @property
    def parameters(self) -> int:
        """How many parameters it takes."""
        return len(self.sets) + len(self.where)


Statement = Insert | Change


@lru_cache(maxsize=_KEPT)
def parse(text: str) -> Statement:
    """Return the statement that *text* is. Raises: DynamoError: it is none of ours."""
    reader = _Reader(text)
    if reader.takes("INSERT"):
        return _insert(reader)
    if reader.takes("UPDATE"):
        return _update(reader)
    raise reader.refused("Invalid operation")


class _Reader:
    """The tokens of a statement, one after another."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def takes(self, word: str) -> bool:
        """Take *word*, a keyword or an operator, where it is next; tell whether it was."""
        match = _TOKEN.match(self._text, self._at)
        if match is None or (match["word"] or match["operator"] or "").upper() != word:
            return False
        self._at = match.end()
        return True

    def expect(self, *words: str) -> None:
        """Take *words*."""
        for word in words:
            if not self.takes(word):
                raise self.refused(f"expected {word}")

    def name(self, *groups: str) -> str:
        """Take a name: of *groups*, which kinds of quotes it may have."""
        match = _TOKEN.match(self._text, self._at)
        for group in groups:
            if match is not None and match[group] is not None:
                self._at = match.end()
                quote = {"quoted": '"', "text": "'"}.get(group, "")
                return match[group].replace(quote * 2, quote) if quote else match[group]
        raise self.refused("expected a name")

    def operator(self) -> str:
        """Take a comparison."""
        match = _TOKEN.match(self._text, self._at)
        if match is None or match["operator"] not in _COMPARISONS:
            raise self.refused("expected a comparison")
        self._at = match.end()
        return match["operator"]

    def end(self) -> None:
        """Refuse what is left."""
        if self._text[self._at :].strip(" \t\r\n;"):
            raise self.refused("expected the end")

    def refused(self, what: str) -> DynamoError:
        """Return the error of a statement that is none of ours."""
        near = self._text[self._at : self._at + 40].strip() or "the end"
        return invalid(f"{what} at {near!r}: {_KNOWN}")


def _insert(reader: _Reader) -> Insert:
    reader.expect("INTO")
    table = reader.name("quoted", "word")
    reader.expect("VALUE", "{")
    names: list[str] = []
    while True:
        names.append(reader.name("text"))
        reader.expect(":", "?")
        if not reader.takes(","):
            break
    reader.expect("}")
    reader.end()
    if len(set(names)) < len(names):
        raise invalid(f"Duplicate keys in tuple: {', '.join(names)}")
    return Insert(table, tuple(names))


def _update(reader: _Reader) -> Change:
    table = reader.name("quoted", "word")
    reader.expect("SET")
    sets: list[str] = []
    while True:
        sets.append(reader.name("quoted", "word"))
        reader.expect("=", "?")
        if not (reader.takes(",") or reader.takes("SET")):
            break
    reader.expect("WHERE")
    where: list[Clause] = []
    while True:
        name, symbol = reader.name("quoted", "word"), reader.operator()
        reader.expect("?")
        where.append(Clause(name, symbol, len(sets) + len(where)))
        if not reader.takes("AND"):
            break
    reader.end()
    for name in sets:
        if sets.count(name) > 1:
            raise invalid(
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                f"path one: [{name}], path two: [{name}]"
            )
    return Change(table, tuple(sets), tuple(where))
