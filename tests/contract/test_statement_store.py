"""Many conditional writes at once: one contract for every store, and what the statement store makes of each answer.

DynamoDB Local, AWS's own engine, is the judge of what statements do. It, and whoever measured AWS, may be wrong about
the item that comes back with a failed condition: the contract runs on a fake that tells it and on one that never does.
"""

import json
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import REGION, ClientFactory, create_table
from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.credentials import credential_source
from processors.sink.fenced import ItemStore
from processors.sink.lean_dynamodb import TARGET, LeanDynamoItemStore
from processors.sink.writes import WRITTEN, Moved, Unsure, Write
from streamgage.fold.items import ItemKey, StoredItem
from support.boto3_store import Boto3ItemStore
from support.fake_statements import FakeStatements
from support.fakes import PLENTY, InMemoryItemStore
from support.lean_server import (
    HANG_UP,
    HASTY,
    SILENCE,
    THROTTLED,
    FakeTime,
    Reply,
    Service,
    client_of,
    serving,
)
from support.one_by_one import OneByOne
from support.strategies import REAL_SEQUENCE

TABLE = "stack-Aggregates-1A2B3C"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
FENCES = st.integers(0, 10**128)
BODIES = st.binary(max_size=40)
WRITES = st.builds(
    Write,
    st.builds(ItemKey, TEXTS, TEXTS),
    st.builds(StoredItem, FENCES, TEXTS, BODIES, st.integers(0, 10**11)),
    st.none() | FENCES,
)


def key(name: object) -> ItemKey:
    return ItemKey(f"device_metrics.1|1m|machine-{name}", "001699999200000|shardId-0")


def item(fence: int, *state: int) -> StoredItem:
    return StoredItem(fence, "value:9:count,sum", body(*(state or (1, fence))), 1_700_000_000)


def body(*state: int) -> bytes:
    return b"\xff\x00" + json.dumps(state).encode()  # which is no text


def insert(name: object, fence: int = REAL_SEQUENCE, *state: int) -> Write:
    return Write(key(name), item(fence, *state), None)


def update(name: object, fence: int, expected: int, *state: int) -> Write:
    return Write(key(name), item(fence, *state), expected)


def fake_store(dynamo: FakeStatements) -> Iterator[ItemStore]:
    with serving(dynamo) as service, closing(client_of(service)) as client:
        yield LeanDynamoItemStore(client, TABLE)


@pytest.fixture
def over_fake() -> Iterator[ItemStore]:
    yield from fake_store(FakeStatements(TABLE))


@pytest.fixture
def over_fake_that_never_tells_what_stands_there() -> Iterator[ItemStore]:
    yield from fake_store(FakeStatements(TABLE, tells=False))


@pytest.fixture
def over_fake_without_statements() -> Iterator[ItemStore]:
    yield from fake_store(FakeStatements(TABLE, knows_statements=False))


@pytest.fixture
def one_by_one_in_memory() -> ItemStore:
    return OneByOne(InMemoryItemStore())


@pytest.fixture
def one_by_one_over_moto(moto: ClientFactory) -> ItemStore:
    create_table(moto("dynamodb"), TABLE)
    return OneByOne(Boto3ItemStore(moto("dynamodb"), TABLE))


@pytest.fixture
def over_ministack(ministack: ClientFactory) -> Iterator[ItemStore]:
    yield from engine_store(ministack)


@pytest.fixture
def over_embedded(embedded: ClientFactory) -> Iterator[ItemStore]:
    yield from engine_store(embedded)


@pytest.fixture
def over_dynamodb_local(dynamodb_local: ClientFactory) -> Iterator[ItemStore]:
    yield from engine_store(dynamodb_local)


def engine_store(engine: ClientFactory) -> Iterator[ItemStore]:
    table = f"stack-Aggregates-{uuid.uuid4().hex}"
    create_table(engine("dynamodb"), table)
    environment = {
        "AWS_ENDPOINT_URL": engine("dynamodb").meta.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    client = AwsJsonClient.of_environment(
        "dynamodb", TARGET, environment=environment, credentials=credential_source(environment), tls=None
    )
    with closing(client):
        yield LeanDynamoItemStore(client, table)


ENGINES = [
    "over_fake",
    "over_fake_that_never_tells_what_stands_there",
    "over_fake_without_statements",
    "one_by_one_in_memory",
    "one_by_one_over_moto",
    "over_embedded",
    pytest.param("over_ministack", marks=pytest.mark.local),
    pytest.param("over_dynamodb_local", marks=pytest.mark.local),
]

# Not moto: its check of a condition and its write are two steps, and threads come between them.
RACED = [each for each in ENGINES if each != "one_by_one_over_moto"]


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest) -> ItemStore:
    store: ItemStore = request.getfixturevalue(request.param)
    return store


