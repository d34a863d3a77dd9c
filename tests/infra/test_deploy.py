"""The commands over boto3: requests and answers in the shapes of AWS's own models (botocore's Stubber checks both)."""

import argparse
import hashlib
import io
import json
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from conftest import REGION, ClientFactory
from infra.aws.bundle.functions import Function
from infra.aws.deploy.artifacts import Account, Artifacts, account_of
from infra.aws.deploy.cloudformation import BotoChangeSets, BotoStacks
from infra.aws.deploy.destroy_data import BotoDataStores
from infra.aws.deploy.ports import ChangeSetRequest, StackResource
from infra.commands import deploy, destroy, diff
from infra.commands.account import Surroundings
from processors.pipeline_files import load_pipeline
from streamgage.definition.fingerprint import definition_of, definition_text
from streamgage.errors import ConfigError, RetryableError
from support.deploy_fakes import FakeClock, Told, change
from support.paths import ROOT

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ID = "arn:aws:cloudformation:eu-central-1:123456789012:stack/plant/1"
CHANGE_SET = "arn:aws:cloudformation:eu-central-1:123456789012:changeSet/c/1"
DEFINITION = """
[[sources]]
name = "reading"
schema = "reading.avsc"
partition_key = "device_id"
event_time = "ts"
[[rollups]]
name = "sums"
source = "reading"
key = ["device_id"]
windows = ["1m"]
keep = "90d"
[rollups.measures]
value = ["sum"]
[deploy]
ShardCount = 3
"""
TEMPLATE = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Parameters": {"ShardCount": {"Type": "Number", "Default": 2}},
    "Resources": {
        "A": {
            "Type": "AWS::Serverless::Function",
            "Properties": {"CodeUri": "build", "Handler": "processors.aggregate.function.handler"},
        }
    },
}


