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

pytestmark = pytest.mark.local
Ask = Callable[[str, Any], tuple[int, Any]]
"""``ask(operation, request)``: the status and the answer."""

_SIGNED = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "20260101T000000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/eu-central-1/dynamodb/aws4_request, "
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
    return re.sub(r"(path one): .*", r"\1", message)  # which two it is, of several


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

    @settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))
    @given(st.lists(requests(), min_size=8, max_size=30))
    def same(asked: list[Request]) -> None:
        create_tables(ours, theirs)
        for operation, request in asked:
            mine = answers(ours, operation, request)
            assert mine == answers(theirs, operation, request), (operation, request)

    same()
