"""Items in DynamoDB, through boto3."""

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004 - botocore's name

from processors.sink.fenced import FenceMovedError
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey, StoredItem, decode_state, encode_state

# Answers that a later try may not meet again.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
_TRANSIENT = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "ItemCollectionSizeLimitExceededException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
    }
)
_READ_ROUNDS = 8  # of a BatchGetItem that leaves keys unprocessed


class DynamoItemStore:
    """The ItemStore over a DynamoDB table with the key (pk, sk). *client* is a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist, read consistently."""
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
                "layout": {"S": item.layout},
                "state": {"S": encode_state(item.state)},
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
            if code in _TRANSIENT or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise RetryableError(f"DynamoDB {operation} on {self._table}: {code}") from error
            raise
        except (ConnectionError, HTTPClientError) as error:
            raise RetryableError(f"DynamoDB {operation} on {self._table}: {error}") from error


def stored_item(item: Mapping[str, Any]) -> StoredItem:
    """Return the item that DynamoDB JSON describes."""
    return StoredItem(
        fence=int(item["fence"]["S"]),
        layout=item["layout"]["S"],
        state=decode_state(item["state"]["S"]),
        expires_s=int(item["expires"]["N"]),
    )


def _key(key: ItemKey) -> dict[str, dict[str, str]]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
