"""How large an item is to DynamoDB, and how many units reading or writing it takes.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html ("The total size of
an item is the sum of the lengths of its attribute names and values, plus any applicable overhead"),
read-write-operations.html (checked 2026-11-21), and DynamoDB Local's ConsumedCapacity (tests/local/test_item_size_local.py).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from streamgage.limits import DYNAMODB_WRITE_UNIT_BYTES

READ_UNIT_BYTES = 4096
# "All DynamoDB items require 100 bytes of storage overhead for indexing": in storage only.
STORED_OVERHEAD_BYTES = 100
# "An attribute of type List or Map requires 3 bytes of overhead, regardless of its contents."
_DOCUMENT_BYTES = 3
# "Each List or Map element also requires 1 byte of overhead."
_ELEMENT_BYTES = 1


def item_size_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the size of *item* (DynamoDB JSON, binary values as bytes): names and values in UTF-8.

    Raises:
        ValueError: a type whose size is not documented (the sets).
    """
    return sum(len(name.encode()) + value_size_bytes(value) for name, value in item.items())


def value_size_bytes(value: Mapping[str, Any]) -> int:
    """Return the size of one attribute value, such as ``{"S": "abc"}``, without its name."""
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return number_size_bytes(content)
        case "B":
            return len(content)
        case "BOOL" | "NULL":
            return 1
        case "L":
            return _DOCUMENT_BYTES + sum(_ELEMENT_BYTES + value_size_bytes(each) for each in content)
        case "M":
            return _DOCUMENT_BYTES + _ELEMENT_BYTES * len(content) + item_size_bytes(content)
        case _:
            raise ValueError(f"the size of an attribute of type {kind} is not documented")


def number_size_bytes(text: str) -> int:
    """Return ``ceil(significant digits / 2) + 1``, for "leading and trailing zeroes are trimmed".

    The documentation calls it approximate; a negative number may take a byte more.
    """
    digits = "".join(map(str, Decimal(text).as_tuple().digits)).strip("0")
    return (len(digits) + 1) // 2 + 1


def write_units(size_bytes: int) -> int:
    """Return the units of one plain write: 1 kB each, rounded up, at least one.

    Of a PutItem *size_bytes* is the larger of the item before and the item after; so it is where a condition fails.
    """
    return max(1, -(-size_bytes // DYNAMODB_WRITE_UNIT_BYTES))


def read_units(size_bytes: int) -> int:
    """Return the units of one strongly consistent read: 4 kB each, rounded up; an absent item takes one."""
    return max(1, -(-size_bytes // READ_UNIT_BYTES))