def stored(store: ItemStore, *names: object) -> list[StoredItem | None]:
    found = store.get([key(name) for name in names], deadline=PLENTY)
    return [found.get(key(name)) for name in names]


class TestPutManyContract:
    """Every store that writes many items at once keeps these promises."""

    def test_items_expected_absent_are_written_to_the_last_digit(self, store: ItemStore) -> None:
        writes = [insert("a", REAL_SEQUENCE, 10**37, -(10**37)), insert("b", 0)]
        assert store.put_many(writes, deadline=PLENTY) == [WRITTEN, WRITTEN]
        assert stored(store, "a", "b") == [each.item for each in writes]

    def test_the_expected_fence_lets_a_write_through(self, store: ItemStore) -> None:
        store.put_many([insert("a"), insert("b")], deadline=PLENTY)
        writes = [Write(key("a"), StoredItem(REAL_SEQUENCE + 1, "other", b"\x02", 5), REAL_SEQUENCE)]
        assert store.put_many(writes, deadline=PLENTY) == [WRITTEN]
        assert stored(store, "a", "b") == [writes[0].item, item(REAL_SEQUENCE)]

    @pytest.mark.parametrize("expected", [None, REAL_SEQUENCE - 1, REAL_SEQUENCE + 1, 10**55, 0])
    def test_another_fence_is_not_overwritten_and_the_item_that_stands_there_comes_back(
        self, store: ItemStore, expected: int | None
    ) -> None:
        store.put_many([insert("a", REAL_SEQUENCE, 7, 8, 9)], deadline=PLENTY)
        write = Write(key("a"), item(REAL_SEQUENCE + 2), expected)
        assert store.put_many([write], deadline=PLENTY) == [Moved(item(REAL_SEQUENCE, 7, 8, 9))]
        assert stored(store, "a") == [item(REAL_SEQUENCE, 7, 8, 9)]

    def test_an_item_expected_present_but_absent_is_not_written(self, store: ItemStore) -> None:
        assert store.put_many([update("a", REAL_SEQUENCE, REAL_SEQUENCE - 1)], deadline=PLENTY) == [
            Moved(None)
        ]
        assert stored(store, "a") == [None]

    def test_twenty_five_writes_of_every_outcome_answer_in_their_order(self, store: ItemStore) -> None:
        store.put_many(
            [insert(n, REAL_SEQUENCE + n) for n in range(25) if n % 5 in (1, 2, 3)], deadline=PLENTY
        )
        writes = [
            [
                insert(n, 10),  # absent
                insert(n, 11),  # stands there
                update(n, 12, REAL_SEQUENCE + n),
                update(n, 13, REAL_SEQUENCE + n + 1),  # moved
                update(n, 14, REAL_SEQUENCE + n),  # absent
            ][n % 5]
            for n in range(25)
        ]
        assert store.put_many(writes, deadline=PLENTY) == [
            [
                WRITTEN,
                Moved(item(REAL_SEQUENCE + n)),
                WRITTEN,
                Moved(item(REAL_SEQUENCE + n)),
                Moved(None),
            ][n % 5]
            for n in range(25)
        ]
        assert stored(store, *range(5)) == [
            item(10), item(REAL_SEQUENCE + 1), item(12), item(REAL_SEQUENCE + 3), None
        ]  # fmt: skip

    @pytest.mark.parametrize("count", [0, 1, 26, 60])
    def test_any_number_of_writes_is_written(self, store: ItemStore, count: int) -> None:
        writes = [insert(n, n) for n in range(count)]
        assert store.put_many(writes, deadline=PLENTY) == [WRITTEN] * count
        assert not count or stored(store, *range(count)) == [each.item for each in writes]

    @pytest.mark.parametrize(
        ("lower", "higher"), [(9, 10), (10**55 - 1, 10**55), (REAL_SEQUENCE, REAL_SEQUENCE + 1), (2, 10**128)]
    )  # fmt: skip
    def test_fences_are_told_apart_in_every_digit(self, store: ItemStore, lower: int, higher: int) -> None:
        store.put_many([insert("a", lower), insert("b", higher)], deadline=PLENTY)
        assert store.put_many([update("a", 5, higher), update("b", 5, lower)], deadline=PLENTY) == [
            Moved(item(lower)),
            Moved(item(higher)),
        ]
        assert store.put_many([update("a", higher, lower), update("b", 0, higher)], deadline=PLENTY) == [
            WRITTEN,
            WRITTEN,
        ]

    def test_no_text_in_a_key_or_fingerprint_is_taken_for_syntax(self, store: ItemStore) -> None:
        texts = ["größe|%7C 🌊", "it's ?", '"?" -- \\', "{'pk':?}", "a\x00b\x1f", "\u2028", "' OR fence = ?"]
        writes = [Write(ItemKey(text, text), StoredItem(1, text, b"", 0), None) for text in texts]
        assert store.put_many(writes, deadline=PLENTY) == [WRITTEN] * len(texts)
        assert store.get([each.key for each in writes], deadline=PLENTY) == {
            each.key: each.item for each in writes
        }
        again = [Write(each.key, StoredItem(2, each.item.counts, b"", 0), 1) for each in writes]
        assert store.put_many(again, deadline=PLENTY) == [WRITTEN] * len(texts)
        assert store.put_many(again, deadline=PLENTY) == [Moved(each.item) for each in again]

    def test_states_longer_than_a_statement_are_written_and_come_back(self, store: ItemStore) -> None:
        states = [[10**37 + n] * 1_500 for n in range(25)]  # 58 kB each: more than one request takes
        first = [insert(n, 1, *state) for n, state in enumerate(states)]
        second = [update(n, 2, 1, *reversed(state), n) for n, state in enumerate(states)]
        assert store.put_many(first, deadline=PLENTY) == [WRITTEN] * 25
        assert store.put_many(second, deadline=PLENTY) == [WRITTEN] * 25
        assert store.put_many(first, deadline=PLENTY) == [Moved(each.item) for each in second]
        assert store.put_many(second, deadline=PLENTY) == [Moved(each.item) for each in second]

    def test_a_batch_whose_answer_was_lost_meets_its_own_fences_when_sent_again(
        self, store: ItemStore
    ) -> None:
        store.put_many([insert(n, 1) for n in range(5)], deadline=PLENTY)
        batch = [update(n, 2, 1) if n < 5 else insert(n, 2) for n in range(10)]
        assert store.put_many(batch, deadline=PLENTY) == [WRITTEN] * 10
        assert store.put_many(batch, deadline=PLENTY) == [Moved(each.item) for each in batch]

    def test_two_writes_of_one_item_are_not_taken_together(self, store: ItemStore) -> None:
        if isinstance(store, OneByOne):
            assert store.put_many([insert("a", 1), update("a", 2, 1)], deadline=PLENTY) == [WRITTEN, WRITTEN]
            return
        with pytest.raises(ValueError, match="two writes of one item"):
            store.put_many([insert("a", 1), update("a", 2, 1)], deadline=PLENTY)
        assert stored(store, "a") == [None]

    @pytest.mark.parametrize("store", RACED, indirect=True)
    @pytest.mark.parametrize("writers", [2, 6])
    def test_writers_racing_for_the_same_items_all_count(self, store: ItemStore, writers: int) -> None:
        rounds, names = 5, list(range(12))

        def count(writer: int) -> None:
            known: dict[int, StoredItem | None] = dict.fromkeys(names)
            left = dict.fromkeys(names, rounds)
            while left:
                order = list(left) if writer % 2 else list(left)[::-1]
                writes = [advanced(name, known[name]) for name in order]
                for name, write, outcome in zip(
                    order, writes, store.put_many(writes, deadline=PLENTY), strict=True
                ):
                    assert not isinstance(outcome, Unsure), outcome.error
                    known[name] = outcome.current if isinstance(outcome, Moved) else write.item
                    left[name] -= outcome == WRITTEN
                left = {name: more for name, more in left.items() if more}

        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(count, range(writers)))
        total = writers * rounds
        assert stored(store, *names) == [item(REAL_SEQUENCE + total, total)] * len(names)


