"""Conditions on an item: parsed once a text, then asked of many items with the values of many requests.

Grammar and meaning:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html (checked
2026-11-28). A node checks the values that a request brings (``check``) before any item is looked at, as DynamoDB does.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from infra.local.dynamodb.errors import DynamoError, invalid
from infra.local.dynamodb.paths import Path, found_at, shown
from infra.local.dynamodb.values import TYPES, Item, Value, decoded, kind_of, order_of

Values = Mapping[str, Value]
_ORDERED = frozenset("SNB")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Operand(Protocol):
    """What a condition compares: a path, a value of the request, or the size of one."""

    def value(self, item: Mapping[str, Value], values: Values) -> Value | None:
        """Return what it is, of *item*; None where there is nothing."""


class Condition(Protocol):
    """What holds of an item, or not."""

    def check(self, values: Values) -> None:
        """Refuse *values* that it cannot take. Raises: DynamoError, without the expression's name."""

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether *item* (empty: there is none) fulfils it."""


@dataclass(frozen=True, slots=True)
class At:
    """What stands at a document path."""

    path: Path

    def value(self, item: Mapping[str, Value], values: Values) -> Value | None:  # noqa: ARG002 - the port's form
        """Return it."""
        return found_at(item, self.path)


@dataclass(frozen=True, slots=True)
class Given:
    """A value of the request, such as ``:v``."""

    name: str

    def value(self, item: Mapping[str, Value], values: Values) -> Value | None:  # noqa: ARG002 - the port's form
        """Return it."""
        return values[self.name]


@dataclass(frozen=True, slots=True)
class SizeOf:
    """``size(path)``."""

    operand: Operand

    def value(self, item: Mapping[str, Value], values: Values) -> Value | None:
        """Return it as a number; None where what stands there has no size."""
        value = self.operand.value(item, values)
        if value is None:
            return None
        ((kind, content),) = value.items()
        if kind == "S":
            return {"N": str(len(content.encode("utf-16-le")) // 2)}
        if kind == "B":
            return {"N": str(len(decoded(content)))}
        return {"N": str(len(content))} if kind in ("L", "M", "SS", "NS", "BS") else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """``a = b``, ``a <> b``, ``a < b`` and so on."""

    symbol: str
    left: Operand
    right: Operand

    def check(self, values: Values) -> None:
        """Refuse a path beside itself, and values without an order where one is asked for."""
        if isinstance(self.left, At) and self.left == self.right:
            raise invalid(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {self.symbol}, first operand: {shown(self.left.path)}"
            )
        if self.symbol in _COMPARE:
            for kind in _given_kinds((self.left, self.right), values):
                if kind not in _ORDERED:
                    raise wrong_type(self.symbol, kind)

    def holds(self, item: Item, values: Values) -> bool:
        """Compare; what is not there is equal to nothing, and unequal to everything."""
        left, right = self.left.value(item, values), self.right.value(item, values)
        if self.symbol == "=":
            return left is not None and left == right
        if self.symbol == "<>":
            return left is None or right is None or left != right
        if left is None or right is None:
            return False
        kind = kind_of(left)
        if kind != kind_of(right) or kind not in _ORDERED:
            return False
        return _COMPARE[self.symbol](order_of(left), order_of(right))


@dataclass(frozen=True, slots=True)
class Between:
    """``a BETWEEN b AND c``, both included."""

    operand: Operand
    low: Operand
    high: Operand

    def check(self, values: Values) -> None:
        """Refuse bounds that are no range."""
        for kind in _given_kinds((self.operand, self.low, self.high), values):
            if kind not in _ORDERED:
                raise wrong_type("BETWEEN", kind)
        if isinstance(self.low, Given) and isinstance(self.high, Given):
            check_bounds(values[self.low.name], values[self.high.name])

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether it lies between."""
        found = [each.value(item, values) for each in (self.low, self.operand, self.high)]
        kinds = {None if each is None else kind_of(each) for each in found}
        if len(kinds) > 1 or not kinds <= _ORDERED:
            return False
        low, value, high = (order_of(each) for each in found if each is not None)
        return bool(low <= value <= high)


