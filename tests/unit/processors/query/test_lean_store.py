"""Reads through the lean client: what is left unread is asked for again, and nothing goes beyond the deadline."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.query.lean_store import LeanPartialStore
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey
from support.lean_server import THROTTLED, FakeDynamo, FakeTime, Reply, Request, Service, client_of, serving

KEYS = [ItemKey("k", f"{number:03d}") for number in range(250)]
TIME = FakeTime()


@dataclass
class Table:
    service: Service
    dynamo: FakeDynamo
    client: AwsJsonClient
    readers: ThreadPoolExecutor

    def store(self, *, seconds: float = 3600) -> LeanPartialStore:
        deadline = TIME.deadline(seconds)
        return LeanPartialStore(self.client, "aggregates", deadline=deadline, readers=self.readers)


@pytest.fixture
def table() -> Iterator[Table]:
    dynamo = FakeDynamo()
    for key in KEYS:
        dynamo.items[key.pk, key.sk] = {
            "pk": {"S": key.pk}, "sk": {"S": key.sk}, "fence": {"S": "1"}, "counts": {"S": "c"},
            "body": {"B": "AA=="}, "expires": {"N": "5"},
        }  # fmt: skip
    with serving(dynamo) as service:
        client = client_of(service, policy=TIME.policy())
        with ThreadPoolExecutor(4) as readers:
            yield Table(service, dynamo, client, readers)
        client.close()


def test_what_an_answer_leaves_unread_is_asked_for_again(table: Table) -> None:
    table.dynamo.unprocessed = 5
    assert len(table.store().get(KEYS)) == 250
    assert len(table.service.requests) == 3 + 5


def test_a_throttled_table_is_asked_again_and_given_up_in_the_end(table: Table) -> None:
    table.service.script.append(THROTTLED)
    assert len(table.store().get(KEYS[:5])) == 5
    table.service.script.extend([THROTTLED] * 20)
    with pytest.raises(RetryableError, match="ProvisionedThroughputExceeded"):
        table.store().get(KEYS[:5])


def test_a_table_that_reads_nothing_is_given_up(table: Table) -> None:
    def nothing(request: Request) -> Reply:
        return Reply.of(
            json.dumps({"Responses": {}, "UnprocessedKeys": request.json["RequestItems"]}).encode()
        )

    table.service.handler = nothing
    with pytest.raises(RetryableError, match="keys were left unread"):
        table.store().get(KEYS[:5])


@pytest.mark.parametrize("pages", [0, 3])
def test_a_range_is_read_page_by_page_until_its_time_is_over(table: Table, pages: int) -> None:
    def page(_: Request) -> Reply:
        if len(table.service.requests) == pages:
            TIME.now_s += 10
        return Reply.of(json.dumps({"Items": [], "LastEvaluatedKey": {"pk": {"S": "k"}}}).encode())

    table.service.handler = page
    with pytest.raises(RetryableError, match="Query: no time left"):
        list(table.store(seconds=10 if pages else 0).range("k", "0", "9"))
    assert len(table.service.requests) == pages
    if pages:
        assert table.service.requests[-1].json["ExclusiveStartKey"] == {"pk": {"S": "k"}}


def test_what_is_refused_for_good_is_told_at_once(table: Table) -> None:
    table.service.script.append(Reply.error("AccessDeniedException"))
    with pytest.raises(ServiceError, match="AccessDenied"):
        table.store().get(KEYS)


class _Slow(float):
    """A number that another thread reads while this one adds to it, where it may."""

    meeting = threading.Barrier(2)

    def __add__(self, other: float) -> "_Slow":
        with suppress(threading.BrokenBarrierError):
            self.meeting.wait(0.5)
        return _Slow(float(self) + float(other))


def test_ranges_that_are_read_at_once_are_all_counted(table: Table) -> None:
    page = {"Items": [], "ConsumedCapacity": {"CapacityUnits": 2.0}}
    table.service.handler = lambda _: Reply.of(json.dumps(page).encode())
    store = table.store()
    store.read_units = _Slow(0)
    list(table.readers.map(lambda at: list(store.range("k", at, at)), "ab"))
    assert float(store.read_units) == 4
