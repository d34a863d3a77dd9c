"""Items in DynamoDB through the lean client: a store of answers without boto3, that reads nothing after its deadline."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from threading import Lock
from typing import Any

from processors.awsjson.client import AwsJsonClient
from processors.deadline import Deadline
from processors.query.blocks import BlockMemory
from processors.query.pages import Page, PageMemory
from processors.sink.attributes import stored_item
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS


@dataclass(frozen=True, slots=True)
class Memory:
    """What a sandbox remembers of the items of one table."""

    pages: PageMemory
    blocks: BlockMemory

    @classmethod
    def of_mb(cls, memory_mb: int) -> "Memory":
        """Return the memory of a sandbox of *memory_mb*: a sixteenth of that, at most."""
        share = memory_mb * 1024 * 1024 // 32
        return cls(PageMemory(share), BlockMemory(share))


class LeanPartialStore:
    """The PartialStore of *table*, for one question: its reads end by *deadline*. *readers* make several at a time.

    *memory* is the sandbox's; None: nothing is remembered.

    What it raises besides: RetryableError, throttled, unreachable or out of time; ServiceError, refused for good.
    """

    def __init__(
        self,
        client: AwsJsonClient,
        table: str,
        *,
        deadline: Deadline,
        readers: Executor,
        memory: Memory | None = None,
        consistent: bool = True,
    ) -> None:
        self._client, self._table, self._consistent = client, table, consistent
        self._memory = memory or Memory.of_mb(0)
        self._deadline, self._readers = deadline, readers
        self._alone = Lock()
        self.read_units = 0.0

    def eventually(self) -> "LeanPartialStore":
        """Return the same table, read with eventual consistency; it counts its own read units."""
        return LeanPartialStore(
            self._client,
            self._table,
            deadline=self._deadline,
            readers=self._readers,
            memory=self._memory,
            consistent=False,
        )

    @property
    def blocks(self) -> BlockMemory:
        """The blocks that were made of its items."""
        return self._memory.blocks

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
            body = json.dumps(request)
            answer = self._client.call("Query", body, self._client.retries(self._deadline))
            page = self._memory.pages.parsed(body, answer, _page)
            self._count(page.read_units)
            yield from page.items
            if not page.last_key:
                return
            request["ExclusiveStartKey"] = page.last_key

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


def _page(answer: bytes) -> Page:
    page = json.loads(answer)
    items = [(item["sk"]["S"], stored_item(item)) for item in page["Items"]]
    return Page(items, _units(page.get("ConsumedCapacity")), page.get("LastEvaluatedKey"))


def _units(capacity: Mapping[str, Any] | None) -> float:
    return float(capacity["CapacityUnits"]) if capacity else 0.0
