"""The properties of a mapping: read, checked, and complained about all at once."""

import pytest

from infra.local.mapping.config import MappingConfig, from_properties, not_carried_out
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


def problems_of(**properties: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_properties({"StartingPosition": "TRIM_HORIZON", **properties})
    return list(caught.value.problems)


def test_properties_that_no_record_feels_are_taken() -> None:
    key = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
    plain = from_properties({"StartingPosition": "TRIM_HORIZON"})
    given = {"KmsKeyArn": key, "MetricsConfig": {"Metrics": ["EventCount"]}, "Tags": [], "Enabled": True}
    assert from_properties({"StartingPosition": "TRIM_HORIZON", **given}) == plain


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("LoggingConfig", {"SystemLogLevel": "INFO"}, "is for Kafka, not for a mapping of a Kinesis stream"),
        ("ScalingConfig", {"MaximumConcurrency": 2}, "is for SQS,"),
        ("ProvisionedPollerConfig", {"MinimumPollers": 1}, "is for Kafka and SQS,"),
        ("Topics", ["t"], "is for Kafka,"),
        ("Queues", ["q"], "is for Amazon MQ,"),
        ("TumblingWindowInSeconds", 60, "is not carried out locally: the function would"),
        ("KMSKeyArn", "arn", "is not a property of an event source mapping"),
        ("BatchSiz", 10, "is not a property of an event source mapping"),
    ],
)
def test_a_property_is_named_for_what_it_is(name: str, value: object, why: str) -> None:
    [problem] = problems_of(**{name: value})
    assert problem.startswith(f"{name} {why}")


def test_a_property_of_another_source_that_asks_for_nothing_is_taken() -> None:
    given: dict[str, object] = {
        "ScalingConfig": None,
        "Topics": [],
        "LoggingConfig": {},
        "TumblingWindowInSeconds": 0,
    }
    assert from_properties({"StartingPosition": "TRIM_HORIZON", **given}).batch_size == 100


def test_what_is_not_carried_out_is_told_before_anything_starts_and_expressions_are_not_judged() -> None:
    mark = {"Fn::Output": "Kept1"}
    unknown: dict[str, object] = {
        "TumblingWindowInSeconds": mark,
        "FilterCriteria": {"Filters": [{"Pattern": mark}]},
        "BatchSize": mark,
    }
    assert not_carried_out(unknown) == []
    known = {"TumblingWindowInSeconds": 60, "FilterCriteria": {"Filters": [{"Pattern": "{"}]}, "BatchSize": 0}
    tumbling, pattern = not_carried_out(known)
    assert tumbling.startswith("TumblingWindowInSeconds")
    assert pattern.startswith("FilterCriteria, filter 1: Invalid filter pattern definition")


def test_filters_reach_the_config_and_their_problems_the_list() -> None:
    pattern = {"Pattern": '{"data": {"a": [1]}}'}
    found = from_properties({"StartingPosition": "TRIM_HORIZON", "FilterCriteria": {"Filters": [pattern]}})
    assert found.filters is not None
    assert found.filters.passes(b'{"a": 1}', dict)
    wrong = {"Filters": [{"Pattern": '{"data": {"a": []}}'}]}
    assert problems_of(FilterCriteria=wrong, BatchSize=0) == [
        "BatchSize is 0: must be a whole number from 1 to 10000",
        "FilterCriteria, filter 1: Invalid filter pattern definition: empty arrays are not allowed",
    ]
