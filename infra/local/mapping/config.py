"""What an event source mapping is told: the CloudFormation properties that apply to a Kinesis stream.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html and the botocore model of
``CreateEventSourceMapping`` (checked 2026-11-21).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from infra.template.filtering.criteria import Criteria, parse_criteria
from streamgage import limits
from streamgage.errors import ConfigError

StartingPosition = Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"]

# "The minimum valid value for maximum record age is 60s. Although values less than 60 and greater than -1 fall
# within the parameter's absolute range, they are not allowed."
_RECORD_AGE_FLOOR_S = 60

_RANGES = {
    "BatchSize": (1, limits.ESM_BATCH_RECORDS),
    "MaximumBatchingWindowInSeconds": (0, limits.ESM_WINDOW_S),
    "ParallelizationFactor": (1, limits.ESM_PARALLELIZATION_FACTOR),
    "MaximumRetryAttempts": (-1, limits.ESM_RETRY_ATTEMPTS),
    "MaximumRecordAgeInSeconds": (-1, limits.ESM_RECORD_AGE_S),
}
_ELSEWHERE = {"EventSourceArn", "FunctionName", "Enabled"}
# What Lambda takes and no record feels: tags, metrics, and the key that its filters are encrypted with at rest.
_IGNORED = {"Tags", "MetricsConfig", "KmsKeyArn"}
_OTHER_SOURCES = {
    "AmazonManagedKafkaEventSourceConfig": "Kafka",
    "DocumentDBEventSourceConfig": "DocumentDB",
    "LoggingConfig": "Kafka",
    "ProvisionedPollerConfig": "Kafka and SQS",
    "Queues": "Amazon MQ",
    "ScalingConfig": "SQS",
    "SelfManagedEventSource": "Kafka",
    "SelfManagedKafkaEventSourceConfig": "Kafka",
    "SourceAccessConfigurations": "Kafka and Amazon MQ",
    "Topics": "Kafka",
}
_KNOWN = {
    *_RANGES,
    *_ELSEWHERE,
    *_IGNORED,
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "FilterCriteria",
    "FunctionResponseTypes",
    "StartingPosition",
    "StartingPositionTimestamp",
    "TumblingWindowInSeconds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """One event source mapping of a Kinesis stream.

    ``retry_first_ms`` and ``retry_max_ms`` are ours, for AWS publishes no schedule: after the n-th failed
    invocation of a batch in a row its lane waits ``min(retry_max_ms, retry_first_ms * 2**(n-1))``, and after a
    split ``retry_first_ms``. ``buffer_records`` and ``buffer_bytes`` (of payload) bound what a shard holds that is
    not done, give or take one answer of GetRecords.
    """

    batch_size: int = 100
    window_ms: int = 0
    parallelization_factor: int = 1
    bisect: bool = False
    report_item_failures: bool = False
    max_retry_attempts: int = -1
    max_record_age_ms: int = -1
    starting_position: StartingPosition = "TRIM_HORIZON"
    starting_timestamp_ms: int | None = None
    on_failure_arn: str | None = None
    filters: Criteria | None = None
    retry_first_ms: int = 200
    retry_max_ms: int = 30_000
    buffer_records: int = 20_000
    buffer_bytes: int = 4 * limits.ESM_PAYLOAD_BYTES

    def backoff_ms(self, failures: int) -> int:
        """Return how long a lane waits after a batch's *failures*-th failed invocation in a row."""
        doublings = min(max(0, failures - 1), 32)
        return min(self.retry_max_ms, self.retry_first_ms << doublings)


def not_carried_out(properties: Mapping[str, object]) -> list[str]:
    """Return a problem for each property that we do not carry out, or Lambda does not; before anything is started.

    An empty one, zero and null ask for nothing. Marks of the divided template (``Fn::Output``) are not judged.
    """
    problems = [
        f"{name} is for {sources}, not for a mapping of a Kinesis stream"
        for name, sources in _OTHER_SOURCES.items()
        if _asks(properties, name)
    ]
    if _asks(properties, "TumblingWindowInSeconds"):
        problems.append(
            "TumblingWindowInSeconds is not carried out locally: the function would be given other batches than on AWS. "
            "Remove it"
        )
    if _asks(properties, "FilterCriteria"):
        problems += parse_criteria(properties["FilterCriteria"])[1]
    return problems


