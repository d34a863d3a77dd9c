"""What the doctor says of a stack on AWS: each thing by itself, what is wrong with it, and what to do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from conftest import ClientFactory, create_table
from infra.aws.doctor import Surroundings, examine
from infra.aws.stacks import DeployedStack
from infra.commands import doctor as command
from infra.health import PROBE_KEY, Finding, Health, probe
from processors.pipeline_files import load_pipeline
from streamgage.definition.fingerprint import definition_of, definition_text
from streamgage.definition.pipeline import Pipeline
from streamgage.fold.items import progress_pk
from streamgage.fold.lane_log import LaneLog
from support.paths import ROOT

NOW_MS = 1_767_225_600_500  # half past a second, as a header that was cut off is taken
ARN = "arn:aws:kinesis:eu-central-1:123456789012:stream/plant-Stream"


def refused(code: str, operation: str = "PutRecords") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, operation
    )


class Clock:
    def __init__(self) -> None:
        self.time_ms = NOW_MS

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


class Aws:
    """An account in which all is well, but for what a test changes."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.summary: dict[str, Any] = {
            "StreamARN": ARN, "StreamStatus": "ACTIVE", "OpenShardCount": 2, "RetentionPeriodHours": 24,
            "StreamModeDetails": {"StreamMode": "ON_DEMAND"}, "RecordDistributionStrategy": "USER_PARTITION_KEY",
        }  # fmt: skip
        self.dry_run: Exception | None = refused("DryRunOperationException")
        self.decisions = ["allowed"]
        self.mapping = {"FunctionArn": "arn:aws:lambda:x:1:function:plant-Aggregate:live", "State": "Enabled"}
        self.sums: Mapping[str, list[float]] = {"IncomingBytes": [60_000.0], "IncomingRecords": [600.0]}
        self.server_ms = NOW_MS
        self.identity = "arn:aws:sts::123456789012:assumed-role/sender/session"
        self.asked: list[dict[str, Any]] = []
        self.put: list[dict[str, Any]] = []

    def client(self, service: str, region: str | None) -> Any:
        assert region == "eu-central-1"
        return self.dynamodb if service == "dynamodb" else self

    def get_caller_identity(self) -> dict[str, Any]:
        date = format_datetime(datetime.fromtimestamp(self.server_ms // 1000, UTC), usegmt=True)
        return {
            "Arn": self.identity, "Account": "123456789012",
            "ResponseMetadata": {"HTTPHeaders": {"date": date}},
        }  # fmt: skip

    def describe_stream_summary(self, **_: Any) -> dict[str, Any]:
        return {"StreamDescriptionSummary": self.summary}

    def get_metric_data(self, *, MetricDataQueries: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        labels = [each["Label"] for each in MetricDataQueries]
        return {"MetricDataResults": [{"Label": each, "Values": self.sums.get(each, [])} for each in labels]}

    def put_records(self, **request: Any) -> dict[str, Any]:
        assert request["DryRun"] is True
        assert request["Records"] == [{"Data": probe(), "PartitionKey": PROBE_KEY}]
        if self.dry_run is not None:
            raise self.dry_run
        return {}

    def simulate_principal_policy(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        return {"EvaluationResults": [{"EvalDecision": each} for each in self.decisions]}

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"EventSourceMappings": [self.mapping]}]

    def put_record(self, **request: Any) -> dict[str, Any]:
        self.put.append(request)
        return {"ShardId": "shardId-000000000000", "SequenceNumber": "41"}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(ROOT / "pipeline.toml")


@pytest.fixture
def aws(moto: ClientFactory) -> Aws:
    client = moto("dynamodb")
    create_table(client, "plant-Aggregates")
    return Aws(client)


def applied(aws: Aws, fence: int) -> None:
    """Write the progress of the shard, as the function does."""
    aws.dynamodb.put_item(
        TableName="plant-Aggregates",
        Item={
            "pk": {"S": progress_pk("main")},
            "sk": {"S": "plant-Stream/shardId-000000000000"},
            "fence": {"S": str(fence)},
            "body": {"B": LaneLog().to_body()},
            "counts": {"S": "x"},
            "expires": {"N": "0"},
        },
    )


def found(
    aws: Aws, pipeline: Pipeline, *, outputs: Mapping[str, str] | None = None, wait_s: float = 5
) -> dict[str, Finding]:
    stack = DeployedStack(
        "plant",
        "eu-central-1",
        "CREATE_COMPLETE",
        {
            "StreamName": "plant-Stream",
            "TableName": "plant-Aggregates",
            "FunctionName": "plant-Aggregate",
            "Lanes": "shard",
            "Definition": definition_text(definition_of(pipeline, "main")),
            **(outputs or {}),
        },
    )
    around = Surroundings(Clock(), aws.client)
    return {each.subject: each for each in examine(stack, pipeline, around, wait_s=wait_s)}


def test_a_stack_on_which_all_is_well_has_nothing_to_mend(aws: Aws, pipeline: Pipeline) -> None:
    applied(aws, 41)
    told = found(aws, pipeline)
    assert {each.health for each in told.values()} == {Health.GOOD}
    assert list(told) == [
        "credentials", "clock", "stream", "shards", "permission", "mapping", "definition", "round trip",
    ]  # fmt: skip
    assert "ON_DEMAND, 2 open shards" in told["stream"].seen
    assert [each["Data"] for each in aws.put] == [probe()]  # nothing else was sent


def test_a_clock_that_is_wrong_is_told_to_the_second_either_way(aws: Aws, pipeline: Pipeline) -> None:
    for server_ms, words in ((NOW_MS - 90_000, "90.0 s ahead of"), (NOW_MS + 90_000, "90.0 s behind")):
        aws.server_ms = server_ms
        told = found(aws, pipeline)["clock"]
        assert (told.health, words in told.seen) == (Health.BAD, True)
        assert "NTP" in told.todo


def test_a_stream_that_ignores_partition_keys_is_told_with_the_command_that_mends_it(
    aws: Aws, pipeline: Pipeline
) -> None:
    aws.summary["RecordDistributionStrategy"] = "AUTO"
    told = found(aws, pipeline)["record distribution"]
    assert told.health is Health.BAD
    assert told.todo.endswith(f"--stream-arn {ARN}")


def test_shards_that_are_nearly_full_or_throttled_are_told(aws: Aws, pipeline: Pipeline) -> None:
    aws.sums = {"IncomingBytes": [1.0], "IncomingRecords": [2 * 60 * 900.0]}
    assert found(aws, pipeline)["shards"].health is Health.BAD
    aws.sums = {"IncomingBytes": [1.0], "WriteProvisionedThroughputExceeded": [0.0, 3.0]}
    told = found(aws, pipeline)["shards"]
    assert (told.health, "3 records were throttled" in told.seen) == (Health.BAD, True)
    aws.sums = {}
    assert found(aws, pipeline)["shards"].health is Health.GOOD


def test_what_a_look_needs_of_one_that_was_refused_is_not_known_and_not_guessed(
    aws: Aws, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: Any) -> None:
        raise refused("AccessDeniedException", "DescribeStreamSummary")

    monkeypatch.setattr(aws, "describe_stream_summary", denied)
    aws.sums = {"IncomingBytes": [60e6], "IncomingRecords": [60_000.0]}  # as much as one shard takes
    told = found(aws, pipeline)
    assert {told[each].health for each in ("stream", "shards", "mapping")} == {Health.UNKNOWN}


def test_credentials_that_may_not_put_are_told_with_what_they_need(aws: Aws, pipeline: Pipeline) -> None:
    aws.dry_run = refused("AccessDeniedException")
    told = found(aws, pipeline)["permission"]
    assert told.health is Health.BAD
    assert told.todo == f"A producer needs kinesis:PutRecords and kinesis:ListShards on {ARN}"


def test_without_a_dry_run_iam_is_asked_of_the_role_that_the_session_is_of(
    aws: Aws, pipeline: Pipeline
) -> None:
    aws.dry_run = ParamValidationError(report="unknown parameter DryRun")
    assert found(aws, pipeline)["permission"].health is Health.GOOD
    assert aws.asked[0]["PolicySourceArn"] == "arn:aws:iam::123456789012:role/sender"
    aws.decisions = ["implicitDeny"]
    assert found(aws, pipeline)["permission"].health is Health.BAD
    aws.identity = "arn:aws:iam::123456789012:user/eve"
    found(aws, pipeline)
    assert aws.asked[-1]["PolicySourceArn"] == aws.identity


def test_a_dry_run_that_fails_otherwise_is_told_as_it_is(aws: Aws, pipeline: Pipeline) -> None:
    aws.dry_run = refused("ResourceNotFoundException")
    told = found(aws, pipeline)["permission"]
    assert (told.health, "ResourceNotFoundException" in told.seen) == (Health.BAD, True)


def test_what_may_not_be_asked_is_no_fault_and_the_rest_goes_on(
    aws: Aws, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: object) -> None:
        raise refused("AccessDeniedException", "GetMetricData")

    monkeypatch.setattr(aws, "get_metric_data", denied)
    applied(aws, 41)
    told = found(aws, pipeline)
    assert told["load"].health is Health.UNKNOWN
    assert told["round trip"].health is Health.GOOD


def test_a_mapping_that_is_off_failing_or_missing_is_told(aws: Aws, pipeline: Pipeline) -> None:
    aws.mapping["State"] = "Disabled"
    assert found(aws, pipeline)["mapping"].health is Health.BAD
    aws.mapping |= {"State": "Enabled", "LastProcessingResult": "PROBLEM: Function call failed"}
    assert "Function call failed" in found(aws, pipeline)["mapping"].seen
    aws.mapping["FunctionArn"] = "arn:aws:lambda:x:1:function:other"
    assert "nothing leads from the stream" in found(aws, pipeline)["mapping"].seen


def test_a_definition_that_is_not_the_deployed_one_is_told_by_what_differs(
    aws: Aws, pipeline: Pipeline
) -> None:
    less = definition_of(pipeline, "main")
    less.pop("visits.1|1d")
    told = found(aws, pipeline, outputs={"Definition": definition_text(less)})["definition"]
    assert (told.health, "visits.1|1d would be added" in told.seen) == (Health.BAD, True)
    assert found(aws, pipeline, outputs={"Definition": "none"})["definition"].health is Health.UNKNOWN
    assert found(aws, pipeline, outputs={"Definition": "?"})["definition"].health is Health.UNKNOWN
    told = found(aws, pipeline, outputs={"Consumer": "web"})["definition"]
    assert (told.health, "no rollup has the consumer 'web'" in told.seen) == (Health.BAD, True)


def test_a_record_that_is_not_applied_in_time_is_told(aws: Aws, pipeline: Pipeline) -> None:
    applied(aws, 40)
    told = found(aws, pipeline)["round trip"]
    assert (told.health, "not applied within 5 s" in told.seen) == (Health.BAD, True)


def test_the_command_says_each_finding_and_ends_with_1_where_one_is_bad(
    aws: Aws, pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    applied(aws, 41)
    good = list(found(aws, pipeline).values())
    assert command.tell(good) == 0
    assert (
        command.tell(
            [*good, Finding("x", Health.BAD, "broken\x1b[2J", "mend it"), Finding("y", Health.UNKNOWN, "?")]
        )
        == 1
    )
    said = capsys.readouterr().out
    assert "BAD x: broken" in said
    assert "\x1b" not in said
    assert "    mend it" in said
