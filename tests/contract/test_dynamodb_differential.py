"""Our tables against DynamoDB Local, AWS's own engine: the same requests, the same answers and errors.

Where they differ on purpose, the request is not asked here, and docs/adr/0022 says why.
"""

import json
import re
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import ClientFactory
from infra.local.dynamodb.api import TARGET, DynamoApi
from infra.local.dynamodb.database import open_database
from infra.local.dynamodb.store import Store
from support.dynamo_requests import TABLES, Request, requests
from support.examples import examples

pytestmark = pytest.mark.local
Ask = Callable[[str, Any], tuple[int, Any]]
"""``ask(operation, request)``: the status and the answer."""

_SIGNED = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=judge/20260101/eu-central-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
}


@pytest.fixture(scope="module")
def theirs(dynamodb_local: ClientFactory) -> Iterator[Ask]:
    connection = HTTPConnection(urlsplit(dynamodb_local("dynamodb").meta.endpoint_url).netloc, timeout=30)

    def ask(operation: str, request: Any) -> tuple[int, Any]:
        connection.request(
            "POST", "/", json.dumps(request), {**_SIGNED, "X-Amz-Target": f"{TARGET}.{operation}"}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    yield ask
    connection.close()


@pytest.fixture
def ours() -> Iterator[Ask]:
    store = Store(open_database(None, now_ms=0))
    api = DynamoApi(store, clock_ms=lambda: 0)

    def ask(operation: str, request: Any) -> tuple[int, Any]:
        status, body = api.handle(f"{TARGET}.{operation}", json.dumps(request).encode())
        return status, json.loads(body)

    yield ask
    store.close()


@pytest.fixture
def both(ours: Ask, theirs: Ask) -> tuple[Ask, Ask]:
    return ours, theirs


def create_tables(*asks: Ask) -> None:
    """Give each engine ``TABLES``, empty."""
    for ask in asks:
        for name, kind in TABLES.items():
            ask("DeleteTable", {"TableName": name})
            kinds = {"pk": "S"} | ({"sk": kind} if kind else {})
            roles = dict(zip(kinds, ("HASH", "RANGE"), strict=False))
            status, answer = ask(
                "CreateTable",
                {
                    "TableName": name,
                    "KeySchema": [{"AttributeName": each, "KeyType": roles[each]} for each in kinds],
                    "AttributeDefinitions": [
                        {"AttributeName": each, "AttributeType": kinds[each]} for each in kinds
                    ],
                    "BillingMode": "PAY_PER_REQUEST",
                },
            )
            assert status == 200, answer


def normal(operation: str, asked: dict[str, Any], answer: tuple[int, Any]) -> tuple[int, Any]:
    """Return *answer* without what is no one's promise: how errors are spelled out, the order of a batch."""
    status, body = answer
    if operation == "DeleteItem" and not asked.get("ReturnConsumedCapacity"):
        body.pop("ConsumedCapacity", None)  # DynamoDB Local tells it unasked
    if "__type" in body:
        message = body.pop("message", None) or body.pop("Message", "")
        body["code"] = body.pop("__type").rpartition("#")[2]
        body["message"] = told(message)
    if operation == "BatchGetItem" and status == 200:
        for each in body["Responses"].values():
            each.sort(key=lambda item: json.dumps(sorted_keys(item)))
    if operation == "BatchExecuteStatement" and status == 200:
        for each in body["Responses"]:
            if "Error" in each:
                each.pop("TableName", None)  # DynamoDB Local tells it of some errors
    return status, sorted_keys(body)


def told(message: str) -> str:
    """Return *message* without the values of operands, which Java spells in its own way."""
    message = re.sub(r"(bound operand): AttributeValue: \{.*\}", r"\1", message, flags=re.DOTALL)
    message = re.sub(r"(operand type): \S+", r"\1", message)
    message = re.sub(r"(Two document paths).*", r"\1", message)  # which two it is, of several
    return re.sub(r"(Syntax error).*", r"\1", message)  # at which token, where there are several


def sorted_keys(value: Any) -> Any:
    """Return *value* with its maps and sets in one order."""
    if isinstance(value, dict):
        for kind in ("SS", "NS", "BS"):
            if isinstance(value.get(kind), list):
                return {kind: sorted(value[kind])}
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(each) for each in value] if isinstance(value, list) else value


