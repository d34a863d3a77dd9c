"""Points that clients counted come to the histogram of the values behind them, whatever their scales, order and cuts."""

import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgage.measures import histogram
from streamgage.measures.histogram import LOWEST_SCALE, MOST_BUCKETS, SCALE, Histogram
from streamgage.measures.histogram_points import HIGHEST_SCALE, MOST_COUNTS, Point, point_of
from streamgage.measures.parts import HISTOGRAM, Groups
from streamgage.measures.sketch_parts import HistogramPart
from support.histograms import counted, index_of

LEAST, MOST = 2.0**-1022, 1.7e308
AMOUNTS = (
    st.floats(LEAST, MOST)
    | st.floats(0.01, 100)
    | st.integers(-40, 40).map(lambda n: 2.0**n)
    | st.integers(1, 300).map(float)
)
VALUES = AMOUNTS | AMOUNTS.map(lambda value: -value) | st.just(0.0)
NEAR = st.floats(0.9, 1.1)  # what a run of the finest scale may hold
POINTS = st.lists(
    st.tuples(st.lists(VALUES, max_size=12), st.integers(LOWEST_SCALE, 1))
    | st.tuples(st.lists(AMOUNTS.filter(lambda value: 1e-9 < value < 1e9), max_size=12), st.integers(2, 6))
    | st.tuples(st.lists(st.just(1.0) | st.floats(1.0, 1.0001), max_size=12), st.integers(6, HIGHEST_SCALE))
    | st.tuples(st.just([0.0]), st.integers(LOWEST_SCALE, HIGHEST_SCALE)),
    max_size=10,
)
Points = list[tuple[list[float], int]]


def of_values(points: Points) -> Histogram:
    """Return the state that is right: of all values one by one, at the greatest scale at which they may stand."""
    values = [value for each, _ in points for value in each]
    scale = min([SCALE, *(scale for each, scale in points if any(each))])
    while True:
        places = Counter(2 * index_of(abs(value), scale) + (value < 0) for value in values if value)
        if len(places) <= MOST_BUCKETS:
            break
        scale -= 1
    ordered = tuple(sorted(places))
    return Histogram(scale, values.count(0), ordered, tuple(places[each] for each in ordered))


def folded(points: Sequence[Point]) -> Histogram:
    groups: Any = [list(points)]
    (state,) = HistogramPart().fold(Groups(groups, (), dense=bool(points), scale=HISTOGRAM))
    assert isinstance(state, Histogram)
    return state


@given(POINTS, st.lists(st.integers(0, 10), max_size=4), st.randoms())
def test_points_come_to_the_histogram_of_their_values_whatever_was_merged_first(
    points: Points, bounds: list[int], dice: random.Random
) -> None:
    shuffled = dice.sample(points, len(points))
    made = [point_of(counted(values, scale)) for values, scale in shuffled]
    cuts = [0, *sorted(min(each, len(made)) for each in bounds), len(made)]
    parts = [folded(made[first:last]) for first, last in pairwise(cuts)]
    part = HistogramPart()
    while len(parts) > 1:
        one, other = parts.pop(dice.randrange(len(parts))), parts.pop(dice.randrange(len(parts)))
        parts += part.merge([one], [other]) if dice.random() < 0.5 else part.join([one, other], [[0, 1]])
    right = of_values(points)
    assert parts == [right]
    data = part.pack(parts, start_ms=0)
    assert part.unpack(data, 0, 1, start_ms=0) == ([right], len(data))


@pytest.mark.parametrize("seed", range(4))
def test_points_far_apart_lower_the_scale_by_as_much_as_they_must(seed: int) -> None:
    dice = random.Random(seed)
    points = [
        ([2.0 ** dice.uniform(low, low + 3) for _ in range(40)], dice.randint(3, 7))
        for low in range(-60, 60, 12)
    ]
    right = of_values(points)
    assert right.scale < SCALE
    assert folded([point_of(counted(*each)) for each in points]) == right


@given(st.lists(st.integers(-300, 300), max_size=40), st.sampled_from([5, 6, 7]))
def test_values_that_a_client_counted_come_to_what_they_come_to_one_by_one(
    values: list[int], scale: int
) -> None:
    point = point_of(counted([float(each) for each in values], scale))
    assert folded([point]) == histogram.of_values(values, 0)


