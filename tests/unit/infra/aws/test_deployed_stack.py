"""A stack on AWS by its name: what it says, what send, query and status make of it, and errors that help."""

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.stub import Stubber

import infra.aws.stacks
from conftest import REGION, ClientFactory, create_table
from infra.aws.shard_ends import shard_ends
from infra.aws.stacks import aws_client, aws_errors, explained, find_stack
from infra.aws.status import read_freshness, read_status
from infra.commands import query, simulate, status
from infra.commands.arguments import add_stack_options, aws_stack
from infra.commands.places import Target, find_aws_target
from processors.query.progress import ShardProgress
from streamgage.errors import ConfigError, RetryableError, StreamgageError
from support.paths import ROOT

OUTPUTS = {
    "HttpApiUrl": "https://abc.execute-api.eu-central-1.amazonaws.com",
    "StreamName": "plant-Stream",
    "TableName": "plant-Aggregates",
    "QuarantineUrl": "",
    "FailedBatchesBucket": "plant-failedbatches",
    "FunctionName": "plant-Aggregate",
    "Lanes": "shard",
}


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    find_stack.cache_clear()
    yield
    find_stack.cache_clear()


Standing = Callable[..., None]


@pytest.fixture
def standing(moto: ClientFactory, monkeypatch: pytest.MonkeyPatch) -> Standing:
    """``standing("plant", StreamName=…)``: a stack that CloudFormation describes, once. Moto's own needs more extras."""
    stubbed = moto("cloudformation")
    stubber = Stubber(stubbed)
    stubber.activate()

    def client(service: str, region: str | None = None) -> Any:
        return stubbed if service == "cloudformation" else aws_client(service, region)

    monkeypatch.setattr(infra.aws.stacks, "aws_client", client)

    def stand(name: str, **outputs: str) -> None:
        stack = {
            "StackName": name,
            "StackId": f"arn:{name}",
            "CreationTime": datetime.now(UTC),
            "StackStatus": "CREATE_COMPLETE",
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
        }
        if outputs:
            stubber.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": name})
        else:
            stubber.add_client_error(
                "describe_stacks", "ValidationError", f"Stack with id {name} does not exist"
            )

    return stand


@pytest.fixture
def plant(moto: ClientFactory, standing: Standing) -> ClientFactory:
    moto("kinesis").create_stream(StreamName="plant-Stream", ShardCount=2)
    create_table(moto("dynamodb"), "plant-Aggregates")
    url = moto("sqs").create_queue(QueueName="plant-Quarantine")["QueueUrl"]
    moto("s3").create_bucket(
        Bucket="plant-failedbatches", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    standing("plant", **{**OUTPUTS, "QuarantineUrl": url})
    return moto


def refused(code: str, status: int = 400, message: str = "why") -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "DescribeStacks")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (NoCredentialsError(), ConfigError, "no AWS credentials that work.*AWS_PROFILE.*aws sso login"),
        (PartialCredentialsError(provider="env", cred_var="x"), ConfigError, "no AWS credentials that work"),
        (UnauthorizedSSOTokenError(), ConfigError, "aws sso login"),
        (TokenRetrievalError(provider="sso", error_msg="expired"), ConfigError, "aws sso login"),
        (EndpointConnectionError(endpoint_url="https://x"), RetryableError, "does not answer"),
        (ReadTimeoutError(endpoint_url="https://x"), RetryableError, "does not answer"),
        (refused("ExpiredToken"), ConfigError, "refuses the credentials.*aws sso login"),
        (refused("InvalidClientTokenId", 403), ConfigError, "refuses the credentials"),
        (refused("AccessDenied", 403), ConfigError, "may not DescribeStacks: why"),
        (refused("AccessDeniedException"), ConfigError, "may not DescribeStacks: why"),
        (refused("Throttling"), RetryableError, "Throttling: why"),
        (refused("InternalFailure", 500), RetryableError, "InternalFailure"),
        (refused("ValidationError"), ConfigError, "doing: ValidationError: why"),
    ],
)
def test_what_boto3_raises_says_what_to_do(
    error: BotoCoreError | ClientError, kind: type[StreamgageError], words: str
) -> None:
    told = explained(error, "doing")
    assert isinstance(told, kind)
    with pytest.raises(kind, match=words), aws_errors("doing"):
        raise error


