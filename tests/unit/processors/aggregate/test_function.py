"""The function as Lambda calls it, over fakes of the services and over MiniStack."""

import json
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import processors.aggregate.function
from conftest import REGION, ClientFactory, create_table
from infra.aws.bundle.files import ROOTS
from processors.aggregate.batch import MARGIN_MS
from processors.pipeline_files import load_pipeline
from processors.query.cells import DynamoPartialStore, PartialStore
from processors.sink.attributes import stored_item
from streamgage.errors import ConfigError
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord, UserRecord
from support.fake_statements import FakeStatements
from support.fakes import PLENTY_MS, STREAM_ARN, ask_store
from support.lean_server import Reply, Request, serving
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, REAL_SEQUENCE, aggregated, reading

PIPELINE = load_pipeline(ROOT / "pipeline.toml")


@dataclass
class Context:
    """A Lambda context, as far as the function asks it."""

    remaining_ms: int = PLENTY_MS
    aws_request_id: str = "8f507cfc-0000-4000-8000-ac58fc914c95"

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class Function:
    """The wired function and what stands around it."""

    store: PartialStore
    messages: Callable[[], list[str]]

    def rows(self) -> Any:
        key = {"device_id": "d1", "metric": "temp"}
        return ask_store(self.store, PIPELINE, rollup="device_metrics", key=key, window="1h")


class Services:
    """DynamoDB, SQS and Kinesis on one port, each as far as the function asks it; a PartialStore of what was written."""

    def __init__(self) -> None:
        self.dynamo, self.sent = FakeStatements("aggregates"), list[str]()

    def __call__(self, request: Request) -> Reply:
        if request.operation == "SendMessageBatch":
            self.sent += [each["MessageBody"] for each in request.json["Entries"]]
            return Reply.of(b'{"Successful":[]}')
        if request.operation == "ListShards":
            return Reply.of(b'{"Shards":[{"ShardId":"shardId-000000000000"}]}')
        if request.operation == "DescribeStreamSummary":
            summary = {"StreamCreationTimestamp": time.time() - 60, "RetentionPeriodHours": 24}
            return Reply.of(json.dumps({"StreamDescriptionSummary": summary}).encode())
        return self.dynamo(request)

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        for (its_pk, sk), item in sorted(self.dynamo.items.items()):
            if its_pk == pk and first_sk <= sk <= last_sk:
                yield sk, stored_item(item)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        items = self.dynamo.items
        return {key: stored_item(items[key.pk, key.sk]) for key in keys if (key.pk, key.sk) in items}


def wire(patch: pytest.MonkeyPatch, *, url: str, name: str, queue_url: str) -> None:
    """Set the environment of a sandbox whose services are at *url*."""
    for variable, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "STREAMGAGE_STREAM": name,
        "STREAMGAGE_STREAM_ARN": STREAM_ARN,
        "STREAMGAGE_TABLE": name,
        "STREAMGAGE_QUARANTINE_URL": queue_url,
        "STREAMGAGE_QUARANTINE_BUCKET": "failed-batches",
        "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
    }.items():
        patch.setenv(variable, value)
    patch.setattr(processors.aggregate.function, "_aggregate", None)


@pytest.fixture
def over_fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    services = Services()
    with serving(services) as service:
        wire(monkeypatch, url=service.url, name="aggregates", queue_url="http://127.0.0.1/q")
        yield Function(services, lambda: services.sent)
        lose_sandbox()