@given(POINTS, st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_no_further_from_the_values_behind_them_than_they_say(
    points: Points, fraction: float
) -> None:
    values = sorted(value for each, _ in points for value in each)
    state = folded([point_of(counted(*each)) for each in points])
    told = histogram.quantile(state, fraction)
    if not values:
        assert told is None
        return
    exact = values[max(-int(-fraction * len(values) // 1), 1) - 1]
    assert told is not None
    assert abs(told - exact) <= abs(exact) * (histogram.relative_error(state.scale) * (1 + 1e-9) + 1e-12)


@pytest.mark.parametrize("scale", [*range(LOWEST_SCALE, SCALE + 1), HIGHEST_SCALE])
@pytest.mark.parametrize("value", [MOST, 1.1 * 2.0**1023, 1.01 * 2.0**1022, LEAST, 2.0**-1021, 1.0, 2.0])
def test_at_every_scale_the_ends_of_the_doubles_are_as_near_as_is_told(value: float, scale: int) -> None:
    for each in (value, -value):
        state = folded([point_of(counted([each], scale))])
        told = histogram.quantile(state, 0.5)
        assert told is not None
        assert abs(told - each) <= abs(each) * histogram.relative_error(state.scale) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("scale", "least", "most"),
    [(20, -1074 * 2**20 - 1, 2**30 - 1), (0, -1075, 1023), (-1, -538, 511), (-10, -2, 0)],
)
def test_the_first_and_the_last_bucket_in_which_a_double_lies(scale: int, least: int, most: int) -> None:
    def taken(index: int) -> bool:
        run, none = {"offset": index, "bucketCounts": [1]}, {"offset": 0, "bucketCounts": []}
        value = {"count": 1, "scale": scale, "zeroCount": 0, "zeroThreshold": 0.0}
        try:
            point_of({**value, "positive": none, "negative": run})
        except ValueError:
            return False
        return True

    assert [taken(each) for each in (least - 1, least, most, most + 1)] == [False, True, True, False]


def test_bounds_end_their_bucket_as_opentelemetry_has_it() -> None:
    assert [index_of(each, 0) for each in (0.5, 1.0, 1.5, 2.0, 2.5)] == [-2, -1, 0, 0, 1]
    assert [index_of(each, -1) for each in (1.0, 2.0, 4.0, 4.5)] == [-1, 0, 0, 1]
    assert [index_of(2.0, scale) for scale in (20, 1)] == [2**20 - 1, 1]
    bounds = [histogram.bound(index, SCALE) for index in range(-40, 40)]
    for value in (0.7, 1.0, 1.1, 2.0):
        assert index_of(value, SCALE) == bisect_left(bounds, value) - 1 - 40


@given(st.integers(-(2**31), 2**31 - 1), st.integers(LOWEST_SCALE, HIGHEST_SCALE))
def test_a_bucket_is_taken_where_a_double_may_lie_in_it_and_fits_the_state(index: int, scale: int) -> None:
    run = {"offset": index, "bucketCounts": [1]}
    value = {
        "count": 1, "scale": scale, "zeroCount": 0, "zeroThreshold": 0.0,
        "positive": run, "negative": {"offset": 0, "bucketCounts": []},
    }  # fmt: skip
    low, high = index * 2.0**-scale, (index + 1) * 2.0**-scale
    if low < 1024 and high >= -1074:
        assert point_of(value).scale == min(scale, SCALE)
    else:
        with pytest.raises(ValueError, match="beyond all doubles"):
            point_of(value)


def test_the_lowest_scale_holds_all_that_any_points_count() -> None:
    runs = [
        {"offset": offset, "bucketCounts": [1] * MOST_COUNTS}
        for offset in range(-1074 * 32, 1024 * 32 - MOST_COUNTS, MOST_COUNTS)
    ]
    points = [
        point_of(
            {
                "count": 2 * MOST_COUNTS,
                "scale": 5,
                "zeroCount": 0,
                "zeroThreshold": 0.0,
                "positive": run,
                "negative": run,
            }
        )
        for run in runs
    ]
    state = folded(points)
    assert len(state.places) <= MOST_BUCKETS
    assert state.total == 2 * MOST_COUNTS * len(runs)


def test_the_largest_states_of_points_take_about_what_their_part_says_and_no_more() -> None:
    """By it an item is kept below what DynamoDB holds: one more key would be written never, and its batch with it."""
    part, keys = HistogramPart(), 100
    least, most = index_of(LEAST, SCALE), index_of(MOST, SCALE)
    far = [*range(least, least + MOST_BUCKETS // 2), *range(most - MOST_BUCKETS // 2, most)]

    def run(indices: Sequence[int], count: int) -> dict[str, Any]:
        at = dict.fromkeys(indices, count)
        return {
            "offset": indices[0],
            "bucketCounts": [at.get(each, 0) for each in range(indices[0], indices[-1] + 1)],
        }

    def with_runs(half: Sequence[int], count: int) -> Point:
        nothing = {"offset": 0, "bucketCounts": []}
        held = {"count": len(half) * count, "scale": SCALE, "zeroCount": 0, "zeroThreshold": 0.0}
        return point_of({**held, "positive": run(half, count), "negative": nothing})

    halves = far[: MOST_BUCKETS // 2], far[MOST_BUCKETS // 2 :]
    large = (2**53 - 1) // len(halves[0])
    state = histogram.united([with_runs(half, count) for half in halves for count in (1, large)])
    assert (state.scale, len(state.places)) == (SCALE, MOST_BUCKETS)
    many = state._replace(zeros=2**72 - 1, counts=tuple(2**72 - 1 - at for at in range(MOST_BUCKETS)))
    packed = part.pack([many, state] * (keys // 2), start_ms=0)
    assert part.unpack(packed, 0, keys, start_ms=0)[0] == [many, state] * (keys // 2)
    assert 0.9 * keys * part.most_bytes < len(packed) <= keys * part.most_bytes + 200
