"""The template on this machine: what the emulator's CloudFormation creates, and what exists only on AWS."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.stack.aws_only import METRIC_MATH, OURS_TYPES, REFUSED_TYPES
from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from infra.local.stack.template import STACK_NAME, divide
from infra.template.read import TEMPLATE
from producers.collector.keys import OPEN, keys_text
from support.machine import Machine, running

pytestmark = pytest.mark.local

EVERYTHING = {
    "StreamMode": "ON_DEMAND",
    "ParallelizationFactor": "2",
    "Tracing": "Active",
    "AlarmEmail": "someone@example.com",
    "KeyArn": "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555",
    "IotTopic": "telemetry/+",
    "WriteCapacity": "112",
    "JwtIssuer": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_abc",
    "JwtAudience": "charts,notebooks",
    "JwtScopes": "streamgage/read",
    "ApiOrigins": "https://charts.example.com",
    "ApiConcurrency": "5",
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    options = [each for name, value in EVERYTHING.items() for each in ("--param", f"{name}={value}")]
    with running(tmp_path_factory.mktemp("template"), *options) as machine:
        yield machine


@pytest.fixture(scope="module")
def cloudformation(machine: Machine) -> Any:
    info = machine.home.info()
    return local_client("cloudformation", info.endpoints["aws"], info.credentials)


def test_with_every_condition_on_the_emulator_creates_all_but_what_is_named(
    machine: Machine, cloudformation: Any
) -> None:
    template = divide(TEMPLATE, keep_tables=True)  # they stand in the engine of their own
    made = cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
    states = {
        each["LogicalResourceId"]: each["ResourceStatus"]
        for page in made
        for each in page["StackResourceSummaries"]
    }
    wanted = template.cloudformation["Resources"]
    assert states == dict.fromkeys(wanted, "CREATE_COMPLETE")
    (said,) = [
        line
        for line in (machine.home.logs / "up.log").read_text().splitlines()
        if "exists only on AWS" in line
    ]
    assert template.elsewhere
    for each in template.elsewhere:
        assert each.logical_id in said
        assert each.why in said


def test_the_stream_has_the_mode_of_the_template(machine: Machine) -> None:
    info = machine.home.info()
    kinesis = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
    summary = kinesis.describe_stream_summary(StreamName=info.stream)["StreamDescriptionSummary"]
    assert summary["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert summary["OpenShardCount"] == 4


def test_what_is_made_can_be_looked_up(machine: Machine) -> None:
    info = machine.home.info()
    ssm, sqs, iot = (
        local_client(each, info.endpoints["aws"], info.credentials) for each in ("ssm", "sqs", "iot")
    )
    names = ssm.get_parameters_by_path(Path=f"/streamgage/{STACK_NAME}")["Parameters"]
    assert {each["Name"].rpartition("/")[2]: each["Value"] for each in names} == {
        "StreamName": info.stream,
        "TableName": info.table,
        "QuarantineUrl": info.quarantine_url,
        "FailedBatchesBucket": info.failed_batches_bucket,
        "Lanes": "partition_key",
        "CollectorKeys": keys_text(OPEN),  # as long as there is no key
    }
    key = sqs.get_queue_attributes(QueueUrl=info.quarantine_url, AttributeNames=["All"])["Attributes"]
    assert key["KmsMasterKeyId"] == EVERYTHING["KeyArn"]
    (rule,) = iot.list_topic_rules()["rules"]
    payload = iot.get_topic_rule(ruleName=rule["ruleName"])["rule"]
    assert payload["sql"] == "SELECT * FROM 'telemetry/+'"
    assert payload["actions"][0]["kinesis"]["partitionKey"] == "${clientid()}"
    assert payload["actions"][0]["kinesis"]["streamName"] == info.stream


def test_what_is_said_to_exist_only_on_aws_is_refused_by_the_emulator(cloudformation: Any) -> None:
    """When the emulator learns one, the list in infra/local/stack/aws_only.py loses it."""
    math = {
        "AlarmName": "math",
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 1,
        "EvaluationPeriods": 1,
        "Metrics": [{"Id": "one", "Expression": "1"}],
    }
    asked: list[tuple[str, dict[str, Any], str]] = [
        (kind, {}, "Unrecognized resource type") for kind in REFUSED_TYPES
    ]
    asked.append(("AWS::CloudWatch::Alarm", math, "metric math"))
    for number, (kind, properties, reason) in enumerate(asked):
        assert reason in why_refused(cloudformation, f"refused-{number}", kind, properties)
    assert METRIC_MATH.endswith("metric math")


def test_what_runs_here_in_the_emulators_place_is_the_function_and_what_is_shown_of_it() -> None:
    assert {each.rpartition("::")[0] for each in OURS_TYPES} == {"AWS::Lambda", "AWS::CloudWatch"}


def why_refused(cloudformation: Any, stack: str, kind: str, properties: dict[str, Any]) -> str:
    body = {"Resources": {"Only": {"Type": kind, "Properties": properties}}}
    try:
        cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(body))
    except ClientError as error:
        return str(error)

    def settled() -> bool:
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return not status.endswith("IN_PROGRESS")

    wait_until(settled, seconds=10, what=stack)
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    reasons = [
        each.get("ResourceStatusReason", "") for each in events if each["ResourceStatus"] == "CREATE_FAILED"
    ]
    return " ".join(reasons)
