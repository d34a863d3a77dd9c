"""What a stack on AWS is doing, asked of AWS: mapping, shards, metrics of the last hour, quarantine, failed batches."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.aws.shard_ends import shard_ends
from infra.aws.stacks import DeployedStack, aws_client, aws_errors
from processors.aggregate.report import NAMESPACE, Metric
from processors.query.cells import DynamoPartialStore
from processors.query.freshness import Freshness, freshness
from processors.query.progress import read_progress

METRICS_S = 3600
_PERIOD_S = 300
_COUNTED = 10_000  # objects of the bucket; beyond it is "more than"
_OURS: tuple[Metric, ...] = (
    "UserRecords",
    "RepeatedRecords",
    "RedeliveredRecords",
    "Poison",
    "WriteConflicts",
)
_LAMBDA = ("Invocations", "Errors", "Throttles")


@dataclass(frozen=True, slots=True)
class AwsStatus:
    """The status of one stack. ``mapping`` has the shape of the local mapping's own; None in it is what AWS does not tell.

    ``iterator_age_ms`` is the greatest of the last period that had one. ``failed_batches`` is at most 10,000;
    ``quarantined`` is SQS' own approximation.
    """

    mapping: dict[str, Any]
    freshness: Freshness
    iterator_age_ms: int | None
    quarantined: int
    failed_batches: int


def read_freshness(
    stack: DeployedStack, *, client: Callable[[str, str | None], Any] = aws_client
) -> tuple[Freshness, dict[str, dict[str, Any]]]:
    """Return how fresh the answers of *stack* are, and of each shard what mapping_status.py says of one.

    Raises: as ``shard_ends`` does.
    """
    table, stream = stack.output("TableName"), stack.output("StreamName")
    with aws_errors(f"table {table}"):
        store = DynamoPartialStore(client("dynamodb", stack.region), table)
        progress = read_progress(store, stack.consumer, stream)
    shards = shard_ends(client("kinesis", stack.region), stream, progress)
    return freshness(progress, {"shards": shards}), shards


def read_status(stack: DeployedStack, *, client: Callable[[str, str | None], Any] = aws_client) -> AwsStatus:
    """Return what *stack* is doing.

    Raises:
        ConfigError: an output is missing, or the credentials may not ask for something; it says for what.
        RetryableError: AWS does not answer.
    """
    region, function = stack.region, stack.output("FunctionName")
    fresh, shards = read_freshness(stack, client=client)
    counters, age_ms = _metrics(client("cloudwatch", region), function)
    state, last = _mapping(
        client("lambda", region), client("kinesis", region), stack.output("StreamName"), function
    )
    mapping = {
        "state": state,
        "as_of_ms": time.time_ns() // 1_000_000,
        "counters": counters,
        "shards": shards,
        "last_error": None if last is None else {"message": last},
    }
    return AwsStatus(
        mapping,
        fresh,
        age_ms,
        _depth(client("sqs", region), stack.output("QuarantineUrl")),
        _objects(client("s3", region), stack.output("FailedBatchesBucket")),
    )


def _mapping(awslambda: Any, kinesis: Any, stream: str, function: str) -> tuple[str, str | None]:
    """Return the state of the mapping, and the problem that Lambda reports of it."""
    with aws_errors(f"event source mapping of {function}"):
        summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
        pages = awslambda.get_paginator("list_event_source_mappings").paginate(
            EventSourceArn=summary["StreamARN"]
        )
        found = [
            each
            for page in pages
            for each in page["EventSourceMappings"]
            if function in each["FunctionArn"].split(":")
        ]
    if not found:
        return "missing", f"no event source mapping from stream {stream} to function {function}"
    (mapping, *_) = found
    result = mapping.get("LastProcessingResult", "")
    fine = result in ("", "OK", "No records processed")
    return mapping["State"], None if fine else result


def _metrics(cloudwatch: Any, function: str) -> tuple[dict[str, int], int | None]:
    """Return sums of the last hour by name, and the newest iterator age."""
    lambdas, ours = {"FunctionName": function}, {"service": function}
    queries = [
        *(_query(f"l{number}", "AWS/Lambda", name, lambdas) for number, name in enumerate(_LAMBDA)),
        *(_query(f"o{number}", NAMESPACE, name, ours) for number, name in enumerate(_OURS)),
        _query("age", "AWS/Lambda", "IteratorAge", lambdas),
    ]
    now = datetime.now(UTC)
    with aws_errors("metrics"):
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=queries,
            StartTime=now - timedelta(seconds=METRICS_S),
            EndTime=now,
            ScanBy="TimestampDescending",
        )
    values = {each["Id"]: each["Values"] for each in answer["MetricDataResults"]}
    counters = {name: round(sum(values.get(f"l{number}", ()))) for number, name in enumerate(_LAMBDA)}
    counters |= {name: round(sum(values.get(f"o{number}", ()))) for number, name in enumerate(_OURS)}
    ages = values.get("age", ())
    return counters, round(ages[0]) if ages else None


def _query(query_id: str, namespace: str, metric: str, dimensions: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "Id": query_id,
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": _PERIOD_S,
            "Stat": "Maximum" if metric == "IteratorAge" else "Sum",
        },
    }


def _depth(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    with aws_errors(f"queue {url}"):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


def _objects(s3: Any, bucket: str) -> int:
    with aws_errors(f"bucket {bucket}"):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket,
            Prefix="aws/lambda/",  # beside them is quarantine/
            PaginationConfig={"MaxItems": _COUNTED},
        )
        return sum(len(page.get("Contents", ())) for page in pages)
