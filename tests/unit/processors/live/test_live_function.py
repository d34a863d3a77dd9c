"""The HTTP function as Lambda calls it: from its environment, over the tables' engine, a stream and a queue."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import processors.live.function
from conftest import REGION, ClientFactory, create_table
from processors.live.settings import Settings
from streamgage.errors import ConfigError
from streamgage.fold.items import ItemKey, StoredItem
from support.boto3_store import Boto3ItemStore
from support.fakes import NOW_MS, PLENTY_MS
from support.http_face import Answered, Context, Face, FakeStack, answered, event_of, world
from support.lean_server import Reply, Request, serving
from support.local_tables import Tables
from support.paths import ROOT
from support.strategies import DEFINITION

WORLD = world()
TARGETS = [
    "/v1/rollups/device_metrics/range?window=1h",
    "/v1/rollups/device_metrics/range?window=1h&key.device_id=d1&key.metric=temp&eventual=true",
    "/v1/rollups/page_views/top?window=1d&n=3&by=bytes.sum",
    "/v1/rollups/page_views/keys",
    "/v1/rollups/device_metrics/silent?for=1h&at=2023-11-14T22:00",
]


class Services:
    """DynamoDB, SQS and Kinesis on one port: the tables' own engine, a queue and an empty stream."""

    def __init__(self) -> None:
        self.tables, self.depth, self.refuses = (
            Tables(),
            {"ApproximateNumberOfMessages": "2", "ApproximateNumberOfMessagesNotVisible": "1"},
            "",
        )
        for key in WORLD.store.rows:
            item = WORLD.store.item(key)
            self.tables("PutItem", TableName="aggregates", Item=attributes_of(key, item))

    def __call__(self, request: Request) -> Reply:
        if request.operation == self.refuses:
            return Reply.error("AccessDeniedException")
        if request.operation == "GetQueueAttributes":
            assert request.json["QueueUrl"] == "http://127.0.0.1/q"
            return Reply.of(json.dumps({"Attributes": self.depth}).encode())
        if request.operation == "ListShards":
            return Reply.of(b'{"Shards":[{"ShardId":"shardId-9","SequenceNumberRange":{}}]}')
        if request.operation == "GetShardIterator":
            return Reply.of(b'{"ShardIterator":"i"}')
        if request.operation == "GetRecords":
            return Reply.of(b'{"Records":[],"NextShardIterator":"i","MillisBehindLatest":0}')
        status, body = self.tables.api.handle(request.headers["x-amz-target"], request.body)
        return Reply.of(body, status=status)


def attributes_of(key: ItemKey, item: StoredItem) -> dict[str, Any]:
    from base64 import b64encode

    return {
        "pk": {"S": key.pk}, "sk": {"S": key.sk}, "fence": {"S": str(item.fence)}, "counts": {"S": item.counts},
        "body": {"B": b64encode(item.body).decode()}, "expires": {"N": str(item.expires_s)},
    }  # fmt: skip


def wire(patch: pytest.MonkeyPatch, *, url: str, name: str, queue_url: str, pipeline: str) -> None:
    """Set the environment of a sandbox whose services are at *url*."""
    for variable, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "STREAMGAGE_STREAM": name,
        "STREAMGAGE_TABLE": name,
        "STREAMGAGE_PIPELINE": pipeline,
        "QUARANTINE_QUEUE_URL": queue_url,
    }.items():
        patch.setenv(variable, value)


@dataclass
class Wired:
    """The wired function; *services* where they are fakes."""

    services: Services | None = None

    def __call__(self, target: str, left_ms: int = PLENTY_MS, **more: Any) -> Answered:
        return answered(processors.live.function.handler(event_of(target, **more), Context(left_ms)))


@pytest.fixture
def pipeline_file(tmp_path: Any) -> str:
    (tmp_path / "pipeline.toml").write_text(DEFINITION, encoding="utf-8")
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    return str(tmp_path / "pipeline.toml")


@pytest.fixture
def over_fakes(monkeypatch: pytest.MonkeyPatch, pipeline_file: str) -> Iterator[Wired]:
    services = Services()
    with serving(services) as service:
        wire(
            monkeypatch,
            url=service.url,
            name="aggregates",
            queue_url="http://127.0.0.1/q",
            pipeline=pipeline_file,
        )
        yield Wired(services)
        lose_sandbox()
    services.tables.close()


@pytest.fixture
def over_ministack(
    ministack: ClientFactory, monkeypatch: pytest.MonkeyPatch, pipeline_file: str
) -> Iterator[Wired]:
    dynamodb, sqs, name = ministack("dynamodb"), ministack("sqs"), f"http-{uuid.uuid4().hex}"
    create_table(dynamodb, name)
    ministack("kinesis").create_stream(StreamName=name, ShardCount=2)
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    for text in ("a", "b", "c"):
        sqs.send_message(QueueUrl=url, MessageBody=text)
    store = Boto3ItemStore(dynamodb, name)
    for key in WORLD.store.rows:
        store.put(key, WORLD.store.item(key), expected_fence=None)
    wire(monkeypatch, url=dynamodb.meta.endpoint_url, name=name, queue_url=url, pipeline=pipeline_file)
    yield Wired()
    lose_sandbox()


