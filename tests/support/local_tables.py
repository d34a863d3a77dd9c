"""The tables' engine in this process, as a test handles it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infra.local.dynamodb.api import TARGET, DynamoApi
from infra.local.dynamodb.database import open_database
from infra.local.dynamodb.store import Store
from infra.local.dynamodb.streams import TARGET as STREAMS

TABLE = "aggregates"
INSERT = f"INSERT INTO \"{TABLE}\" VALUE {{'pk':?,'sk':?,'fence':?}}"
UPDATE = f'UPDATE "{TABLE}" SET "fence"=? WHERE "pk"=? AND "sk"=? AND "fence"=?'  # noqa: S608 - a constant


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status, self.code = status, body["__type"].rpartition("#")[2]
        self.message, self.item = body["message"], body.get("Item")
        super().__init__(f"{self.code}: {self.message}")


class Tables:
    """An engine with one table; in memory, or in a folder that it may be opened from again."""

    def __init__(self, folder: Path | None = None, *, sort_key: str | None = "S") -> None:
        self.now_ms = 1_700_000_000_000
        self.store = Store(open_database(folder, now_ms=self.now_ms), clock_ms=lambda: self.now_ms)
        self.api = DynamoApi(self.store, clock_ms=lambda: self.now_ms)
        if TABLE not in self.store.names():
            self.create(TABLE, sort_key)

    def create(self, name: str, sort_key: str | None = "S") -> None:
        kinds = {"pk": "S"} | ({"sk": sort_key} if sort_key else {})
        roles = dict(zip(kinds, ("HASH", "RANGE"), strict=False))
        self(
            "CreateTable",
            TableName=name,
            KeySchema=[{"AttributeName": each, "KeyType": roles[each]} for each in kinds],
            AttributeDefinitions=[{"AttributeName": each, "AttributeType": kinds[each]} for each in kinds],
            BillingMode="PAY_PER_REQUEST",
        )

    def __call__(self, operation: str, **request: Any) -> Any:
        """Return the answer. Raises: Refused."""
        return self.raw(operation, json.dumps(request).encode())

    def streams(self, operation: str, **request: Any) -> Any:
        """Ask of the streams. Raises: Refused."""
        return self.raw(operation, json.dumps(request).encode(), target=STREAMS)

    def raw(self, operation: str, body: bytes, *, target: str = TARGET) -> Any:
        status, answer = self.api.handle(f"{target}.{operation}", body)
        decoded = json.loads(answer)
        if status != 200:
            raise Refused(status, decoded)
        return decoded

    def put(self, pk: str, sk: str = "s", **attributes: Any) -> Any:
        return self("PutItem", TableName=TABLE, Item={**key(pk, sk), **attributes})

    def get(self, pk: str, sk: str = "s") -> Any:
        return self("GetItem", TableName=TABLE, Key=key(pk, sk), ConsistentRead=True).get("Item")

    def batch(self, statements: Iterable[tuple[str, list[Any]]], **more: Any) -> Any:
        asked = [
            {
                "Statement": text,
                "Parameters": parameters,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
            for text, parameters in statements
        ]
        return self("BatchExecuteStatement", Statements=asked, **more)["Responses"]

    def close(self) -> None:
        self.store.close()


def key(pk: str, sk: str = "s") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def insert(pk: str, fence: str) -> tuple[str, list[Any]]:
    return INSERT, [{"S": pk}, {"S": "s"}, {"S": fence}]


def update(pk: str, fence: str, expected: str) -> tuple[str, list[Any]]:
    return UPDATE, [{"S": fence}, {"S": pk}, {"S": "s"}, {"S": expected}]
