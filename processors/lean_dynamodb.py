"""Items in DynamoDB, through the lean client: what processors/dynamodb.py does through boto3, in a tenth of the CPU."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.sink import FenceMovedError
from streamgage.items import ItemKey, StoredItem, decode_state, encode_state

TARGET = "DynamoDB_20120810"


class LeanDynamoItemStore:
    """The ItemStore over a DynamoDB table with the key (pk, sk). *client* is one of DynamoDB.

    A write whose answer was lost is sent again. Where the first one took effect, the second meets its fence:
    FenceMovedError with the very item that was written, in which the sink finds everything applied.
    """

    def __init__(self, client: AwsJsonClient, table: str) -> None:
        self._client, self._table = client, table
        self._put_head = f'{{"TableName":{json.dumps(table)},"ReturnValuesOnConditionCheckFailure":"ALL_OLD","Item":{{"pk":{{"S":'

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist, read consistently."""
        found: dict[ItemKey, StoredItem] = {}
        wanted: Any = {
            self._table: {
                "Keys": [{"pk": {"S": key.pk}, "sk": {"S": key.sk}} for key in keys],
                "ConsistentRead": True,
            }
        }
        retries = self._client.retries()
        while True:
            body = json.dumps({"RequestItems": wanted}, separators=(",", ":"))
            answer = json.loads(self._client.call("BatchGetItem", body, retries))
            for item in answer.get("Responses", {}).get(self._table, ()):
                found[ItemKey(item["pk"]["S"], item["sk"]["S"])] = _stored_item(item)
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return found
            retries.pause(f"BatchGetItem left keys unprocessed: table {self._table} is throttled")

    def put(self, key: ItemKey, item: StoredItem, *, expected_fence: int | None) -> None:
        """Write *item* on the condition that the fence is the expected one."""
        text = json.dumps
        condition = (
            '"attribute_not_exists(pk)"'
            if expected_fence is None
            else f'"fence = :fence","ExpressionAttributeValues":{{":fence":{{"S":"{expected_fence}"}}}}'
        )
        body = (
            f'{self._put_head}{text(key.pk)}}},"sk":{{"S":{text(key.sk)}}},"fence":{{"S":"{item.fence}"}},'
            f'"layout":{{"S":{text(item.layout)}}},"state":{{"S":{text(encode_state(item.state))}}},'
            f'"expires":{{"N":"{item.expires_s}"}}}},"ConditionExpression":{condition}}}'
        )
        try:
            self._client.call("PutItem", body)
        except ServiceError as error:
            if error.error != "ConditionalCheckFailedException":
                raise
            old = error.answer.get("Item")
            raise FenceMovedError(_stored_item(old) if old else None) from error


def _stored_item(item: Mapping[str, Any]) -> StoredItem:
    return StoredItem(
        fence=int(item["fence"]["S"]),
        layout=item["layout"]["S"],
        state=decode_state(item["state"]["S"]),
        expires_s=int(item["expires"]["N"]),
    )
