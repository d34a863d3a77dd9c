import random
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from producers.client.batcher import BatcherConfig, PutEntry, TagsFor, UnsendableRecord
from producers.client.core import CoreConfig, ProducerCore
from producers.client.outbox import Outbox, RetryConfig
from producers.client.ports import PutFailed, PutResult, PutStored, Throttled
from streamgage.errors import ConfigError, DeliveryError, RetryableError
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.records import UserRecord
from streamgage.shards import Shard, ShardMap, hash_key_of

HALF = 2**127
HALVES = [Shard("low", 0, HALF - 1), Shard("high", HALF, 2 * HALF - 1)]
LOW, HIGH = "a", "d"  # their MD5s begin with 0c and 82
THROTTLED = PutFailed("ProvisionedThroughputExceededException", "rate exceeded")
INTERNAL = PutFailed("InternalFailure", "internal service failure")

Answer = Callable[[PutEntry], PutFailed | None]


class FakeClock:
    def __init__(self) -> None:
        self.time_ms = 0
        self.sleeps: list[int] = []

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        assert duration_ms > 0
        self.sleeps.append(duration_ms)
        self.time_ms += duration_ms


class FakeKinesis:
    """A stream that stores what ``answer`` does not refuse; ``before`` and ``after`` may raise in its stead."""

    def __init__(self) -> None:
        self.shards = list(HALVES)
        self.requests: list[tuple[PutEntry, ...]] = []
        self.log: dict[str, list[PutEntry]] = {}
        self.lists = 0
        self.answer: Answer = lambda _: None
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.lock = threading.Lock()

    def list_shards(self) -> Sequence[Shard]:
        self.lists += 1
        return self.shards

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        with self.lock:
            self.requests.append(tuple(entries))
            self.before()
            results = [self.answer(entry) or self._store(entry) for entry in entries]
            self.after()
            return results

    def _store(self, entry: PutEntry) -> PutStored:
        hash_key = (
            hash_key_of(entry.partition_key) if entry.explicit_hash_key is None else entry.explicit_hash_key
        )
        shard_id = ShardMap(self.shards).shard_for(hash_key)
        log = self.log.setdefault(shard_id, [])
        log.append(entry)
        return PutStored(shard_id, len(log))

    def records(self) -> list[UserRecord]:
        return [record for log in self.log.values() for entry in log for record in user_records(entry)]


def user_records(entry: PutEntry) -> list[UserRecord]:
    if is_aggregated(entry.data):
        return list(decode_aggregate(entry.data).user_records())
    return [UserRecord(entry.partition_key, entry.data, entry.explicit_hash_key)]


def fails(
    *, times: int, failure: PutFailed = THROTTLED, only: Callable[[PutEntry], bool] = lambda _: True
) -> Answer:
    """Refuse each entry that *only* picks so many times."""
    seen: dict[int, int] = {}

    def answer(entry: PutEntry) -> PutFailed | None:
        seen[id(entry)] = seen.get(id(entry), 0) + 1
        return failure if only(entry) and seen[id(entry)] <= times else None

    return answer


def raises(error: BaseException, *, times: int) -> Callable[[], None]:
    left = [error] * times

    def step() -> None:
        if left:
            raise left.pop()

    return step


def producer(
    kinesis: FakeKinesis,
    clock: FakeClock | None = None,
    *,
    batching: BatcherConfig | None = None,
    retries: RetryConfig | None = None,
    concurrency: int = 1,
    max_buffered_bytes: int = 10_000_000,
    tags_for: TagsFor | None = None,
) -> ProducerCore:
    return ProducerCore(
        kinesis,
        clock=clock or FakeClock(),
        rng=random.Random(1),
        config=CoreConfig(
            batching=batching or BatcherConfig(aggregate_bytes=200),
            retries=retries or RetryConfig(),
            concurrency=concurrency,
            max_buffered_bytes=max_buffered_bytes,
        ),
        tags_for=tags_for,
    )


def some_records(count: int) -> list[UserRecord]:
    return [UserRecord("abcdefghij"[n % 10], b"%06d" % n) for n in range(count)]