@pytest.fixture(params=["over_fakes", pytest.param("over_ministack", marks=pytest.mark.local)])
def function(request: pytest.FixtureRequest) -> Wired:
    wired: Wired = request.getfixturevalue(request.param)
    return wired


def lose_sandbox() -> None:
    """Forget the application, and close what it had open."""
    stack: Any = processors.live.function._built().stack
    stack.readers.shutdown()
    for client in (stack.dynamodb, stack.shards.client, stack.sqs):
        if client is not None:
            client.close()
    processors.live.function._built.cache_clear()


def rows(found: Answered) -> Any:
    assert found.status == 200, found.body
    return {name: found.json.get(name) for name in ("columns", "keys", "rows", "left")}


def test_it_answers_what_stands_in_the_table(function: Wired) -> None:
    face = Face(FakeStack(WORLD.store, applied_ms=2**42))  # the stream is empty, by a real clock
    processors.live.function._built().now_ms = lambda: NOW_MS  # by now it is not kept any more
    for target in TARGETS:
        assert rows(function(target)) == rows(face(target)), target


def test_it_says_how_fresh_its_answers_are_and_what_is_in_quarantine(function: Wired) -> None:
    told = function("/v1/status").json
    assert told["quarantined"] == {"messages": 3}
    assert 0 <= told["behind_ms"] < 3_600_000
    assert told["applied_ms"] > NOW_MS  # a real clock's: the stream is empty
    assert function("/health").json == {"status": "ok"}
    assert (
        function("/v1/rollups").json["applied_ms"] == told["applied_ms"]
    )  # it is known, and not asked for again


def test_a_line_and_a_blob_tell_of_a_request(over_fakes: Wired, capsys: pytest.CaptureFixture[str]) -> None:
    over_fakes(f"{TARGETS[0]}&key.device_id=somebody")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    blob = next(each for each in lines if "_aws" in each)
    (directive,) = blob["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("streamgage", [["service"]])
    assert {each["Name"] for each in directive["Metrics"]} == {"ReadUnits", "Rows", "OutOfTime"}
    assert "somebody" not in json.dumps(lines)


def test_what_is_known_of_freshness_is_good_for_a_second_and_a_failure_is_not_kept(
    over_fakes: Wired,
) -> None:
    assert over_fakes.services is not None
    stack: Any = processors.live.function._built().stack
    now_s = 100.0
    stack.clock = lambda: now_s
    over_fakes.services.refuses = "ListShards"
    assert over_fakes("/v1/status").json["applied_ms"] is None
    over_fakes.services.refuses = ""
    first = over_fakes("/v1/status").json["applied_ms"]
    stack.shards.now_ms = lambda: first + 60_000
    now_s += 0.9
    assert over_fakes("/v1/status").json["applied_ms"] == first
    now_s += 0.2
    assert over_fakes("/v1/status").json["applied_ms"] == first + 60_000


@pytest.mark.parametrize("refuses", ["ListShards", "GetQueueAttributes", "GetRecords"])
def test_what_it_may_not_ask_is_unknown_and_everything_else_is_answered(
    over_fakes: Wired, refuses: str
) -> None:
    assert over_fakes.services is not None
    over_fakes.services.refuses = refuses
    told = over_fakes("/v1/status").json
    assert (told["quarantined"]["messages"] is None) == (refuses == "GetQueueAttributes")
    assert (told["applied_ms"] is None) == (refuses != "GetQueueAttributes")
    assert over_fakes(TARGETS[0]).status == 200


@pytest.mark.parametrize("refuses", ["Query", "BatchGetItem"])
def test_a_table_that_it_may_not_read_is_said_to_be_unreadable(over_fakes: Wired, refuses: str) -> None:
    assert over_fakes.services is not None
    over_fakes.services.refuses = refuses
    found = over_fakes(TARGETS[0] if refuses == "Query" else "/health")
    assert (found.status, "AccessDenied" in found.body.decode()) == (500, False)


def test_no_time_left_is_told(over_fakes: Wired) -> None:
    assert over_fakes(TARGETS[0], left_ms=900).status == 504


def test_one_pipeline_and_one_client_serve_a_sandbox(
    over_fakes: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert over_fakes("/health").status == 200
    monkeypatch.setattr("processors.live.function.load_pipeline", None)
    monkeypatch.setattr("processors.live.function.aws_client", None)
    assert over_fakes(TARGETS[0]).status == 200


def test_where_no_queue_is_named_nobody_is_asked_for_one(
    over_fakes: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUARANTINE_QUEUE_URL")
    assert over_fakes("/v1/status").json["quarantined"] == {"messages": None}


def test_every_problem_of_the_settings_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Settings.of({"STREAMGAGE_HTTP_ORIGINS": "https://a.example.com,b.example.com/"})
    assert error.value.problems == (
        "STREAMGAGE_STREAM is not set",
        "STREAMGAGE_TABLE is not set",
        "STREAMGAGE_HTTP_ORIGINS: 'b.example.com/' is no origin, such as https://example.com; they stand with commas between",
    )


def test_defaults_show_answers_to_no_other_origin() -> None:
    found = Settings.of({"STREAMGAGE_STREAM": "s", "STREAMGAGE_TABLE": "t"})
    assert found == Settings("s", "t", "main", "pipeline.toml", "", (), "")
