"""The properties of a mapping: read, checked, and complained about all at once."""

import pytest

from infra.local.mapping.config import MappingConfig, from_properties
from streamgage.errors import ConfigError


def test_defaults_are_those_of_lambda() -> None:
    config = from_properties({"StartingPosition": "TRIM_HORIZON"})
    assert (config.batch_size, config.window_ms, config.parallelization_factor) == (100, 0, 1)
    assert (config.max_retry_attempts, config.max_record_age_ms, config.bisect) == (-1, -1, False)
    assert not config.report_item_failures


def test_every_property_reaches_the_config() -> None:
    arn = "arn:aws:sqs:us-east-1:000000000000:dlq"
    config = from_properties(
        {
            "EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "FunctionName": "f",
            "Enabled": True,
            "BatchSize": 500,
            "MaximumBatchingWindowInSeconds": 2,
            "ParallelizationFactor": 3,
            "MaximumRetryAttempts": 4,
            "MaximumRecordAgeInSeconds": 60,
            "BisectBatchOnFunctionError": True,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "StartingPosition": "AT_TIMESTAMP",
            "StartingPositionTimestamp": 1.5,
            "DestinationConfig": {"OnFailure": {"Destination": arn}},
            "TumblingWindowInSeconds": 0,
        }
    )
    assert config == MappingConfig(
        batch_size=500,
        window_ms=2000,
        parallelization_factor=3,
        bisect=True,
        report_item_failures=True,
        max_retry_attempts=4,
        max_record_age_ms=60_000,
        starting_position="AT_TIMESTAMP",
        starting_timestamp_ms=1500,
        on_failure_arn=arn,
        buffer_records=3000,
    )


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        from_properties(
            {
                "BatchSize": 10_001,
                "ParallelizationFactor": 0,
                "MaximumRetryAttempts": True,
                "MaximumRecordAgeInSeconds": 59,
                "MaximumBatchingWindowInSeconds": "5",
                "BisectBatchOnFunctionError": "yes",
                "FunctionResponseTypes": ["ReportBatchItemFailure"],
                "StartingPosition": "NOW",
                "DestinationConfig": {"OnFailure": {"Destination": "dlq"}},
                "TumblingWindowInSeconds": 30,
                "BatchSiz": 3,
            }
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 11
    for name in ("BatchSize", "59", "'5'", "'yes'", "NOW", "'dlq'", "TumblingWindow", "BatchSiz "):
        assert name in text


def test_at_timestamp_needs_a_timestamp_and_the_others_have_none() -> None:
    with pytest.raises(ConfigError, match="Unix time"):
        from_properties({"StartingPosition": "AT_TIMESTAMP"})
    with pytest.raises(ConfigError, match="only where"):
        from_properties({"StartingPosition": "LATEST", "StartingPositionTimestamp": 1})


def test_the_wait_between_invocations_doubles_up_to_its_limit() -> None:
    config = MappingConfig(retry_first_ms=100, retry_max_ms=500)
    assert [config.backoff_ms(n) for n in (0, 1, 2, 3, 4, 9999)] == [100, 100, 200, 400, 500, 500]