def advanced(name: int, known: StoredItem | None) -> Write:
    counted = json.loads(known.body[2:])[0] + 1 if known else 1
    return Write(key(name), item(REAL_SEQUENCE + counted, counted), known.fence if known else None)


@pytest.fixture
def dynamo() -> FakeStatements:
    return FakeStatements(TABLE)


@pytest.fixture
def service(dynamo: FakeStatements) -> Iterator[Service]:
    with serving(dynamo) as started:
        yield started


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def statements(service: Service, time: FakeTime) -> Iterator[LeanDynamoItemStore]:
    with closing(client_of(service, policy=time.policy(), timeouts=HASTY)) as client:
        yield LeanDynamoItemStore(client, TABLE)


def operations(service: Service) -> list[tuple[str, int]]:
    """Return each operation that was asked for, and the number of its statements."""
    return [(each.operation, len(each.json.get("Statements", "1"))) for each in service.requests]


BATCH = "BatchExecuteStatement"


def test_twenty_five_writes_are_one_request(statements: LeanDynamoItemStore, service: Service) -> None:
    assert statements.put_many([insert(n) for n in range(25)], deadline=PLENTY) == [WRITTEN] * 25
    assert operations(service) == [(BATCH, 25)]


def test_what_stands_there_is_read_at_once_where_the_answers_do_not_tell(
    statements: LeanDynamoItemStore, service: Service, dynamo: FakeStatements
) -> None:
    statements.put_many([insert(n) for n in range(4)], deadline=PLENTY)
    service.requests.clear()
    writes = [insert(0, 5), insert(1, 5), update(2, 5, 4), update(9, 5, 4)]
    standing = item(REAL_SEQUENCE)
    assert statements.put_many(writes, deadline=PLENTY) == [
        Moved(standing),
        Moved(standing),
        Moved(standing),
        Moved(None),
    ]
    assert operations(service) == [(BATCH, 4), ("BatchGetItem", 1)]
    assert [each["pk"]["S"][-1] for each in service.requests[1].json["RequestItems"][TABLE]["Keys"]] == [
        "0", "1", "9"
    ]  # fmt: skip


