"""REPORT lines as Lambda writes them, and the driver against recorded shapes of AWS's answers. No network."""

import argparse
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from benchmarks.aws_cold_start import (
    MARK,
    QUERY,
    Clients,
    FailedInvocationError,
    Report,
    Target,
    measure,
    parse_report,
    reports_of,
)
from benchmarks.aws_target import QUICK_ROUNDS, result_of, run
from benchmarks.command import add_commands
from infra.aws.stacks import DeployedStack
from streamgage.errors import ConfigError, RetryableError

ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"

# Shapes from AWS's documentation and from public logs; the first has a line of X-Ray after it, as documented.
COLD = (
    f"REPORT RequestId: {ID}  Duration: 15.74 ms  Billed Duration: 16 ms Memory Size: 128 MB Max Memory Used: 56 MB  "
    "Init Duration: 130.49 ms\nXRAY TraceId: 1-5e34a614-10bdxmplf1fb44f07bc535a1   SegmentId: 07f5xmpl2d1f6f85 Sampled: true"
)
WARM = f"REPORT RequestId: {ID}\tDuration: 26.73 ms\tBilled Duration: 27 ms \tMemory Size: 128 MB\tMax Memory Used: 75 MB\t\n"
SNAPSHOT = (
    f"REPORT RequestId: {ID}\tDuration: 7.24 ms\tBilled Duration: 209 ms\tMemory Size: 512 MB\tMax Memory Used: 127 MB\t"
    "Restore Duration: 296.04 ms\tBilled Restore Duration: 202 ms\t\n"
)
TIMEOUT = (
    f"REPORT RequestId: {ID}\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t"
    "Status: timeout\n"
)
CRASH = (
    f"REPORT RequestId: {ID}\tDuration: 98.71 ms\tBilled Duration: 99 ms\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t"
    "Init Duration: 84.22 ms\tStatus: error\tError Type: Runtime.ExitError\n"
)
TRACED = (
    f"REPORT RequestId: {ID}\tDuration: 1711.87 ms\tBilled Duration: 1800 ms\tMemory Size: 128 MB\tMax Memory Used: 98 MB\t"
    "\nXRAY TraceId: 1-5d83c0ad-b8eb33a0b1de97d804fac890\tSegmentId: 31255c3b19bd3637\tSampled: true\t\n"
)
AS_JSON = json.dumps(
    {
        "time": "2026-11-21T12:00:00.000Z",
        "type": "platform.report",
        "record": {
            "requestId": ID,
            "metrics": {
                "durationMs": 2.5,
                "billedDurationMs": 112,
                "memorySizeMB": 512,
                "maxMemoryUsedMB": 61,
                "initDurationMs": 108.84,
            },
            "status": "success",
        },
    }
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            COLD,
            Report(
                request_id=ID,
                duration_ms=15.74,
                billed_ms=16,
                memory_mb=128,
                max_memory_mb=56,
                init_ms=130.49,
            ),
        ),
        (WARM, Report(request_id=ID, duration_ms=26.73, billed_ms=27, memory_mb=128, max_memory_mb=75)),
        (
            SNAPSHOT,
            Report(
                request_id=ID,
                duration_ms=7.24,
                billed_ms=209,
                memory_mb=512,
                max_memory_mb=127,
                restore_ms=296.04,
                billed_restore_ms=202,
            ),
        ),
        (
            TIMEOUT,
            Report(
                request_id=ID,
                duration_ms=3000,
                billed_ms=3000,
                memory_mb=128,
                max_memory_mb=36,
                error="timeout",
            ),
        ),
        (
            CRASH,
            Report(
                request_id=ID,
                duration_ms=98.71,
                billed_ms=99,
                memory_mb=128,
                max_memory_mb=128,
                init_ms=84.22,
                error="error Runtime.ExitError",
            ),
        ),
        (TRACED, Report(request_id=ID, duration_ms=1711.87, billed_ms=1800, memory_mb=128, max_memory_mb=98)),
        (
            AS_JSON,
            Report(
                request_id=ID, duration_ms=2.5, billed_ms=112, memory_mb=512, max_memory_mb=61, init_ms=108.84
            ),
        ),
    ],
    ids=["cold", "warm", "snapshot", "timeout", "crash", "traced", "json"],
)
def test_each_shape_of_a_report_is_read(message: str, expected: Report) -> None:
    assert parse_report(message) == expected