def from_properties(
    properties: Mapping[str, object], *, retry_first_ms: int = 200, retry_max_ms: int = 30_000
) -> MappingConfig:
    """Return the mapping that the properties of an ``AWS::Lambda::EventSourceMapping`` describe.

    The rule of the API reference that a batch size over 10 needs a batching window is not enforced: AWS accepts
    Kinesis mappings of 100 records and no window (they are its defaults).

    Raises:
        ConfigError: with every problem found.
    """
    problems: list[str] = []
    numbers = {name: _number(properties, name, problems) for name in _RANGES}
    age_s = numbers["MaximumRecordAgeInSeconds"]
    if age_s is not None and -1 < age_s < _RECORD_AGE_FLOOR_S:
        problems.append(
            f"MaximumRecordAgeInSeconds is {age_s}: Lambda takes -1 or {_RECORD_AGE_FLOOR_S} and more"
        )
    position, timestamp_ms = _start(properties, problems)
    on_failure = _on_failure(properties, problems)
    bisect = properties.get("BisectBatchOnFunctionError", False)
    if not isinstance(bisect, bool):
        problems.append(f"BisectBatchOnFunctionError is {bisect!r}: must be true or false")
    response_types = properties.get("FunctionResponseTypes") or []
    if response_types not in ([], ["ReportBatchItemFailures"]):
        problems.append(
            f"FunctionResponseTypes is {response_types!r}: only ['ReportBatchItemFailures'] exists"
        )
    filters, _ = parse_criteria(properties.get("FilterCriteria"))
    problems += [
        f"{name} is not a property of an event source mapping"
        for name in sorted(set(properties) - _KNOWN - _OTHER_SOURCES.keys())
    ]
    problems += not_carried_out(properties)
    if problems:
        raise ConfigError(*problems)

    def number(name: str, default: int) -> int:
        value = numbers[name]
        return default if value is None else value

    age_s = number("MaximumRecordAgeInSeconds", -1)
    return MappingConfig(
        batch_size=number("BatchSize", 100),
        window_ms=number("MaximumBatchingWindowInSeconds", 0) * 1000,
        parallelization_factor=number("ParallelizationFactor", 1),
        bisect=bool(bisect),
        report_item_failures=bool(response_types),
        max_retry_attempts=number("MaximumRetryAttempts", -1),
        max_record_age_ms=-1 if age_s < 0 else age_s * 1000,
        starting_position=position,
        starting_timestamp_ms=timestamp_ms,
        on_failure_arn=on_failure,
        filters=filters,
        retry_first_ms=retry_first_ms,
        retry_max_ms=retry_max_ms,
        buffer_records=max(2 * number("BatchSize", 100) * number("ParallelizationFactor", 1), 1000),
    )


def _asks(properties: Mapping[str, object], name: str) -> bool:
    """Whether a property asks for something that is known already: expressions are not judged."""
    return bool(properties.get(name)) and _is_known(properties[name])


def _is_known(value: object) -> bool:
    if isinstance(value, Mapping):
        return "Fn::Output" not in value and all(map(_is_known, value.values()))
    return not isinstance(value, list) or all(map(_is_known, value))


def _number(properties: Mapping[str, object], name: str, problems: list[str]) -> int | None:
    value = properties.get(name)
    if value is None:
        return None
    low, high = _RANGES[name]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        problems.append(f"{name} is {value!r}: must be a whole number from {low} to {high}")
        return None
    return value


def _start(properties: Mapping[str, object], problems: list[str]) -> tuple[StartingPosition, int | None]:
    position = properties.get("StartingPosition")
    timestamp_s = properties.get("StartingPositionTimestamp")
    if position == "AT_TIMESTAMP":
        if isinstance(timestamp_s, (int, float)) and not isinstance(timestamp_s, bool):
            return "AT_TIMESTAMP", round(timestamp_s * 1000)
        problems.append(
            f"StartingPositionTimestamp is {timestamp_s!r}: AT_TIMESTAMP needs Unix time in seconds"
        )
        return "AT_TIMESTAMP", None
    if timestamp_s is not None:
        problems.append("StartingPositionTimestamp is valid only where StartingPosition is AT_TIMESTAMP")
    if position == "LATEST":
        return "LATEST", None
    if position != "TRIM_HORIZON":
        problems.append(
            f"StartingPosition is {position!r}: must be one of {', '.join(get_args(StartingPosition))}"
        )
    return "TRIM_HORIZON", None


def _on_failure(properties: Mapping[str, object], problems: list[str]) -> str | None:
    destination = properties.get("DestinationConfig") or {}
    try:
        arn = ((destination or {}).get("OnFailure") or {}).get("Destination")  # type: ignore[attr-defined]  # JSON
    except AttributeError:
        arn = destination
    if arn is None:
        return None
    if (
        isinstance(arn, str)
        and arn.split(":")[:1] == ["arn"]
        and arn.split(":")[2:3] in (["sqs"], ["sns"], ["s3"])
    ):
        return arn
    problems.append(
        f"DestinationConfig.OnFailure.Destination is {arn!r}: must be the ARN of a queue, topic or bucket"
    )
    return None
