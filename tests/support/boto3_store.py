"""Items in DynamoDB, through boto3, one at a time: the reference that the production store is held against."""

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's name

from processors.awsjson.retry import may_pass
from processors.deadline import Deadline
from processors.sink.attributes import stored_item
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS
from support.one_by_one import FenceMovedError

_READ_ROUNDS = 8  # of a BatchGetItem that leaves keys unprocessed


class Boto3ItemStore:
    """A SingleStore over a DynamoDB table with the key (pk, sk). *client* is a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:  # noqa: ARG002 - the port's
        """Return those of *keys* that exist, read consistently. boto3 knows no deadline."""
        found: dict[ItemKey, StoredItem] = {}
        for start in range(0, len(keys), DYNAMODB_BATCH_GET_KEYS):
            found.update(self._get(keys[start : start + DYNAMODB_BATCH_GET_KEYS]))
        return found

    def _get(self, keys: Sequence[ItemKey]) -> dict[ItemKey, StoredItem]:
        found: dict[ItemKey, StoredItem] = {}
        wanted = {self._table: {"Keys": [_key(key) for key in keys], "ConsistentRead": True}}
        for _ in range(_READ_ROUNDS):
            answer = self._call("batch_get_item", RequestItems=wanted)
            for item in answer["Responses"].get(self._table, ()):
                found[ItemKey(item["pk"]["S"], item["sk"]["S"])] = stored_item(item)
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                return found
        raise RetryableError(
            f"BatchGetItem left keys unprocessed {_READ_ROUNDS} times: table {self._table} is throttled"
        )

    def put(self, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        """Write *item* on the condition that the fence is the expected one."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if expected_fence is not None:
            condition = {
                "ConditionExpression": "fence = :fence",
                "ExpressionAttributeValues": {":fence": {"S": str(expected_fence)}},
            }
        self._call(
            "put_item",
            TableName=self._table,
            Item={
                **_key(key),
                "fence": {"S": str(item.fence)},
                "counts": {"S": item.counts},
                "body": {"B": item.body},
                "expires": {"N": str(item.expires_s)},
            },
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **condition,
        )

    def _call(self, operation: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ConditionalCheckFailedException":
                old = error.response.get("Item")
                raise FenceMovedError(stored_item(old) if old else None) from error
            if may_pass(code) or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise RetryableError(f"DynamoDB {operation} on {self._table}: {code}") from error
            raise
        except (ConnectionError, HTTPClientError) as error:
            raise RetryableError(f"DynamoDB {operation} on {self._table}: {error}") from error


def _key(key: ItemKey) -> dict[str, dict[str, str]]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
