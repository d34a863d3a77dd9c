"""Primary keys: what a table's key attributes hold, and the bytes that sort as DynamoDB sorts them.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html (checked 2026-11-28).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from infra.local.dynamodb import numbers
from infra.local.dynamodb.errors import invalid, malformed
from infra.local.dynamodb.values import Item, Value, checked, decoded, kind_of

HASH_BYTES, RANGE_BYTES = 2048, 1024
KEY_TYPES = ("B", "N", "S")
_TOO_LONG = (
    "Hash primary key values must be under 2048 bytes, and range primary key values must be under 1024 bytes"
)
_MISSING = "One of the required keys was not given a value"


class Key(NamedTuple):
    """A primary key in bytes; ``range`` is empty where the table has no sort key."""

    hash: bytes
    range: bytes


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """A key attribute of a table, and its type."""

    name: str
    kind: str

    def bytes_of(self, value: Value) -> bytes:
        """Return the bytes of a canonical *value* of this attribute's type. Raises: DynamoError where it is empty."""
        content = value[self.kind]
        if self.kind == "S":
            raw: bytes = content.encode()
        elif self.kind == "N":
            return numbers.sortable(content)
        else:
            raw = decoded(content)
        if not raw:
            kind = "string" if self.kind == "S" else "binary"
            raise invalid(
                "One or more parameter values are not valid. The AttributeValue for a key attribute "
                f"cannot contain an empty {kind} value. Key: {self.name}"
            )
        return raw


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The key attributes of a table."""

    hash: KeyAttribute
    range: KeyAttribute | None

    def __iter__(self) -> Iterator[KeyAttribute]:
        """Give the attributes, the partition key first."""
        yield self.hash
        if self.range is not None:
            yield self.range

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the key attributes."""
        return tuple(each.name for each in self)

    def of_item(self, item: Item) -> Key:
        """Return the key of a canonical *item*.

        Raises:
            DynamoError: a key attribute is missing, of another type, empty or too long.
        """
        hash_, range_ = self.hash, self.range
        values = [_typed(each, item.get(each.name)) for each in self]
        key = Key(hash_.bytes_of(values[0]), b"" if range_ is None else range_.bytes_of(values[1]))
        if len(key.hash) > HASH_BYTES or len(key.range) > RANGE_BYTES:
            raise invalid(_TOO_LONG)
        return key

    def of_key(self, key: object) -> Key:
        """Return the bytes of a request's *key*, which has the key attributes and no others."""
        if key is None:
            raise invalid("Cannot have null key for GetItem, DeleteItem, or UpdateItem")
        if not isinstance(key, dict):
            raise malformed("Key is not a map of attributes")
        if len(key) != len(self.names):
            raise invalid("The number of conditions on the keys is invalid")
        return self.of_item({name: checked(value)[0] for name, value in key.items()})

    def cut(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the key attributes of *item*."""
        return {name: item[name] for name in self.names}


def _typed(attribute: KeyAttribute, value: Value | None) -> Value:
    if value is None:
        raise invalid(_MISSING)
    kind = kind_of(value)
    if kind not in KEY_TYPES:
        raise invalid("Invalid attribute value type")
    if kind != attribute.kind:
        raise invalid("One or more parameter values were invalid: Type mismatch for key")
    return value