@dataclass(frozen=True, slots=True)
class In:
    """``a IN (b, c, …)``."""

    operand: Operand
    choices: tuple[Operand, ...]

    def check(self, values: Values) -> None:
        """Take any values."""

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether it is equal to one of them."""
        value = self.operand.value(item, values)
        return value is not None and any(value == each.value(item, values) for each in self.choices)


@dataclass(frozen=True, slots=True)
class Exists:
    """``attribute_exists(path)``, or ``attribute_not_exists``."""

    path: Path
    wanted: bool

    def check(self, values: Values) -> None:
        """Take any values: it has none."""

    def holds(self, item: Item, values: Values) -> bool:  # noqa: ARG002 - the port's form
        """Tell whether something, or nothing, stands there."""
        return (found_at(item, self.path) is not None) is self.wanted


@dataclass(frozen=True, slots=True)
class HasType:
    """``attribute_type(path, :type)``."""

    path: Path
    type_: Operand

    def check(self, values: Values) -> None:
        """Refuse what is no name of a type."""
        if not isinstance(self.type_, Given):
            raise invalid(
                "Incorrect operand type for operator or function; operator or function: attribute_type"
            )
        value = values[self.type_.name]
        if "S" not in value:
            raise wrong_type("attribute_type", kind_of(value))
        if value["S"] not in TYPES:
            known = ",".join(TYPES)
            raise invalid(f"Invalid attribute type name found; type: {value['S']}, valid types: {{{known}}}")

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether what stands there is of the type."""
        value, wanted = found_at(item, self.path), self.type_.value(item, values)
        return value is not None and wanted is not None and kind_of(value) == wanted["S"]


@dataclass(frozen=True, slots=True)
class BeginsWith:
    """``begins_with(a, b)``."""

    operand: Operand
    prefix: Operand

    def check(self, values: Values) -> None:
        """Refuse what has no beginning."""
        for kind in _given_kinds((self.operand, self.prefix), values):
            if kind not in ("S", "B"):
                raise wrong_type("begins_with", kind)

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether one text, or binary, begins with the other."""
        value, prefix = self.operand.value(item, values), self.prefix.value(item, values)
        if value is None or prefix is None or kind_of(value) != kind_of(prefix):
            return False
        if "S" in value:
            return bool(value["S"].startswith(prefix["S"]))
        return "B" in value and decoded(value["B"]).startswith(decoded(prefix["B"]))


@dataclass(frozen=True, slots=True)
class Contains:
    """``contains(a, b)``: a text in a text, a member of a set, an element of a list."""

    operand: Operand
    part: Operand

    def check(self, values: Values) -> None:
        """Take any values."""

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether it is in there."""
        value, part = self.operand.value(item, values), self.part.value(item, values)
        if value is None or part is None:
            return False
        ((kind, content),), ((part_kind, wanted),) = value.items(), part.items()
        if kind == "L":
            return part in content
        if kind == "B" and part_kind == "B":
            return decoded(wanted) in decoded(content)
        return (kind == part_kind == "S" or kind == part_kind + "S") and wanted in content


@dataclass(frozen=True, slots=True)
class Both:
    """``a AND b``."""

    left: Condition
    right: Condition

    def check(self, values: Values) -> None:
        """Check both."""
        self.left.check(values)
        self.right.check(values)

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether both hold."""
        return self.left.holds(item, values) and self.right.holds(item, values)


@dataclass(frozen=True, slots=True)
class Either:
    """``a OR b``."""

    left: Condition
    right: Condition

    def check(self, values: Values) -> None:
        """Check both."""
        self.left.check(values)
        self.right.check(values)

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether one of them holds."""
        return self.left.holds(item, values) or self.right.holds(item, values)


@dataclass(frozen=True, slots=True)
class Not:
    """``NOT a``."""

    condition: Condition

    def check(self, values: Values) -> None:
        """Check it."""
        self.condition.check(values)

    def holds(self, item: Item, values: Values) -> bool:
        """Tell whether it does not hold."""
        return not self.condition.holds(item, values)


def check_bounds(low: Value, high: Value) -> None:
    """Refuse bounds of BETWEEN that are no range."""
    told = f"lower bound operand: {_told(low)}, upper bound operand: {_told(high)}"
    if kind_of(low) != kind_of(high):
        raise invalid(f"The BETWEEN operator requires same data type for lower and upper bounds; {told}")
    if order_of(low) > order_of(high):
        raise invalid(
            f"The BETWEEN operator requires upper bound to be greater than or equal to lower bound; {told}"
        )


def wrong_type(function: str, kind: str) -> DynamoError:
    """Return the error of a value of a type that *function* does not take."""
    return invalid(
        "Incorrect operand type for operator or function; "
        f"operator or function: {function}, operand type: {kind}"
    )


def _told(value: Value) -> str:
    ((kind, content),) = value.items()
    return f"AttributeValue: {{{kind}:{content}}}"


def _given_kinds(operands: tuple[Operand, ...], values: Values) -> Iterator[str]:
    for each in operands:
        if isinstance(each, Given):
            yield kind_of(values[each.name])
