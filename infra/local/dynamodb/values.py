"""Attribute values in DynamoDB JSON: checked, made canonical, measured, compared.

A canonical value is equal to another exactly where DynamoDB says so: numbers have one text, sets one order, binary
values one base64. So items are stored, and compared, as they are.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html,
CapacityUnitCalculations.html (checked 2026-11-28).
"""

import binascii
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from infra.local.dynamodb import numbers
from infra.local.dynamodb.errors import DynamoError, invalid, malformed

Value = dict[str, Any]
"""Such as ``{"S": "text"}``."""
Item = dict[str, Value]

TYPES = ("N", "BS", "L", "B", "NULL", "M", "S", "SS", "NS", "BOOL")
DEPTH = 32
_NAME_BYTES = 65_535
_EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
_MANY = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
_PARAMETER = "One or more parameter values were invalid: "


def text_bytes(text: str) -> bytes:
    """Return *text* in UTF-8. Raises: DynamoError where it is half a character."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise malformed(f"a text is not Unicode: {error.reason}") from error


def checked_item(item: object, what: str = "Item") -> tuple[Item, int]:
    """Return *item* with canonical values, and its size in bytes. The given one may be changed."""
    if not isinstance(item, dict):
        raise malformed(f"{what} is not a map of attributes")
    size = 0
    for name, value in item.items():
        if value is None:
            raise invalid(f"The supplied {what} contains a null AttributeValue: {name} is null")
        if not name:
            raise invalid("Empty attribute name")
        canonical, value_bytes = checked(value)
        if canonical is not value:
            item[name] = canonical
        name_bytes = len(name) if name.isascii() else len(text_bytes(name))
        if name_bytes > _NAME_BYTES:
            raise invalid("Attribute name is too large, must be less than 65536 bytes")
        size += name_bytes + value_bytes
    return item, size


def checked(value: object, depth: int = 0) -> tuple[Value, int]:
    """Return *value*, canonical, and its size in bytes.

    Raises:
        DynamoError: it is no attribute value.
    """
    if not isinstance(value, dict):
        raise malformed("an attribute value is not a map of one type to its content")
    if len(value) != 1:
        value = {kind: content for kind, content in value.items() if content is not None}
        if len(value) != 1:
            raise invalid(_MANY if len(value) > 1 else _EMPTY)
    ((kind, content),) = value.items()
    if kind == "S":  # the most of what is stored
        if type(content) is not str:
            raise _mistyped(kind, content)
        return value, len(content) if content.isascii() else len(text_bytes(content))
    check = _CHECKS.get(kind)
    if check is None or content is None:
        raise invalid(_EMPTY)
    canonical, size = check(content, depth)
    return (value if canonical is content else {kind: canonical}), size


def size_of(item: Item) -> int:
    """Return the size of a canonical item."""
    return checked_item(dict(item))[1]


def _mistyped(kind: str, content: object) -> DynamoError:
    if content is None:
        return invalid(_EMPTY)
    return malformed(f"{type(content).__name__} is no content of an attribute of type {kind}")


def _number(content: object, _: int) -> tuple[str, int]:
    if type(content) is not str:
        raise _mistyped("N", content)
    text = numbers.canonical(content)
    return text, numbers.size_bytes(text)


def _binary(content: object, _: int) -> tuple[str, int]:
    if type(content) is not str:
        raise _mistyped("B", content)
    raw = decoded(content)
    text = binascii.b2a_base64(raw, newline=False).decode("ascii")
    return (content if text == content else text), len(raw)


def decoded(content: str) -> bytes:
    """Return the bytes of a binary value."""
    try:
        return binascii.a2b_base64(content, strict_mode=True) if content else b""
    except (binascii.Error, ValueError) as error:
        raise malformed(f"a binary value is not base64: {error}") from error


def _bool(content: object, _: int) -> tuple[bool, int]:
    if type(content) is not bool:
        raise _mistyped("BOOL", content)
    return content, 1


def _null(content: object, _: int) -> tuple[bool, int]:
    if type(content) is not bool:
        raise _mistyped("NULL", content)
    if not content:
        raise invalid(_PARAMETER + "Null attribute value types must have the value of true")
    return content, 1


def _list(content: object, depth: int) -> tuple[list[Value], int]:
    if type(content) is not list:
        raise _mistyped("L", content)
    _check_depth(depth)
    size, canonical = 3, []
    for each in content:
        value, value_bytes = checked(each, depth + 1)
        canonical.append(value)
        size += 1 + value_bytes
    return canonical, size


def _map(content: object, depth: int) -> tuple[dict[str, Value], int]:
    if type(content) is not dict:
        raise _mistyped("M", content)
    _check_depth(depth)
    size, canonical = 3, {}
    for name, each in content.items():
        canonical[name], value_bytes = checked(each, depth + 1)
        size += 1 + len(text_bytes(name)) + value_bytes
    return canonical, size


def _check_depth(depth: int) -> None:
    if depth >= DEPTH - 1:
        raise invalid(
            "Nesting Levels have exceeded supported limits: "
            "Attributes in the item have nested levels beyond supported limit"
        )


def _strings(content: object, _: int) -> tuple[list[str], int]:
    members = _members(content, "SS", "An string set  may not be empty")
    if len(set(members)) < len(members):
        raise invalid(f"{_PARAMETER}Input collection [{', '.join(members)}] contains duplicates")
    return sorted(members, key=text_bytes), sum(len(text_bytes(each)) for each in members)


def _numbers(content: object, _: int) -> tuple[list[str], int]:
    members = [numbers.canonical(each) for each in _members(content, "NS", "An number set  may not be empty")]
    if len(set(members)) < len(members):
        raise invalid("Input collection contains duplicates")
    return sorted(members, key=Decimal), sum(map(numbers.size_bytes, members))


def _binaries(content: object, depth: int) -> tuple[list[str], int]:
    members = [_binary(each, depth)[0] for each in _members(content, "BS", "Binary sets should not be empty")]
    if len(set(members)) < len(members):
        raise invalid(_PARAMETER + "Input collection of type BS contains duplicates.")
    return sorted(members, key=decoded), sum(len(decoded(each)) for each in members)


def _members(content: object, kind: str, empty: str) -> list[str]:
    if type(content) is not list or not all(type(each) is str for each in content):
        raise _mistyped(kind, content)
    if not content:
        raise invalid(_PARAMETER + empty)
    return content


_CHECKS: Mapping[str, Callable[[object, int], tuple[Any, int]]] = {
    "N": _number,
    "B": _binary,
    "BOOL": _bool,
    "NULL": _null,
    "L": _list,
    "M": _map,
    "SS": _strings,
    "NS": _numbers,
    "BS": _binaries,
}


def kind_of(value: Value) -> str:
    """Return the type of a value, such as ``S``."""
    return next(iter(value))


def order_of(value: Value) -> Any:
    """Return what sorts values of one type: S by its bytes in UTF-8, N by number, B by its bytes."""
    ((kind, content),) = value.items()
    if kind == "S":
        return content.encode()
    return Decimal(content) if kind == "N" else decoded(content)
