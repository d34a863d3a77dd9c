"""A filter pattern, as a text of JSON, and what it matches: an object whose leaves are arrays of rules.

All fields of a pattern must hold, of a field's rules one, of ``$or``'s alternatives one. Names joined by dots are the same
as names within each other. A field that is an array holds if any element does; fields within one array of objects
must hold in one and the same element. A field exists where it has a value: not an object, not an empty array.

``or`` is multiplied out, to at most 1,000 combinations, as EventBridge bounds it; an array is looked through once a
combination, without trying elements against each other. So a match takes no longer than combinations times leaves.

Source: as in rules.py, and https://github.com/aws/event-ruler#ruler-by-example for arrays (checked 2026-11-29).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from infra.template.filtering.rules import Exists, InvalidPattern, Rule, Scalar, parse_rule

PATTERN_CHARS = 4096  # botocore's lambda model: Pattern
COMBINATIONS = 1000
_OR = "$or"
_DEPTH = 100  # of a pattern: 4,096 characters could nest deeper than Python recurses
_OPERATORS = {
    "exists",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "numeric",
    "anything-but",
    "wildcard",
    "cidr",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One field: the value at *path*, names joined by dots, holds by one of *rules*."""

    path: str
    rules: tuple[Rule, ...]

    @property
    def may_be_missing(self) -> bool:
        """Whether it holds where the field has no value."""
        return any(isinstance(rule, Exists) and not rule.wanted for rule in self.rules)


Combination = tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One filter's pattern: it matches where all conditions of one of its combinations hold."""

    combinations: tuple[Combination, ...]

    def roots(self) -> set[str]:
        """Return the first names of the paths: which parts of a record it looks at."""
        return {condition.path.partition(".")[0] for each in self.combinations for condition in each}

    def matches(self, value: Any) -> bool:
        """Return whether it matches *value*, as :func:`parse_json` returns it."""
        return any(_hold(combination, value) for combination in self.combinations)


def parse_pattern(text: str) -> Pattern:
    """Return the pattern that *text* is.

    Raises:
        InvalidPattern: AWS refuses it, or it is not carried out here.
    """
    if len(text) > PATTERN_CHARS:
        raise InvalidPattern(f"it has {len(text)} characters: {PATTERN_CHARS} are allowed")
    try:
        given = parse_json(text)
    except ValueError as error:
        raise InvalidPattern(f"it is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidPattern("it is not an object")
    combinations = _combinations(given, "", 0)
    return Pattern(
        tuple(tuple(Condition(path, rules) for path, rules in each.items()) for each in combinations)
    )


def parse_json(text: str) -> Any:
    """Return the value of *text*, numbers as Decimal, so that none is rounded.

    Raises:
        ValueError: it is not JSON; NaN and Infinity are not, nor is what nests deeper than can be read.
    """
    try:
        return json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _number(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:  # an exponent beyond any number: as far out as can be said
        return Decimal("-Infinity" if digits.startswith("-") else "Infinity")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _combinations(given: dict[str, Any], above: str, depth: int) -> list[dict[str, tuple[Rule, ...]]]:
    if depth > _DEPTH:
        raise InvalidPattern(f"nested deeper than {_DEPTH}")
    if not given:
        raise InvalidPattern("empty objects are not allowed")
    result: list[dict[str, tuple[Rule, ...]]] = [{}]
    for name, value in given.items():
        path = f"{above}.{name}" if above else name
        if name == _OR and _is_alternatives(value):
            found = [each for alternative in value for each in _combinations(alternative, above, depth + 1)]
        elif isinstance(value, dict):
            found = _combinations(value, path, depth + 1)
        elif isinstance(value, list):
            if not value:
                raise InvalidPattern("empty arrays are not allowed")
            found = [{path: tuple(parse_rule(each) for each in value)}]
        else:
            raise InvalidPattern(f'"{name}" must be an object or an array')
        if len(result) * len(found) > COMBINATIONS:
            raise InvalidPattern(f"$or makes more than {COMBINATIONS} combinations")
        result = [{**left, **right} for left in result for right in found]
    return result


def _is_alternatives(value: Any) -> bool:
    """Whether ``$or`` is meant, and not a field of that name: objects, two at least, which are no rules themselves."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(each, dict) and each and not _OPERATORS & each.keys() for each in value)
    )


def _hold(combination: Combination, value: Any) -> bool:
    paths = {condition.path for condition in combination}
    prefixes = {path[:at] for path in paths for at in _cuts(path)}
    missing = paths - {path for path, _ in _leaves(value, prefixes)}
    wanted: dict[str, list[tuple[int, Condition]]] = {}
    bit = 1
    for condition in combination:
        if condition.path in missing and condition.may_be_missing:
            continue
        if condition.path in missing:
            return False
        wanted.setdefault(condition.path, []).append((bit, condition))
        bit <<= 1
    return _mask(value, prefixes, wanted) == bit - 1


def _cuts(path: str) -> Iterator[int]:
    """Yield where *path* may be cut: at its dots, and its end."""
    yield from (at for at, character in enumerate(path) if character == ".")
    yield len(path)


def _leaves(value: Any, prefixes: set[str]) -> Iterator[tuple[str, Scalar]]:
    """Yield the values at and below *prefixes*; without recursion, for records may nest as deeply as they like."""
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, each = stack.pop()
        if isinstance(each, dict):
            stack += ((below, child) for below, child in _children(path, each) if below in prefixes)
        elif isinstance(each, list):
            stack += ((path, child) for child in each)
        else:
            yield path, each


def _children(path: str, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{path}.{name}" if path else name, child) for name, child in value.items())


def _mask(value: Any, prefixes: set[str], wanted: dict[str, list[tuple[int, Condition]]]) -> int:
    """Return the bits of the conditions that hold in *value*: of an array in that element where most of them do.

    An object's conditions are those of its children together. An array's must all hold in one element: no other part
    of the record has the same path, so where the element with most has not all, no choice has.
    """
    masks: list[int] = []  # results of the nodes that are done and not yet asked for
    stack: list[tuple[str, Any, int]] = [
        ("", value, -1)
    ]  # path, node, and how many children: -1 before they are known
    while stack:
        path, each, count = stack.pop()
        if count >= 0:
            below, masks = masks[len(masks) - count :], masks[: len(masks) - count]
            masks.append(
                _joined(below) if isinstance(each, dict) else max(below, key=int.bit_count, default=0)
            )
        elif isinstance(each, (dict, list)):
            children = (
                [(below, child) for below, child in _children(path, each) if below in prefixes]
                if isinstance(each, dict)
                else [(path, child) for child in each]
            )
            stack.append((path, each, len(children)))
            stack += ((below, child, -1) for below, child in children)
        else:
            held = (bit for bit, condition in wanted.get(path, ()) if _holds(condition, each))
            masks.append(_joined(held))
    return masks[0]


def _joined(masks: Any) -> int:
    joined = 0
    for mask in masks:
        joined |= mask
    return joined


def _holds(condition: Condition, value: Scalar) -> bool:
    return any(rule.holds(value) for rule in condition.rules)
