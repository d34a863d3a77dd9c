"""Time-weighted means: the same bytes under any cut and order, and no further from the exact than they say."""

import math
import random
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from processors.query.answer import Shape, answer, told_errors
from processors.query.question import Question
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from streamgage.measures import time_weighted
from streamgage.measures.parts import Groups
from streamgage.measures.sketch_parts import sketch_named
from streamgage.measures.time_weighted import MOST_CELLS, NONE, Area, Signal, area_of, of_points
from streamgage.records import StreamRecord
from support.fakes import NOW_MS, Reads, World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DAY_MS

Point = tuple[int, int]
START_MS = ARRIVAL_MS // DAY_MS * DAY_MS
PART = sketch_named("signal")
TIMES = st.integers(0, DAY_MS - 1) | st.integers(0, 90) | st.integers(0, 1_439).map(lambda n: n * 60_000)
VALUES = st.integers(-9, 9) | st.integers(-(10**38), 10**38)
POINTS = st.lists(st.tuples(TIMES.map(lambda ms: START_MS + ms), VALUES), max_size=200)
MANY = st.builds(
    lambda seed, count, span_ms: [
        (START_MS + dice.randrange(span_ms), dice.randrange(-999, 999))
        for dice in (random.Random(seed),)
        for _ in range(count)
    ],
    st.integers(0, 2**32),
    st.integers(1, 400),
    st.sampled_from([70, 1_000, 10**6, DAY_MS]),
)


def state_of(points: Sequence[Point]) -> Signal:
    return of_points([time for time, _ in points], [value for _, value in points])


def exactly(points: Sequence[Point]) -> Fraction | None:
    """The mean of the steps between the first and the last event; of one instant the greatest value counts."""
    steps = list(dict(sorted(points)).items())
    if len(steps) < 2:
        return None
    area = sum(value * (after - time) for (time, value), (after, _) in pairwise(steps))
    return Fraction(area, steps[-1][0] - steps[0][0])


def off_by(state: Signal | Area) -> Fraction:
    """How far off the mean says that it may be, exactly."""
    area = area_of(state)
    assert area is not None
    return Fraction(max(area.most - area.about, area.about - area.least), area.time_ms)


@given(POINTS | MANY, st.lists(st.integers(0, 400), max_size=6), st.randoms())
def test_a_signal_is_the_same_whatever_came_first(
    points: list[Point], bounds: list[int], dice: random.Random
) -> None:
    """Of any cut, in any order: the level too, though a part that is merged first may have another."""
    whole = state_of(points)
    shuffled = dice.sample(points, len(points))
    places = [0, *sorted(min(each, len(points)) for each in bounds), len(points)]
    states: list[Any] = [state_of(shuffled[first:last]) for first, last in pairwise(places)]
    while len(states) > 1:
        one, other = states.pop(dice.randrange(len(states))), states.pop(dice.randrange(len(states)))
        states += PART.merge([one], [other]) if dice.random() < 0.5 else PART.join([other, one], [[0, 1]])
    assert states == [whole]
    assert PART.pack(states, start_ms=START_MS) == PART.pack([whole], start_ms=START_MS)
    assert len(whole.cells) <= MOST_CELLS


