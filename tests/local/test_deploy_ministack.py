"""Deploy, use and destroy our own template on the emulator's CloudFormation. Nothing here has seen AWS."""

import argparse
import json
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.aws.bundle.functions import Function
from infra.aws.deploy.ports import DeployError
from infra.aws.stacks import aws_client, find_stack
from infra.commands import deploy, destroy, diff, query, simulate, status
from infra.commands.account import Surroundings
from infra.local.stack.aws_only import why_only_on_aws
from infra.local.stack.children import Child, wait_until
from infra.local.stack.ports import any_port
from infra.template.read import TEMPLATE, read_template
from producers.clock import MonotonicClock
from streamgage.errors import ConfigError
from support.deploy_fakes import Told
from support.paths import ROOT

pytestmark = pytest.mark.local

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := any_port())}"
    child = Child.start(
        "aws",
        ["-m", "ministack"],
        log=tmp_path_factory.mktemp("aws") / "log",
        environment={
            **ENVIRONMENT,
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "0",
        },
    )
    try:
        wait_until(lambda: _answers(f"{url}/_ministack/health"), seconds=120, what="the emulator")
        yield url
    finally:
        child.stop()


class Terminal:
    def __init__(self) -> None:
        self.say = Told()

    def confirms(self, question: str) -> bool:
        raise AssertionError(question)