def scanned(ask: Ask, request: dict[str, Any]) -> tuple[int, Any]:
    """Return all that a Scan finds, page by page: the order is no one's promise."""
    found, pages = [], 0
    page = dict(request)
    while True:
        status, answer = ask("Scan", page)
        if status != 200:
            return status, answer
        found += answer["Items"]
        pages += answer["ScannedCount"]
        if "LastEvaluatedKey" not in answer:
            return 200, {"Items": sorted(map(sorted_keys, found), key=json.dumps), "Scanned": pages}
        page["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def answers(ask: Ask, operation: str, request: dict[str, Any]) -> list[tuple[int, Any]]:
    """Return what *ask* answers: of a Query, all of its pages."""
    if operation == "Scan":
        return [normal(operation, request, scanned(ask, request))]
    given_back = [ask(operation, request)]
    while operation == "Query" and "LastEvaluatedKey" in given_back[-1][1]:
        start = given_back[-1][1]["LastEvaluatedKey"]
        given_back.append(ask(operation, {**request, "ExclusiveStartKey": start}))
    return [normal(operation, request, each) for each in given_back]


def test_random_requests_get_the_same_answers(both: tuple[Ask, Ask]) -> None:
    ours, theirs = both

    @settings(
        deadline=None,
        max_examples=examples(150, whole=300),
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(requests(), min_size=8, max_size=30))
    def same(asked: list[Request]) -> None:
        create_tables(ours, theirs)
        for operation, request in asked:
            mine = answers(ours, operation, request)
            assert mine == answers(theirs, operation, request), (operation, request)

    same()


def filled(size_bytes: int, **key: str) -> dict[str, Any]:
    """Return an item of the table ``strings`` that is *size_bytes* long."""
    item = {name: {"S": text} for name, text in key.items()}
    known = sum(len(name) + len(text) for name, text in key.items())
    return {**item, "x": {"S": "x" * (size_bytes - known - 1)}}


def same(both: tuple[Ask, Ask], operation: str, request: dict[str, Any]) -> list[tuple[int, Any]]:
    """Ask both, and return what both answered."""
    ours, theirs = both
    mine = answers(ours, operation, request)
    assert mine == answers(theirs, operation, request), (operation, str(request)[:300])
    return mine


ITEM_BYTES = 400 * 1024


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_an_item_has_400_kilobytes_to_the_byte(both: tuple[Ask, Ask], over: int) -> None:
    create_tables(*both)
    item = filled(ITEM_BYTES + over, pk="p", sk="s")
    ((status, _),) = same(
        both, "PutItem", {"TableName": "strings", "Item": item, "ReturnConsumedCapacity": "TOTAL"}
    )
    assert status == (400 if over > 0 else 200)
    small = filled(ITEM_BYTES + over - 3, pk="p", sk="t")
    same(both, "PutItem", {"TableName": "strings", "Item": small})
    grow = {
        "TableName": "strings",
        "Key": {"pk": {"S": "p"}, "sk": {"S": "t"}},
        "UpdateExpression": "SET y = :y",
        "ExpressionAttributeValues": {":y": {"S": "12"}},
        "ReturnConsumedCapacity": "TOTAL",
    }
    ((status, _),) = same(both, "UpdateItem", grow)
    assert status == (400 if over > 0 else 200)


@pytest.mark.parametrize(("name", "most"), [("pk", 2048), ("sk", 1024)])
@pytest.mark.parametrize("over", [0, 1])
def test_a_key_has_its_bytes_and_no_more(both: tuple[Ask, Ask], name: str, most: int, over: int) -> None:
    create_tables(*both)
    for text in ("x" * (most + over), "é" * (most // 2) + "x" * over):
        key = {"pk": {"S": "p"}, "sk": {"S": "s"}, name: {"S": text}}
        ((status, _),) = same(both, "PutItem", {"TableName": "strings", "Item": key})
        assert status == (400 if over else 200)
        same(both, "GetItem", {"TableName": "strings", "Key": key})
        same(both, "BatchGetItem", {"RequestItems": {"strings": {"Keys": [key]}}})


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_page_ends_behind_the_item_that_makes_it_a_megabyte(both: tuple[Ask, Ask], over: int) -> None:
    create_tables(*both)
    for place in range(9):
        item = filled(256 * 1024 + over, pk="p", sk=f"s{place}")
        same(both, "PutItem", {"TableName": "strings", "Item": item})
    for more in ({}, {"ScanIndexForward": False}, {"Limit": 4}, {"Limit": 5}, {"ConsistentRead": True}):
        pages = same(
            both,
            "Query",
            {
                "TableName": "strings",
                "KeyConditionExpression": "pk = :p AND sk < :last",
                "ExpressionAttributeValues": {":p": {"S": "p"}, ":last": {"S": "s8"}},
                "Select": "COUNT",
                "ReturnConsumedCapacity": "TOTAL",
                **more,
            },
        )
        assert sum(body["Count"] for _, body in pages) == 8


def test_a_batch_of_reads_has_16_megabytes(both: tuple[Ask, Ask]) -> None:
    create_tables(*both)
    for place in range(60):
        same(
            both,
            "PutItem",
            {"TableName": "strings", "Item": filled(300_000, pk="p", sk=f"s{place:02}")},
        )
    request = {
        "RequestItems": {
            "strings": {
                "Keys": [{"pk": {"S": "p"}, "sk": {"S": f"s{place:02}"}} for place in range(60)],
                "ConsistentRead": True,
            }
        },
        "ReturnConsumedCapacity": "TOTAL",
    }
    for ask in both:
        status, answer = ask("BatchGetItem", request)
        read, left = answer["Responses"]["strings"], answer["UnprocessedKeys"]["strings"]
        assert (status, len(read), len(left["Keys"]), left["ConsistentRead"]) == (200, 55, 5, True)
        assert answer["ConsumedCapacity"] == [{"TableName": "strings", "CapacityUnits": 55 * 74.0}]


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("BatchGetItem", {"RequestItems": {"alone": {"Keys": [{"pk": {"S": str(n)}} for n in range(101)]}}}),
        (
            "BatchWriteItem",
            {"RequestItems": {"alone": [{"PutRequest": {"Item": {"pk": {"S": str(n)}}}} for n in range(26)]}},
        ),
        (
            "BatchExecuteStatement",
            {
                "Statements": [
                    {
                        "Statement": "INSERT INTO \"alone\" VALUE {'pk':?}",
                        "Parameters": [{"S": str(n)}],
                    }
                    for n in range(26)
                ]
            },
        ),
        ("BatchExecuteStatement", {"Statements": [{"Statement": "x" * 8193}]}),
        ("BatchExecuteStatement", {"Statements": []}),
    ],
    ids=["101 keys", "26 writes", "26 statements", "a long statement", "no statement"],
)
def test_a_batch_of_one_too_many_is_refused_whole(
    both: tuple[Ask, Ask], operation: str, request_: dict[str, Any]
) -> None:
    create_tables(*both)
    ((status, _),) = same(both, operation, request_)
    assert status == 400
    same(both, "Scan", {"TableName": "alone"})


@pytest.mark.parametrize(
    "text",
    ["0", "1", "-1", "12", "-12", "123", "1230", "0.1", "0.01", "0.012", "1.5", "-1.5", "1e20", "100000001",
     "1e-20", "12345678901234567890123456789012345678", "-12345678901234567890123456789012345678", "10.01"],
)  # fmt: skip
def test_a_number_takes_as_many_bytes(both: tuple[Ask, Ask], text: str) -> None:
    """Items with ten numbers, around the edge of a unit: where it lies tells their size."""
    create_tables(*both)
    for padding in range(800, 1021, 10):
        item = filled(padding, pk="p", sk="s") | {f"n{place}": {"N": text} for place in range(10)}
        same(both, "PutItem", {"TableName": "strings", "Item": item, "ReturnConsumedCapacity": "TOTAL"})


def test_tables_live_alike(both: tuple[Ask, Ask]) -> None:
    for ask in both:  # what other suites left in the engine that they share
        while names := ask("ListTables", {})[1]["TableNames"]:  # a page of a hundred
            for name in names:
                ask("DeleteTable", {"TableName": name})
    create_tables(*both)
    ttl = {"AttributeName": "expires", "Enabled": True}
    asked: list[Request] = [
        ("ListTables", {"Limit": 2}),
        ("ListTables", {"Limit": 2, "ExclusiveStartTableName": "bytes"}),
        ("ListTables", {"Limit": 0}),
        ("DescribeTimeToLive", {"TableName": "alone"}),
        ("UpdateTimeToLive", {"TableName": "alone", "TimeToLiveSpecification": {**ttl, "Enabled": False}}),
        ("UpdateTimeToLive", {"TableName": "alone", "TimeToLiveSpecification": ttl}),
        ("UpdateTimeToLive", {"TableName": "alone", "TimeToLiveSpecification": ttl}),
        (
            "UpdateTimeToLive",
            {"TableName": "alone", "TimeToLiveSpecification": {**ttl, "AttributeName": "other"}},
        ),
        ("DescribeTimeToLive", {"TableName": "alone"}),
        ("UpdateTimeToLive", {"TableName": "alone", "TimeToLiveSpecification": {**ttl, "Enabled": False}}),
        ("DescribeTable", {"TableName": "missing"}),
        ("DescribeTable", {}),
        ("DescribeTable", {"TableName": "x!"}),
        ("DeleteTable", {"TableName": "missing"}),
        ("DescribeTimeToLive", {"TableName": "missing"}),
        ("PutItem", {"TableName": "missing", "Item": {"pk": {"S": "a"}}}),
    ]
    for operation, request in asked:
        same(both, operation, request)
    for ask in both:
        assert ask("UpdateTable", {"TableName": "alone", "DeletionProtectionEnabled": True})[0] == 200
    same(both, "DeleteTable", {"TableName": "alone"})
    for ask in both:
        assert ask("UpdateTable", {"TableName": "alone", "DeletionProtectionEnabled": False})[0] == 200
        assert ask("DeleteTable", {"TableName": "alone"})[0] == 200
    same(both, "DescribeTable", {"TableName": "alone"})


HASH, RANGE = {"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}
PK, SK = {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "S"}


@pytest.mark.parametrize(
    "changed",
    [
        {"KeySchema": [HASH, RANGE]},
        {"AttributeDefinitions": [PK, SK]},
        {"AttributeDefinitions": []},
        {"KeySchema": [RANGE], "AttributeDefinitions": [SK]},
        {"KeySchema": [HASH, HASH]},
        {"AttributeDefinitions": [{**PK, "AttributeType": "Q"}]},
        {"BillingMode": "PROVISIONED"},
        {"TableName": "x!"},
        {"TableName": "xx"},
        {"TableName": "strings"},
    ],
    ids=str,
)
def test_tables_that_cannot_be_are_refused_alike(both: tuple[Ask, Ask], changed: dict[str, Any]) -> None:
    create_tables(*both)
    request = {
        "TableName": "new",
        "KeySchema": [HASH],
        "AttributeDefinitions": [PK],
        "BillingMode": "PAY_PER_REQUEST",
        **changed,
    }
    ((status, _),) = same(both, "CreateTable", request)
    assert status == 400
