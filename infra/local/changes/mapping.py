"""An event source mapping of a table's stream: the properties that are carried out here; others are refused.

Source: https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html (checked 2026-11-29).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamgage.errors import ConfigError

_RANGES = {
    "BatchSize": (1, 10_000),
    "MaximumBatchingWindowInSeconds": (0, 300),
    "ParallelizationFactor": (1, 10),
    "MaximumRetryAttempts": (-1, 10_000),
    "MaximumRecordAgeInSeconds": (-1, 604_800),
}
_DEFAULTS = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "ParallelizationFactor": 1,
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": -1,
}
# Of no consequence to a record; ParallelizationFactor only lets more of them go at once.
_IGNORED = {
    "Enabled",
    "EventSourceArn",
    "FunctionName",
    "KmsKeyArn",
    "MetricsConfig",
    "StartingPosition",
    "Tags",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesMapping:
    """One mapping, which begins at LATEST at each start. -1 retries: as long as the age allows; -1 of age: for ever."""

    batch_size: int
    window_ms: int
    max_retry_attempts: int
    max_record_age_ms: int


def mapping_of(properties: Mapping[str, Any]) -> ChangesMapping:
    """Return the mapping that *properties* of an ``AWS::Lambda::EventSourceMapping`` describe. Raises: ConfigError."""
    problems = [
        f"{name} is not carried out for a table's stream on this machine"
        for name in sorted(properties.keys() - _RANGES.keys() - _IGNORED)
        if properties[name] not in (None, "", [], {}, False, 0)
    ]
    if properties.get("StartingPosition") != "LATEST":
        problems.append("StartingPosition: a table's stream is read from LATEST on here, at each start")
    numbers: dict[str, int] = {}
    for name, (low, high) in _RANGES.items():
        value = properties.get(name, _DEFAULTS[name])
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            problems.append(f"{name} is {value!r}: must be a whole number from {low} to {high}")
        else:
            numbers[name] = value
    if problems:
        raise ConfigError(*problems)
    age_s = numbers["MaximumRecordAgeInSeconds"]
    return ChangesMapping(
        batch_size=numbers["BatchSize"],
        window_ms=numbers["MaximumBatchingWindowInSeconds"] * 1000,
        max_retry_attempts=numbers["MaximumRetryAttempts"],
        max_record_age_ms=-1 if age_s < 0 else age_s * 1000,
    )
