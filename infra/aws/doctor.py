"""Is a stack on AWS as a producer needs it? Credentials, clock, stream, shards, definition, permissions, and the way through it.

Each look is by itself: one that may not be asked says so, and the others go on. Nothing is changed, and what is sent counts
nowhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from infra.aws.stacks import DeployedStack, aws_client, explained
from infra.health import PROBE_KEY, Finding, Health, probe, round_trip
from processors.query.cells import DynamoPartialStore
from processors.query.progress import read_progress
from producers.clock import Clock
from streamgage.definition.fingerprint import definition_of, differences, parse_definition, windows_in
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from streamgage.limits import SHARD_IN_BYTES_PER_S, SHARD_IN_RECORDS_PER_S

_SKEW_MS = 30_000  # signatures are refused from five minutes on; event times are wrong before
_FULL = 0.8  # of what shards take: more of it is near throttling
_DRY_RUN = "DryRunOperationException"  # "the request would have succeeded"
# Source: https://docs.aws.amazon.com/streams/latest/dev/kds-dryrun-validation.html (checked 2026-11-29)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the doctor needs of the machine; tests bring their own. *clock* is the wall's: it is compared with AWS's."""

    clock: Clock
    client: Callable[[str, str | None], Any] = aws_client


def examine(
    stack: DeployedStack, pipeline: Pipeline, around: Surroundings, *, wait_s: float
) -> Iterator[Finding]:
    """Yield what is found of *stack*, whose definition *pipeline* should be, in the order in which things fail.

    The record that goes the whole way is waited for *wait_s* at most.
    """
    patient = _Doctor(stack, pipeline, around, wait_s)
    for look in (
        patient.credentials,
        patient.stream,
        patient.load,
        patient.permission,
        patient.mapping,
        patient.definition,
        patient.round_trip,
    ):
        name = look.__name__.replace("_", " ")
        try:
            yield from look()
        except (ClientError, BotoCoreError) as error:
            problem = explained(error, name)
            denied = isinstance(error, ClientError) and "AccessDenied" in error.response["Error"]["Code"]
            yield Finding(name, Health.UNKNOWN if denied else Health.BAD, str(problem))
        except ConfigError as error:
            yield Finding(name, Health.BAD, "; ".join(error.problems))


