"""A suite that never failed proves nothing: each bug planted here is one that others have shipped."""

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings

import streamgage.fold.batch
from streamgage.fold.items import Lanes
from streamgage.reading.places import Places
from support.fakes import KEY_LANES, LANES, World
from support.planted import CORE_BUGS, Plant
from support.schedules import Attack, judge, shared_out
from support.shares import shared
from support.strategies import SCHEDULES, Entry, Step, logs, pipeline

LIMIT = 2_000  # examples; over ten seeds each bug was caught within 280, and the property has 300


def place_counts_from_the_record(patch: pytest.MonkeyPatch) -> None:
    """An event's sub-sequence number is counted among the good ones of its record."""
    patch.setattr(Places, "goes_on", lambda self, _start, _sub, record: self.records[-1:] == [record])


def repeated_records_kept(patch: pytest.MonkeyPatch) -> None:
    """A batch that holds a record twice counts it twice."""
    patch.setattr(
        streamgage.fold.batch,
        "in_order",
        lambda records: sorted(records, key=lambda each: each.sequence_number),
    )


BUGS: dict[str, Plant] = {
    **CORE_BUGS,
    **{plant.__name__: plant for plant in (place_counts_from_the_record, repeated_records_kept)},
}


def attack_until_wrong(examples: list[int], *, lanes: Lanes | None = None, shares: int = 9) -> None:
    """Run the property until it fails. With *lanes*, Lambda shares the partition keys out to so many invocations."""

    @settings(
        max_examples=LIMIT,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(log=logs(), steps=SCHEDULES)
    def attack(log: list[Entry], steps: list[Step]) -> None:
        examples.append(len(log))
        world = World(pipeline(), lanes=lanes or LANES, room_bytes=60, slice_events=2)
        Attack(world, shared_out(log, shares if lanes else 1)).run(steps)
        judge(world, log)

    attack()


@pytest.mark.parametrize("name", shared(BUGS, one_of=6))
def test_the_property_catches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)
    examples: list[int] = []
    with pytest.raises(AssertionError):
        attack_until_wrong(examples)
    assert len(examples) < LIMIT


class BucketLanes(Lanes):
    """Lanes that partition keys share by a hash."""

    def of(self, shard_id: str, partition_key: str) -> str:
        """Return one of two lanes of a shard."""
        return f"{self.of_shard(shard_id)}|{len(partition_key) % 2}"


@pytest.mark.parametrize("lanes", [LANES, BucketLanes("telemetry", by_key=True)])
def test_the_property_catches_lanes_that_are_shared_by_partition_keys(lanes: Lanes) -> None:
    examples: list[int] = []
    with pytest.raises(AssertionError):
        attack_until_wrong(examples, lanes=lanes)
    assert len(examples) < LIMIT


def test_the_property_catches_lanes_that_are_mixed_within_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Places, "lane_column", lambda self: [0] * self.count)
    examples: list[int] = []
    with pytest.raises(AssertionError):
        attack_until_wrong(examples, lanes=KEY_LANES, shares=2)
    assert len(examples) < LIMIT
