"""Items in DynamoDB through the lean client: a store of answers without boto3, that reads nothing after its deadline."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from threading import Lock
from typing import Any

from processors.awsjson.client import AwsJsonClient
from processors.deadline import Deadline
from processors.sink.attributes import stored_item
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS


class LeanPartialStore:
    """The PartialStore of *table*, for one question: its reads end by *deadline*. *readers* make several at a time.

    What it raises besides: RetryableError, throttled, unreachable or out of time; ServiceError, refused for good.
    """

    def __init__(
        self,
        client: AwsJsonClient,
        table: str,
        *,
        deadline: Deadline,
        readers: Executor,
        consistent: bool = True,
    ) -> None:
        self._client, self._table, self._consistent = client, table, consistent
        self._deadline, self._readers = deadline, readers
        self._alone = Lock()
        self.read_units = 0.0

    def eventually(self) -> "LeanPartialStore":
        """Return the same table, read with eventual consistency; it counts its own read units."""
        return LeanPartialStore(
            self._client, self._table, deadline=self._deadline, readers=self._readers, consistent=False
        )

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield (sk, item) of the partition *pk* with first_sk ≤ sk ≤ last_sk, in the order of sk."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
            "ExpressionAttributeValues": {
                ":pk": {"S": pk},
                ":first": {"S": first_sk},
                ":last": {"S": last_sk},
            },
            "ConsistentRead": self._consistent,
            "ReturnConsumedCapacity": "TOTAL",
        }
        while True:
            page = self._ask("Query", request)
            self._count(_units(page.get("ConsumedCapacity")))
            for item in page["Items"]:
                yield item["sk"]["S"], stored_item(item)
            if not page.get("LastEvaluatedKey"):
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys*, any number, that exist."""
        starts = range(0, len(keys), DYNAMODB_BATCH_GET_KEYS)
        chunks = [keys[start : start + DYNAMODB_BATCH_GET_KEYS] for start in starts]
        read = map(self._get, chunks) if len(chunks) < 2 else self._readers.map(self._get, chunks)
        found: dict[ItemKey, StoredItem] = {}
        for items, units in read:
            found |= items
            self._count(units)
        return found

    def _get(self, keys: Sequence[ItemKey]) -> tuple[dict[ItemKey, StoredItem], float]:
        found: dict[ItemKey, StoredItem] = {}
        units = 0.0
        wanted: Any = {
            self._table: {
                "Keys": [{"pk": {"S": key.pk}, "sk": {"S": key.sk}} for key in keys],
                "ConsistentRead": self._consistent,
            }
        }
        retries = self._client.retries(self._deadline)
        while True:
            body = json.dumps({"RequestItems": wanted, "ReturnConsumedCapacity": "TOTAL"})
            answer = json.loads(self._client.call("BatchGetItem", body, retries))
            units += sum(map(_units, answer.get("ConsumedCapacity") or ()))
            for item in answer["Responses"].get(self._table, ()):
                found[ItemKey(item["pk"]["S"], item["sk"]["S"])] = stored_item(item)
            unprocessed = answer.get("UnprocessedKeys")
            if not unprocessed:
                return found, units
            if len(unprocessed[self._table]["Keys"]) == len(wanted[self._table]["Keys"]):
                retries.pause(f"table {self._table} is throttled: keys were left unread")
            else:  # an answer of 16 MB is full; the next begins its time anew
                retries = self._client.retries(self._deadline)
            wanted = unprocessed

    def _count(self, units: float) -> None:
        with self._alone:  # fetch reads several ranges at once
            self.read_units += units

    def _ask(self, operation: str, request: Mapping[str, Any]) -> Any:
        return json.loads(
            self._client.call(operation, json.dumps(request), self._client.retries(self._deadline))
        )


def _units(capacity: Mapping[str, Any] | None) -> float:
    return float(capacity["CapacityUnits"]) if capacity else 0.0
