"""A DynamoDB table in memory that counts what AWS would bill: it stands behind the real boto3 adapter.

It answers put_item and batch_get_item as DynamoItemStore calls them; conditions are those of the fence, nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.cost.item_size import item_size_bytes, read_units, write_units
from processors.aggregate.progress import SHARDS_PK

Item = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Consumed:
    """What was billed: requests that succeeded, those whose condition failed, and their units; reads and theirs."""

    writes: int = 0
    write_units: int = 0
    failed_writes: int = 0
    failed_write_units: int = 0
    reads: int = 0
    read_units: int = 0
    largest_bytes: int = 0

    @property
    def all_write_units(self) -> int:
        """The units of all writes: those that took effect, and those whose condition failed."""
        return self.write_units + self.failed_write_units


@dataclass(slots=True)
class CountingTable:
    """Items by (pk, sk). ``items`` counts the aggregates, ``progress`` what the lanes' progress costs beside them.

    Source: read-write-operations.html: a PutItem takes "the larger of the item's before and after sizes"; a write whose
    condition is false "still consumes write capacity"; a read of an absent item "will still consume read throughput".
    """

    rows: dict[tuple[str, str], Item] = field(default_factory=dict)
    items: Consumed = field(default_factory=Consumed)
    progress: Consumed = field(default_factory=Consumed)

    def put_item(self, **request: Any) -> dict[str, Any]:
        """Write the item if its condition holds. Raises: ClientError ConditionalCheckFailedException."""
        item: Item = request["Item"]
        key = (item["pk"]["S"], item["sk"]["S"])
        consumed, current = self._consumed(key[0]), self.rows.get(key)
        size_bytes = item_size_bytes(item)
        units = write_units(max(size_bytes, item_size_bytes(current) if current else 0))
        if not _holds(request, current):
            consumed.failed_writes += 1
            consumed.failed_write_units += units
            answer: Any = {
                "Error": {"Code": "ConditionalCheckFailedException", "Message": "the condition failed"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
                "Item": current,
            }
            raise ClientError(answer, "PutItem")
        consumed.writes += 1
        consumed.write_units += units
        consumed.largest_bytes = max(consumed.largest_bytes, size_bytes)
        self.rows[key] = item
        return {}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """Return those of the keys of one table that exist."""
        ((table, wanted),) = request["RequestItems"].items()
        found = []
        for each in wanted["Keys"]:
            key = (each["pk"]["S"], each["sk"]["S"])
            consumed, item = self._consumed(key[0]), self.rows.get(key)
            consumed.reads += 1
            consumed.read_units += read_units(item_size_bytes(item) if item else 0)
            if item:
                found.append(item)
        return {"Responses": {table: found}, "UnprocessedKeys": {}}

    def _consumed(self, pk: str) -> Consumed:
        return self.progress if pk.startswith(SHARDS_PK) else self.items


def _holds(request: Mapping[str, Any], current: Item | None) -> bool:
    condition = request["ConditionExpression"]
    if condition == "attribute_not_exists(pk)":
        return current is None
    if condition == "fence = :fence":
        expected: Any = request["ExpressionAttributeValues"][":fence"]
        return current is not None and current["fence"] == expected
    raise ValueError(f"a condition that this table does not know: {condition}")
