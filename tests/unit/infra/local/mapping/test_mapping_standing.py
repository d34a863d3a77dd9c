"""What a person is told of a shard that stands still: where, since when, why, what next, until when."""

from pathlib import Path
from typing import Any

from infra.local.function.outcome import Answered, Failed
from infra.local.mapping.stalls import REPORTED, Stalls
from infra.local.mapping.standing import SILENT_MS, Standing, lines, told

AT_MS = 1_800_000_000_000
STANDING = Standing(
    sequence_number=49, records=3, arrival_ms=AT_MS, failures=4, max_retries=10, next_ms=AT_MS + 90_000, splits=False,
    given_up=False, expires_ms=AT_MS + 3_600_000, destination="arn:aws:sqs:eu-central-1:0:failed",
)  # fmt: skip


def document(**changes: Any) -> dict[str, Any]:
    return {**STANDING.document(since_ms=AT_MS, error="ValueError: boom\nat line 3"), **changes}


def test_a_failing_batch_is_told_with_why_since_when_and_until_when() -> None:
    assert told(document(), AT_MS + 60_000) == (
        "stands at 49 since 2027-01-15T08:00:00Z (60 s): ValueError: boom; retry 4 of 10 of 3 records at 2027-01-15T08:01:30Z; "
        "after the last it goes to arn:aws:sqs:eu-central-1:0:failed; at 2027-01-15T09:00:00Z it is too old "
        "(MaximumRecordAgeInSeconds) and goes to arn:aws:sqs:eu-central-1:0:failed"
    )


def test_what_comes_next_is_a_split_a_delivery_or_a_try_that_runs() -> None:
    assert "it is split" in told(document(splits=True), AT_MS)
    assert "3 records given up, being sent to arn:" in told(document(given_up=True), AT_MS)
    assert "retry 4 of 3 records runs now" in told(document(next_ms=None, max_retries=-1), AT_MS)
    assert "goes to nowhere, there is no on-failure destination" in told(document(destination=None), AT_MS)


def test_a_status_tells_of_silence_of_shards_and_of_requests_that_fail() -> None:
    shards: dict[str, Any] = {
        "a": {"standing": document()},
        "b": {"waits_for": ["a"]},
        "c": {"standing": None},
    }
    status = {
        "as_of_ms": AT_MS, "state": "running", "shards": shards,
        "troubles": [{"message": "GetRecords a: refused", "since_ms": AT_MS - 5_000}],
    }  # fmt: skip
    shard, child, trouble = lines(status, AT_MS)
    assert shard.startswith("a stands at 49 since")
    assert child == "b waits until a is done: parents come first"
    assert trouble == "since 2027-01-15T07:59:55Z (5 s), tried again: GetRecords a: refused"
    assert next(lines(status, AT_MS + SILENT_MS + 1)).startswith("the mapping has said nothing for 5 s")
    assert list(lines({}, AT_MS)) == []


def test_what_the_function_reports_as_failed_is_told_in_its_own_words(tmp_path: Path) -> None:
    log = tmp_path / "function.log"
    log.write_text(
        '{"failed_from": "49", "error": "before"}\n{"failed_from": "49", "error": "no table"}\n{"failed_from": "491", "error": "x"}\n{"49'
    )
    stalls = Stalls(log)
    stalls.note("a", 49, Answered(b""), AT_MS)
    known = stalls.of("a", STANDING)
    assert known is not None
    assert known["error"] == f"{REPORTED}: no table"


def test_a_shard_stands_since_its_first_failure_with_its_last_error_until_it_goes_on(tmp_path: Path) -> None:
    stalls = Stalls(tmp_path / "absent.log")
    stalls.note("a", 49, Failed("first"), AT_MS)
    stalls.note("a", 49, Answered(b""), AT_MS + 500)
    known = stalls.of("a", STANDING)
    assert known is not None
    assert (known["since_ms"], known["error"]) == (AT_MS, REPORTED)
    assert stalls.of("a", None) is None
    stalls.note("a", 49, Failed("later"), AT_MS + 9_000)
    again = stalls.of("a", STANDING)
    assert again is not None
    assert (again["since_ms"], again["error"]) == (AT_MS + 9_000, "later")