def test_keys_left_unprocessed_when_reading_back_are_asked_for_again(
    statements: LeanDynamoItemStore, service: Service, dynamo: FakeStatements, time: FakeTime
) -> None:
    statements.put_many([insert(n, n) for n in range(4)], deadline=PLENTY)
    dynamo.unprocessed = 2
    assert statements.put_many([insert(n, 9) for n in range(4)], deadline=PLENTY) == [
        Moved(item(n)) for n in range(4)
    ]
    assert [name for name, _ in operations(service)][2:] == ["BatchGetItem"] * 3
    assert time.pauses_s == [0.05, 0.1]


def test_a_request_is_cut_at_a_mebibyte(statements: LeanDynamoItemStore, service: Service) -> None:
    writes = [insert(n, 1, *[10**37] * 5_900) for n in range(10)]  # 300 kB each, as base64
    writes[4:4] = [insert(n, 1, 1) for n in range(10, 20)]
    assert statements.put_many(writes, deadline=PLENTY) == [WRITTEN] * 20
    assert operations(service) == [(BATCH, 3), (BATCH, 13), (BATCH, 3), (BATCH, 1)]
    assert all(len(each.body) <= 1024 * 1024 + 100 for each in service.requests)


@pytest.mark.parametrize(
    "code",
    [
        "ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "TransactionConflict",
        "RequestLimitExceeded", "ItemCollectionSizeLimitExceeded",
    ],
)  # fmt: skip
def test_only_statements_that_were_throttled_are_sent_again_after_a_pause(
    statements: LeanDynamoItemStore, service: Service, dynamo: FakeStatements, time: FakeTime, code: str
) -> None:
    dynamo.errors = {key(1).pk: deque([code, code]), key(2).pk: deque([code])}
    assert statements.put_many([insert(n, n) for n in range(5)], deadline=PLENTY) == [WRITTEN] * 5
    assert operations(service) == [(BATCH, 5), (BATCH, 2), (BATCH, 1)]
    assert time.pauses_s == [0.05, 0.1]
    assert stored(statements, *range(5)) == [item(n) for n in range(5)]


def test_a_statement_that_failed_after_it_took_effect_meets_its_own_fence(
    statements: LeanDynamoItemStore, dynamo: FakeStatements
) -> None:
    statements.put_many([insert("b", 1)], deadline=PLENTY)
    dynamo.errors = {key(name).pk: deque(["InternalServerError!"]) for name in "ab"}
    assert statements.put_many([insert("a", 7), update("b", 7, 1)], deadline=PLENTY) == [
        Moved(item(7)),
        Moved(item(7)),
    ]