@pytest.mark.parametrize(
    "message",
    [
        f"START RequestId: {ID} Version: $LATEST\n",
        f"END RequestId: {ID}\n",
        "INIT_START Runtime Version: python:3.13.v14\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:1e0e\n",
        "INIT_REPORT Init Duration: 10007.33 ms\tPhase: init\tStatus: timeout\n",
        "RESTORE_REPORT Restore Duration: 296.04 ms\n",
        '{"level":"INFO","message":"batch applied"}',
        '{"type":"platform.start","record":{"requestId":"1"}}',
        "",
    ],
)
def test_other_lines_are_no_reports(message: str) -> None:
    assert parse_report(message) is None


def test_a_cold_start_is_init_or_restore_and_the_invocation() -> None:
    cold, warm, snapshot = (parse_report(each) for each in (COLD, WARM, SNAPSHOT))
    assert cold is not None
    assert warm is not None
    assert snapshot is not None
    assert (cold.is_cold, warm.is_cold, snapshot.is_cold) == (True, False, True)
    assert cold.cold_start_ms == pytest.approx(146.23)
    assert snapshot.cold_start_ms == pytest.approx(303.28)


def test_rows_of_a_query_are_read_by_their_field() -> None:
    rows = [
        [{"field": "@ptr", "value": "x"}, {"field": "@message", "value": each}]
        for each in (COLD, "END", WARM)
    ]
    assert [each.init_ms for each in reports_of(rows)] == [130.49, None]


@dataclass
class FakeTime:
    now_s: float = 1_800_000_000.0
    pauses_s: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)
        self.now_s += seconds


class Aws:
    """Stubbed clients, and the answers of one run, in the order in which they are asked for."""

    def __init__(self) -> None:
        secrets = {"aws_access_key_id": "x", "aws_secret_access_key": "y"}
        self.functions = boto3.client("lambda", region_name="us-east-1", **secrets)
        self.logs = boto3.client("logs", region_name="us-east-1", **secrets)
        self.lambda_stub, self.logs_stub = Stubber(self.functions), Stubber(self.logs)
        self.time = FakeTime()
        self.clients = Clients(
            functions=self.functions, logs=self.logs, sleep=self.time.sleep, now_s=lambda: self.time.now_s
        )

    def on(self, operation: str, response: dict[str, Any], **expected: Any) -> None:
        self.lambda_stub.add_response(operation, response, expected)

    def found(self, status: str = "Successful", **more: Any) -> None:
        response = {"FunctionName": "aggregate", "LastUpdateStatus": status, **more}
        self.on("get_function_configuration", response, FunctionName="aggregate")

    def updates(self, variables: dict[str, str], *statuses: str) -> None:
        self.on(
            "update_function_configuration",
            {},
            FunctionName="aggregate",
            Environment={"Variables": variables},
        )
        for status in statuses:
            self.found(status)

    def answers(self, request_id: str, *, error: str = "", **at: str) -> None:
        response: dict[str, Any] = {
            "StatusCode": 200,
            "Payload": StreamingBody(io.BytesIO(b'{"errorMessage": "oops"}'), 24),
            "ResponseMetadata": {"RequestId": request_id},
        }
        if error:
            response["FunctionError"] = error
        self.on("invoke", response, FunctionName="aggregate", Payload=ANY, **at)

    def logs_say(
        self, *messages: str, status: str = "Complete", group: str = "/aws/lambda/aggregate"
    ) -> None:
        expected = {"logGroupName": group, "startTime": 1_800_000_000, "endTime": ANY, "queryString": QUERY}
        self.logs_stub.add_response("start_query", {"queryId": "q"}, expected)
        self.logs_stub.add_response("get_query_results", {"status": "Running"}, {"queryId": "q"})
        rows = [[{"field": "@message", "value": each}] for each in messages]
        self.logs_stub.add_response(
            "get_query_results", {"status": status, "results": rows}, {"queryId": "q"}
        )


@pytest.fixture
def aws() -> Iterator[Aws]:
    made = Aws()
    with made.lambda_stub, made.logs_stub:
        yield made
        made.lambda_stub.assert_no_pending_responses()
        made.logs_stub.assert_no_pending_responses()


