"""What a definition computes of events: derived fields of a source, and the filter of a rollup.

Both are functions of one event alone, so no verdict and no item depends on how a batch was cut. Times are of UTC: the rules
of a time zone change with the machine, and two versions of them would count one event in two places.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamgage.expressions.expression import Expression, parse, parse_filter
from streamgage.expressions.kinds import Kind

_KINDS = {
    "string": Kind.TEXT,
    "enum": Kind.TEXT,
    "boolean": Kind.BOOLEAN,
    "int": Kind.NUMBER,
    "long": Kind.NUMBER,
    "float": Kind.NUMBER,
    "double": Kind.NUMBER,
    "null": Kind.NULL,
}
AVRO_TYPES = {Kind.TEXT: "string", Kind.BOOLEAN: "boolean", Kind.NUMBER: "double"}
"""What a derived field is to who asks for its type: a key, a measure. A number may be any double."""


@dataclass(frozen=True, slots=True)
class Derived:
    """The derived fields of a source, by name."""

    expressions: Mapping[str, Expression]

    def __hash__(self) -> int:
        """Hash by the texts."""
        return hash(tuple((name, each.text) for name, each in self.expressions.items()))

    @property
    def texts(self) -> dict[str, str]:
        """Their texts, by name."""
        return {name: each.text for name, each in self.expressions.items()}

    def needs(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return *names*, each derived one replaced by the fields that it is computed of; each once."""
        found: list[str] = []
        for name in names:
            own = self.expressions.get(name)
            found += [name] if own is None else sorted(own.names)
        return tuple(dict.fromkeys(found))

    def columns(
        self, names: Sequence[str], columns: Mapping[str, Sequence[Any]], count: int
    ) -> dict[str, Sequence[Any]]:
        """Return the derived columns among *names*, of *columns* that hold what they need."""
        return {
            name: plain_values(own, own.column(columns, count))
            for name in names
            if (own := self.expressions.get(name)) is not None
        }

    def of_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return *event* with its derived fields, as far as it has what they need."""
        values = {
            name: plain_values(own, (own.value(event),))[0]
            for name, own in self.expressions.items()
            if own.names <= event.keys()
        }
        return {**event, **values}


def plain_values(expression: Expression, column: Sequence[Any]) -> Sequence[Any]:
    """Return *column* with one way to write each number: 2.0 is 2, and what is not finite is null.

    Values that are equal have one text then, whichever came first.
    """
    return list(map(_plain, column)) if expression.kind is Kind.NUMBER else column


def _plain(value: Any) -> Any:
    if type(value) is not float:
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def derived_field(text: str, fields: Mapping[str, Any]) -> Expression:
    """Return the expression *text* over the *fields* (Avro types by name) of a schema. Raises: ValueError, it is none."""
    return parse(text, kinds_of(fields), zones=False)


def filter_of(text: str, fields: Mapping[str, Any]) -> Expression:
    """Return the filter *text* over the *fields* of a schema. Raises: ValueError, it is none."""
    return parse_filter(text, kinds_of(fields), zones=False)


def kinds_of(fields: Mapping[str, Any]) -> dict[str, Kind]:
    """Return what an expression may say of *fields*: those whose types it knows."""
    found = {name: _kind(avro_type) for name, avro_type in fields.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _kind(avro_type: Any) -> Kind | None:
    if isinstance(avro_type, list):
        kinds = {_kind(each) for each in avro_type} - {Kind.NULL}
        return kinds.pop() if len(kinds) == 1 else None
    if isinstance(avro_type, dict):
        if avro_type["type"] == "map":
            return Kind.MAP if avro_type["values"] == "string" else None
        return _kind(avro_type["type"])
    return _KINDS.get(avro_type)