class Shell:
    """The command line, in this process, against the emulator."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.terminal = folder, Terminal()
        template = read_template(TEMPLATE)
        # What the emulator does not have: see infra/local/stack/aws_only.py. Without its gateway the API is left out.
        template["Parameters"]["Api"]["Default"] = "false"
        for part in ("Resources", "Outputs"):
            template[part] = {
                name: each
                for name, each in template[part].items()
                if each.get("Condition") not in ("Served", "Jwt", "Paged", "Live", "Collecting")
            }
        resources = template["Resources"]
        del resources["Aggregates"]["Properties"][
            "StreamSpecification"
        ]  # by a condition that is never met here
        del resources["Aggregate"]["Properties"]["DeploymentPreference"]
        resources["Aggregate"]["Properties"]["Events"]["Telemetry"]["Properties"]["Enabled"] = False
        for name in [
            name
            for name, each in resources.items()
            if each.get("Type") and why_only_on_aws({"Properties": {}, **each})
        ]:
            del resources[name]
        gone = [name for name, each in resources.items() if each["Type"] == "AWS::CloudWatch::Dashboard"]
        for name in gone:
            del resources[name]
        template["Outputs"] = {
            name: each for name, each in template["Outputs"].items() if each["Value"].get("Ref") not in gone
        }
        self.template = template
        with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
            archive.writestr("processors/aggregate/function.py", "def handler(event, context): return {}")

    def run(self, *arguments: str) -> int:
        path = self.folder / "template.json"
        path.write_text(json.dumps(self.template))
        files = ["--template", str(path), "--bundle", str(self.folder / "bundle.zip")]
        files += ["--pipeline", str(ROOT / "pipeline.toml")]
        more = (
            ["--yes"]
            if arguments[0] == "destroy"
            else files + (["--yes"] if arguments[0] == "deploy" else [])
        )
        self.terminal.say.lines.clear()
        find_stack.cache_clear()
        around = Surroundings(aws_client, _never, MonotonicClock(), self.terminal)
        verb = {"deploy": deploy, "diff": diff, "destroy": destroy}[arguments[0]]
        return call(
            lambda verbs: verb.add_parser(verbs, surroundings=around), *arguments, "--stack", "plant", *more
        )

    @property
    def told(self) -> str:
        return self.terminal.say.text


def _never(function: Function, pipeline: Path, architecture: str, folder: Path) -> Path:
    raise AssertionError((function.name, pipeline, architecture, folder))


def call(add: Callable[[Any], object], *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(required=True))
    parsed = parser.parse_args(arguments)
    code: int = parsed.run(parsed)
    return code


def names(service: str) -> list[str]:
    client: Any = boto3.client(service)
    if service == "kinesis":
        return list(client.list_streams()["StreamNames"])
    if service == "dynamodb":
        return list(client.list_tables()["TableNames"])
    if service == "sqs":
        return list(client.list_queues().get("QueueUrls", []))
    return [each["Name"] for each in client.list_buckets()["Buckets"] if "artifacts" not in each["Name"]]


DATA = ("kinesis", "dynamodb", "sqs", "s3")


def test_a_stack_is_shown_made_changed_used_and_destroyed_and_its_data_only_by_name(
    emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": emulator}.items():
        monkeypatch.setenv(name, value)
    shell = Shell(tmp_path)

    # A diff leaves no stack.
    assert shell.run("diff", "--exit-code") == 3
    assert "+ Stream " in shell.told
    with pytest.raises(ConfigError, match="there is no stack plant"):
        find_stack("plant", None)

    # A creation that fails is undone, named, and cleared by the next.
    shell.template["Resources"]["Bad"] = {
        "Type": "AWS::CloudWatch::Alarm",
        "DependsOn": "Aggregates",
        "Properties": {
            "Metrics": [{"Id": "m", "Expression": "1"}],  # which the emulator cannot make
            "ComparisonOperator": "GreaterThanThreshold",
            "EvaluationPeriods": 1,
        },
    }
    with pytest.raises(
        DeployError, match=r"(?s)ROLLBACK_COMPLETE.*cause: Bad \(AWS::CloudWatch::Alarm\) CREATE_FAILED"
    ):
        shell.run("deploy")
    assert "rolling back" in shell.told
    assert shell.run("destroy", "--delete-data", "plant") == 0
    assert [names(each) for each in DATA] == [[], [], [], []]
    del shell.template["Resources"]["Bad"]

    assert shell.run("deploy") == 0
    assert "created   Aggregates  AWS::DynamoDB::Table" in shell.told
    assert shell.run("deploy") == 0
    assert "no changes" in shell.told

    # An update shows what it changes, and changes it.
    assert shell.run("deploy", "--parameter", "BatchSize=100", "--parameter", "MemorySize=768") == 0
    assert "BatchSize   10000 → 100" in shell.told
    assert "~ Aggregate " in shell.told
    (mapping,) = boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["BatchSize"] == 100

    # A stream under another name would be a new, empty one.
    moved = json.dumps(shell.template).replace('"Aggregates"', '"Sums"').replace("Aggregates.Arn", "Sums.Arn")
    kept, shell.template = shell.template, json.loads(moved)
    with pytest.raises(ConfigError, match=r"Aggregates \(table plant-Aggregates.*REMOVED.*old one stays"):
        shell.run("deploy")
    shell.template = kept

    # The other commands find the stack by its name.
    aws = ("--target", "aws", "--stack", "plant")
    pipeline = ("--pipeline", str(ROOT / "pipeline.toml"))
    assert (
        call(simulate.add_parser, "simulate", "fleet", "--events", "30", "--devices", "3", *aws, *pipeline)
        == 0
    )
    capsys.readouterr()
    assert call(status.add_parser, "status", *aws, "--format", "json") == 0
    mapping = json.loads(capsys.readouterr().out)["mapping"]
    assert mapping["state"] == "Disabled"
    assert not all(each["caught_up"] for each in mapping["shards"].values())
    assert call(query.add_parser, "query", "device_metrics", "device_id=d", "metric=m", *aws, *pipeline) == 0
    assert "freshness: unknown" in capsys.readouterr().err

    # It goes without its data, and the data goes by name.
    before = [names(each) for each in DATA]
    assert all(len(each) == 1 for each in before)
    assert shell.run("destroy") == 0
    assert shell.told.count("stays  ") == 4
    assert [names(each) for each in DATA] == before
    assert boto3.client("dynamodb").describe_table(TableName=before[1][0])["Table"][
        "DeletionProtectionEnabled"
    ]
    with pytest.raises(ConfigError, match="not the name of stack plant"):
        shell.run("destroy", "--delete-data", "plan")
    assert shell.run("destroy", "--delete-data", "plant") == 0
    assert [names(each) for each in DATA] == [[], [], [], []]