@pytest.fixture
def stubber(moto: ClientFactory) -> Iterator[Stubber]:
    with Stubber(moto("cloudformation")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def described(status: str = "CREATE_COMPLETE", **more: Any) -> dict[str, Any]:
    return {
        "Stacks": [{"StackName": "plant", "StackId": ID, "CreationTime": NOW, "StackStatus": status, **more}]
    }


def event(number: int, logical_id: str, status: str, **more: Any) -> dict[str, Any]:
    own = logical_id == "plant"
    return {
        "StackId": ID,
        "StackName": "plant",
        "EventId": f"e{number}",
        "LogicalResourceId": logical_id,
        "PhysicalResourceId": ID if own else f"physical-{logical_id}",
        "ResourceType": "AWS::CloudFormation::Stack" if own else "AWS::SQS::Queue",
        "ResourceStatus": status,
        "Timestamp": NOW + timedelta(seconds=number),
        **more,
    }


def stack_read(stubber: Stubber, asked: str, answer: dict[str, Any], *events: dict[str, Any]) -> None:
    stubber.add_response("describe_stacks", answer, {"StackName": asked})
    stubber.add_response("describe_stack_events", {"StackEvents": list(events)}, {"StackName": ID})


def no_stack(stubber: Stubber) -> None:
    stubber.add_client_error("describe_stacks", "ValidationError", "Stack with id plant does not exist")


def test_a_change_set_is_asked_for_with_the_capabilities_that_roles_and_the_transform_need(
    stubber: Stubber,
) -> None:
    stubber.add_response(
        "create_change_set",
        {"Id": CHANGE_SET, "StackId": ID},
        {
            "StackName": "plant",
            "ChangeSetName": "c1",
            "ChangeSetType": "CREATE",
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Parameters": [{"ParameterKey": "ShardCount", "ParameterValue": "3"}],
            "TemplateBody": "{}",
        },
    )
    stubber.add_response(
        "create_change_set",
        {"Id": CHANGE_SET, "StackId": ID},
        {
            "StackName": "plant",
            "ChangeSetName": "c1",
            "ChangeSetType": "UPDATE",
            "Capabilities": ANY,
            "Parameters": [],
            "TemplateURL": "https://x",
        },
    )
    change_sets = BotoChangeSets(stubber.client)
    assert (
        change_sets.create(ChangeSetRequest("plant", "CREATE", "c1", {"ShardCount": "3"}, body="{}"))
        == CHANGE_SET
    )
    change_sets.create(ChangeSetRequest("plant", "UPDATE", "c1", {}, url="https://x"))


def test_every_page_of_a_change_set_is_read_with_its_values(stubber: Stubber) -> None:
    base = {
        "ChangeSetId": CHANGE_SET,
        "StackId": ID,
        "Status": "CREATE_COMPLETE",
        "ExecutionStatus": "AVAILABLE",
    }
    asked = {"ChangeSetName": CHANGE_SET, "IncludePropertyValues": True}
    detail = {
        "Target": {
            "Attribute": "Properties",
            "Name": "ShardCount",
            "RequiresRecreation": "Never",
            "Path": "/Properties/ShardCount",
            "BeforeValue": "2",
            "AfterValue": "3",
            "AttributeChangeType": "Modify",
        },
        "Evaluation": "Static",
        "ChangeSource": "DirectModification",
    }
    first = change(
        "Stream", kind="AWS::Kinesis::Stream", Replacement="False", Scope=["Properties"], Details=[detail]
    )
    stubber.add_response("describe_change_set", {**base, "Changes": [first], "NextToken": "n"}, asked)
    stubber.add_response(
        "describe_change_set", {**base, "Changes": [change("B", "Add")]}, {**asked, "NextToken": "n"}
    )
    made = BotoChangeSets(stubber.client).read(CHANGE_SET)
    assert [each["ResourceChange"]["LogicalResourceId"] for each in made.changes] == ["Stream", "B"]
    assert (made.stack_id, made.status, made.reason) == (ID, "CREATE_COMPLETE", "")


def test_a_change_set_that_is_gone_is_deleted(stubber: Stubber) -> None:
    stubber.add_client_error("delete_change_set", "ChangeSetNotFound", "gone")
    BotoChangeSets(stubber.client).delete(CHANGE_SET)


def test_a_stack_is_read_with_its_parameters_and_newest_event(stubber: Stubber) -> None:
    answer = described(
        Parameters=[{"ParameterKey": "ShardCount", "ParameterValue": "2"}],
        Outputs=[{"OutputKey": "StreamName", "OutputValue": "s"}],
        EnableTerminationProtection=True,
    )
    stack_read(
        stubber, "plant", answer, event(2, "plant", "CREATE_COMPLETE"), event(1, "A", "CREATE_COMPLETE")
    )
    stack = BotoStacks(stubber.client).read("plant")
    assert stack is not None
    assert (stack.stack_id, stack.last_event, stack.protected) == (ID, "e2", True)
    assert (stack.parameters, stack.outputs) == ({"ShardCount": "2"}, {"StreamName": "s"})


def test_a_stack_that_is_not_or_no_more_is_none(stubber: Stubber) -> None:
    no_stack(stubber)
    assert BotoStacks(stubber.client).read("plant") is None
    stack_read(stubber, ID, described("DELETE_COMPLETE"))
    assert BotoStacks(stubber.client).read(ID) is None


def test_events_come_oldest_first_and_only_those_after_the_last_over_all_pages(stubber: Stubber) -> None:
    pages = [
        [event(5, "A", "X"), event(4, "A", "X")],
        [event(3, "A", "X"), event(2, "A", "X"), event(1, "A", "X")],
    ]
    for _ in range(2):
        stubber.add_response(
            "describe_stack_events", {"StackEvents": pages[0], "NextToken": "n"}, {"StackName": ID}
        )
        stubber.add_response(
            "describe_stack_events", {"StackEvents": pages[1]}, {"StackName": ID, "NextToken": "n"}
        )
    stacks = BotoStacks(stubber.client)
    assert [each.event_id for each in stacks.events(ID, after="e2")] == ["e3", "e4", "e5"]
    read = stacks.events(ID, after=None)
    assert [each.event_id for each in read] == ["e1", "e2", "e3", "e4", "e5"]
    assert read[1].at_ms - read[0].at_ms == 1_000


@pytest.mark.parametrize(
    "template",
    ['{"Resources": {"T": {"Type": "X", "DeletionPolicy": "Retain"}, "R": {"Type": "Y"}}}',
     "Resources:\n  T: {Type: X, DeletionPolicy: Retain}\n  R: {Type: Y, Properties: {A: !Ref T}}"],
)  # fmt: skip
def test_resources_are_read_with_what_becomes_of_them(stubber: Stubber, template: str) -> None:
    summary = {"LastUpdatedTimestamp": NOW, "ResourceStatus": "CREATE_COMPLETE"}
    stubber.add_response(
        "list_stack_resources",
        {
            "StackResourceSummaries": [
                {**summary, "LogicalResourceId": "T", "PhysicalResourceId": "t", "ResourceType": "X"},
                {**summary, "LogicalResourceId": "R", "ResourceType": "Y"},
            ]
        },
        {"StackName": ID},
    )
    stubber.add_response(
        "get_template", {"TemplateBody": template}, {"StackName": ID, "TemplateStage": "Processed"}
    )
    found = BotoStacks(stubber.client).resources(ID)
    assert [(each.logical_id, each.physical_id, each.stays) for each in found] == [
        ("T", "t", True),
        ("R", "", False),
    ]


def test_the_stack_that_was_deleted_last_is_found_by_its_name(stubber: Stubber) -> None:
    def summary(name: str, number: int) -> dict[str, Any]:
        deleted = NOW + timedelta(days=number)
        return {
            "StackName": name,
            "StackId": f"{name}{number}",
            "CreationTime": NOW,
            "DeletionTime": deleted,
            "StackStatus": "DELETE_COMPLETE",
        }

    found = {
        "StackSummaries": [summary("plant", 1), summary("plant", 3), summary("other", 5), summary("plant", 2)]
    }
    asked = {"StackStatusFilter": ["DELETE_COMPLETE"]}
    stubber.add_response("list_stacks", found, asked)
    stubber.add_response("list_stacks", found, asked)
    stacks = BotoStacks(stubber.client)
    assert stacks.newest_deleted("plant") == "plant3"
    assert stacks.newest_deleted("none") is None


# --- the bucket of bundles ---


def artifacts(moto: ClientFactory, told: Told, bucket: str = "mine") -> Artifacts:
    return Artifacts(moto("s3"), account=account_of(moto("sts")), bucket=bucket, say=told)


@pytest.fixture
def mine(moto: ClientFactory) -> ClientFactory:
    """Moto, with a bucket."""
    moto("s3").create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": REGION})
    return moto


def zipped(folder: Path, content: str = "x") -> Path:
    path = folder / "bundle.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("processors/aggregate/function.py"), content)
    return path


@pytest.mark.parametrize(
    ("region", "where"),
    [
        (REGION, {"CreateBucketConfiguration": {"LocationConstraint": REGION}}),
        ("us-east-1", {}),  # S3 refuses to be told its default
    ],
)
def test_a_bucket_is_made_private_encrypted_and_for_tls_only(
    moto: ClientFactory, tmp_path: Path, region: str, where: dict[str, Any]
) -> None:
    bucket = f"streamgage-artifacts-1-{region}"
    place, told = {"Bucket": bucket, "ExpectedBucketOwner": "1"}, Told()
    encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
    with Stubber(moto("s3")) as stubber:
        stubber.add_client_error("head_bucket", "404", http_status_code=404, expected_params=place)
        stubber.add_response("create_bucket", {}, {"Bucket": bucket, **where})
        blocked = dict.fromkeys(names, True)
        stubber.add_response(
            "put_public_access_block", {}, {**place, "PublicAccessBlockConfiguration": blocked}
        )
        stubber.add_response(
            "put_bucket_encryption", {}, {**place, "ServerSideEncryptionConfiguration": encryption}
        )
        stubber.add_response("put_bucket_policy", {}, {**place, "Policy": json.dumps(policy)})
        stubber.add_client_error("head_object", "404", http_status_code=404)
        stubber.add_response("put_object", {})
        store = Artifacts(stubber.client, account=Account("1", region, "aws"), bucket=None, say=told)
        assert store.put_file(zipped(tmp_path), kind="bundle").startswith(f"s3://{bucket}/streamgage/bundle/")
        stubber.assert_no_pending_responses()
    assert told.lines[0].startswith(f"making bucket {bucket}")


def test_the_same_bundle_is_uploaded_once_under_the_hash_of_its_content_and_another_beside_it(
    mine: ClientFactory, tmp_path: Path
) -> None:
    told, path = Told(), zipped(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert artifacts(mine, told).put_file(path, kind="bundle") == f"s3://mine/streamgage/bundle/{digest}.zip"
    artifacts(mine, told).put_file(zipped(tmp_path), kind="bundle")
    assert sum("uploading" in each for each in told.lines) == 1
    stored = mine("s3").get_object(Bucket="mine", Key=f"streamgage/bundle/{digest}.zip")
    assert zipfile.ZipFile(io.BytesIO(stored["Body"].read())).namelist() == [
        "processors/aggregate/function.py"
    ]
    artifacts(mine, told).put_file(zipped(tmp_path, "y"), kind="bundle")
    assert len(mine("s3").list_objects_v2(Bucket="mine")["Contents"]) == 2


def test_a_long_template_is_given_by_its_address(mine: ClientFactory) -> None:
    url = artifacts(mine, Told()).put_template("{}")
    assert url.startswith(f"https://mine.s3.{REGION}.amazonaws.com/streamgage/template/")
    assert url.endswith(".json")
    chinese = Artifacts(
        mine("s3"), account=Account("123456789012", "cn-north-1", "aws-cn"), bucket="mine", say=Told()
    )
    assert chinese.put_template("{}").startswith("https://mine.s3.cn-north-1.amazonaws.com.cn/")


def test_a_named_bucket_has_to_be_there_and_is_not_touched(mine: ClientFactory, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no bucket yours"):
        artifacts(mine, Told(), "yours").put_file(zipped(tmp_path), kind="bundle")
    artifacts(mine, Told()).put_file(zipped(tmp_path), kind="bundle")
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        mine("s3").get_bucket_policy(Bucket="mine")


def test_a_bucket_of_another_account_is_not_trusted(moto: ClientFactory, tmp_path: Path) -> None:
    with Stubber(moto("s3")) as stubber:
        stubber.add_client_error(
            "head_bucket", "403", http_status_code=403,
            expected_params={"Bucket": ANY, "ExpectedBucketOwner": "123456789012"},
        )  # fmt: skip
        store = Artifacts(
            stubber.client, account=Account("123456789012", REGION, "aws"), bucket=None, say=Told()
        )
        with pytest.raises(ConfigError, match=r"belongs to another account.*--bucket NAME"):
            store.put_file(zipped(tmp_path), kind="bundle")


def test_an_upload_carries_its_checksum_and_owner(moto: ClientFactory, tmp_path: Path) -> None:
    path = zipped(tmp_path)
    with Stubber(moto("s3")) as stubber:
        stubber.add_response("head_bucket", {}, {"Bucket": "mine", "ExpectedBucketOwner": "1"})
        stubber.add_client_error("head_object", "404", http_status_code=404)
        stubber.add_response(
            "put_object",
            {},
            {
                "Bucket": "mine",
                "Key": ANY,
                "ExpectedBucketOwner": "1",
                "Body": path.read_bytes(),
                "ChecksumSHA256": b64encode(hashlib.sha256(path.read_bytes()).digest()).decode(),
            },
        )
        Artifacts(stubber.client, account=Account("1", REGION, "aws"), bucket="mine", say=Told()).put_file(
            path, kind="bundle"
        )
        stubber.assert_no_pending_responses()


# --- data ---


def resource(kind: str, physical_id: str) -> StackResource:
    return StackResource("X", physical_id, kind, "CREATE_COMPLETE")


def test_data_is_deleted_whole_protected_versioned_or_under_way(moto: ClientFactory) -> None:
    moto("kinesis").create_stream(StreamName="s", ShardCount=1)
    moto("dynamodb").create_table(
        TableName="t",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    url = moto("sqs").create_queue(QueueName="q")["QueueUrl"]
    s3 = moto("s3")
    s3.create_bucket(Bucket="bucket-b", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="bucket-b", VersioningConfiguration={"Status": "Enabled"})
    for key in ("a", "a", "b"):
        s3.put_object(Bucket="bucket-b", Key=key, Body=b"x")
    s3.delete_object(Bucket="bucket-b", Key="a")
    s3.create_multipart_upload(Bucket="bucket-b", Key="c")
    stores = BotoDataStores(moto)
    data = [
        resource("AWS::Kinesis::Stream", "s"),
        resource("AWS::DynamoDB::Table", "t"),
        resource("AWS::SQS::Queue", url),
        resource("AWS::S3::Bucket", "bucket-b"),
    ]
    assert [stores.delete(each) for each in data] == [True] * 4
    assert moto("kinesis").list_streams()["StreamNames"] == []
    assert moto("dynamodb").list_tables()["TableNames"] == []
    assert "QueueUrls" not in moto("sqs").list_queues()
    assert s3.list_buckets()["Buckets"] == []
    assert [stores.delete(each) for each in data] == [False] * 4


def test_release_unprotects_and_empties_but_deletes_nothing(moto: ClientFactory) -> None:
    moto("dynamodb").create_table(
        TableName="t",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    s3 = moto("s3")
    s3.create_bucket(Bucket="bucket-b", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="bucket-b", Key="a", Body=b"x")
    stores = BotoDataStores(moto)
    stores.release(resource("AWS::DynamoDB::Table", "t"))
    stores.release(resource("AWS::S3::Bucket", "bucket-b"))
    stores.release(resource("AWS::S3::Bucket", "gone"))
    assert moto("dynamodb").describe_table(TableName="t")["Table"]["DeletionProtectionEnabled"] is False
    assert "Contents" not in s3.list_objects_v2(Bucket="bucket-b")


def test_objects_that_s3_keeps_are_told(moto: ClientFactory) -> None:
    with Stubber(moto("s3")) as stubber:
        stubber.add_response("list_object_versions", {"Versions": [{"Key": "k", "VersionId": "v"}]})
        stubber.add_response(
            "delete_objects", {"Errors": [{"Key": "k", "Code": "AccessDenied", "Message": "locked"}]}
        )
        with pytest.raises(
            RetryableError, match="1 objects could not be deleted, such as k: AccessDenied: locked"
        ):
            BotoDataStores(lambda _: stubber.client).delete(resource("AWS::S3::Bucket", "bucket-b"))


# --- the commands ---


class FakeTerminal:
    def __init__(self, answer: bool | None = None) -> None:  # noqa: FBT001 - what the person says; None is nobody
        self.say, self.answer = Told(), answer
        self.questions: list[str] = []

    def confirms(self, question: str) -> bool:
        self.questions.append(question)
        if self.answer is None:
            raise ConfigError("nobody is there to answer: say --yes")
        return self.answer


class Shell:
    """Runs the commands: CloudFormation by a Stubber, everything else by moto."""

    def __init__(self, folder: Path, moto: ClientFactory, stubber: Stubber) -> None:
        self.folder, self.moto, self.stubber = folder, moto, stubber
        self.terminal = FakeTerminal()
        self.packaged: list[tuple[str, Path, str]] = []
        self.clock = FakeClock()
        self.parameters = {"ShardCount": "3"}
        (folder / "pipeline.toml").write_text(DEFINITION)
        (folder / "reading.avsc").write_text((ROOT / "schemas/reading.avsc").read_text())
        (folder / "template.json").write_text(json.dumps(TEMPLATE))

    def run(self, name: str, *arguments: str) -> int:
        around = Surroundings(self.client, self.package, self.clock, self.terminal)
        parser = argparse.ArgumentParser()
        verbs = parser.add_subparsers()
        for verb in (deploy, diff, destroy):
            verb.add_parser(verbs, surroundings=around)
        files = (
            []
            if name == "destroy"
            else [
                "--pipeline",
                f"{self.folder}/pipeline.toml",
                "--template",
                f"{self.folder}/template.json",
                "--bucket",
                "mine",
            ]
        )
        parsed = parser.parse_args([name, "--stack", "plant", "--region", REGION, *files, *arguments])
        code: int = parsed.run(parsed)
        return code

    def client(self, service: str, region: str | None) -> Any:
        assert region == REGION
        return self.stubber.client if service == "cloudformation" else self.moto(service)

    def package(self, function: Function, pipeline: Path, architecture: str, folder: Path) -> Path:
        self.packaged.append((function.name, pipeline, architecture))
        (folder / function.name).mkdir()
        return zipped(folder / function.name, function.name)

    def plan(
        self, kind: str, *changes: dict[str, Any], status: str = "CREATE_COMPLETE", reason: str = ""
    ) -> None:
        """Let CloudFormation answer a change set."""
        self.stubber.add_response(
            "create_change_set",
            {"Id": CHANGE_SET, "StackId": ID},
            {
                "StackName": "plant",
                "ChangeSetName": ANY,
                "ChangeSetType": kind,
                "Capabilities": ANY,
                "Parameters": [
                    {"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()
                ],
                "TemplateBody": ANY,
            },
        )
        for state in ("CREATE_IN_PROGRESS", status):
            self.stubber.add_response(
                "describe_change_set",
                {"StackId": ID, "Status": state, "StatusReason": reason, "Changes": list(changes)},
            )
        stack_read(self.stubber, ID, described(), event(1, "plant", "REVIEW_IN_PROGRESS"))

    def discard(self) -> None:
        self.stubber.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET})


@pytest.fixture
def shell(tmp_path: Path, mine: ClientFactory, stubber: Stubber) -> Shell:
    return Shell(tmp_path, mine, stubber)


def test_deploy_shows_the_change_executes_it_and_follows_it(shell: Shell) -> None:
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", change("A", Replacement="False"))
    shell.stubber.add_response("execute_change_set", {}, {"ChangeSetName": CHANGE_SET})
    events = [
        event(4, "plant", "UPDATE_COMPLETE"),
        event(3, "A", "UPDATE_COMPLETE"),
        event(2, "A", "UPDATE_IN_PROGRESS"),
        event(1, "plant", "REVIEW_IN_PROGRESS"),
    ]
    shell.stubber.add_response("describe_stack_events", {"StackEvents": events})
    assert shell.run("deploy", "--yes") == 0
    told = shell.terminal.say.text
    assert f"account 123456789012, region {REGION}, stack plant" in told
    assert "~ A  AWS::SQS::Queue" in told
    assert "updated   A  AWS::SQS::Queue  1 s" in told
    assert "stack plant: UPDATE_COMPLETE" in told
    assert shell.packaged == [("aggregate", shell.folder / "pipeline.toml", "arm64")]
    assert shell.terminal.questions == []


def test_deploy_asks_first_and_a_no_leaves_nothing(shell: Shell) -> None:
    shell.terminal.answer = False
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", change("A"))
    shell.discard()
    assert shell.run("deploy") == 0
    assert shell.terminal.questions == ["execute this on stack plant?"]
    assert shell.terminal.say.lines[-1] == "nothing was changed"


def test_where_nobody_can_answer_nothing_is_executed(shell: Shell) -> None:
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", change("A"))
    shell.discard()
    with pytest.raises(ConfigError, match="--yes"):
        shell.run("deploy")


def test_deploy_does_not_ask_about_what_it_refuses(shell: Shell) -> None:
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", change("A", "Remove"))
    shell.discard()
    with pytest.raises(ConfigError, match="--allow-replacement"):
        shell.run("deploy")
    assert shell.terminal.questions == []


def test_no_changes_is_a_success_that_asks_nothing(shell: Shell) -> None:
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", status="FAILED", reason="The submitted information didn't contain changes. Submit …")
    shell.discard()
    assert shell.run("deploy") == 0
    assert shell.terminal.questions == []
    assert "no changes" in shell.terminal.say.text


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--exit-code"], 3)])
def test_diff_shows_executes_nothing_and_can_tell_by_its_exit_code(
    shell: Shell, options: list[str], code: int
) -> None:
    no_stack(shell.stubber)
    shell.plan("CREATE", change("A", "Add"))
    shell.discard()
    stack_read(shell.stubber, "plant", described("REVIEW_IN_PROGRESS"))
    shell.stubber.add_response("delete_stack", {}, {"StackName": ID})
    assert shell.run("diff", *options) == code
    assert "+ A  AWS::SQS::Queue" in shell.terminal.say.text


def test_an_interrupt_says_that_cloudformation_goes_on_and_how_to_look(shell: Shell) -> None:
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", change("A"))
    shell.stubber.add_response("execute_change_set", {}, {"ChangeSetName": CHANGE_SET})
    shell.stubber.add_response("describe_stack_events", {"StackEvents": []})

    with interrupted(shell.clock), pytest.raises(KeyboardInterrupt):
        shell.run("deploy", "--yes")
    assert "CloudFormation goes on by itself" in shell.terminal.say.lines[-1]
    assert "describe-stack-events --stack-name plant" in shell.terminal.say.lines[-1]


@contextmanager
def interrupted(clock: FakeClock) -> Iterator[None]:
    """Ctrl-C in the second sleep: the first is for the change set."""
    sleep: Callable[[int], None] = clock.sleep_ms
    sleeps: list[int] = []

    def sleep_ms(duration_ms: int) -> None:
        sleeps.append(duration_ms)
        if len(sleeps) > 1:
            raise KeyboardInterrupt
        sleep(duration_ms)

    clock.sleep_ms = sleep_ms  # type: ignore[method-assign]  # Ctrl-C comes from outside
    yield


def test_a_bundle_that_was_made_before_is_taken_and_a_wrong_parameter_stops_before_anything_is_asked(
    shell: Shell,
) -> None:
    with pytest.raises(ConfigError, match="did you mean ShardCount"):
        shell.run("deploy", "--parameter", "ShardCout=1")
    with pytest.raises(ConfigError, match="'x' is not NAME=VALUE"):
        shell.run("deploy", "--parameter", "x")
    assert shell.packaged == []
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", status="FAILED", reason="No updates are to be performed.")
    shell.discard()
    shell.run("deploy", "--bundle", str(zipped(shell.folder)))
    assert shell.packaged == []


def test_each_function_has_the_bundle_of_its_handler_and_one_that_is_not_ours_none(shell: Shell) -> None:
    def function(code: str, handler: str) -> dict[str, Any]:
        return {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": code, "Handler": handler}}

    resources = {
        "A": function("build/aggregate.zip", "processors.aggregate.function.handler"),
        "B": function("build/api.zip", "processors.live.function.handler"),
    }
    path = shell.folder / "template.json"
    path.write_text(json.dumps({**TEMPLATE, "Resources": resources}))
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", status="FAILED", reason="No updates are to be performed.")
    shell.discard()
    shell.run("deploy")
    assert [name for name, *_ in shell.packaged] == ["aggregate", "api"]
    keys = shell.moto("s3").list_objects_v2(Bucket="mine", Prefix="streamgage/bundle/")["Contents"]
    assert len(keys) == 2
    shell.packaged.clear()
    made = shell.folder / "build"
    made.mkdir()
    zipped(made).rename(made / "api.zip")
    stack_read(shell.stubber, "plant", described())
    shell.plan("UPDATE", status="FAILED", reason="No updates are to be performed.")
    shell.discard()
    shell.run("deploy", "--bundle", str(made))
    assert [name for name, *_ in shell.packaged] == ["aggregate"]
    resources["B"] = function("build/b.zip", "their.handler")
    path.write_text(json.dumps({**TEMPLATE, "Resources": resources}))
    with pytest.raises(
        ConfigError, match=r"build/b\.zip: their\.handler is no function of streamgage.*--bundle b\.zip"
    ):
        shell.run("deploy")


def test_parameters_that_the_templates_rules_refuse_stop_before_anything_is_made(shell: Shell) -> None:
    refused = {"Assert": {"Fn::Equals": [{"Ref": "ShardCount"}, 3]}, "AssertDescription": "Three shards."}
    (shell.folder / "template.json").write_text(
        json.dumps({**TEMPLATE, "Rules": {"Three": {"Assertions": [refused]}}})
    )
    with pytest.raises(ConfigError, match=r"the template refuses these parameters: Three shards\."):
        shell.run("deploy", "--parameter", "ShardCount=4")
    assert shell.packaged == []


def test_destroy_asks_and_lists_what_stays(shell: Shell) -> None:
    shell.terminal.answer = False
    stack_read(shell.stubber, "plant", described())
    listed = {
        "LogicalResourceId": "T",
        "PhysicalResourceId": "plant-T",
        "ResourceType": "AWS::DynamoDB::Table",
        "LastUpdatedTimestamp": NOW,
        "ResourceStatus": "CREATE_COMPLETE",
    }
    shell.stubber.add_response("list_stack_resources", {"StackResourceSummaries": [listed]})
    template = json.dumps({"Resources": {"T": {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Retain"}}})
    shell.stubber.add_response("get_template", {"TemplateBody": template})
    assert shell.run("destroy") == 0
    assert "  T  AWS::DynamoDB::Table  plant-T  stays" in shell.terminal.say.lines
    assert shell.terminal.say.lines[-1] == "nothing was deleted"


OURS = {**TEMPLATE, "Parameters": {
    **TEMPLATE["Parameters"],  # type: ignore[dict-item]  # JSON
    "Consumer": {"Type": "String", "Default": "main"},
    "Definition": {"Type": "String", "Default": "none"},
    "SharedStreamArn": {"Type": "String", "Default": ""},
    "SharedTable": {"Type": "String", "Default": ""},
    "StartAt": {"Type": "Number", "Default": 0},
}}  # fmt: skip


def counting(shell: Shell, name: str, **parameters: str) -> dict[str, Any]:
    """What CloudFormation says of a stack that counts what the shell's pipeline.toml says."""
    pipeline = load_pipeline(shell.folder / "pipeline.toml")
    (consumer,) = pipeline.consumers
    values = {
        "Consumer": consumer,
        "Definition": definition_text(definition_of(pipeline, consumer)),
        **parameters,
    }
    answer = described(
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Outputs=[
            {"OutputKey": "StreamArn", "OutputValue": "arn:aws:kinesis:eu-central-1:1:stream/s"},
            {"OutputKey": "TableName", "OutputValue": "t"},
        ],
    )
    answer["Stacks"][0]["StackName"] = name
    return answer


@pytest.fixture
def our_shell(shell: Shell) -> Shell:
    (shell.folder / "template.json").write_text(json.dumps(OURS))
    return shell


def redefine(shell: Shell, old: str, new: str) -> None:
    assert old in DEFINITION
    (shell.folder / "pipeline.toml").write_text(DEFINITION.replace(old, new))


@pytest.mark.parametrize("command", ["deploy", "diff"])
def test_another_definition_is_refused_before_anything_is_made_or_uploaded(
    our_shell: Shell, command: str
) -> None:
    standing = counting(our_shell, "plant")
    redefine(our_shell, 'windows = ["1m"]', 'windows = ["1m", "1h"]')
    stack_read(our_shell.stubber, "plant", standing)
    with pytest.raises(
        ConfigError, match=r"sums\.1\|1h would be added[\s\S]*--stack plant-v2 --beside plant"
    ):
        our_shell.run(command)
    assert our_shell.packaged == []


def test_a_stack_beside_another_is_created_with_its_stream_table_and_the_time_it_starts_at(
    our_shell: Shell,
) -> None:
    other = counting(our_shell, "other")
    redefine(our_shell, 'windows = ["1m"]', 'windows = ["1h"]\ngeneration = 2\nconsumer = "v2"')
    our_shell.terminal.answer = False
    stack_read(our_shell.stubber, "other", other)
    no_stack(our_shell.stubber)
    our_shell.stubber.add_response("describe_stacks", other, {})
    no_stack(our_shell.stubber)
    pipeline = load_pipeline(our_shell.folder / "pipeline.toml")
    our_shell.parameters = {
        "ShardCount": "3",
        "Consumer": "v2",
        "Definition": definition_text(definition_of(pipeline, "v2")),
        "SharedStreamArn": "arn:aws:kinesis:eu-central-1:1:stream/s",
        "SharedTable": "t",
        "StartAt": "1764288000",
    }
    our_shell.plan("CREATE", change("A", "Add"))
    our_shell.discard()
    stack_read(our_shell.stubber, "plant", described("REVIEW_IN_PROGRESS"))
    our_shell.stubber.add_response("delete_stack", {}, {"StackName": ID})
    assert our_shell.run("deploy", "--beside", "other", "--from", "2025-11-28T00:00Z") == 0


def test_what_a_stack_beside_counts_already_is_refused(our_shell: Shell) -> None:
    other = counting(our_shell, "other")
    stack_read(our_shell.stubber, "other", other)
    no_stack(our_shell.stubber)
    our_shell.stubber.add_response("describe_stacks", other, {})
    with pytest.raises(ConfigError) as error:
        our_shell.run("deploy", "--beside", "other")
    assert error.value.problems == (
        "consumer main is stack other on the same table already: name another in pipeline.toml",
        "sums.1 is counted by stack other on the same table already: set the next generation",
    )


def test_a_stack_to_stand_beside_has_to_be_there_and_the_template_has_to_know_how(our_shell: Shell) -> None:
    our_shell.stubber.add_client_error("describe_stacks", "ValidationError", "Stack with id x does not exist")
    with pytest.raises(ConfigError, match="there is no stack x to stand beside"):
        our_shell.run("deploy", "--beside", "x")
    (our_shell.folder / "template.json").write_text(json.dumps(TEMPLATE))
    with pytest.raises(ConfigError, match="no parameter Definition"):
        our_shell.run("deploy", "--beside", "x")


def test_data_that_another_stack_uses_is_not_deleted(our_shell: Shell) -> None:
    stack_read(our_shell.stubber, "plant", described())
    listed = {
        "LogicalResourceId": "T",
        "PhysicalResourceId": "t",
        "ResourceType": "AWS::DynamoDB::Table",
        "LastUpdatedTimestamp": NOW,
        "ResourceStatus": "CREATE_COMPLETE",
    }
    our_shell.stubber.add_response("list_stack_resources", {"StackResourceSummaries": [listed]})
    our_shell.stubber.add_response("get_template", {"TemplateBody": json.dumps({"Resources": {}})})
    our_shell.stubber.add_response("describe_stacks", counting(our_shell, "v2", SharedTable="t"), {})
    with pytest.raises(ConfigError, match="also that of: v2"):
        our_shell.run("destroy", "--delete-data", "plant", "--yes")


@pytest.mark.parametrize("name", ["deploy", "diff", "destroy"])
def test_help_has_examples_and_says_whose_credentials_are_used(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers()
    for verb in (deploy, diff, destroy):
        verb.add_parser(verbs)
    with pytest.raises(SystemExit):
        parser.parse_args([name, "--help"])
    text = capsys.readouterr().out
    assert f"  streamgage {name}" in text
    assert "Credentials are boto3's own" in text


def test_a_client_without_region_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from infra.aws.stacks import aws_client

    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(ConfigError, match="in which region"):
        aws_client("kinesis")
