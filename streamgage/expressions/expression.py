"""An expression, parsed and checked: what kind of value it gives, and how it is computed over columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from streamgage.expressions.computing import Columns, Run
from streamgage.expressions.kinds import ExpressionError, Kind
from streamgage.expressions.parser import Parser


@dataclass(frozen=True, slots=True)
class Expression:
    """What *text* says. ``names`` are those that it reads, of those it was parsed with."""

    text: str
    kind: Kind
    names: frozenset[str]
    run: Run = field(compare=False, repr=False)

    def column(self, columns: Columns, count: int) -> Sequence[Any]:
        """Return its value for each of *count* entries of *columns*, which hold all of its names; None is null."""
        return self.run(columns, count)

    def value(self, row: Mapping[str, Any]) -> Any:
        """Return its value for one *row*, which has all of its names."""
        (found,) = self.run({name: (row[name],) for name in self.names}, 1)
        return found


def parse(
    text: str, names: Mapping[str, Kind], *, number: Callable[[str], Any] = float, zones: bool = True
) -> Expression:
    """Return the expression that *text* says, in which *names* may stand, and the names of time zones where *zones* may.

    A whole number in it is an int; any other is what *number* makes of it: float where columns hold floats, Decimal where
    they hold decimals.

    Raises:
        ExpressionError: it says nothing that can be computed; with the place.
    """
    parser = Parser(text, names, number, zones=zones)
    node = parser.whole()
    return Expression(text, node.kind, frozenset(parser.used), node.run)


def parse_filter(
    text: str, names: Mapping[str, Kind], *, number: Callable[[str], Any] = float, zones: bool = True
) -> Expression:
    """Return the filter that *text* says. Raises: ExpressionError, it is none."""
    found = parse(text, names, number=number, zones=zones)
    if found.kind is not Kind.BOOLEAN:
        raise ExpressionError(f"a filter is true or false, and this is a {found.kind}", text, 0)
    return found


def exact(text: str) -> Decimal:
    """Return the decimal that *text* says: for ``number`` where columns hold decimals."""
    return Decimal(text)