def test_statements_that_stay_throttled_are_unsure_and_the_others_are_written(
    statements: LeanDynamoItemStore, service: Service, dynamo: FakeStatements
) -> None:
    dynamo.errors = {key(1).pk: deque(["ThrottlingError"] * 99)}
    written, unsure, moved = statements.put_many([insert(0), insert(1), update(2, 5, 4)], deadline=PLENTY)
    assert written == WRITTEN
    assert isinstance(unsure, Unsure)
    assert "1 of 3 statements" in unsure.error
    assert isinstance(moved, Unsure)  # no time was left to see that nothing stands there
    assert operations(service) == [(BATCH, 3)] + [(BATCH, 1)] * 5
    assert stored(statements, 0, 1) == [item(REAL_SEQUENCE), None]


def test_all_requests_of_a_batch_share_the_tries_and_the_time_of_one_call(
    statements: LeanDynamoItemStore, dynamo: FakeStatements, time: FakeTime, service: Service
) -> None:
    began = time.now_s
    dynamo.errors = {key(0).pk: deque(["ThrottlingError"] * 4), key(30).pk: deque(["ThrottlingError"] * 4)}
    outcomes = statements.put_many([insert(n) for n in range(60)], deadline=PLENTY)
    assert [isinstance(each, Unsure) for each in outcomes] == [n == 30 or n >= 50 for n in range(60)]
    assert operations(service) == [(BATCH, 25)] + [(BATCH, 1)] * 4 + [(BATCH, 25), (BATCH, 1)]
    assert time.now_s - began <= 1.8


def test_a_service_that_throttles_every_request_leaves_every_write_unsure(
    statements: LeanDynamoItemStore, service: Service
) -> None:
    service.script.extend([THROTTLED] * 99)
    outcomes = statements.put_many([insert(n) for n in range(3)], deadline=PLENTY)
    assert [type(each) for each in outcomes] == [Unsure] * 3
    service.script.clear()
    assert stored(statements, 0, 1, 2) == [None] * 3


def test_what_stands_there_and_cannot_be_read_is_unsure(
    statements: LeanDynamoItemStore, service: Service
) -> None:
    statements.put_many([insert(0)], deadline=PLENTY)
    service.script.extend([lambda reply: reply, *[THROTTLED] * 99])
    moved, written = statements.put_many([insert(0, 5), insert(1, 5)], deadline=PLENTY)
    assert isinstance(moved, Unsure)
    assert written == WRITTEN


def lost(reply: Reply) -> Reply:
    """Lose the answer of a request that took effect."""
    assert b"200" in reply.parts[0]
    return HANG_UP


def late(reply: Reply) -> Reply:
    """Let the answer of a request that took effect never come."""
    assert b"200" in reply.parts[0]
    return SILENCE


@pytest.mark.parametrize("fault", [lost, late])
def test_a_request_whose_answer_was_lost_is_sent_again_and_meets_its_own_fences(
    statements: LeanDynamoItemStore, service: Service, fault: Callable[[Reply], Reply]
) -> None:
    statements.put_many([insert("a", 1), insert("x", 3)], deadline=PLENTY)
    service.script.append(fault)
    writes = [update("a", 2, 1), insert("b", 2), update("x", 4, 1)]
    assert statements.put_many(writes, deadline=PLENTY) == [Moved(item(2)), Moved(item(2)), Moved(item(3))]
    assert stored(statements, "a", "b", "x") == [item(2), item(2), item(3)]


def test_what_a_statement_cannot_do_is_decided_by_put_item(
    statements: LeanDynamoItemStore, service: Service, dynamo: FakeStatements
) -> None:
    statements.put_many([insert("c", 1)], deadline=PLENTY)
    service.requests.clear()
    dynamo.errors = {key(name).pk: deque(["ValidationError"]) for name in "ac"}
    assert statements.put_many([insert("a"), insert("b"), update("c", 9, 5)], deadline=PLENTY) == [
        WRITTEN, WRITTEN, Moved(item(1))
    ]  # fmt: skip
    assert operations(service) == [(BATCH, 3), ("PutItem", 1), ("PutItem", 1)]


def test_a_request_that_is_refused_as_invalid_is_decided_by_put_item(
    statements: LeanDynamoItemStore, service: Service
) -> None:
    service.script.append(Reply.error("ValidationException"))
    assert statements.put_many([insert("a"), insert("b")], deadline=PLENTY) == [WRITTEN, WRITTEN]
    assert operations(service) == [(BATCH, 2), ("PutItem", 1), ("PutItem", 1)]
    service.requests.clear()
    statements.put_many([insert("c"), insert("d")], deadline=PLENTY)
    assert operations(service) == [(BATCH, 2)]


