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

from conftest import CREDENTIALS, ClientFactory
from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.credentials import credential_source
from processors.quarantine.lean_sqs import TARGET, LeanSqsQuarantine
from processors.quarantine.sqs import SqsQuarantine, decode_poison
from processors.sink.dynamodb import DynamoItemStore
from processors.sink.fenced import FenceMovedError
from processors.sink.lean_dynamodb import LeanDynamoItemStore
from processors.sink.one_by_one import OneByOne
from streamgage.definition.pipeline import Rollup
from streamgage.errors import RetryableError
from streamgage.fold.folder import Poison
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.measures.monoids import FieldLayout, StateLayout
from streamgage.measures.windows import TumblingWindows
from support.fakes import PLENTY_MS, RemainingTime, contributions_of, sink_over
from support.lean_server import (
    HANG_UP,
    HASTY,
    SILENCE,
    THROTTLED,
    FakeDynamo,
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
STATES = st.recursive(
    st.none() | st.integers(-(10**38), 10**38), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)
ITEMS = st.builds(StoredItem, FENCES, TEXTS, st.lists(STATES, max_size=5), st.integers(0, 10**11))
A = ItemKey("device_metrics.1|1m|machine-1", "001699999200000|shardId-0")
ITEM = StoredItem(10**55, "layout", [1, None, [2]], 1_700_000_000)


def boto3_client(name: str, service: Service) -> Any:
    config = Config(retries={"mode": "standard", "max_attempts": 1})
    return boto3.client(name, endpoint_url=service.url, config=config, **CREDENTIALS)


@pytest.fixture(scope="module")
def recorder() -> Iterator[Service]:
    """A service that finds nothing and refuses nothing."""
    with serving(lambda _: Reply.of(b"{}")) as started:
        yield started


@pytest.fixture
def dynamo() -> FakeDynamo:
    return FakeDynamo()


@pytest.fixture
def service(dynamo: FakeDynamo) -> Iterator[Service]:
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


def test_every_write_asks_for_what_boto3_asks_for(recorder: Service) -> None:
    reference = DynamoItemStore(boto3_client("dynamodb", recorder), "aggregates")

    with closing(client_of(recorder)) as client:
        lean = LeanDynamoItemStore(client, "aggregates")

        @settings(deadline=None, max_examples=50)
        @given(key=KEYS, item=ITEMS, fence=st.none() | FENCES)
        def same(key: ItemKey, item: StoredItem, fence: int | None) -> None:
            ours, theirs = requests_of(
                recorder,
                lambda: lean.put(key, item, expected_fence=fence),
                lambda: reference.put(key, item, expected_fence=fence),
            )
            assert ours == theirs

        same()


def test_every_read_asks_for_what_boto3_asks_for() -> None:
    with serving(lambda _: Reply.of(b'{"Responses":{}}')) as service, closing(client_of(service)) as client:
        lean = LeanDynamoItemStore(client, "aggregates")
        reference = DynamoItemStore(boto3_client("dynamodb", service), "aggregates")

        @settings(deadline=None, max_examples=20)
        @given(keys=st.lists(KEYS, min_size=1, max_size=100, unique=True))
        def same(keys: list[ItemKey]) -> None:
            ours, theirs = requests_of(service, lambda: lean.get(keys), lambda: reference.get(keys))
            assert ours == theirs

        same()


def test_a_refusal_for_good_propagates(store: LeanDynamoItemStore, service: Service) -> None:
    service.script.append(Reply.error("ResourceNotFoundException"))
    with pytest.raises(ServiceError, match="ResourceNotFoundException"):
        store.put(A, ITEM, expected_fence=None)
    service.script.append(Reply.error("AccessDeniedException"))
    with pytest.raises(ServiceError, match="AccessDeniedException"):
        store.get([A])


def test_keys_left_unprocessed_are_asked_for_again_after_a_pause(
    store: LeanDynamoItemStore, service: Service, dynamo: FakeDynamo, time: FakeTime
) -> None:
    keys = [ItemKey(f"key {number}", "0") for number in range(4)]
    for key in keys:
        store.put(key, ITEM, expected_fence=None)
    service.requests.clear()
    dynamo.unprocessed = 3
    assert store.get(keys) == dict.fromkeys(keys, ITEM)
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
        store.get([A])
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
        store.get([A])
    service.script.append(fault)
    with pytest.raises(FenceMovedError) as moved:
        store.put(A, ITEM, expected_fence=None)
    assert moved.value.current == ITEM


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
    sink = sink_over(OneByOne(store))
    for fence in (1, 2, 3):
        sink.apply({}, remaining_ms=RemainingTime(PLENTY_MS))
        service.script.extend([fault] if fence > 1 else [])
        batch = {A: contributions_of(rollup, [(fence, (10**fence,))])}
        applied = sink.apply(batch, remaining_ms=RemainingTime(PLENTY_MS))
        assert (applied.failed_from, applied.conflicts) == (None, int(fence > 1))
    stored = store.get([A])[A]
    assert (stored.fence, stored.state[0]) == (3, 3)
    assert 1110 in stored.state


def poison_of(number: int, data: bytes) -> Poison:
    return Poison(
        code="undecodable",
        reason=f"reason {number}",
        shard_id="shardId-000000000000",
        sequence_number=10**55 + number,
        sub_sequence_number=None if number % 2 else number,
        partition_key="größe",
        arrival_ms=1_700_000_000_000,
        data=data,
    )


POISON = [poison_of(number, b"\x00\xff" * number) for number in range(23)]


def test_poison_is_sent_as_boto3_sends_it(recorder: Service) -> None:
    recorder.requests.clear()
    with closing(client_of(recorder, target=TARGET)) as client:
        LeanSqsQuarantine(client, "http://127.0.0.1/queue").send(POISON)
    SqsQuarantine(boto3_client("sqs", recorder), "http://127.0.0.1/queue").send(POISON)
    sent = [(each.headers["x-amz-target"], each.json) for each in recorder.requests]
    assert len(sent) == 6
    assert sent[:3] == sent[3:]
    assert recorder.requests[0].headers["content-type"] == recorder.requests[3].headers["content-type"]


class FakeQueue:
    """SendMessageBatch that refuses the first ``refuse`` entries it sees."""

    def __init__(self, refuse: int) -> None:
        self.refuse, self.kept = refuse, list[str]()

    def __call__(self, request: Request) -> Reply:
        failed = []
        for entry in request.json["Entries"]:
            if self.refuse > 0:
                self.refuse -= 1
                failed.append({"Id": entry["Id"], "Code": "ServiceUnavailable", "SenderFault": False})
            else:
                self.kept.append(entry["MessageBody"])
        return Reply.of(json.dumps({"Failed": failed} if failed else {"Successful": []}).encode())


def test_messages_that_the_queue_refuses_are_sent_again() -> None:
    queue = FakeQueue(refuse=5)
    with serving(queue) as service, closing(client_of(service, target=TARGET)) as client:
        service.script.append(THROTTLED)
        LeanSqsQuarantine(client, "http://127.0.0.1/queue").send(POISON)
    kept = [json.loads(message) for message in queue.kept]
    assert sorted(decode_poison([each]) for each in kept) == sorted(each.data for each in POISON)


def test_poison_that_the_queue_keeps_refusing_is_a_retryable_error() -> None:
    with (
        serving(FakeQueue(refuse=1000)) as service,
        closing(client_of(service, target=TARGET)) as client,
        pytest.raises(
            RetryableError, match=r"3 poison records are not in the quarantine queue: ServiceUnavailable"
        ),
    ):
        LeanSqsQuarantine(client, "http://127.0.0.1/queue").send(POISON[:3])


def test_no_poison_is_no_call(recorder: Service) -> None:
    recorder.requests.clear()
    LeanSqsQuarantine(client_of(recorder, target=TARGET), "http://127.0.0.1/queue").send([])
    assert recorder.requests == []


@pytest.mark.local
def test_an_emulated_queue_takes_it(ministack: ClientFactory) -> None:
    sqs = ministack("sqs")
    url = sqs.create_queue(QueueName="lean-quarantine")["QueueUrl"]
    environment = {
        "AWS_ENDPOINT_URL": sqs.meta.endpoint_url,
        "AWS_REGION": CREDENTIALS["region_name"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    client = AwsJsonClient.of_environment(
        "sqs", TARGET, environment=environment, credentials=credential_source(environment), tls=None
    )
    with closing(client):
        LeanSqsQuarantine(client, url).send(POISON)
        with pytest.raises(ServiceError):
            LeanSqsQuarantine(client, f"{url}-that-is-not-there").send(POISON)
    received: list[str] = []
    while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        received += [each["Body"] for each in batch]
    assert sorted(decode_poison([json.loads(each)]) for each in received) == sorted(
        each.data for each in POISON
    )
