"""What a client answers once its answers are taken as they come."""

import pytest
from botocore.exceptions import ClientError

from conftest import ClientFactory, create_table
from processors.query.plain_answers import answer_plainly

KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}
ITEM = {**KEY, "body": {"B": b"\xff\0"}, "expires": {"N": "7"}}


def test_an_item_is_answered_as_its_json_has_it_however_often_that_is_said(moto: ClientFactory) -> None:
    client = moto("dynamodb")
    create_table(client, "aggregates")
    client.put_item(TableName="aggregates", Item=ITEM)
    for _ in range(2):
        answer_plainly(client)
        answer = client.batch_get_item(RequestItems={"aggregates": {"Keys": [KEY]}})
        assert answer["Responses"]["aggregates"] == [{**ITEM, "body": {"B": "/wA="}}]
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.get_item(TableName="aggregates", Key=KEY)["Item"] == ITEM  # other calls are as they were


def test_a_refusal_is_raised_as_before(moto: ClientFactory) -> None:
    client = moto("dynamodb")
    answer_plainly(client)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.batch_get_item(RequestItems={"aggregates": {"Keys": [KEY]}})


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"[1]"), (200, b"7"), (200, b""), (400, b"{}")]
)
def test_what_is_no_answer_is_left_to_botocore(moto: ClientFactory, status: int, body: bytes) -> None:
    client = moto("dynamodb")
    answer_plainly(client)
    response, found = {"status_code": status, "body": body}, dict[str, object]()
    client.meta.events.emit(
        "before-parse.dynamodb.Query", response_dict=response, customized_response_dict=found
    )
    assert (response["body"], found) == (body, {})