class _Doctor:
    def __init__(self, stack: DeployedStack, pipeline: Pipeline, around: Surroundings, wait_s: float) -> None:
        self._stack, self._pipeline, self._clock, self._wait_s = stack, pipeline, around.clock, wait_s
        self._client = around.client
        self._identity, self._stream_arn, self._shards = "", "", 0

    def credentials(self) -> Iterator[Finding]:
        began_ms = self._clock.now_ms()
        answer = self._client("sts", self._stack.region).get_caller_identity()
        middle_ms = (began_ms + self._clock.now_ms()) / 2
        self._identity = answer["Arn"]
        yield Finding("credentials", Health.GOOD, f"{self._identity}, account {answer['Account']}")
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if date is None:
            yield Finding("clock", Health.UNKNOWN, "AWS did not say what time it is")
            return
        # The header is of whole seconds, cut off.
        skew_ms = middle_ms - (parsedate_to_datetime(date).timestamp() * 1000 + 500)
        seen = f"this machine's is {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} AWS's, to a second"
        if abs(skew_ms) <= _SKEW_MS:
            yield Finding("clock", Health.GOOD, seen)
        else:
            yield Finding(
                "clock",
                Health.BAD,
                seen,
                "Events get wrong times, and beyond five minutes nothing is accepted: keep the clock by NTP (chrony)",
            )

    def stream(self) -> Iterator[Finding]:
        name = self._stack.output("StreamName")
        answer = self._client("kinesis", self._stack.region).describe_stream_summary(StreamName=name)
        summary = answer["StreamDescriptionSummary"]
        self._stream_arn, self._shards = summary["StreamARN"], summary["OpenShardCount"]
        mode = summary.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED")
        status = summary["StreamStatus"]
        seen = f"{name} is {status}, {mode}, {self._shards} open shards, keeps {summary['RetentionPeriodHours']} h"
        is_there = status in ("ACTIVE", "UPDATING")
        yield Finding(
            "stream",
            Health.GOOD if is_there else Health.BAD,
            seen,
            "" if is_there else "It takes nothing now: see the stack's events in CloudFormation",
        )
        if summary.get("RecordDistributionStrategy", "USER_PARTITION_KEY") == "AUTO":
            yield Finding(
                "record distribution",
                Health.BAD,
                "AUTO: the stream ignores partition keys, so order is lost, and aggregated records are not what they say",
                "aws kinesis update-stream-record-distribution-strategy --record-distribution-strategy USER_PARTITION_KEY "
                f"--stream-arn {self._stream_arn}",
            )

    def load(self) -> Iterator[Finding]:
        if not self._shards:
            yield Finding("shards", Health.UNKNOWN, "how many the stream has could not be read: see above")
            return
        name = self._stack.output("StreamName")
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        names = ("IncomingBytes", "IncomingRecords", "WriteProvisionedThroughputExceeded")
        answer = self._client("cloudwatch", self._stack.region).get_metric_data(
            MetricDataQueries=[_by_minute(each, name) for each in names],
            StartTime=now - timedelta(hours=1),
            EndTime=now,
        )
        sums = {each["Label"]: each["Values"] for each in answer["MetricDataResults"]}
        used, records, refused = (sums.get(each, []) for each in names)
        share = max(
            max(used, default=0) / 60 / (SHARD_IN_BYTES_PER_S * self._shards),
            max(records, default=0) / 60 / (SHARD_IN_RECORDS_PER_S * self._shards),
        )
        seen = f"the busiest minute of the last hour took {share:.0%} of what {self._shards} shards take"
        if sum(refused):
            seen += f"; {sum(refused):,.0f} records were throttled"
        if sum(refused) or share > _FULL:
            yield Finding(
                "shards",
                Health.BAD,
                seen,
                "Give it more (ShardCount in [deploy]; `streamgage plan` says how many); where the share is low, a few "
                "partition keys are too hot for their shard",
            )
        else:
            yield Finding("shards", Health.GOOD, seen)

    def permission(self) -> Iterator[Finding]:
        kinesis, stream = self._client("kinesis", self._stack.region), self._stack.output("StreamName")
        records = [{"Data": probe(), "PartitionKey": PROBE_KEY}]
        try:
            kinesis.put_records(StreamName=stream, Records=records, DryRun=True)
        except ParamValidationError:  # a botocore that does not know it
            yield from self._simulated()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == _DRY_RUN:
                yield Finding("permission", Health.GOOD, "these credentials may put records (dry run)")
            elif "AccessDenied" in code:
                yield self._denied(str(error))
            else:
                raise
        else:  # an endpoint that knows no dry run put the record, which counts nowhere
            yield Finding("permission", Health.GOOD, "these credentials may put records")

    def _simulated(self) -> Iterator[Finding]:
        iam = self._client("iam", self._stack.region)
        answer = iam.simulate_principal_policy(
            PolicySourceArn=_role_of(self._identity),
            ActionNames=["kinesis:PutRecords"],
            ResourceArns=[self._stream_arn],
        )
        decisions = [each["EvalDecision"] for each in answer["EvaluationResults"]]
        if decisions and all(each == "allowed" for each in decisions):
            yield Finding(
                "permission", Health.GOOD, "these credentials may put records (by IAM's simulation)"
            )
        else:
            yield self._denied(f"IAM's simulation says {', '.join(decisions) or 'nothing'}")

    def _denied(self, seen: str) -> Finding:
        resource = self._stream_arn or f"stream {self._stack.output('StreamName')}"
        return Finding(
            "permission",
            Health.BAD,
            seen,
            f"A producer needs kinesis:PutRecords and kinesis:ListShards on {resource}",
        )

    def mapping(self) -> Iterator[Finding]:
        if not self._stream_arn:
            yield Finding("mapping", Health.UNKNOWN, "the stream could not be read: see above")
            return
        function = self._stack.output("FunctionName")
        pages = (
            self._client("lambda", self._stack.region)
            .get_paginator("list_event_source_mappings")
            .paginate(EventSourceArn=self._stream_arn)
        )
        found = [
            each
            for page in pages
            for each in page["EventSourceMappings"]
            if function in each["FunctionArn"].split(":")
        ]
        if not found:
            yield Finding(
                "mapping", Health.BAD, f"nothing leads from the stream to {function}", "streamgage deploy"
            )
            return
        state, last = found[0]["State"], found[0].get("LastProcessingResult", "")
        seen = f"{state}{f', last result: {last}' if last else ''}"
        fine = state == "Enabled" and last in ("", "OK", "No records processed")
        yield Finding(
            "mapping",
            Health.GOOD if fine else Health.BAD,
            seen,
            ""
            if fine
            else "docs/operations.md says what each alarm means; the function's log says why a batch fails",
        )

    def definition(self) -> Iterator[Finding]:
        text = self._stack.outputs.get("Definition", "none")
        if text in ("", "none"):
            yield Finding("definition", Health.UNKNOWN, "the stack does not record what it counts")
            return
        ours = definition_of(self._pipeline, self._stack.consumer)
        try:
            changed = differences(parse_definition(text), ours)
        except ValueError as error:
            yield Finding("definition", Health.UNKNOWN, f"what the stack records cannot be read: {error}")
            return
        if changed:
            yield Finding(
                "definition",
                Health.BAD,
                f"pipeline.toml is not what is deployed: {'; '.join(changed)}",
                'docs/operations.md, "Change what is measured"; or name the one that is deployed: --pipeline PATH',
            )
        else:
            yield Finding(
                "definition",
                Health.GOOD,
                f"pipeline.toml counts what is deployed ({windows_in(ours)} windows of rollups, consumer {self._stack.consumer})",
            )

    def round_trip(self) -> Iterator[Finding]:
        region, stream = self._stack.region, self._stack.output("StreamName")
        kinesis = self._client("kinesis", region)
        store = DynamoPartialStore(self._client("dynamodb", region), self._stack.output("TableName"))

        def put() -> tuple[str, int]:
            answer = kinesis.put_record(StreamName=stream, Data=probe(), PartitionKey=PROBE_KEY)
            return answer["ShardId"], int(answer["SequenceNumber"])

        def fences() -> dict[str, int]:
            progress = read_progress(store, self._stack.consumer, stream)
            return {each.shard_id: each.sequence_number for each in progress}

        yield round_trip(
            put,
            None if self._stack.one_key_per_record else fences,
            clock=self._clock,
            wait_s=self._wait_s,
            todo=f"The function is behind, or fails: streamgage status --target aws --stack {self._stack.name}",
        )


def _by_minute(metric: str, stream: str) -> dict[str, Any]:
    return {
        "Id": metric[:1].lower() + metric[1:],
        "Label": metric,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/Kinesis",
                "MetricName": metric,
                "Dimensions": [{"Name": "StreamName", "Value": stream}],
            },
            "Period": 60,
            "Stat": "Sum",
        },
    }


def _role_of(identity: str) -> str:
    """Return whose policies those of the caller *identity* are: of a session, its role's."""
    partition, _, rest = identity.partition(":sts::")
    account, _, session = rest.partition(":assumed-role/")
    return f"{partition}:iam::{account}:role/{session.partition('/')[0]}" if session else identity
