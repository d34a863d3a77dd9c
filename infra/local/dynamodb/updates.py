"""Update expressions: SET, REMOVE, ADD and DELETE, parsed once a text. Everything is read from the item as it was.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.UpdateExpressions.html (checked
2026-11-28).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from infra.local.dynamodb.conditions import Given, Operand, Values, wrong_type
from infra.local.dynamodb.errors import invalid
from infra.local.dynamodb.numbers import canonical
from infra.local.dynamodb.paths import Path, found_at
from infra.local.dynamodb.values import Item, Value, checked, kind_of

_EXACT = Context(prec=600)  # a sum of the smallest and the largest number has 256 digits
_CHECKED = ("SET", "REMOVE", "ADD", "DELETE")  # in this order
_SETS = ("SS", "NS", "BS")
_FULL_NAMES = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "BOOL": "BOOLEAN",
    "NULL": "NULL",
    "L": "LIST",
    "M": "MAP",
    "SS": "STRING_SET",
    "NS": "NUMBER_SET",
    "BS": "BINARY_SET",
}


@dataclass(frozen=True, slots=True)
class IfNotExists:
    """``if_not_exists(path, operand)``."""

    path: Path
    otherwise: Operand

    def value(self, item: Mapping[str, Value], values: Values) -> Value | None:
        """Return what stands at the path, else the operand's value."""
        found = found_at(item, self.path)
        return found if found is not None else self.otherwise.value(item, values)


@dataclass(frozen=True, slots=True)
class ListAppend:
    """``list_append(a, b)``."""

    first: Operand
    second: Operand

    def value(self, item: Mapping[str, Value], values: Values) -> Value | None:
        """Return one list behind the other."""
        first, second = _there(self.first, item, values), _there(self.second, item, values)
        if "L" not in first or "L" not in second:
            raise _wrong_operand()
        return {"L": first["L"] + second["L"]}


@dataclass(frozen=True, slots=True)
class Sum:
    """``a + b`` or ``a - b``."""

    symbol: str
    left: Operand
    right: Operand

    def value(self, item: Mapping[str, Value], values: Values) -> Value | None:
        """Return it, exact. Raises: DynamoError where it has more than 38 digits."""
        left, right = _there(self.left, item, values), _there(self.right, item, values)
        if "N" not in left or "N" not in right:
            raise _wrong_operand()
        return {"N": _added(left["N"], right["N"], self.symbol)}


@dataclass(frozen=True, slots=True)
class Action:
    """What happens at a path; ``section`` is SET, REMOVE, ADD or DELETE."""

    section: str
    path: Path
    operand: Operand | None


@dataclass(frozen=True, slots=True)
class Update:
    """A parsed update expression."""

    actions: tuple[Action, ...]

    def check(self, values: Values) -> None:
        """Refuse values of types that their place does not take; without the expression's name."""
        for action in sorted(self.actions, key=lambda each: _CHECKED.index(each.section)):
            operand = action.operand
            if isinstance(operand, Given) and action.section in ("ADD", "DELETE"):
                kind = kind_of(values[operand.name])
                if kind not in _SETS and not (action.section == "ADD" and kind == "N"):
                    raise invalid(
                        "Incorrect operand type for operator or function; "
                        f"operator: {action.section}, operand type: {_FULL_NAMES[kind]}, "
                        f"typeSet: ALLOWED_FOR_{action.section}_OPERAND"
                    )
            if isinstance(operand, Sum):
                for each in (operand.left, operand.right):
                    if isinstance(each, Given) and "N" not in values[each.name]:
                        raise wrong_type(operand.symbol, kind_of(values[each.name]))

    def check_keys(self, names: Sequence[str]) -> None:
        """Refuse to change the key attributes *names*."""
        for action in self.actions:
            if action.path[0] in names:
                raise invalid(
                    f"One or more parameter values were invalid: Cannot update attribute {action.path[0]}. "
                    "This attribute is part of the key"
                )

    def apply(self, item: Item, values: Values) -> Item:
        """Return *item* as it is afterwards; the given one stays as it was."""
        changed = copy.deepcopy(item)
        results = [(action.path, _result(action, item, values)) for action in self.actions]
        appended: list[tuple[Path, Value]] = []
        for path, value in results:
            if value is not None and not _put(changed, path, value):
                appended.append((path, value))
        # From the end on, so that the places before stay what they are.
        removed = [path for path, value in results if value is None]
        for path in sorted(removed, key=lambda each: str(each[-1]).zfill(20), reverse=True):
            _remove(changed, path)
        for path, value in sorted(
            appended, key=lambda each: each[0][-1] if isinstance(each[0][-1], int) else 0
        ):
            _container(changed, path)["L"].append(value)
        return changed


def _result(action: Action, item: Item, values: Values) -> Value | None:
    """Return what is to stand at the action's path; None: nothing."""
    if action.operand is None:
        return None
    value = _there(action.operand, item, values)
    if action.section == "SET":
        return copy.deepcopy(value)
    known = found_at(item, action.path)
    kind = kind_of(value)
    if known is None:
        return copy.deepcopy(value) if action.section == "ADD" else None
    if kind_of(known) != kind:
        raise _wrong_operand()
    if kind == "N":
        return {"N": _added(known["N"], value["N"], "+")}
    if action.section == "ADD":
        return checked({kind: list({*known[kind], *value[kind]})})[0]
    left = [each for each in known[kind] if each not in value[kind]]
    return {kind: left} if left else None


def _there(operand: Operand, item: Mapping[str, Value], values: Values) -> Value:
    value = operand.value(item, values)
    if value is None:
        raise invalid("The provided expression refers to an attribute that does not exist in the item")
    return value


def _added(left: str, right: str, symbol: str) -> str:
    operation: Callable[[Decimal, Decimal], Decimal] = _EXACT.add if symbol == "+" else _EXACT.subtract
    return canonical(format(operation(Decimal(left), Decimal(right)), "f"))


def _container(item: Item, path: Path) -> Value:
    """Return the value that the last step of *path* is in."""
    parent = {"M": item} if len(path) == 1 else found_at(item, path[:-1])
    if parent is None or ("M" if isinstance(path[-1], str) else "L") not in parent:
        raise invalid("The document path provided in the update expression is invalid for update")
    return parent


def _put(item: Item, path: Path, value: Value) -> bool:
    """Put *value* at *path*; return False where it belongs at the end of a list."""
    parent, last = _container(item, path), path[-1]
    if isinstance(last, str):
        parent["M"][last] = value
        return True
    if last < len(parent["L"]):
        parent["L"][last] = value
        return True
    return False


def _remove(item: Item, path: Path) -> None:
    parent, last = _container(item, path), path[-1]
    if isinstance(last, str):
        parent["M"].pop(last, None)
    elif last < len(parent["L"]):
        del parent["L"][last]


def _wrong_operand() -> Exception:
    return invalid("An operand in the update expression has an incorrect data type")
