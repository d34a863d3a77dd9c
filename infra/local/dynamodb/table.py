"""A table as it was created: its keys, its time to live, and the SQL that its items are kept by."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.dynamodb import numbers
from infra.local.dynamodb.keys import KeyAttribute, KeySchema
from infra.local.dynamodb.values import Item


@dataclass(frozen=True, slots=True)
class Table:
    """A table. ``number`` tells it from every other that was ever in this store; ``stored`` is what it was asked for."""

    number: int
    name: str
    created_ms: int
    stored: Mapping[str, Any]
    schema: KeySchema = field(init=False)
    ttl_attribute: str | None = field(init=False)
    stream: str | None = field(init=False)
    """The label of its stream; None: it has none."""

    def __post_init__(self) -> None:
        kinds = {each["AttributeName"]: each["AttributeType"] for each in self.stored["AttributeDefinitions"]}
        keys = [KeyAttribute(name, kinds[name]) for name in map(_name, self.stored["KeySchema"])]
        object.__setattr__(self, "schema", KeySchema(keys[0], keys[1] if len(keys) > 1 else None))
        object.__setattr__(self, "ttl_attribute", self.stored.get("TimeToLive"))
        object.__setattr__(self, "stream", self.stored.get("Stream"))

    @property
    def items(self) -> str:
        """The SQL name of where its items are."""
        return f"items_{self.number}"

    @property
    def changes(self) -> str:
        """The SQL name of where its change log is, if it has a stream."""
        return f"changes_{self.number}"

    @property
    def text(self) -> str:
        """What is stored of it, as text."""
        return json.dumps(dict(self.stored), sort_keys=True)

    def expires_s(self, item: Item) -> int | None:
        """Return when *item* is to be deleted, in seconds since the epoch; None: never."""
        if self.ttl_attribute is None:
            return None
        value = item.get(self.ttl_attribute)
        return None if value is None or "N" not in value else numbers.whole_seconds(value["N"])


def _name(element: Mapping[str, str]) -> str:
    return element["AttributeName"]
