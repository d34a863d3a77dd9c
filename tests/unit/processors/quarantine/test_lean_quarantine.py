"""The quarantine in SQS and S3: which goes where, what happens when either fails, and when time runs out."""

from collections.abc import Sequence
from random import Random

import pytest

from processors.awsjson.client import ServiceError
from processors.deadline import Deadline
from processors.quarantine.queue import MAX_MESSAGES, message_batches
from streamgage.errors import PoisonRecord, RetryableError
from streamgage.limits import SQS_BATCH_BYTES
from streamgage.reading.poison import Poison, refused_whole
from support.lean_server import HANG_UP, THROTTLED, FakeTime, Reply, Request
from support.quarantine_server import FakeCloud, lean_quarantine, s3_error

LARGE = Random(1).randbytes(400_000)  # nothing makes it smaller


def poison(number: int, data: bytes = b"junk") -> Poison:
    refused = refused_whole(PoisonRecord("undecodable", f"reason {number}"))
    return Poison(
        "shardId-000000000000", 10**55 + number, number % 3, "k", 1_700_000_000_000, data, 1, refused
    )


def send(
    cloud: FakeCloud, kept: Sequence[Poison], time: FakeTime | None = None, *, left_s: float = 60
) -> None:
    time = time or FakeTime()
    with lean_quarantine(cloud, time) as (quarantine, _):
        quarantine.send(kept, deadline=Deadline.after(left_s, time.clock))


def test_a_few_are_a_message_each_ten_a_call() -> None:
    cloud, few = FakeCloud(), [poison(number) for number in range(23)]
    send(cloud, few)
    assert sorted(cloud.batches) == [3, 10, 10]
    assert sorted(cloud.kept(), key=lambda each: each.place) == few
    assert cloud.puts == 0


def test_many_are_one_object_and_one_message() -> None:
    cloud, many = FakeCloud(), [poison(number) for number in range(MAX_MESSAGES + 1)]
    send(cloud, many)
    assert (cloud.puts, cloud.batches) == (1, [1])
    assert cloud.kept() == many
    send(most := FakeCloud(), many[1:])
    assert (most.puts, sum(most.batches)) == (0, MAX_MESSAGES)


def test_what_is_larger_than_a_message_goes_into_one_object_and_the_rest_are_messages() -> None:
    cloud = FakeCloud()
    mixed = [poison(1, LARGE), poison(2), poison(3, b"a" * 1_000_000), poison(4, LARGE)]
    send(cloud, mixed)
    assert (cloud.puts, sum(cloud.batches)) == (1, 3)
    assert sorted(cloud.kept(), key=lambda each: each.place) == mixed


def test_without_poison_nothing_is_asked() -> None:
    cloud = FakeCloud()
    send(cloud, [], left_s=-1)
    assert (cloud.batches, cloud.puts) == ([], 0)


def test_a_redelivery_writes_over_the_same_object() -> None:
    cloud, many = FakeCloud(), [poison(number) for number in range(MAX_MESSAGES + 1)]
    send(cloud, many)
    send(cloud, many)
    assert (cloud.puts, len(cloud.objects), len(cloud.messages)) == (2, 1, 2)
    assert cloud.messages[0] == cloud.messages[1]


def test_only_refused_messages_are_sent_again() -> None:
    cloud, few = FakeCloud(refuse=2), [poison(number) for number in range(4)]
    send(cloud, few)
    assert cloud.batches == [4, 2]
    assert sorted(cloud.kept(), key=lambda each: each.place) == few


@pytest.mark.parametrize("count", [3, 150])
def test_messages_that_the_queue_refuses_again_and_again_are_retryable(count: int) -> None:
    cloud = FakeCloud(refuse=100_000)
    with pytest.raises(RetryableError, match=rf"^{count} poison records are not all in the quarantine: "):
        send(cloud, [poison(number) for number in range(count)])
    assert cloud.messages == []


def test_after_a_batch_that_failed_no_other_is_begun() -> None:
    cloud = FakeCloud(refuse=100_000)
    with pytest.raises(RetryableError):
        send(cloud, [poison(number) for number in range(MAX_MESSAGES)])
    tries, at_a_time = 6, 8
    assert len(cloud.batches) <= tries * at_a_time < tries * MAX_MESSAGES // 10