def by_data(records: Sequence[UserRecord]) -> list[UserRecord]:
    return sorted(records, key=lambda record: record.data)


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("one_key", [False, True])
def test_everything_put_is_stored_once_where_it_was_predicted(concurrency: int, *, one_key: bool) -> None:
    kinesis, records = FakeKinesis(), some_records(2000)
    batching = BatcherConfig(aggregate_bytes=300, request_bytes=3000, one_key_per_record=one_key)
    with producer(kinesis, batching=batching, concurrency=concurrency) as sender:
        for record in records:
            sender.put(record)
    assert by_data(kinesis.records()) == records
    stats = sender.stats
    assert (stats.events_put, stats.events_stored, stats.entries_misrouted) == (2000, 2000, 0)
    assert stats.requests == len(kinesis.requests)
    assert stats.entries_stored == sum(map(len, kinesis.log.values()))
    assert stats.bytes_stored == sum(entry.size_bytes for log in kinesis.log.values() for entry in log)
    assert all(sum(entry.size_bytes for entry in request) <= 3000 for request in kinesis.requests)


def test_only_what_failed_is_sent_again_with_the_same_bytes() -> None:
    kinesis = FakeKinesis()
    kinesis.answer = fails(times=2, only=lambda entry: entry.shard_id == "high")
    numbers = iter(range(100))
    sender = producer(kinesis, tags_for=lambda _: {"n": str(next(numbers))})
    for record in some_records(100):
        sender.put(record)
    sender.flush()
    first, second, third = kinesis.requests
    assert {entry.shard_id for entry in first} == {"low", "high"}
    assert second == third == tuple(entry for entry in first if entry.shard_id == "high")
    assert by_data(kinesis.records()) == some_records(100)
    assert sender.stats.entries_failed == sender.stats.entries_throttled == 2 * len(second)


def test_order_in_a_shard_is_kept_across_requests_when_a_request_is_refused() -> None:
    kinesis = FakeKinesis()
    kinesis.before = raises(RetryableError("503"), times=3)
    with producer(kinesis, batching=BatcherConfig(aggregate_bytes=60, request_bytes=200)) as sender:
        for record in some_records(200):
            sender.put(record)
    for log in kinesis.log.values():
        numbers = [number for entry in log for number in entry.numbers]
        assert numbers == sorted(numbers)
    assert by_data(kinesis.records()) == some_records(200)


def test_a_throttled_shard_does_not_hold_up_another() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    kinesis.answer = lambda entry: THROTTLED if entry.shard_id == "high" else None
    sender = producer(kinesis, clock, batching=BatcherConfig(linger_ms=0), retries=RetryConfig(base_ms=1000))
    for n in range(10):
        sender.put(UserRecord(HIGH, b"%d" % n))
        sender.put(UserRecord(LOW, b"%d" % n))
    assert len(kinesis.log["low"]) == 10
    assert clock.sleeps == []
    assert len([entry for request in kinesis.requests for entry in request if entry.shard_id == "high"]) == 1


def test_pauses_are_full_jitter_and_capped() -> None:
    retries, rng = RetryConfig(base_ms=100, cap_ms=5000), random.Random(7)
    for failures, highest_ms in [(1, 100), (2, 200), (3, 400), (6, 3200), (7, 5000), (10_000, 5000)]:
        pauses = [retries.pause_ms(failures, rng) for _ in range(2000)]
        assert 0 <= min(pauses) < highest_ms * 0.05
        assert highest_ms * 0.95 < max(pauses) <= highest_ms


@pytest.mark.parametrize("concurrency", [1, 2])
def test_what_is_refused_for_good_is_handed_back_and_the_rest_is_delivered(concurrency: int) -> None:
    kinesis, records = FakeKinesis(), some_records(100)
    kinesis.answer = lambda entry: INTERNAL if entry.shard_id == "high" else None
    sender = producer(kinesis, retries=RetryConfig(base_ms=0, max_attempts=4), concurrency=concurrency)
    for record in records:
        sender.put(record)
    with pytest.raises(
        DeliveryError, match=r"not delivered; the last failed with InternalFailure: .*shard high"
    ) as caught:
        sender.flush()
    undelivered = caught.value.undelivered
    assert list(undelivered) == by_data(undelivered)  # in the order they were put
    assert by_data([*undelivered, *kinesis.records()]) == records
    assert sender.stats.events_undelivered == len(undelivered)
    high = [entry for request in kinesis.requests for entry in request if entry.shard_id == "high"]
    assert len(high) == 4 * len(set(map(id, high)))
    kinesis.answer = lambda _: None
    for record in undelivered:
        sender.put(record)
    sender.close()
    assert by_data(kinesis.records()) == records


