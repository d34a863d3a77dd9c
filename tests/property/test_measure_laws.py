"""Every measure is a commutative monoid, and is read as its definition says."""

import statistics
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from streamgage.measures.monoids import (
    MEASURES,
    FieldColumns,
    FieldLayout,
    Place,
    State,
    StateLayout,
    compile_layout,
    read_measures,
)

from streamgage.fold.items import decode_state, encode_state

CALM = settings(max_examples=200, deadline=None)
LAYOUT = StateLayout((FieldLayout.of("a", 9, MEASURES), FieldLayout.of("b", 0, ("sum", "last"))))
MONOID = compile_layout(LAYOUT)
SCALED = st.integers(-(10**38) + 1, 10**38 - 1)
Events = list[tuple[tuple[int | None, int | None], int]]
EVENTS: st.SearchStrategy[Events] = st.lists(
    st.tuples(st.tuples(st.none() | SCALED, st.none() | SCALED), st.integers(0, 3)), min_size=0, max_size=8
)


def columns_of(events: Events, place: Place) -> FieldColumns:
    values = tuple([event[0][at] for event in events] for at in (0, 1))
    return FieldColumns(values, tuple(None in each for each in values), [ts for _, ts in events], place)


def fold(events: Events, first_sequence: int) -> State:
    if not events:
        return MONOID.identity()
    columns = columns_of(events, lambda number: (first_sequence + number // 2, number % 2))
    return MONOID.fold(columns, range(len(events)))


def fold_naively(events: Events, first_sequence: int) -> State:
    """Fold by the definition of each component, an event after the other."""
    state: State = [len(events)]
    for at, components in ((0, LAYOUT.fields[0].components), (1, LAYOUT.fields[1].components)):
        placed = [
            [ts, first_sequence + number // 2, number % 2, values[at]]
            for number, (values, ts) in enumerate(events)
            if values[at] is not None
        ]
        numbers: list[Any] = [each[3] for each in placed]
        found = {
            "n": len(numbers),
            "sum": sum(numbers),
            "sumsq": sum(number**2 for number in numbers),
            "min": min(numbers, default=None),
            "max": max(numbers, default=None),
            "first": min(placed, default=None),
            "last": max(placed, default=None),
        }
        state += [found[name] for name in components]
    return state


def merge(*states: State) -> State:
    total = MONOID.identity()
    for state in states:
        MONOID.merge(total, state)
    return total


@CALM
@given(one=EVENTS, two=EVENTS, three=EVENTS)
def test_merge_is_associative_and_commutative(one: Events, two: Events, three: Events) -> None:
    a, b, c = (fold(each, 10**55 + 100 * n) for n, each in enumerate((one, two, three)))
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == merge(c, a, b)
    assert merge(a, b) == merge(b, a)


@CALM
@given(events=EVENTS)
def test_the_identity_changes_nothing_and_merge_leaves_its_right_side_alone(events: Events) -> None:
    state = fold(events, 7)
    before = deepcopy(state)
    assert merge(MONOID.identity(), state) == merge(state, MONOID.identity()) == state == before
    target = merge(state)
    MONOID.merge(target, fold([((1, 1), 0)], 999))
    assert state == before


@CALM
@given(events=EVENTS.filter(len))
def test_a_fold_of_columns_is_what_its_components_mean(events: Events) -> None:
    assert fold(events, 10**55) == fold_naively(events, 10**55)


@CALM
@given(events=EVENTS.filter(len), data=st.data())
def test_folding_some_of_the_events_of_a_batch_is_folding_them_alone(
    events: Events, data: st.DataObject
) -> None:
    chosen = sorted(data.draw(st.sets(st.integers(0, len(events) - 1), min_size=1)))
    some = columns_of(events, lambda number: (7, number))
    alone = columns_of([events[ordinal] for ordinal in chosen], lambda number: (7, chosen[number]))
    assert MONOID.fold(some, chosen) == MONOID.fold(alone, range(len(chosen)))


@CALM
@given(one=EVENTS, two=EVENTS)
def test_folding_all_events_equals_merging_two_halves(one: Events, two: Events) -> None:
    place = [(100 + n // 2, n % 2) for n in range(len(one))] + [
        (200 + n // 2, n % 2) for n in range(len(two))
    ]
    whole = one + two
    state = (
        MONOID.fold(columns_of(whole, place.__getitem__), range(len(whole))) if whole else MONOID.identity()
    )
    assert state == merge(fold(one, 100), fold(two, 200))


@CALM
@given(events=EVENTS)
def test_a_state_survives_its_text(events: Events) -> None:
    state = fold(events, 10**128)
    assert decode_state(encode_state(state)) == state


@CALM
@given(values=st.lists(SCALED, max_size=9), scale=st.sampled_from([0, 3, 9, 18]))
def test_measures_read_as_the_statistics_module_computes_them(values: list[int], scale: int) -> None:
    layout = StateLayout((FieldLayout.of("x", scale, MEASURES),))
    monoid = compile_layout(layout)
    columns = FieldColumns((values,), (False,), [5] * len(values), lambda number: (number, 0))
    state = monoid.fold(columns, range(len(values))) if values else monoid.identity()
    read = read_measures(state, layout, {"x": MEASURES})["x"]
    exact = [Fraction(value, 10**scale) for value in values]
    n = len(exact)
    assert (read["count"], fraction(read["sum"])) == (n, sum(exact, Fraction(0)))
    assert fraction(read["mean"]) == (nearest(statistics.mean(exact), scale + 3) if n else None)
    variance = nearest(statistics.variance(exact), 2 * scale + 3) if n > 1 else None
    assert fraction(read["variance"]) == variance
    assert fraction(read["min"]) == min(exact, default=None)
    assert fraction(read["max"]) == max(exact, default=None)
    assert fraction(read["first"]) == (
        exact[0] if n else None
    )  # the same instant: the order of sequence numbers
    assert fraction(read["last"]) == (exact[-1] if n else None)


@CALM
@given(events=EVENTS)
def test_first_and_last_go_by_event_time_then_by_place_in_the_log(events: Events) -> None:
    state = fold(events, 10**55)
    placed = sorted(
        (ts, number, values[0]) for number, (values, ts) in enumerate(events) if values[0] is not None
    )
    read = read_measures(state, LAYOUT, {"a": ("first", "last")})["a"]
    assert fraction(read["first"]) == (Fraction(placed[0][2], 10**9) if placed else None)
    assert fraction(read["last"]) == (Fraction(placed[-1][2], 10**9) if placed else None)


def test_of_no_values_count_and_sum_are_zero_and_the_rest_is_absent() -> None:
    read = read_measures(MONOID.identity(), LAYOUT, {"a": MEASURES})["a"]
    assert read == {**dict.fromkeys(MEASURES), "count": 0, "sum": Decimal(0)}


@CALM
@given(
    st.lists(st.sampled_from(["a", "value", "x1"]), unique=True, max_size=3).flatmap(
        lambda names: st.tuples(
            *(
                st.builds(
                    FieldLayout.of,
                    st.just(name),
                    st.integers(0, 18),
                    st.lists(st.sampled_from(MEASURES), min_size=1).map(tuple),
                )
                for name in names
            )
        )
    )
)
def test_a_layout_survives_its_text(fields: tuple[FieldLayout, ...]) -> None:
    assert StateLayout.parse(StateLayout(fields).text) == StateLayout(fields)


def test_a_component_that_several_measures_need_is_kept_once() -> None:
    layout = FieldLayout.of("x", 0, ("variance", "mean", "sum", "count"))
    assert layout.components == ("n", "sum", "sumsq")
    assert all(one != two for one, two in pairwise(layout.components))


def fraction(value: int | Decimal | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def nearest(value: Fraction, places: int) -> Fraction:
    return Fraction(round(value * 10**places), 10**places)
