"""What AWS was recorded to do between Kinesis and Lambda, scenario by scenario: ours does the same.

The facts are from LocalStack's AWS-validated snapshots, tests/aws/services/lambda_/event_source_mapping/
test_lambda_integration_kinesis at commit 8b9a79f0 (March 2026), told in our words; each test names its scenario there.
Scenarios on what a mapping's description says (states, UUIDs, disabled, duplicates) have no counterpart: here a mapping
is a process. The one on a stream that does not exist is in tests/unit/infra/local/mapping/test_mapping_readers.py.
"""

import json
from typing import Any

import pytest

from support.recorded_mapping import FUNCTION_ARN, START_MS, Stage, data_of

DESTINATION = {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}}}
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
ISO = "2022-07-13T13:48:01.000Z"


def succeeds(_event: dict[str, Any]) -> None:
    return None


def raises(_event: dict[str, Any]) -> None:
    raise ZeroDivisionError("division by zero")


def test_ten_records_of_ten_keys_come_in_one_batch_and_order() -> None:
    """test_create_kinesis_event_source_mapping: defaults."""
    stage = Stage()
    stage.put(*((f"test_{n}", b"hello") for n in range(10)))
    [event], failures = stage.run({}, succeeds)
    assert [record["kinesis"]["partitionKey"] for record in event["Records"]] == [
        f"test_{n}" for n in range(10)
    ]
    assert failures == []


def test_a_record_in_an_event_has_the_recorded_fields() -> None:
    """test_kinesis_maximum_record_age_exceeded_discard_records, "Records"."""
    stage = Stage()
    stage.put(("test", b"stream-data-1"))
    [event], _ = stage.run({}, succeeds)
    [record] = event["Records"]
    number = record["kinesis"]["sequenceNumber"]
    assert number.isdigit()
    assert record["invokeIdentityArn"].startswith("arn:aws:iam::")
    assert {name: each for name, each in record.items() if name != "invokeIdentityArn"} == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "test",
            "sequenceNumber": number,
            "data": "c3RyZWFtLWRhdGEtMQ==",
            "approximateArrivalTimestamp": START_MS / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000000:{number}",
        "eventName": "aws:kinesis:record",
        "awsRegion": "us-east-1",
        "eventSourceARN": stage.arn,
    }


@pytest.mark.parametrize("puts", [2, 3])
def test_batches_of_ten_come_one_after_the_other(puts: int) -> None:
    """test_kinesis_event_source_mapping_with_async_invocation (two), test_kinesis_event_source_trim_horizon (three)."""
    stage = Stage()
    for put in range(puts):
        stage.put(*((f"test_{put}", json.dumps({"record_id": n}).encode()) for n in range(10)))
    events, _ = stage.run({"BatchSize": 10}, succeeds)
    assert [data_of(event) for event in events] == [
        [json.dumps({"record_id": n}).encode() for n in range(10)]
    ] * puts
    assert [{r["kinesis"]["partitionKey"] for r in event["Records"]} for event in events] == [
        {f"test_{put}"} for put in range(puts)
    ]


def test_two_functions_of_one_stream_get_each_record() -> None:
    """test_create_kinesis_event_source_mapping_multiple_lambdas_single_kinesis_event_stream."""
    stage = Stage()
    stage.put(("test_1", b"hello"))
    seen = [data_of(event) for _ in range(2) for event in stage.run({}, succeeds)[0]]
    assert seen == [[b"hello"], [b"hello"]]


@pytest.mark.parametrize("kind", ["sqs", "sns", "s3"])
def test_a_batch_that_raises_twice_is_told_to_the_destination(kind: str) -> None:
    """test_kinesis_event_source_mapping_with_on_failure_destination_config, ..._with_sns_..., ..._with_s3_...: the same."""
    stage = Stage()
    stage.put(("custom", b'{"raise_error": 1}'))
    properties = {
        "BatchSize": 1,
        "MaximumRetryAttempts": 1,
        "DestinationConfig": {"OnFailure": {"Destination": f"arn:aws:{kind}:us-east-1:000000000000:d"}},
    }
    events, [failure] = stage.run(properties, raises)
    assert len(events) == 2
    number = events[0]["Records"][0]["kinesis"]["sequenceNumber"]
    told = failure.pop("timestamp")
    assert told.endswith("Z")
    assert failure == {
        "requestContext": {
            "requestId": "r",
            "functionArn": FUNCTION_ARN,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "version": "1.0",
        "KinesisBatchInfo": {
            "shardId": "shardId-000000000000",
            "startSequenceNumber": number,
            "endSequenceNumber": number,
            "approximateArrivalOfFirstRecord": ISO,
            "approximateArrivalOfLastRecord": ISO,
            "batchSize": 1,
            "streamArn": stage.arn,
        },
    }


def test_the_last_of_six_records_fails_and_is_tried_alone_four_times_more() -> None:
    """test_kinesis_report_batch_item_failures: batches of 3, three retries, the sixth record is reported each time."""
    stage = Stage()
    stage.put(*((f"test_{n}", json.dumps({"should_fail": n == 5}).encode()) for n in range(6)))

    def reports(event: dict[str, Any]) -> dict[str, Any]:
        failed = [
            record["kinesis"]["sequenceNumber"]
            for record, data in zip(event["Records"], data_of(event), strict=True)
            if json.loads(data)["should_fail"]
        ]
        return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}

    properties = {"BatchSize": 3, "MaximumRetryAttempts": 3, **REPORTING, **DESTINATION}
    events, [failure] = stage.run(properties, reports)
    delivered = [record["kinesis"]["partitionKey"] for event in events for record in event["Records"]]
    assert delivered == [*(f"test_{n}" for n in range(6)), *["test_5"] * 4]
    assert failure["requestContext"]["approximateInvokeCount"] == 4
    assert failure["responseContext"]["functionError"] is None
    assert failure["KinesisBatchInfo"]["batchSize"] == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"batchItemFailures": [{"itemIdentifier": 123}]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"foo": 123}]},
        {"batchItemFailures": [{"foo": None}]},
    ],
    ids=str,
)
def test_an_answer_that_names_no_record_of_the_batch_fails_all_of_it(answer: Any) -> None:
    """test_kinesis_report_batch_item_failure_scenarios: two retries, three invocations, functionError null."""
    stage = Stage()
    stage.put(("test", b"hello"))
    events, [failure] = stage.run(
        {"BatchSize": 1, "MaximumRetryAttempts": 2, **REPORTING, **DESTINATION}, lambda _: answer
    )
    assert [data_of(event) for event in events] == [[b"hello"]] * 3
    assert failure["requestContext"]["approximateInvokeCount"] == 3
    assert failure["responseContext"]["functionError"] is None


