"""KeyConditionExpression: one partition, and perhaps a range of its sort keys.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.KeyConditionExpressions.html (checked
2026-11-28).
"""

from collections.abc import Iterator
from typing import NamedTuple

from infra.local.dynamodb.conditions import (
    At,
    BeginsWith,
    Between,
    Both,
    Comparison,
    Condition,
    Contains,
    Either,
    Exists,
    Given,
    HasType,
    In,
    Not,
    Operand,
    Values,
)
from infra.local.dynamodb.errors import DynamoError, invalid
from infra.local.dynamodb.expressions import Bound
from infra.local.dynamodb.keys import KeyAttribute, KeySchema
from infra.local.dynamodb.store import Range
from infra.local.dynamodb.values import kind_of

_UNSUPPORTED = "Query key condition not supported"
_MISSED = "Query condition missed key schema element"
_FLIPPED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class _Clause(NamedTuple):
    """A condition on one attribute: a comparison, ``BETWEEN`` or ``begins_with``, and the names of its values."""

    attribute: str
    symbol: str
    values: tuple[str, ...]


def partition_and_range(bound: Bound, schema: KeySchema, *, forward: bool) -> tuple[bytes, Range]:
    """Return the partition key and the range of sort keys that *bound* asks for. Raises: DynamoError."""
    clauses: dict[str, _Clause] = {}
    for clause in _clauses(bound.condition):
        if clause.attribute in clauses:
            raise invalid("KeyConditionExpressions must only contain one condition per key")
        clauses[clause.attribute] = clause
    if len(clauses) > len(schema.names):
        raise invalid(_UNSUPPORTED)
    first = clauses.pop(schema.hash.name, None)
    if first is None:
        raise invalid(_MISSED)
    if first.symbol != "=":
        raise invalid(_UNSUPPORTED)
    (partition,) = _bytes(first, schema.hash, bound.values)
    if not clauses:
        return partition, Range((), forward)
    if schema.range is None or schema.range.name not in clauses:
        raise invalid(_MISSED)
    second = clauses[schema.range.name]
    found = _bytes(second, schema.range, bound.values)
    return partition, Range(_bounds(second.symbol, found), forward)


def _bounds(symbol: str, found: list[bytes]) -> tuple[tuple[str, bytes], ...]:
    if symbol == "BETWEEN":
        return ((">=", found[0]), ("<=", found[1]))
    if symbol != "begins_with":
        return ((symbol, found[0]),)
    behind = _behind(found[0])
    return ((">=", found[0]),) if behind is None else ((">=", found[0]), ("<", behind))


def _behind(prefix: bytes) -> bytes | None:
    """Return the least bytes that are behind all that begin with *prefix*; None: there are none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None


def _bytes(clause: _Clause, attribute: KeyAttribute, values: Values) -> list[bytes]:
    for name in clause.values:
        if kind_of(values[name]) != attribute.kind:
            raise invalid(
                "One or more parameter values were invalid: Condition parameter type does not match schema type"
            )
    return [attribute.bytes_of(values[name]) for name in clause.values]


def _clauses(condition: Condition) -> Iterator[_Clause]:
    if isinstance(condition, Both):
        yield from _clauses(condition.left)
        yield from _clauses(condition.right)
    elif isinstance(condition, Comparison) and condition.symbol in _FLIPPED:
        yield _comparison(condition)
    elif isinstance(condition, Between):
        yield _Clause(
            _attribute(condition.operand), "BETWEEN", (_given(condition.low), _given(condition.high))
        )
    elif isinstance(condition, BeginsWith):
        yield _Clause(_attribute(condition.operand), "begins_with", (_given(condition.prefix),))
    else:
        raise _wrong_operator(condition)


def _comparison(condition: Comparison) -> _Clause:
    if isinstance(condition.left, Given):
        symbol = _FLIPPED[condition.symbol]
        return _Clause(_attribute(condition.right), symbol, (_given(condition.left),))
    return _Clause(_attribute(condition.left), condition.symbol, (_given(condition.right),))


def _attribute(operand: Operand) -> str:
    if not isinstance(operand, At):
        raise invalid(_UNSUPPORTED)
    if len(operand.path) > 1 or not isinstance(operand.path[0], str):
        raise invalid("KeyConditionExpressions cannot have conditions on nested attributes")
    return operand.path[0]


def _given(operand: Operand) -> str:
    if not isinstance(operand, Given):
        raise invalid(_UNSUPPORTED)
    return operand.name


def _wrong_operator(condition: Condition) -> DynamoError:
    names = {Either: "OR", Not: "NOT", In: "IN", Contains: "contains", HasType: "attribute_type"}
    name = names.get(type(condition), "<>")
    if isinstance(condition, Exists):
        name = "attribute_exists" if condition.wanted else "attribute_not_exists"
    return invalid(f"Invalid operator used in KeyConditionExpression: {name}")
