"""How fast a shard is written to, and how often anything is tried again; in front of a stream that throttles."""

import random
from collections.abc import Sequence

import pytest

from producers.client.batching import BatcherConfig
from producers.client.engine import Engine
from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.outbox import RetryConfig
from producers.client.pace import ShardPace, TokenBucket
from producers.client.ports import PutFailed, PutResult
from producers.client.settings import CoreConfig
from producers.sending.courier import Courier
from streamgage.limits import MIB
from streamgage.records import UserRecord
from support.counting import HALVES, CountingStream

LIMIT_BYTES_PER_S = MIB // 2  # somebody else has the other half
RECORD_BYTES = 24_000
MEMORY_BYTES = 4 * MIB


class Virtual:
    """A clock that goes on when somebody waits."""

    def __init__(self) -> None:
        self.time_ms = 1_000

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


class Throttling(CountingStream):
    """Refuses what is above the limit of a shard, as Kinesis does: it takes what it did not use of the last second."""

    def __init__(self, clock: Virtual) -> None:
        super().__init__()
        self._clock = clock
        self._buckets = {each.shard_id: TokenBucket(LIMIT_BYTES_PER_S, LIMIT_BYTES_PER_S) for each in HALVES}
        self.bytes_stored = self.refused = 0

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        results: list[PutResult] = []
        for entry in entries:
            bucket, now_ms = self._buckets[entry.shard_id], self._clock.now_ms()
            if bucket.wait_ms(entry.size_bytes, now_ms):
                self.refused += 1
                results.append(PutFailed("ProvisionedThroughputExceededException", "Rate exceeded"))
                continue
            bucket.take(entry.size_bytes, now_ms)
            self.bytes_stored += entry.size_bytes
            results += super().put_records([entry])
        self._clock.sleep_ms(20)
        return results


def send_twice_what_is_taken(seconds: int) -> tuple[Throttling, int]:
    """Offer twice what the stream takes, for so many virtual seconds; check that all of it arrives once."""
    clock, rng = Virtual(), random.Random(5)
    stream = Throttling(clock)
    config = CoreConfig(
        batching=BatcherConfig(linger_ms=100),
        retries=RetryConfig(timeout_ms=10**9, max_attempts=10**9),
        concurrency=1,
        paced=True,
    )
    engine = Engine(stream, clock=clock, rng=rng, config=config, tags_for=Identity(rng).tags_for)
    courier = Courier(engine, max_memory_bytes=MEMORY_BYTES, on_metrics=None)
    taken, most_bytes, due_ms = 0, 0, float(clock.now_ms())
    end_ms = clock.now_ms() + seconds * 1000
    next_ms = 0
    while clock.now_ms() < end_ms:
        while due_ms <= clock.now_ms() and not courier.is_full:
            engine.take(UserRecord(f"k{taken}", b"%0*d" % (RECORD_BYTES, taken)))
            taken += 1
            due_ms += RECORD_BYTES / (4 * LIMIT_BYTES_PER_S) * 1000  # two shards, at twice what they take
            next_ms = min(next_ms, engine.next_turn_ms())
        most_bytes = max(most_bytes, engine.memory_bytes)
        if next_ms <= clock.now_ms():
            next_ms = courier.turn()
        else:
            clock.sleep_ms(min(next_ms - clock.now_ms(), 10))
    stored_bytes = stream.bytes_stored
    engine.send_until(0)
    assert not engine.outbox.given_up
    assert set(stream.counts.values()) == {1}
    assert len(stream.counts) == taken == engine.stats.events_stored
    assert most_bytes <= MEMORY_BYTES + 4 * RECORD_BYTES
    return stream, stored_bytes


@pytest.mark.parametrize("seconds", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_a_stream_that_takes_half_of_it_gets_what_it_takes_and_loses_nothing(seconds: int) -> None:
    stream, stored_bytes = send_twice_what_is_taken(seconds)
    of_the_limit = stored_bytes / (2 * LIMIT_BYTES_PER_S * seconds)
    print(
        f"{of_the_limit:.1%} of the limit, {stream.refused} of {stream.refused + stream.stored} records refused"
    )
    assert of_the_limit > 0.9
    assert stream.refused < 0.25 * stream.stored


def test_a_bucket_gives_its_burst_then_its_rate_and_what_is_larger_as_a_debt() -> None:
    bucket = TokenBucket(10, 5)
    assert bucket.wait_ms(5, 0) == 0
    bucket.take(5, 0)
    assert 100 <= bucket.wait_ms(1, 0) <= 101
    assert bucket.wait_ms(1, 101) == 0
    assert bucket.wait_ms(50, 500) == 0  # it is full
    bucket.take(50, 500)
    assert 4_500 <= bucket.wait_ms(1, 500) <= 4_601


def test_a_shard_that_throttles_gets_less_and_all_again_in_time() -> None:
    pace, now_ms = ShardPace(), 0
    for _ in range(30):
        pace.answered(throttled=True, now_ms=now_ms)
    assert pace.share == 1 / 64
    while pace.share < 1:
        now_ms += 100
        pace.answered(throttled=False, now_ms=now_ms)
    assert 9_000 <= now_ms <= 11_000


def test_what_fails_is_tried_again_so_many_times_a_second_at_most() -> None:
    clock, stream, asked = Virtual(), CountingStream(), [0]

    def refuse(_: PutEntry) -> str:
        asked[0] += 1
        return "refused"

    stream.fate = refuse
    rng = random.Random(1)
    config = CoreConfig(
        batching=BatcherConfig(one_key_per_record=True),
        retries=RetryConfig(base_ms=1, cap_ms=1, max_per_s=7, timeout_ms=20_000, max_attempts=10**6),
        concurrency=1,
    )
    engine = Engine(stream, clock=clock, rng=rng, config=config, tags_for=None)
    for number in range(2):
        engine.take(UserRecord(f"k{number}", b"x"))
    engine.send_until(0)
    assert len(engine.outbox.given_up) == 2
    # Two were sent at first, and the burst is a second's.
    assert 100 <= asked[0] <= 2 + 7 + 7 * 21