def test_undelivered_records_of_several_shards_come_back_in_the_order_they_were_put() -> None:
    kinesis, records = FakeKinesis(), some_records(100)
    kinesis.answer = lambda _: INTERNAL
    sender = producer(kinesis, batching=BatcherConfig(), retries=RetryConfig(max_attempts=1))
    for record in records:
        sender.put(record)
    with pytest.raises(DeliveryError, match="100 events in 2 Kinesis records") as caught:
        sender.flush()
    assert list(caught.value.undelivered) == records


def test_what_failed_for_too_long_is_given_up() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    kinesis.answer = lambda _: THROTTLED
    retries = RetryConfig(base_ms=400, cap_ms=400, max_attempts=1000, timeout_ms=10_000)
    with pytest.raises(DeliveryError), producer(kinesis, clock, retries=retries) as sender:
        sender.put(UserRecord(LOW, b"x"))
    assert 10_000 <= clock.time_ms <= 10_400
    assert len(kinesis.requests) > 25


def test_what_no_retry_mends_fails_at_once() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    kinesis.before = raises(ConfigError("no such stream"), times=100)
    sender = producer(kinesis, clock, batching=BatcherConfig(aggregate_bytes=60, request_bytes=100))
    records = some_records(50)
    undelivered: list[UserRecord] = []
    for record in records:
        try:
            sender.put(record)
        except DeliveryError as error:
            undelivered += error.undelivered
    with pytest.raises(DeliveryError, match="no such stream") as caught:
        sender.flush()
    assert by_data([*undelivered, *caught.value.undelivered]) == records
    sent = [id(entry) for request in kinesis.requests for entry in request]
    assert len(sent) == len(set(sent))
    assert clock.sleeps == []


def test_an_answer_that_was_lost_is_asked_for_again_and_may_store_twice() -> None:
    kinesis = FakeKinesis()
    kinesis.after = raises(RetryableError("read timeout"), times=1)
    with producer(kinesis) as sender:
        sender.put(UserRecord(LOW, b"x"))
    assert kinesis.records() == [UserRecord(LOW, b"x")] * 2
    assert kinesis.log["low"][0] is kinesis.log["low"][1]
    assert sender.stats.events_stored == 1


def test_after_a_split_the_shards_are_listed_once_and_nothing_is_sent_twice() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    quarter = HALF // 2
    sender = producer(kinesis, clock, batching=BatcherConfig(aggregate_bytes=100, linger_ms=0))
    sender.put(UserRecord(LOW, b"before"))
    kinesis.shards = [Shard("low", 0, HALF - 1, is_open=False), HALVES[1]]
    kinesis.shards += [Shard("low-0", 0, quarter - 1, ("low",)), Shard("low-1", quarter, HALF - 1, ("low",))]
    records = some_records(300)
    for record in records:
        clock.time_ms += 10
        sender.put(record)
    sender.close()
    assert by_data(kinesis.records()) == [*records, UserRecord(LOW, b"before")]
    assert kinesis.lists == 2
    assert (sender.stats.refreshes, sender.stats.events_stored) == (1, 301)
    assert 0 < sender.stats.entries_misrouted < 120
    assert all(entry.shard_id == shard_id for shard_id, log in kinesis.log.items() for entry in log[-3:])


def test_shards_that_cannot_be_listed_again_do_not_stop_the_sending() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    sender = producer(kinesis, clock, batching=BatcherConfig(linger_ms=0))
    kinesis.shards = []  # as while the stream is UPDATING, on some emulators
    whole = [Shard("whole", 0, 2 * HALF - 1)]
    kinesis._store = lambda entry: PutStored("whole", kinesis.log.setdefault("whole", []).append(entry) or 1)  # type: ignore[func-returns-value, method-assign]  # the fake stream is resharded
    for record in some_records(5):
        clock.time_ms += 1000
        sender.put(record)
    kinesis.shards = whole
    clock.time_ms += 1000
    sender.put(UserRecord(LOW, b"last"))
    sender.close()
    assert (len(kinesis.records()), sender.stats.refreshes) == (6, 1)
    assert kinesis.lists > 2