@given(POINTS | MANY)
def test_its_level_is_no_higher_than_the_events_ask_for(points: list[Point]) -> None:
    def filled(level: int) -> int:
        return len({time // 2**level for time, _ in points})

    state = state_of(points)
    assert filled(state.level) == len(state.cells) <= MOST_CELLS
    assert state.level == 0 or filled(state.level - 1) > MOST_CELLS


@given(POINTS | MANY)
@example([(START_MS + n, n % 2) for n in range(2 * MOST_CELLS)])
def test_it_is_no_further_off_than_it_says(points: list[Point]) -> None:
    right, state = exactly(points), state_of(points)
    told = time_weighted.mean(state, 0)
    if right is None:
        assert told is None
        return
    assert told is not None
    assert abs(Fraction(told) - right) <= off_by(state) + Fraction(1, 2000)  # three places
    values = [value for _, value in points]
    if min(values) < max(values):
        error = time_weighted.error(state)
        assert 0 <= error <= 1
        assert Fraction(error) * (1 + Fraction(1, 2**50)) >= off_by(state) / (max(values) - min(values))
    if len({time for time, _ in points}) <= MOST_CELLS:
        assert told == round(right, 3)
        assert time_weighted.error(state) == 0


@pytest.mark.parametrize(("held", "peak"), [(0, 100), (100, 0)])
def test_how_far_off_it_may_be_is_reached(held: int, peak: int) -> None:
    """A value that holds nearly all of each cell, and at its end some events of another."""
    points = []
    for cell in range(MOST_CELLS):
        first_ms = ((START_MS >> 12) + cell) << 12
        peaks = [(first_ms + ms, peak) for ms in range(4_075, 4_095)]
        points += [(first_ms, held), *peaks, (first_ms + 4_095, peak)]
    right, state = exactly(points), state_of(points)
    told = time_weighted.mean(state, 0)
    assert right is not None
    assert told is not None
    assert (state.level, len(state.cells)) == (12, MOST_CELLS)
    assert 0.99 * off_by(state) < abs(Fraction(told) - right) <= off_by(state)


@pytest.mark.parametrize("every_ms", [1, 1_000, 60_000])
def test_of_events_that_are_evenly_spaced_it_is_right_however_many_they_are(every_ms: int) -> None:
    dice = random.Random(every_ms)
    points = [(START_MS + n * every_ms, dice.randrange(-(10**9), 10**9)) for n in range(1_440)]
    right, state = exactly(points), state_of(points)
    assert right is not None
    assert time_weighted.mean(state, 0) == pytest.approx(Decimal(float(right)), abs=1)
    assert 0 < time_weighted.error(state) < 1


def test_it_is_that_of_steps_and_not_that_of_events() -> None:
    points = [(0, 10), (1_000, 20), (10_000, 0)]
    assert time_weighted.mean(state_of(points), 0) == 19
    assert time_weighted.mean(state_of(points), 1) == Decimal("1.9")
    assert time_weighted.mean(state_of([(5, 7), (5, 9)]), 0) is None
    assert time_weighted.mean(NONE, 0) is None
    assert time_weighted.error(NONE) == 0


@given(st.lists(POINTS, min_size=1, max_size=4), st.randoms())
def test_over_several_keys_each_counts_by_how_long_it_was_known(
    keys: list[list[Point]], dice: random.Random
) -> None:
    states = list(map(state_of, keys))
    total: Area
    (total,) = PART.across(states, [range(len(states))])  # type: ignore[attr-defined]  # of few parts
    known = [(each, exactly(each)) for each in keys]
    times = [max(each)[0] - min(each)[0] for each, mean in known if mean is not None]
    told = time_weighted.mean(total, 0)
    if not times:
        assert told is None
        return
    means = [mean for _, mean in known if mean is not None]
    areas = [mean * time for mean, time in zip(means, times, strict=True)]
    right = sum(areas, Fraction(0)) / sum(times)
    assert told is not None
    assert abs(Fraction(told) - right) <= off_by(total) + Fraction(1, 2000)
    cut = dice.randrange(len(states) + 1)
    parts = [
        PART.across(some, [range(len(some))])[0]  # type: ignore[attr-defined]  # of few parts
        for some in (states[:cut], states[cut:])
    ]
    assert PART.merge(parts[:1], parts[1:]) == [total]


@given(st.lists(POINTS | MANY, max_size=4), st.data())
def test_damaged_bytes_are_named_or_are_another_state(logs: list[list[Point]], data: st.DataObject) -> None:
    column = list(map(state_of, logs))
    packed = PART.pack(column, start_ms=START_MS)
    assert PART.unpack(b"x" + packed + b"y", 1, len(column), start_ms=START_MS) == (column, len(packed) + 1)
    assert len(packed) <= 200 + len(column) * PART.most_bytes
    broken = bytearray(packed)
    for at in data.draw(st.lists(st.integers(0, len(packed) - 1), min_size=1, max_size=3)):
        broken[at] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    try:
        states, end = PART.unpack(cut, 0, len(column), start_ms=START_MS)
    except (ValueError, IndexError, TypeError):
        return
    assert len(states) == len(column)
    assert end <= len(broken)
    for state in states:
        area = area_of(state)
        assert area is None or area.least <= area.about <= area.most


def test_a_signal_that_no_events_have_is_damaged() -> None:
    one = state_of([(START_MS + n, n) for n in range(MOST_CELLS + 1)])
    assert one.level == 1
    good = one.cells[0]
    for bad in (
        good._replace(total=good.total + 1),
        good._replace(events=1),
        good._replace(value=good.high + 1),
        good._replace(high=good.high + 5, total=good.total + 50),
        good._replace(last_ms=good.last_ms + 1),
    ):
        data = PART.pack([one._replace(cells=(bad, *one.cells[1:]))], start_ms=START_MS)
        with pytest.raises(ValueError, match=r"a cell|cells|level"):
            PART.unpack(data, 0, 1, start_ms=START_MS)
    for state in (one._replace(cells=one.cells[2:]), one._replace(level=2), one._replace(level=64)):
        data = PART.pack([state], start_ms=START_MS)
        with pytest.raises(ValueError, match=r"level|cells"):
            PART.unpack(data, 0, 1, start_ms=START_MS)


DEFINITION = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
[[rollups]]
name = "levels"
source = "reading"
key = ["device_id"]
windows = ["1h"]
[rollups.measures]
value = ["time_weighted_mean", "mean"]
"""


def ask_levels(world: World, window: str, **asked: Any) -> Any:
    question = Question.parse(
        world.pipeline, rollup="levels", key={}, window=window, from_ms=0, to_ms=2**42, **asked
    )
    said = answer(Reads(world.store), question, Shape(), applied_ms=NOW_MS, now_ms=NOW_MS)
    at = said.names.index("value.time_weighted_mean")
    return [row[at] for row in said.rows], list(told_errors(said, question))


def world_of(readings: Sequence[tuple[str, int, float]]) -> World:
    """Return what stands in the table when *readings* came on three shards, a few at a time."""
    pipeline = parse_pipeline(DEFINITION, FilesIn(ROOT))
    schema, world = pipeline.sources["reading"].schema, World(pipeline, slice_events=5)
    for shard in range(3):
        events = [
            {"device_id": who, "metric": "m", "ts": START_MS + ms, "value": value, "tags": {}}
            for who, ms, value in readings[shard::3]
        ]
        records = [
            StreamRecord(f"shardId-{shard}", n, "k", schema.encode(event), ARRIVAL_MS)
            for n, event in enumerate(events, 1)
        ]
        for at in range(0, len(records), 7):
            assert invoke(world.sandbox(), records[at : at + 7]) is None
    assert world.quarantine.kept == []
    return world


def test_windows_of_a_key_go_on_and_keys_are_weighed_by_their_times() -> None:
    world = world_of(
        [("a", 0, 1.0), ("a", 3_000_000, 2.0), ("a", 4_200_000, 8.5), ("a", 4_800_000, 0.0), ("b", 0, 100.0)]
    )
    assert ask_levels(world, "1h") == ([1, None, Decimal("8.5")], ["value.time_weighted_mean: exact"])
    day = Decimal(3_000_000 + 2 * 1_200_000) + Decimal("8.5") * 600_000
    assert ask_levels(world, "1d") == (
        [round(day / 4_800_000, 12), None],
        ["value.time_weighted_mean: exact"],
    )
    # Of both keys each goes on from hour to hour, and they are added then: of all fields of the key it is as of none.
    for names, rows in (((), 1), (("device_id",), 2)):
        assert ask_levels(world, "1d", group_by=names) == (
            [round(day / 4_800_000, 12), None][:rows],
            ["value.time_weighted_mean: exact"],
        )


def test_an_answer_says_how_far_off_it_may_be() -> None:
    dice = random.Random(3)
    readings = [("a", dice.randrange(3_600_000), dice.gauss(20, 1)) for _ in range(400)]
    ((told,), (said,)) = ask_levels(world_of(readings), "1h")
    points = [(START_MS + ms, round(value * 10**9)) for _, ms, value in readings]
    right = exactly(points)
    assert right is not None
    share = float(said.split(": ")[1].split("%")[0]) / 100
    values = [value for _, _, value in readings]
    assert 0 < abs(float(told) - float(right) / 10**9) < share * (max(values) - min(values))
    assert said.endswith("% of the distance between the least and the greatest value at most")
    assert math.isclose(share, time_weighted.error(state_of(points)), abs_tol=1e-4)


def test_of_a_text_there_is_no_mean_over_time() -> None:
    text = DEFINITION.replace('value = ["time', 'metric = ["time')
    with pytest.raises(ConfigError, match="'metric' is string; a measure is"):
        parse_pipeline(text, FilesIn(ROOT))


def test_a_field_without_a_value_holds_nothing() -> None:
    groups = Groups([[], [5]], [[], [START_MS]], dense=False)
    states = PART.fold(groups)
    assert states[0] == NONE == PART.identity
    assert area_of(states[1]) == (0, 0, 0, 0, 5, 5)
    assert PART.merge([NONE, states[1]], [NONE, NONE]) == [NONE, states[1]]