def test_an_item_that_put_item_refuses_too_is_refused_for_good(
    statements: LeanDynamoItemStore, service: Service, dynamo: FakeStatements
) -> None:
    dynamo.errors = {key("a").pk: deque(["ValidationError"])}
    service.script.extend([lambda reply: reply, Reply.error("ValidationException")])
    with pytest.raises(ServiceError, match="PutItem: ValidationException"):
        statements.put_many([insert("a"), insert("b")], deadline=PLENTY)
    assert stored(statements, "b") == [item(REAL_SEQUENCE)]


def test_an_engine_without_statements_is_asked_once(service: Service, dynamo: FakeStatements, statements: LeanDynamoItemStore) -> None:  # fmt: skip
    dynamo.knows_statements = False
    assert statements.put_many([insert("a"), insert("b")], deadline=PLENTY) == [WRITTEN, WRITTEN]
    assert statements.put_many([insert("a", 5), insert("c")], deadline=PLENTY) == [
        Moved(item(REAL_SEQUENCE)),
        WRITTEN,
    ]
    assert [name for name, _ in operations(service)] == [BATCH] + ["PutItem"] * 4


def test_writes_made_one_by_one_share_the_tries_and_the_time_of_one_call(
    statements: LeanDynamoItemStore, service: Service, dynamo: FakeStatements, time: FakeTime
) -> None:
    dynamo.knows_statements = False
    began = time.now_s
    service.script.extend([lambda reply: reply, *[THROTTLED] * 4, lambda reply: reply, *[THROTTLED] * 4])
    outcomes = statements.put_many([insert(n) for n in range(25)], deadline=PLENTY)
    assert outcomes[0] == WRITTEN
    assert [type(each) for each in outcomes[1:]] == [Unsure] * 24
    assert [name for name, _ in operations(service)] == [BATCH] + ["PutItem"] * 7
    assert time.now_s - began <= 1.8


@pytest.mark.parametrize("code", ["AccessDenied", "ResourceNotFound", "SomethingNew"])
def test_a_statement_that_is_refused_for_good_names_its_item(
    statements: LeanDynamoItemStore, dynamo: FakeStatements, code: str
) -> None:
    dynamo.errors = {key("a").pk: deque([code])}
    with pytest.raises(ServiceError, match=rf"machine-a .*{code}"):
        statements.put_many([insert("a"), insert("b")], deadline=PLENTY)


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_a_request_that_is_refused_for_good_propagates(
    statements: LeanDynamoItemStore, service: Service, code: str
) -> None:
    service.script.append(Reply.error(code))
    with pytest.raises(ServiceError, match=code):
        statements.put_many([insert("a")], deadline=PLENTY)


def test_too_few_answers_leave_every_write_unsure(statements: LeanDynamoItemStore, service: Service) -> None:
    service.script.append(Reply.of(b'{"Responses":[{}]}'))
    assert {type(each) for each in statements.put_many([insert("a"), insert("b")], deadline=PLENTY)} == {
        Unsure
    }


def test_only_a_plain_table_name_enters_a_statement() -> None:
    arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/shared"
    for table, asked in (("t" * 255, BATCH), (arn, "PutItem"), ('a" SET', "PutItem")):
        with (
            serving(lambda _: Reply.of(b'{"Responses":[{}]}')) as service,
            closing(client_of(service)) as client,
        ):
            LeanDynamoItemStore(client, table).put_many([insert("a")], deadline=PLENTY)
            LeanDynamoItemStore(client, table).put_many([update("a", 2, 1)], deadline=PLENTY)
        assert [each.operation for each in service.requests] == [asked, asked]
        if asked == BATCH:
            assert all(len(each.json["Statements"][0]["Statement"]) <= 8192 for each in service.requests)


def test_any_writes_come_back_as_they_were_asked_for(
    statements: LeanDynamoItemStore, dynamo: FakeStatements
) -> None:
    @settings(deadline=None, max_examples=40)
    @given(writes=st.lists(WRITES, max_size=30, unique_by=lambda write: write.key))
    def round_trip(writes: list[Write]) -> None:
        dynamo.items.clear()
        fresh = [write._replace(expected_fence=None) for write in writes]
        assert statements.put_many(fresh, deadline=PLENTY) == [WRITTEN] * len(writes)
        again = [write._replace(expected_fence=write.item.fence) for write in writes]
        assert statements.put_many(again, deadline=PLENTY) == [WRITTEN] * len(writes)
        assert not writes or statements.get([write.key for write in writes], deadline=PLENTY) == {
            write.key: write.item for write in writes
        }

    round_trip()
