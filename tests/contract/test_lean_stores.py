"""The lean adapters ask for what the boto3 adapters ask for, and count once whatever is lost on the way."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import CREDENTIALS
from processors.awsjson.client import ServiceError
from processors.sink.lean_dynamodb import LeanDynamoItemStore
from processors.sink.writes import Moved, Write
from streamgage.definition.pipeline import Rollup
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.measures.layout import FieldLayout, StateLayout
from streamgage.measures.windows import TumblingWindows
from support.boto3_store import Boto3ItemStore
from support.fake_statements import FakeStatements
from support.fakes import PLENTY, contribution_of, sink_over, values_of
from support.lean_server import (
    HANG_UP,
    HASTY,
    SILENCE,
    FakeTime,
    Reply,
    Request,
    Service,
    client_of,
    serving,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20) | st.sampled_from(
    ['"', "\\", "\x00"]
)
KEYS = st.builds(ItemKey, TEXTS, TEXTS)
FENCES = st.integers(0, 10**128)
ITEMS = st.builds(StoredItem, FENCES, TEXTS, st.binary(max_size=40), st.integers(0, 10**11))
A = ItemKey("device_metrics.1|1m|machine-1", "001699999200000|shardId-0")
ITEM = StoredItem(10**55, "layout", b"\x00\xff", 1_700_000_000)


def boto3_client(name: str, service: Service) -> Any:
    config = Config(retries={"mode": "standard", "max_attempts": 1})
    return boto3.client(name, endpoint_url=service.url, config=config, **CREDENTIALS)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Service]:
    """A service that finds nothing and refuses nothing."""
    with serving(lambda _: Reply.of(b"{}")) as started:
        yield started


@pytest.fixture
def dynamo() -> FakeStatements:
    return FakeStatements("aggregates")


@pytest.fixture
def service(dynamo: FakeStatements) -> Iterator[Service]:
    with serving(dynamo) as started:
        yield started


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def store(service: Service, time: FakeTime) -> Iterator[LeanDynamoItemStore]:
    with closing(client_of(service, policy=time.policy(), timeouts=HASTY)) as client:
        yield LeanDynamoItemStore(client, "aggregates")


def requests_of(service: Service, *calls: Callable[[], object]) -> list[tuple[str, Any]]:
    """Return the operation and the body of each call's first request."""
    asked = []
    for call in calls:
        service.requests.clear()
        call()
        asked.append((service.requests[0].headers["x-amz-target"], service.requests[0].json))
    return asked


def without_statements(request: Request) -> Reply:
    """Answer as an engine that knows none: every write is a PutItem then."""
    known = request.operation != "BatchExecuteStatement"
    return Reply.of(b"{}") if known else Reply.error("UnknownOperationException")


def test_every_write_asks_for_what_boto3_asks_for() -> None:
    with serving(without_statements) as service, closing(client_of(service)) as client:
        lean = LeanDynamoItemStore(client, "aggregates")
        reference = Boto3ItemStore(boto3_client("dynamodb", service), "aggregates")
        lean.put_many([Write(A, ITEM, None)], deadline=PLENTY)  # it asks for statements once

        @settings(deadline=None, max_examples=50)
        @given(key=KEYS, item=ITEMS, fence=st.none() | FENCES)
        def same(key: ItemKey, item: StoredItem, fence: int | None) -> None:
            ours, theirs = requests_of(
                service,
                lambda: lean.put_many([Write(key, item, fence)], deadline=PLENTY),
                lambda: reference.put(key, item, expected_fence=fence),
            )
            assert ours == theirs

        same()


def test_every_read_asks_for_what_boto3_asks_for() -> None:
    with serving(lambda _: Reply.of(b'{"Responses":{}}')) as service, closing(client_of(service)) as client:
        lean = LeanDynamoItemStore(client, "aggregates")
        reference = Boto3ItemStore(boto3_client("dynamodb", service), "aggregates")

        @settings(deadline=None, max_examples=20)
        @given(keys=st.lists(KEYS, min_size=1, max_size=100, unique=True))
        def same(keys: list[ItemKey]) -> None:
            ours, theirs = requests_of(
                service, lambda: lean.get(keys, deadline=PLENTY), lambda: reference.get(keys, deadline=PLENTY)
            )
            assert ours == theirs

        same()