def test_an_exception_fails_the_batch_where_answers_are_read_too() -> None:
    """test_kinesis_report_batch_item_failure_scenarios[unhandled_exception_in_function]."""
    stage = Stage()
    stage.put(("test", b"hello"))
    events, [failure] = stage.run(
        {"BatchSize": 1, "MaximumRetryAttempts": 2, **REPORTING, **DESTINATION}, raises
    )
    assert len(events) == 3
    assert failure["requestContext"]["approximateInvokeCount"] == 3
    assert failure["responseContext"]["functionError"] == "Unhandled"


@pytest.mark.parametrize(
    "answer", ["", [], None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}], ids=str
)
def test_an_empty_answer_is_success(answer: Any) -> None:
    """test_kinesis_report_batch_item_success_scenarios, and test_kinesis_empty_provided."""
    stage = Stage()
    stage.put(("test", b"hello"))
    events, failures = stage.run({"BatchSize": 1, "MaximumRetryAttempts": 2, **REPORTING}, lambda _: answer)
    assert [data_of(event) for event in events] == [[b"hello"]]
    assert failures == []


def test_a_record_that_expires_while_it_is_retried_is_told_without_a_response_context() -> None:
    """test_kinesis_maximum_record_age_exceeded[expire-while-retrying]: endless retries; AWS made 8, we retry faster."""
    stage = Stage()
    stage.put(("test", b"stream-data"))
    events, [failure] = stage.run(
        {"BatchSize": 1, "MaximumRetryAttempts": -1, "MaximumRecordAgeInSeconds": 60, **DESTINATION}, raises
    )
    assert failure["requestContext"]["condition"] == "RecordAgeExceeded"
    assert failure["requestContext"]["approximateInvokeCount"] == len(events)
    assert "responseContext" not in failure


def test_a_record_that_expired_before_the_mapping_began_is_told_as_invoked_once() -> None:
    """test_kinesis_maximum_record_age_exceeded[expire-before-ingestion]."""
    stage = Stage()
    stage.put(("test", b"stream-data"))
    stage.now_ms += 61_000
    events, [failure] = stage.run(
        {"BatchSize": 1, "MaximumRetryAttempts": 0, "MaximumRecordAgeInSeconds": 60, **DESTINATION}, raises
    )
    assert events == []
    assert failure["requestContext"]["condition"] == "RecordAgeExceeded"
    assert failure["requestContext"]["approximateInvokeCount"] == 1
    assert "responseContext" not in failure


def test_only_the_expired_record_of_a_batch_is_discarded() -> None:
    """test_kinesis_maximum_record_age_exceeded_discard_records: one old, five young."""
    stage = Stage()
    stage.put(("test", b"stream-data"))
    stage.now_ms += 61_000
    stage.put(*(("test", f"stream-data-{n}".encode()) for n in range(1, 6)))
    events, [failure] = stage.run(
        {"BatchSize": 10, "MaximumRetryAttempts": 0, "MaximumRecordAgeInSeconds": 60, **DESTINATION},
        succeeds,
    )
    assert [data for event in events for data in data_of(event)] == [
        f"stream-data-{n}".encode() for n in range(1, 6)
    ]
    assert failure["KinesisBatchInfo"]["batchSize"] == 1
    assert failure["requestContext"]["condition"] == "RecordAgeExceeded"


@pytest.mark.parametrize("function", ["function_1", "function_2"])
def test_each_of_two_functions_gets_what_its_filter_lets_pass(function: str) -> None:
    """TestKinesisEventFiltering::test_kinesis_event_filtering_json_pattern."""
    stage = Stage()
    sent = [
        {"event_type": "function_1", "message": "foo"},
        {"event_type": "function_2", "message": "bar"},
    ]
    stage.put(*(("custom", json.dumps(each).encode()) for each in sent))
    pattern = json.dumps({"data": {"event_type": [function]}})
    events, failures = stage.run(
        {"BatchSize": 1, "MaximumRetryAttempts": 1, "FilterCriteria": {"Filters": [{"Pattern": pattern}]}},
        succeeds,
    )
    assert [[json.loads(data) for data in data_of(event)] for event in events] == [
        [each for each in sent if each["event_type"] == function]
    ]
    assert failures == []
    assert stage.checkpoint == stage.last
