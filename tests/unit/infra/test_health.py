"""The record that a doctor sends counts nowhere, and its way is followed until it is applied."""

from collections.abc import Mapping

from infra.health import PROBE_KEY, Finding, Health, lines_of, probe, round_trip
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.records import StreamRecord
from support.fakes import NOW_MS
from support.strategies import pipeline
from support.tables import fold_plainly


class Clock:
    def __init__(self) -> None:
        self.time_ms = NOW_MS

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


def test_a_probe_is_an_aggregated_record_of_no_user_records() -> None:
    assert is_aggregated(probe())
    assert list(decode_aggregate(probe()).user_records()) == []


def test_a_probe_adds_nothing_to_any_table_and_is_no_poison() -> None:
    folded = fold_plainly(pipeline(), [StreamRecord("shardId-0", 7, PROBE_KEY, probe(), NOW_MS)])
    assert not folded.items
    assert not folded.poison
    assert (folded.kinesis_records, folded.user_records) == (1, 0)


def trip(clock: Clock, applied: int, *, by_key: bool = False) -> Finding:
    def fences() -> Mapping[str, int]:
        return {"s": 6 if clock.time_ms < NOW_MS + 2_000 else applied}

    return round_trip(lambda: ("s", 7), None if by_key else fences, clock=clock, wait_s=10, todo="look there")


def test_a_round_trip_is_over_when_the_shards_progress_has_reached_the_record() -> None:
    found = trip(Clock(), 7)
    assert (found.health, found.todo) == (Health.GOOD, "")
    assert "applied after 2.0 s" in found.seen


def test_a_record_that_is_not_applied_in_time_is_told_with_what_to_do() -> None:
    clock = Clock()
    found = trip(clock, 6)
    assert (found.health, found.todo) == (Health.BAD, "look there")
    assert 10_000 < clock.time_ms - NOW_MS < 11_000
    assert list(lines_of([found]))[1:] == ["    look there"]


def test_with_lanes_by_partition_key_nobody_knows() -> None:
    assert trip(Clock(), 7, by_key=True).health is Health.UNKNOWN