@pytest.fixture
def over_ministack(ministack: ClientFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    client_of = ministack
    sqs, dynamodb = client_of("sqs"), client_of("dynamodb")
    name = f"function-{uuid.uuid4().hex}"
    create_table(dynamodb, name)
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    client_of("kinesis").create_stream(StreamName=name, ShardCount=1)
    wire(monkeypatch, url=dynamodb.meta.endpoint_url, name=name, queue_url=url)

    def messages() -> list[str]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [each["Body"] for each in found]

    yield Function(DynamoPartialStore(dynamodb, name), messages)
    lose_sandbox()


@pytest.fixture(params=["over_fakes", pytest.param("over_ministack", marks=pytest.mark.local)])
def function(request: pytest.FixtureRequest) -> Function:
    wired: Function = request.getfixturevalue(request.param)
    return wired


def lose_sandbox() -> None:
    """Forget the function, and close its connections: a lost sandbox leaves none behind."""
    aggregate: Any = processors.aggregate.function._aggregate
    if aggregate is not None:
        aggregate._sink._store._client.close()
        aggregate._quarantine._client.close()
        processors.aggregate.function._aggregate = None


def batch() -> list[StreamRecord]:
    schema = PIPELINE.sources["reading"].schema
    good = [schema.encode(reading("d1", "temp", ARRIVAL_MS + n, n / 10)) for n in range(4)]
    datas = [aggregated([UserRecord("d1", each) for each in (good[0], good[1], b"junk")]), good[2], good[3]]
    return [
        StreamRecord("shardId-000000000000", REAL_SEQUENCE + n, "p", data, ARRIVAL_MS)
        for n, data in enumerate(datas)
    ]


def call(context: Context, capsys: pytest.CaptureFixture[str]) -> tuple[Any, list[dict[str, Any]]]:
    answer = processors.aggregate.function.handler(encode_event(batch(), stream_arn=STREAM_ARN), context)
    return answer, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_batch_is_applied_poison_quarantined_and_told_in_one_line_and_one_blob(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, (line, blob) = call(Context(), capsys)
    assert answer == {"batchItemFailures": []}
    (row,) = function.rows()
    assert (row.events, str(row.values["value"]["sum"])) == (4, "0.600000000")
    (message,) = function.messages()
    assert json.loads(message)["id"] == f"shardId-000000000000:{REAL_SEQUENCE}:2"
    assert line["first_sequence_number"] == str(REAL_SEQUENCE)
    assert (line["level"], line["user_records"], line["poison"]) == ("INFO", 5, {"undecodable": 1})
    assert (line["items"], line["writes"], "failed_from" in line) == (3, 3, False)
    assert line["function_request_id"] == Context().aws_request_id
    (directive,) = blob["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "streamgage"
    assert {each["Name"] for each in directive["Metrics"]} == blob.keys() - {"_aws", "service"}
    assert (blob["UserRecords"], blob["Poison"], blob["PoisonUndecodable"]) == (5, 1, 1)
    assert (blob["RedeliveredRecords"], blob["PartialFailures"]) == (0, 0)


def test_a_redelivered_batch_changes_nothing_in_a_warm_and_in_a_new_sandbox(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    call(Context(), capsys)
    before = function.rows()
    _, (warm, _) = call(Context(), capsys)
    lose_sandbox()
    _, (new, _) = call(Context(), capsys)
    for line in (warm, new):
        assert (line["redelivered_records"], line["items"], line["writes"]) == (line["kinesis_records"], 0, 0)
    assert function.rows() == before


def test_without_time_the_first_sequence_number_is_named_and_told_as_a_warning(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, (line, blob) = call(Context(remaining_ms=MARGIN_MS), capsys)
    assert answer == {"batchItemFailures": [{"itemIdentifier": str(REAL_SEQUENCE)}]}
    assert (line["level"], line["error"]) == ("WARNING", "DynamoDB_20120810 BatchGetItem: no time left")
    assert line["failed_from"] == str(REAL_SEQUENCE)
    assert blob["PartialFailures"] == 1
    assert function.rows() == []


def test_a_function_without_its_settings_says_which(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STREAMGAGE_TABLE")
    with pytest.raises(ConfigError, match="STREAMGAGE_TABLE is not set"):
        processors.aggregate.function.handler({"Records": []}, Context())


def test_importing_the_function_builds_it_in_a_sandbox_and_nowhere_else() -> None:
    needed = {
        "STREAMGAGE_STREAM": "telemetry",
        "STREAMGAGE_STREAM_ARN": STREAM_ARN,
        "STREAMGAGE_TABLE": "aggregates",
        "STREAMGAGE_QUARANTINE_URL": "http://127.0.0.1/q",
        "STREAMGAGE_QUARANTINE_BUCKET": "failed-batches",
        "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
    }
    script = (
        "import processors.aggregate.function; print(processors.aggregate.function._aggregate is not None)"
    )
    for environment, built in (
        ({**needed, "LAMBDA_TASK_ROOT": "/var/task"}, "True"),
        (needed, "False"),
        ({}, "False"),
    ):
        child = subprocess.run(
            [sys.executable, "-P", "-c", script],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
        assert child.stdout.strip() == built


@pytest.mark.parametrize(
    ("has_folder", "has_file", "reads_a_file"),
    [(True, False, False), (True, True, True), (False, True, True), (False, False, True)],
)
def test_certificates_are_verified_by_the_ones_asked_for_else_the_bundles_else_the_systems(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_folder: bool,
    has_file: bool,
    reads_a_file: bool,
) -> None:
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    if has_folder:
        (tmp_path / processors.aggregate.function.ROOTS_FOLDER).mkdir()
    if has_file:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(ROOTS))
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(ROOTS))  # in place of this machine's
    processors.aggregate.function._tls.cache_clear()
    context = processors.aggregate.function._tls()
    processors.aggregate.function._tls.cache_clear()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert bool(context.get_ca_certs()) == reads_a_file