def test_a_refusal_for_good_propagates(store: LeanDynamoItemStore, service: Service) -> None:
    service.script.append(Reply.error("ResourceNotFoundException"))
    with pytest.raises(ServiceError, match="ResourceNotFoundException"):
        store.put_many([Write(A, ITEM, None)], deadline=PLENTY)
    service.script.append(Reply.error("AccessDeniedException"))
    with pytest.raises(ServiceError, match="AccessDeniedException"):
        store.get([A], deadline=PLENTY)


def test_keys_left_unprocessed_are_asked_for_again_after_a_pause(
    store: LeanDynamoItemStore, service: Service, dynamo: FakeStatements, time: FakeTime
) -> None:
    keys = [ItemKey(f"key {number}", "0") for number in range(4)]
    for key in keys:
        store.put_many([Write(key, ITEM, None)], deadline=PLENTY)
    service.requests.clear()
    dynamo.unprocessed = 3
    assert store.get(keys, deadline=PLENTY) == dict.fromkeys(keys, ITEM)
    assert [len(each.json["RequestItems"]["aggregates"]["Keys"]) for each in service.requests] == [4, 3, 2, 1]
    assert time.pauses_s == [0.05, 0.1, 0.2]


def test_keys_that_stay_unprocessed_end_in_a_retryable_error(
    store: LeanDynamoItemStore, service: Service
) -> None:
    left = {
        "Responses": {},
        "UnprocessedKeys": {"aggregates": {"Keys": [{"pk": {"S": "a"}, "sk": {"S": "b"}}]}},
    }
    service.script.extend([Reply.of(json.dumps(left).encode())] * 20)
    with pytest.raises(RetryableError, match="unprocessed: table aggregates is throttled"):
        store.get([A], deadline=PLENTY)
    assert len(service.requests) == 6


def lost(reply: Reply) -> Reply:
    """Lose the answer of a call that took effect."""
    assert b"200" in reply.parts[0]
    return HANG_UP


def late(reply: Reply) -> Reply:
    """Let the answer of a call that took effect never come."""
    assert b"200" in reply.parts[0]
    return SILENCE


@pytest.mark.parametrize("warm", [True, False], ids=["kept connection", "new connection"])
@pytest.mark.parametrize("fault", [lost, late])
def test_a_write_whose_answer_was_lost_meets_its_own_fence(
    store: LeanDynamoItemStore, service: Service, fault: Callable[[Reply], Reply], warm: bool  # noqa: FBT001 - a table
) -> None:  # fmt: skip
    if warm:
        store.get([A], deadline=PLENTY)
    service.script.append(fault)
    assert store.put_many([Write(A, ITEM, None)], deadline=PLENTY) == [Moved(ITEM)]


@pytest.mark.parametrize("fault", [lost, late])
def test_the_sink_counts_a_write_whose_answer_was_lost_once(
    store: LeanDynamoItemStore, service: Service, fault: Callable[[Reply], Reply]
) -> None:
    layout = StateLayout((FieldLayout.of("value", 9, ("count", "sum")),))
    rollup = Rollup(
        name="device_metrics",
        source="reading",
        key=("device_id",),
        windows=(TumblingWindows(60_000),),
        keep_ms=1000,
        generation=1,
        measures={"value": ("count", "sum")},
        layout=layout,
    )
    sink = sink_over(store)
    for fence in (1, 2, 3):
        sink.apply({}, deadline=PLENTY)
        service.script.extend([fault] if fence > 1 else [])
        batch = {A: contribution_of(rollup, [(fence, (10**fence,))])}
        applied = sink.apply(batch, deadline=PLENTY)
        assert (applied.failed_from, applied.conflicts) == (None, int(fence > 1))
    stored = store.get([A], deadline=PLENTY)[A]
    assert (stored.fence, values_of(rollup, stored)) == (3, [3, 3, 1110])