@pytest.mark.parametrize(
    "answer",
    [s3_error("SlowDown", 503), s3_error("InternalError", 500), s3_error("RequestTimeout", 400),
     s3_error("OperationAborted", 409), Reply.of(b"", status=502), HANG_UP],
    ids=["SlowDown", "InternalError", "RequestTimeout", "OperationAborted", "no code", "hang up"],
)  # fmt: skip
def test_s3_that_is_down_is_tried_again_and_then_retryable_and_nothing_points_to_what_is_not_there(
    answer: Reply,
) -> None:
    many = [poison(number) for number in range(MAX_MESSAGES + 1)]
    cloud = FakeCloud()
    cloud.s3_answers.extend([answer, answer])
    send(cloud, many)
    assert cloud.kept() == many
    down = FakeCloud()
    down.s3_answers.extend([answer] * 100)
    with pytest.raises(
        RetryableError, match=r"not all in the quarantine: S3 PutObject failed-batches/quarantine/"
    ):
        send(down, many)
    assert (down.messages, down.objects) == ([], {})


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("NoSuchBucket", 404)])
def test_a_bucket_that_refuses_for_good_is_a_mistake_in_the_wiring(code: str, status: int) -> None:
    cloud = FakeCloud()
    cloud.s3_answers.append(s3_error(code, status))
    with pytest.raises(ServiceError, match=f"{code} \\(HTTP {status}\\): because {code}"):
        send(cloud, [poison(1, LARGE)])
    assert cloud.messages == []


@pytest.mark.parametrize("count", [1, 100])
def test_a_queue_that_refuses_for_good_is_a_mistake_in_the_wiring(count: int) -> None:
    def gone(_: Request) -> Reply:
        return Reply.error("QueueDoesNotExist")

    time = FakeTime()
    with lean_quarantine(FakeCloud(), time) as (quarantine, service):
        service.handler = gone
        with pytest.raises(ServiceError, match="QueueDoesNotExist"):
            quarantine.send(
                [poison(number) for number in range(count)], deadline=Deadline.after(9, time.clock)
            )


def test_a_throttled_queue_is_asked_again() -> None:
    cloud, time = FakeCloud(), FakeTime()
    with lean_quarantine(cloud, time) as (quarantine, service):
        service.script.extend([THROTTLED, HANG_UP])
        quarantine.send([poison(1)], deadline=Deadline.after(60, time.clock))
    assert len(cloud.kept()) == 1


@pytest.mark.parametrize("count", [1, MAX_MESSAGES + 1])
def test_past_the_deadline_no_call_is_made(count: int) -> None:
    cloud = FakeCloud()
    with pytest.raises(RetryableError, match="no time left in this invocation"):
        send(cloud, [poison(number) for number in range(count)], left_s=0)
    assert (cloud.batches, cloud.puts) == ([], 0)


def test_a_batch_of_messages_that_takes_too_long_ends_at_the_deadline() -> None:
    """Each call takes half a second of a clock of its own: those that have not begun by the deadline never do."""
    time, cloud = FakeTime(), FakeCloud()

    def slow(request: Request) -> Reply:
        time.now_s += 0.5
        return cloud(request)

    with lean_quarantine(cloud, time) as (quarantine, service):
        service.handler = slow
        with pytest.raises(RetryableError, match="no time left"):
            quarantine.send(
                [poison(number) for number in range(MAX_MESSAGES)], deadline=Deadline.after(1.5, time.clock)
            )
    assert 0 < len(cloud.batches) <= 3 + 8


def test_pauses_between_tries_end_at_the_deadline() -> None:
    for answers in (THROTTLED, s3_error("SlowDown", 503)):
        time, cloud = FakeTime(), FakeCloud()
        cloud.s3_answers.extend([answers] * 100)
        many = MAX_MESSAGES + 1 if answers is not THROTTLED else 1
        with lean_quarantine(cloud, time) as (quarantine, service):
            service.script.extend([answers] * 100)
            with pytest.raises(RetryableError, match="tried 2 times"):
                quarantine.send(
                    [poison(number) for number in range(many)], deadline=Deadline.after(0.12, time.clock)
                )
        assert time.now_s <= 1000.12


def test_batches_keep_to_ten_messages_and_256_kib() -> None:
    assert [len(each) for each in message_batches("x" for _ in range(23))] == [10, 10, 3]
    assert [len(each) for each in message_batches("x" * (SQS_BATCH_BYTES // 2) for _ in range(5))] == [
        2,
        2,
        1,
    ]
    assert [len(each) for each in message_batches("x" * (SQS_BATCH_BYTES // 2 + 1) for _ in range(3))] == [
        1
    ] * 3
    assert list(message_batches([])) == []
