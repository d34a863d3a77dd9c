"""One contract of the quarantine: the fake that other suites trust, and the lean one over a server and over MiniStack."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from random import Random

import pytest

from conftest import CREDENTIALS, ClientFactory
from processors.aggregate.batch import Quarantine
from processors.awsjson.client import AwsJsonClient
from processors.awsjson.credentials import credential_source
from processors.deadline import Deadline
from processors.quarantine.bulk import decode_bulk
from processors.quarantine.message import BulkRef, decode_message
from processors.quarantine.objects import S3Objects
from processors.quarantine.queue import MAX_MESSAGES, TARGET, LeanQuarantine
from streamgage.reading.poison import Poison, Refused
from support.fakes import InMemoryQuarantine
from support.lean_server import FakeTime
from support.quarantine_server import FakeCloud, lean_quarantine

LARGE = Random(1).randbytes(900_000)


@dataclass
class Engine:
    """A quarantine, what it holds, and a clock that it goes by."""

    quarantine: Quarantine
    kept: Callable[[], list[Poison]]
    deadline: Callable[[], Deadline]

    def ids(self) -> list[str]:
        return sorted(each.id for each in self.kept())


@pytest.fixture(params=["fake", "lean", pytest.param("ministack", marks=pytest.mark.local)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "fake":
        fake = InMemoryQuarantine()
        yield Engine(fake, lambda: fake.kept, lambda: Deadline.after(60))
    elif request.param == "lean":
        cloud, time = FakeCloud(), FakeTime()
        with lean_quarantine(cloud, time) as (quarantine, _):
            yield Engine(quarantine, cloud.kept, lambda: Deadline.after(60, time.clock))
    else:
        yield from emulated(request.getfixturevalue("ministack"))


def emulated(client_of: ClientFactory) -> Iterator[Engine]:
    sqs, s3, name = client_of("sqs"), client_of("s3"), f"quarantine-{uuid.uuid4().hex}"
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    s3.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": CREDENTIALS["region_name"]}
    )
    environment = {
        "AWS_ENDPOINT_URL": sqs.meta.endpoint_url,
        "AWS_REGION": CREDENTIALS["region_name"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    credentials = credential_source(environment)
    client = AwsJsonClient.of_environment(
        "sqs", TARGET, environment=environment, credentials=credentials, tls=None
    )
    objects = S3Objects.of_environment(name, environment=environment, credentials=credentials, tls=None)
    found: dict[str, str] = {}

    def kept() -> list[Poison]:
        while batch := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found.update({each["MessageId"]: each["Body"] for each in batch})
        poison: list[Poison] = []
        for body in found.values():
            held = decode_message(body)
            if isinstance(held, BulkRef):
                assert held.bucket == name
                body = s3.get_object(Bucket=name, Key=held.key)["Body"].read()  # noqa: PLW2901 - what it stands for
                poison += decode_bulk(body)
            else:
                poison.append(held)
        return poison

    with closing(client), closing(objects):
        yield Engine(LeanQuarantine(client, url, objects=lambda: objects), kept, lambda: Deadline.after(60))


def poison(number: int, data: bytes = b"\x00\xff", *, sub: int | None = 0) -> Poison:
    refused = Refused(0, 1, "late", "größe"), Refused(5, 5, "bad_value", "NaN")
    return Poison("shardId-000000000000", 10**55 + number, sub, "größe", 1_700_000_000_000, data, 6, refused)


class TestQuarantineContract:
    """Every Quarantine, fake or real, keeps these promises."""

    def test_what_is_sent_is_kept_whole(self, engine: Engine) -> None:
        sent = [poison(1), poison(2, b""), poison(3, sub=None), poison(4, b"a" * 1_000_000)]
        engine.quarantine.send(sent, deadline=engine.deadline())
        assert sorted(engine.kept(), key=lambda each: each.place) == sent

    def test_nothing_is_kept_of_nothing(self, engine: Engine) -> None:
        engine.quarantine.send([], deadline=engine.deadline())
        assert engine.kept() == []

    @pytest.mark.parametrize("count", [1, 10, 11, MAX_MESSAGES, MAX_MESSAGES + 1, 3_000])
    def test_any_number_is_kept(self, engine: Engine, count: int) -> None:
        sent = [poison(number) for number in range(count)]
        engine.quarantine.send(sent, deadline=engine.deadline())
        assert engine.ids() == sorted(each.id for each in sent)

    def test_any_size_is_kept(self, engine: Engine) -> None:
        sent = [poison(1, LARGE[:144_000]), poison(2, LARGE), poison(3), poison(4, LARGE[1:])]
        engine.quarantine.send(sent, deadline=engine.deadline())
        assert sorted(engine.kept(), key=lambda each: each.place) == sent

    def test_what_is_sent_again_has_the_same_ids_in_any_cut(self, engine: Engine) -> None:
        sent = [poison(number) for number in range(MAX_MESSAGES + 20)]
        for batch in (sent, sent, sent[:30], sent[10:]):
            engine.quarantine.send(batch, deadline=engine.deadline())
        by_id = {each.id: each for each in engine.kept()}
        assert sorted(by_id.values(), key=lambda each: each.place) == sent