def test_no_region_no_profile_and_no_credentials_are_each_told(
    moto: ClientFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigError, match=r"in which region.*--region NAME"):
        find_stack("plant", None)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match=r"nobody.*AWS_PROFILE"):
        find_stack("plant", REGION)


def test_a_client_states_its_bounds(moto: ClientFactory) -> None:
    config = aws_client("cloudformation", REGION).meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 30)
    assert config.retries == {"total_max_attempts": 5, "mode": "standard"}


def test_a_stack_that_is_not_there_is_told_with_its_region_and_how_to_make_it(standing: Standing) -> None:
    standing("plant")
    with pytest.raises(
        ConfigError, match=f"no stack plant in {REGION}. Make it: streamgage deploy --stack plant"
    ):
        find_stack("plant", REGION)


def test_a_stack_of_someone_else_is_told_with_the_output_that_it_lacks(standing: Standing) -> None:
    standing("other", Url="https://x")
    with pytest.raises(
        ConfigError, match=r"stack other in .* \(CREATE_COMPLETE\) has no output StreamName; it has: Url"
    ):
        find_aws_target("other", region=REGION)


def test_a_stack_is_asked_for_once_a_process(plant: ClientFactory) -> None:
    first = find_stack("plant", REGION)  # CloudFormation's stub has one answer
    assert find_stack("plant", REGION) is first


def test_the_stream_of_a_stack_is_sent_to_with_the_keys_that_its_lanes_need(standing: Standing) -> None:
    standing("plant", **OUTPUTS)
    standing("wide", **{**OUTPUTS, "Lanes": "partition_key"})
    assert find_aws_target("plant", region=REGION) == Target("plant-Stream", region=REGION)
    wide = Target("plant-Stream", region=REGION, one_key_per_record=True)
    assert find_aws_target("wide", region=None) == wide


def asked(*arguments: str) -> str | None:
    parser = argparse.ArgumentParser()
    add_stack_options(parser)
    return aws_stack(parser.parse_args(arguments))


def test_a_stack_on_aws_is_meant_only_where_aws_was_said() -> None:
    assert asked() is None
    assert asked("--target", "local") is None
    assert asked("--target", "aws") == "streamgage"
    assert asked("--target", "aws", "--stack", "plant") == "plant"
    with pytest.raises(ConfigError, match="say --target aws --stack plant"):
        asked("--stack", "plant")


def command(add: Callable[[Any], None], *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(required=True))
    parsed = parser.parse_args(arguments)
    code: int = parsed.run(parsed)
    return code