def test_each_cold_start_is_forced_by_a_change_and_the_configuration_put_back(aws: Aws) -> None:
    own = {"STREAMGAGE_TABLE": "t"}
    aws.found(Environment={"Variables": own})
    aws.updates({**own, MARK: "1800000000-0"}, "InProgress", "Successful")
    aws.answers("one")
    aws.updates({**own, MARK: ANY}, "Successful")  # two seconds later, so not a constant here
    aws.answers("two")
    aws.updates(own, "Successful")
    aws.logs_say(COLD.replace(ID, "one"))
    aws.logs_say(COLD.replace(ID, "two"), WARM.replace(ID, "other"), COLD.replace(ID, "one"))
    reports = measure(aws.clients, Target(function="aggregate"), count=2)
    assert [each.request_id for each in reports] == ["one", "two"]
    assert aws.time.pauses_s  # it waited for the update, and for the lines


def test_with_a_snapshot_a_new_version_is_published_and_invoked_once_it_is_ready(aws: Aws) -> None:
    aws.found(LoggingConfig={"LogGroup": "/telemetry"})
    aws.updates({MARK: "1800000000-0"}, "Successful")
    aws.on("publish_version", {"Version": "7"}, FunctionName="aggregate")
    for state in ("Pending", "Active"):
        aws.on("get_function_configuration", {"State": state}, FunctionName="aggregate", Qualifier="7")
    aws.answers("one", Qualifier="7")
    aws.updates({}, "Successful")
    aws.logs_say(SNAPSHOT.replace(ID, "one"), group="/telemetry")
    (report,) = measure(aws.clients, Target(function="aggregate", snap_start=True), count=1)
    assert report.restore_ms == 296.04


def test_a_failed_invocation_ends_the_run_and_the_configuration_is_put_back(aws: Aws) -> None:
    aws.found()
    aws.updates({MARK: "1800000000-0"}, "Successful")
    aws.answers("one", error="Unhandled")
    aws.updates({}, "Successful")
    with pytest.raises(FailedInvocationError, match="oops"):
        measure(aws.clients, Target(function="aggregate"), count=3)


def test_a_query_that_fails_says_so(aws: Aws) -> None:
    aws.found()
    aws.updates({MARK: "1800000000-0"}, "Successful")
    aws.answers("one")
    aws.updates({}, "Successful")
    aws.logs_say(status="Failed")
    with pytest.raises(RetryableError, match="ended as Failed"):
        measure(aws.clients, Target(function="aggregate"), count=1)


def cold(number: int) -> Report:
    return Report(
        request_id=str(number),
        duration_ms=20.0 + number,
        billed_ms=150,
        memory_mb=512,
        max_memory_mb=80 + number,
        init_ms=100.0 + number,
    )


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    return parser.parse_args(["bench", *words])


def test_what_lambda_reports_becomes_a_result() -> None:
    warm = Report(request_id="w", duration_ms=1, billed_ms=1, memory_mb=512, max_memory_mb=80)
    result = result_of(
        [cold(0), warm, cold(4), cold(2)], target=Target(function="plant-Aggregate"), region="eu"
    )
    (table,) = result.tables
    assert {each.label: each.median for each in table.series} == {
        "Init Duration": 102,
        "Duration of the first invocation": 22,
        "from nothing to the answer": 124,
        "billed": 150,
    }
    assert result.facts == {"cold": 3, "invocations": 4, "max_memory_mb": 84}


def test_without_a_cold_start_there_is_no_result() -> None:
    warm = Report(request_id="w", duration_ms=1, billed_ms=1, memory_mb=512, max_memory_mb=80)
    with pytest.raises(ConfigError, match="none of 1 invocations of f was a cold start"):
        result_of([warm], target=Target(function="f"), region="eu")


def test_a_benchmark_without_a_way_to_aws_says_which_has_one() -> None:
    with pytest.raises(
        ConfigError, match="fold runs on this machine only; with --target aws there are: cold_start, pipeline"
    ):
        run("fold", asked("fold", "--target", "aws"), stack="streamgage")


def test_the_function_of_the_stack_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = DeployedStack(
        name="plant-7", region="eu-central-1", status="CREATE_COMPLETE", outputs={"FunctionName": "plant-7-Aggregate-X"}
    )  # fmt: skip
    monkeypatch.setattr("benchmarks.aws_target.find_stack", lambda _name, _region: stack)
    seen: list[tuple[str, int]] = []

    def measured(target: Target, count: int) -> list[Report]:
        seen.append((target.function, count))
        return [cold(1)]

    result = run(
        "cold_start", asked("cold_start", "--target", "aws", "--quick"), stack="plant-7", measured=measured
    )
    assert seen == [("plant-7-Aggregate-X", QUICK_ROUNDS)]
    assert result.configuration["region"] == "eu-central-1"