def test_a_stream_whose_shards_are_never_as_listed_is_listed_once_a_second_at_most() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    sender = producer(kinesis, clock, batching=BatcherConfig(linger_ms=0))
    kinesis._store = lambda entry: PutStored(f"not {entry.shard_id}", 1)  # type: ignore[method-assign]  # it lies
    for record in some_records(100):
        clock.time_ms += 100
        sender.put(record)
    assert 10 <= kinesis.lists <= 11
    assert sender.stats.entries_misrouted == 100


def test_put_waits_while_too_much_is_buffered() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    kinesis.answer = lambda _: THROTTLED if clock.time_ms < 5000 else None
    sender = producer(kinesis, clock, max_buffered_bytes=2000, batching=BatcherConfig(request_bytes=500))
    highest_bytes = 0
    for record in some_records(1000):
        sender.put(record)
        highest_bytes = max(highest_bytes, sender.buffered_bytes)
    sender.close()
    assert 1900 < highest_bytes <= 2000
    assert clock.time_ms >= 5000
    assert by_data(kinesis.records()) == some_records(1000)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_an_unforeseen_error_goes_on_its_way_and_loses_nothing(concurrency: int) -> None:
    kinesis = FakeKinesis()
    kinesis.before = raises(KeyboardInterrupt(), times=1)
    sender = producer(kinesis, concurrency=concurrency)
    sender.put(UserRecord(LOW, b"1"))
    with pytest.raises(KeyboardInterrupt):
        sender.close()
    sender.put(UserRecord(LOW, b"2"))
    sender.close()
    assert [record.data for record in kinesis.records()] == [b"1", b"2"]


def test_a_record_that_is_refused_leaves_the_others_alone() -> None:
    kinesis = FakeKinesis()
    with producer(kinesis) as sender:
        sender.put(UserRecord(LOW, b"1"))
        with pytest.raises(UnsendableRecord):
            sender.put(UserRecord("", b"2"))
        sender.put(UserRecord(LOW, b"3"))
    assert [record.data for record in kinesis.records()] == [b"1", b"3"]
    assert sender.stats.events_put == 2


