"""What Kinesis is asked about a stream, and what follows."""

from collections.abc import Mapping
from typing import Any

import pytest

from processors.aggregate.lineage import KinesisLineage
from processors.deadline import Deadline
from support.fakes import NOW_MS, PLENTY

HOUR_S = 3600


@pytest.mark.parametrize(
    ("age_hours", "retention_hours", "from_first", "is_whole"),
    [(1, 24, True, True), (23, 168, True, True), (25, 24, True, False), (1, 24, False, False)],
)
def test_a_young_stream_is_read_from_its_first_record_on(
    age_hours: int,
    retention_hours: int,
    from_first: bool,  # noqa: FBT001 - a parameter of the test
    is_whole: bool,  # noqa: FBT001 - the same
) -> None:
    assert _is_whole(age_hours, retention_hours, from_first=from_first) is is_whole


def test_what_expired_before_its_retention_was_raised_is_missed() -> None:
    """Of a stream of three days that held a day, and now holds a week, windows of the first two would look whole."""
    assert not _is_whole(72, 168, from_first=True)


def _is_whole(age_hours: int, retention_hours: int, *, from_first: bool) -> bool:
    def call(_operation: str, _request: Mapping[str, Any], /, *, deadline: Deadline) -> Any:
        created_s = NOW_MS / 1000 - age_hours * HOUR_S
        return {
            "StreamDescriptionSummary": {
                "StreamCreationTimestamp": created_s,
                "RetentionPeriodHours": retention_hours,
            }
        }

    lineage = KinesisLineage(call, "telemetry", from_first=from_first, now_ms=lambda: NOW_MS)
    return lineage.is_read_from_its_first_record(deadline=PLENTY)
