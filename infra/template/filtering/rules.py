"""The rules that stand in a filter pattern's arrays: what one value has to be.

What Lambda documents is here. What only EventBridge has (wildcard, cidr, prefix of another case, anything-but of a
prefix) is refused: whether a mapping carries it out is documented nowhere.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-syntax;
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns-content-based-filtering.html for the range of
numbers; and what AWS was recorded to answer to TestEventPattern: LocalStack's AWS-validated snapshots of
test_events_patterns (checked 2026-11-29).
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Scalar = str | Decimal | bool | None
Operator = Literal["<", "<=", ">", ">="]

NUMERIC_MAX = Decimal("5e9")
_ELSEWHERE = ("wildcard", "cidr")
_COMPARE: dict[Operator, Callable[[Decimal, Decimal], bool]] = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


class InvalidPattern(ValueError):
    """A pattern that AWS refuses, or that this reading of it does not carry out; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Equals:
    """The value is this one, of the same type; numbers by their worth.

    The guides of Lambda and EventBridge say that numbers are compared as texts, 300 not being 300.0; EventBridge was
    recorded to find them equal (number_comparison_float). The recording is followed.
    """

    wanted: Scalar

    def holds(self, value: Scalar) -> bool:
        """Return whether *value* is it."""
        return _same(value, self.wanted)


@dataclass(frozen=True, slots=True)
class Text:
    """The value is a text that begins or ends so, or is this one but for upper and lower case."""

    kind: Literal["prefix", "suffix", "equals-ignore-case"]
    wanted: str

    def holds(self, value: Scalar) -> bool:
        """Return whether *value* does."""
        if not isinstance(value, str):
            return False
        if self.kind == "prefix":
            return value.startswith(self.wanted)
        if self.kind == "suffix":
            return value.endswith(self.wanted)
        return len(value) == len(self.wanted) and all(
            a == b or a.lower() == b.lower() or a.upper() == b.upper()
            for a, b in zip(value, self.wanted, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Numeric:
    """The value is a number within both bounds, of those that are compared at all: at most 5e9, either way."""

    bounds: tuple[tuple[Operator, Decimal], ...]

    def holds(self, value: Scalar) -> bool:
        """Return whether *value* is."""
        return (
            isinstance(value, Decimal)
            and abs(value) <= NUMERIC_MAX
            and all(_COMPARE[operator](value, bound) for operator, bound in self.bounds)
        )


@dataclass(frozen=True, slots=True)
class AnythingBut:
    """There is a value, null too, and it is none of these."""

    unwanted: tuple[Scalar, ...]

    def holds(self, value: Scalar) -> bool:
        """Return whether *value* is none of them."""
        return not any(_same(value, each) for each in self.unwanted)


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value; or, with *wanted* false, none in the whole record, which a value cannot tell."""

    wanted: bool

    def holds(self, value: Scalar) -> bool:  # noqa: ARG002 - every rule is asked alike
        """Return whether a value is what is wanted."""
        return self.wanted


Rule = Equals | Text | Numeric | AnythingBut | Exists


def parse_rule(given: Any) -> Rule:
    """Return one entry of a pattern's array.

    Raises:
        InvalidPattern: it is not a rule.
    """
    if isinstance(given, list):
        raise InvalidPattern("an array stands within an array of rules")
    if not isinstance(given, dict):
        return Equals(given)
    if len(given) != 1:
        raise InvalidPattern(f"a rule has one operator, not {len(given)}")
    ((operator, operand),) = given.items()
    if operator == "exists":
        if not isinstance(operand, bool):
            raise InvalidPattern("exists must be true or false")
        return Exists(operand)
    if operator in ("prefix", "suffix", "equals-ignore-case"):
        return _text(operator, operand)
    if operator == "numeric":
        return _numeric(operand)
    if operator == "anything-but":
        return _anything_but(operand)
    if operator in _ELSEWHERE:
        raise InvalidPattern(f"{operator} is of EventBridge: Lambda does not document it for a mapping")
    raise InvalidPattern(f"unrecognized match type {operator}")


def _text(kind: Literal["prefix", "suffix", "equals-ignore-case"], operand: Any) -> Text:
    if not isinstance(operand, str):
        raise InvalidPattern(f"{kind} match pattern must be a string")
    return Text(kind, operand)


def _numeric(operand: Any) -> Rule:
    if not isinstance(operand, list) or not operand:
        raise InvalidPattern("the value of numeric must be an array, and not empty")
    if len(operand) % 2 or len(operand) > 4:
        raise InvalidPattern("numeric takes one or two pairs of an operator and a number")
    pairs = [(operand[i], operand[i + 1]) for i in range(0, len(operand), 2)]
    for operator, bound in pairs:
        if not isinstance(bound, Decimal):
            raise InvalidPattern(f"the value of {operator} must be numeric")
        if not abs(bound) <= NUMERIC_MAX:
            raise InvalidPattern(f"the value of {operator} must be between -5.0E9 and 5.0E9")
    if len(pairs) == 1 and pairs[0][0] == "=":
        return Equals(pairs[0][1])
    kinds = [str(operator) for operator, _ in pairs]
    low = kinds[0] in (">", ">=")
    if any(kind not in _COMPARE for kind in kinds) or (
        len(kinds) == 2 and not (low and kinds[1] in ("<", "<="))
    ):
        raise InvalidPattern(f"bad numeric range operator: {', '.join(kinds)}")
    if len(pairs) == 2 and not pairs[0][1] < pairs[1][1]:
        raise InvalidPattern("numeric: the bottom must be less than the top")
    return Numeric(tuple(pairs))


def _anything_but(operand: Any) -> AnythingBut:
    if isinstance(operand, dict):
        raise InvalidPattern(
            f"anything-but with {', '.join(operand) or 'nothing'} within is of EventBridge: Lambda does not document it "
            "for a mapping"
        )
    unwanted = operand if isinstance(operand, list) else [operand]
    if not unwanted:
        raise InvalidPattern("empty arrays are not allowed")
    if not all(isinstance(each, str) for each in unwanted) and not all(
        isinstance(each, Decimal) for each in unwanted
    ):
        raise InvalidPattern("the value of anything-but must be strings only, or numbers only")
    return AnythingBut(tuple(unwanted))


def _same(left: Scalar, right: Scalar) -> bool:
    return type(left) is type(right) and left == right