def test_what_was_put_before_an_exception_in_the_block_is_sent() -> None:
    kinesis = FakeKinesis()

    def stop_in_the_middle() -> None:
        with producer(kinesis) as sender:
            sender.put(UserRecord(LOW, b"1"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop_in_the_middle()
    assert [record.data for record in kinesis.records()] == [b"1"]


def test_poll_sends_what_has_lingered_and_what_is_to_be_tried_again() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    kinesis.answer = fails(times=1)
    sender = producer(kinesis, clock, batching=BatcherConfig(linger_ms=100))
    sender.put(UserRecord(LOW, b"1"))
    assert sender.next_due_ms() == 100
    clock.time_ms = 99
    sender.poll()
    assert kinesis.requests == []
    clock.time_ms = 100
    sender.poll()
    due_ms = sender.next_due_ms()
    assert due_ms is not None
    assert 100 <= due_ms <= 200
    clock.time_ms = due_ms
    sender.poll()
    assert (len(kinesis.requests), len(kinesis.records()), sender.next_due_ms()) == (2, 1, None)


def test_a_stream_that_is_being_created_is_waited_for_and_one_that_is_not_there_is_not() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    kinesis.shards = []
    with pytest.raises(RetryableError, match="no open shard"):
        producer(kinesis, clock, retries=RetryConfig(timeout_ms=3000))
    assert 3000 <= clock.time_ms < 9000
    assert kinesis.lists > 3


def test_a_closed_producer_takes_no_more() -> None:
    sender = producer(FakeKinesis(), concurrency=2)
    sender.close()
    sender.close()
    with pytest.raises(ValueError, match="closed producer"):
        sender.put(UserRecord(LOW, b"x"))


def test_with_one_request_in_flight_two_runs_are_the_same() -> None:
    def run() -> tuple[list[list[bytes]], list[int]]:
        kinesis, clock, dice = FakeKinesis(), FakeClock(), random.Random(5)
        kinesis.answer = lambda _: THROTTLED if dice.random() < 0.4 else None
        batching = BatcherConfig(aggregate_bytes=100, request_bytes=1000)
        with producer(kinesis, clock, batching=batching) as sender:
            for record in some_records(500):
                sender.put(record)
                clock.time_ms += 1
        return [[entry.data for entry in request] for request in kinesis.requests], clock.sleeps

    assert run() == run()


def test_a_request_takes_from_each_shard_in_turn_and_500_at_most() -> None:
    def entries() -> Iterator[PutEntry]:
        for n in range(600):
            for shard_id in ("hot", "cold")[: 2 if n < 50 else 1]:
                yield PutEntry(shard_id, "k", None, b"x", 2, (), (), n)

    outbox = Outbox(RetryConfig(), request_bytes=10_000, rng=random.Random(1))
    outbox.extend(entries())
    request = outbox.next_request(0)
    assert request is not None
    assert len(request.entries) == 500
    assert [entry.shard_id for entry in request.entries[:4]] == ["hot", "cold", "hot", "cold"]
    assert sum(entry.shard_id == "cold" for entry in request.entries) == 50
    assert outbox.next_request(0) is None  # both shards have a request in flight
    outbox.settle(request, [PutStored(entry.shard_id, 1) for entry in request.entries], now_ms=0)
    rest = outbox.next_request(0)
    assert rest is not None
    assert len(rest.entries) == 150
    assert outbox.next_due_ms() is None


def test_whoever_waits_is_told_why_and_any_thread_may_ask() -> None:
    kinesis, told = FakeKinesis(), list[str | None]()
    kinesis.answer = fails(times=1)
    sender = producer(kinesis)
    sender.put(UserRecord(LOW, b"x"))
    assert sender.waiting_for is None
    sender.tell_waiting(lambda reason: told.extend((reason, sender.waiting_for)))
    sender.flush()
    assert told == ["throttled", "throttled"]
    assert sender.waiting_for is None


def test_who_gives_up_is_handed_everything_and_waits_for_nothing() -> None:
    kinesis, clock = FakeKinesis(), FakeClock()
    kinesis.answer = lambda _: THROTTLED
    sender = producer(kinesis, clock, batching=BatcherConfig(linger_ms=0))
    sender.put(UserRecord(LOW, b"1"))
    sender.put(UserRecord(HIGH, b"2"))
    with pytest.raises(DeliveryError, match=r"2 events .*ProvisionedThroughputExceededException") as caught:
        sender.give_up()
    assert [each.data for each in caught.value.undelivered] == [b"1", b"2"]
    assert (clock.sleeps, sender.buffered_bytes) == ([], 0)
    sender.close()


def test_throttling_of_a_whole_request_is_counted_as_such() -> None:
    kinesis = FakeKinesis()
    kinesis.before = raises(Throttled("slow down"), times=2)
    with producer(kinesis) as sender:
        sender.put(UserRecord(LOW, b"x"))
    assert (sender.stats.entries_throttled, sender.stats.requests) == (2, 3)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("concurrency", [1, 3])
def test_whatever_fails_each_record_is_stored_or_handed_back(seed: int, concurrency: int) -> None:
    kinesis, clock, dice = FakeKinesis(), FakeClock(), random.Random(seed)
    lost_answers = [0]
    refusal, loss = dice.choice([0.1, 0.5]), dice.choice([0, 0.2])

    def before() -> None:
        if dice.random() < 0.1:
            raise dice.choice([RetryableError("503"), Throttled("slow"), ConfigError("denied")])

    def after() -> None:
        if dice.random() < loss:
            lost_answers[0] += 1
            raise RetryableError("timeout")

    kinesis.answer = lambda _: dice.choice([THROTTLED, INTERNAL]) if dice.random() < refusal else None
    kinesis.before, kinesis.after = before, after
    retries = RetryConfig(base_ms=3, cap_ms=5, max_attempts=dice.choice([2, 30]))
    batching = BatcherConfig(aggregate_bytes=100, request_bytes=500, one_key_per_record=dice.random() < 0.5)
    sender = producer(
        kinesis, clock, retries=retries, batching=batching, concurrency=concurrency, max_buffered_bytes=1500
    )
    records = some_records(400)
    undelivered: list[UserRecord] = []
    for record in records:
        try:
            sender.put(record)
        except DeliveryError as error:
            undelivered += error.undelivered
        clock.time_ms += dice.choice([0, 1])
    try:
        sender.close()
    except DeliveryError as error:
        undelivered += error.undelivered
    stored = {record.data for record in kinesis.records()}
    assert stored | {record.data for record in undelivered} == {record.data for record in records}
    assert len(undelivered) == len({record.data for record in undelivered}) == sender.stats.events_undelivered
    assert sender.stats.events_stored + sender.stats.events_undelivered == 400
    if not lost_answers[0]:
        assert len(kinesis.records()) == len(stored) == sender.stats.events_stored