def test_simulate_sends_to_the_stack_that_was_named(
    plant: ClientFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command(
        simulate.add_parser, "simulate", "fleet", "--events", "30", "--devices", "3", "--target", "aws", "--stack", "plant",
        "--pipeline", str(ROOT / "pipeline.toml"),
    )  # fmt: skip
    assert code == 0
    stream = "plant-Stream"
    kinesis = plant("kinesis")
    stored = 0
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        stored += len(kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"])
    assert stored > 0
    assert f"stream {stream} on AWS" in capsys.readouterr().err


def test_a_stream_beside_a_stack_is_refused() -> None:
    with pytest.raises(ConfigError, match="--stream beside --target aws"):
        command(
            simulate.add_parser, "simulate", "fleet", "--target", "aws", "--stream", "x",
            "--pipeline", str(ROOT / "pipeline.toml"),
        )  # fmt: skip


def test_query_asks_the_table_of_the_stack(plant: ClientFactory, capsys: pytest.CaptureFixture[str]) -> None:
    code = command(
        query.add_parser, "query", "device_metrics", "device_id=d", "metric=m", "--target", "aws", "--stack", "plant",
        "--format", "csv", "--pipeline", str(ROOT / "pipeline.toml"),
    )  # fmt: skip
    told = capsys.readouterr()
    assert code == 0
    assert told.out.startswith("device_id,metric,window_start")
    assert "freshness: everything that arrived until" in told.err


def test_query_refuses_a_rollup_that_the_stack_does_not_count_for_its_progress_says_nothing_of_it(
    plant: ClientFactory, tmp_path: Path
) -> None:
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    text = (ROOT / "pipeline.toml").read_text().replace('key = ["page"]', 'key = ["page"]\nconsumer = "web"')
    (tmp_path / "pipeline.toml").write_text(text)
    with pytest.raises(
        ConfigError, match="page_views is counted by consumer web, and this stack counts for main"
    ):
        command(
            query.add_parser, "query", "page_views", "page=/", "--target", "aws", "--stack", "plant",
            "--pipeline", str(tmp_path / "pipeline.toml"),
        )  # fmt: skip


def test_an_empty_stream_is_up_to_date_and_one_with_unread_records_is_behind(plant: ClientFactory) -> None:
    stack = find_stack("plant", REGION)
    fresh, shards = read_freshness(stack)
    assert len(shards) == 2
    assert fresh.applied_ms > 0
    assert all(each["caught_up"] for each in shards.values())
    put = plant("kinesis").put_record(StreamName=stack.output("StreamName"), Data=b"x", PartitionKey="k")
    fresh, shards = read_freshness(stack)
    assert not shards[put["ShardId"]]["caught_up"]
    assert shards[put["ShardId"]]["behind_ms"] >= 0
    assert fresh.applied_ms == 0
    assert fresh.slowest == put["ShardId"]


class FakeKinesis:
    """One shard that answers what a test says."""

    def __init__(
        self, *answers: dict[str, Any] | ClientError, closed: bool = False, trimmed: bool = False
    ) -> None:
        self.answers, self.closed, self.trimmed = list(answers), closed, trimmed
        self.iterators: list[dict[str, Any]] = []

    def list_shards(self, **_: str) -> dict[str, Any]:
        numbers = {"StartingSequenceNumber": "1"} | ({"EndingSequenceNumber": "9"} if self.closed else {})
        return {"Shards": [{"ShardId": "s", "SequenceNumberRange": numbers}]}

    def get_shard_iterator(self, **place: Any) -> dict[str, str]:
        self.iterators.append(place)
        if self.trimmed and place["ShardIteratorType"] != "TRIM_HORIZON":
            raise refused("InvalidArgumentException")
        return {"ShardIterator": "i"}

    def get_records(self, **_: Any) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, ClientError):
            raise answer
        return answer


NOTHING = {"Records": [], "NextShardIterator": "i", "MillisBehindLatest": 0}
GAP = {**NOTHING, "MillisBehindLatest": 900}
END = {"Records": [], "MillisBehindLatest": 0}
UNREAD = {
    "Records": [{"ApproximateArrivalTimestamp": datetime.fromtimestamp(1_000, UTC)}],
    "NextShardIterator": "i",
    "MillisBehindLatest": 0,
}
PROGRESS = [ShardProgress("s", 7, 5, 0, 0, 0)]


def end(kinesis: FakeKinesis, progress: list[ShardProgress] = PROGRESS) -> dict[str, Any]:
    return shard_ends(kinesis, "stream", progress, now_ms=lambda: 1_000_500)["s"]


def test_a_shard_is_read_from_behind_its_fence() -> None:
    kinesis = FakeKinesis(NOTHING)
    assert end(kinesis) == {
        "checkpoint": "7", "finished": False, "caught_up": True, "behind_ms": 0, "undone": None,
        "read_started_ms": 1_000_500, "records_read": None,
    }  # fmt: skip
    assert kinesis.iterators == [
        {"StreamName": "stream", "ShardId": "s", "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"}
    ]  # fmt: skip


def test_a_gap_is_read_on_from_and_a_gap_without_end_is_not_called_caught_up() -> None:
    assert end(FakeKinesis(GAP, GAP, NOTHING))["caught_up"]
    assert not end(FakeKinesis(*[GAP] * 5))["caught_up"]


def test_a_record_behind_the_fence_tells_how_far_behind_the_shard_is() -> None:
    behind = end(FakeKinesis(UNREAD))
    assert (behind["caught_up"], behind["behind_ms"]) == (False, 500)


def test_a_closed_shard_is_finished_where_nothing_of_it_is_left() -> None:
    assert end(FakeKinesis(END, closed=True))["finished"]
    assert not end(FakeKinesis(UNREAD, closed=True))["finished"]


def test_a_fence_that_was_trimmed_is_read_from_the_horizon_and_throttling_is_not_knowing() -> None:
    kinesis = FakeKinesis(NOTHING, trimmed=True)
    assert end(kinesis)["caught_up"]
    assert [each["ShardIteratorType"] for each in kinesis.iterators] == [
        "AFTER_SEQUENCE_NUMBER",
        "TRIM_HORIZON",
    ]
    assert not end(FakeKinesis(refused("ProvisionedThroughputExceededException")))["caught_up"]
    with pytest.raises(ConfigError, match="may not"):
        end(FakeKinesis(refused("AccessDeniedException")))


class FakeLambda:
    def __init__(self, **mapping: str) -> None:
        self.mapping = mapping

    def get_paginator(self, name: str) -> "FakeLambda":
        assert name == "list_event_source_mappings"
        return self

    def paginate(self, EventSourceArn: str) -> list[dict[str, Any]]:  # noqa: N803 - the API's own name
        arn = "arn:aws:lambda:eu-central-1:1:function:plant-Aggregate:live"
        assert ":stream/" in EventSourceArn
        others = {
            "FunctionArn": "arn:aws:lambda:eu-central-1:1:function:plant-Aggregate2",
            "State": "Disabled",
        }
        found = [others, {"FunctionArn": arn, **self.mapping}] if self.mapping else [others]
        return [{"EventSourceMappings": found}]


def status_of(plant: ClientFactory, **mapping: str) -> Any:
    fake = FakeLambda(**mapping)
    return read_status(
        find_stack("plant", REGION),
        client=lambda service, region: fake if service == "lambda" else aws_client(service, region),
    )


def test_status_gathers_what_aws_tells(plant: ClientFactory) -> None:
    stack = find_stack("plant", REGION)
    plant("sqs").send_message(QueueUrl=stack.output("QuarantineUrl"), MessageBody="poison")
    for key in ("aws/lambda/1", "quarantine/2026-11-21/shardId-000000000000/1-2-a.ndjson.gz"):
        plant("s3").put_object(Bucket=stack.output("FailedBatchesBucket"), Key=key, Body=b"x")
    now = datetime.now(UTC) - timedelta(minutes=2)
    for value, namespace, metric, dimension in (
        (3, "AWS/Lambda", "Invocations", {"Name": "FunctionName", "Value": "plant-Aggregate"}),
        (9, "AWS/Lambda", "Invocations", {"Name": "FunctionName", "Value": "another"}),
        (70, "AWS/Lambda", "IteratorAge", {"Name": "FunctionName", "Value": "plant-Aggregate"}),
        (2, "streamgage", "Poison", {"Name": "service", "Value": "plant-Aggregate"}),
        (7, "streamgage", "Poison", {"Name": "service", "Value": "another"}),
    ):
        plant("cloudwatch").put_metric_data(
            Namespace=namespace,
            MetricData=[{"MetricName": metric, "Dimensions": [dimension], "Timestamp": now, "Value": value}],
        )
    status = status_of(plant, State="Enabled", LastProcessingResult="OK")
    assert status.mapping["state"] == "Enabled"
    assert status.mapping["last_error"] is None
    assert status.mapping["counters"]["Invocations"] == 3
    assert status.mapping["counters"]["Poison"] == 2
    assert status.mapping["counters"]["Errors"] == 0
    assert (status.iterator_age_ms, status.quarantined, status.failed_batches) == (70, 1, 1)


def test_a_mapping_that_is_missing_or_has_a_problem_is_told(plant: ClientFactory) -> None:
    assert status_of(plant).mapping["state"] == "missing"
    told = status_of(plant, State="Enabled", LastProcessingResult="PROBLEM: Function call failed")
    assert told.mapping["last_error"] == {"message": "PROBLEM: Function call failed"}


@pytest.mark.parametrize("form", ["table", "json"])
def test_the_status_command_shows_a_stack_on_aws(
    plant: ClientFactory, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    aws = ("--target", "aws", "--stack", "plant")
    assert command(status.add_parser, "status", *aws, "--format", form) == 0
    out = capsys.readouterr().out
    if form == "json":
        document = json.loads(out)
        assert document["stack"]["name"] == "plant"
        assert document["endpoints"] == {"http": OUTPUTS["HttpApiUrl"]}
        assert set(document["mapping"]["shards"]) == {"shardId-000000000000", "shardId-000000000001"}
        assert document["mapping"]["counters"]["Errors"] == 0
    else:
        assert "stack plant in eu-central-1: CREATE_COMPLETE" in out
        assert f"HTTP API: {OUTPUTS['HttpApiUrl']}" in out
        assert "up to date" in out
        assert "quarantined: 0; failed batches in S3: 0" in out
