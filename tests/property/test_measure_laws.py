"""Every part is a monoid over columns of states, in the order of the log; every measure reads as its definition says."""

import statistics
from collections.abc import Sequence
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgage.measures.catalogue import MEASURES
from streamgage.measures.layout import EventColumns, FieldLayout, StateLayout, Table, plan_of
from streamgage.measures.parts import PARTS
from support.examples import examples

CALM = settings(max_examples=examples(100, whole=200), deadline=None)
ALL = tuple(MEASURES)
LAYOUT = StateLayout((FieldLayout.of("a", 9, ALL), FieldLayout.of("b", 0, ("sum", "last"))))
PLAN = plan_of(LAYOUT)
SCALED = st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-3, 3)
Event = tuple[tuple[int | None, int | None], int]
"""The values of fields a and b, and an event time: often the same."""
Events = list[Event]
EVENTS: st.SearchStrategy[Events] = st.lists(
    st.tuples(st.tuples(st.none() | SCALED, st.none() | SCALED), st.integers(0, 3)), min_size=1, max_size=8
)
LOGS = st.lists(EVENTS, min_size=1, max_size=4)
State = list[Any]


def columns_of(events: Events) -> EventColumns:
    values = tuple([event[0][at] for event in events] for at in (0, 1))
    return EventColumns(values, tuple(None in each for each in values), [ts for _, ts in events])


def fold(logs: Sequence[Events]) -> Table:
    """Return the states of *logs*, a key each."""
    groups, at = [], 0
    for each in logs:
        groups.append(range(at, at + len(each)))
        at += len(each)
    return PLAN.fold(columns_of(list(chain.from_iterable(logs))), groups)


def fold_naively(events: Events) -> State:
    """Fold by the definition of each part, an event after the other."""
    state: State = [len(events)]
    for at, parts in ((0, LAYOUT.fields[0].parts), (1, LAYOUT.fields[1].parts)):
        placed = [
            (ts, number, values[at]) for number, (values, ts) in enumerate(events) if values[at] is not None
        ]
        numbers: list[Any] = [each[2] for each in placed]
        first, last = min(placed, default=None), max(placed, default=None)
        found = {
            "n": len(numbers),
            "sum": sum(numbers),
            "sumsq": sum(number**2 for number in numbers),
            "min": min(numbers, default=None),
            "max": max(numbers, default=None),
            "first": first and (first[0], first[2]),
            "last": last and (last[0], last[2]),
        }
        state += [found[name] for name in parts]
    return state


def states(table: Table) -> list[State]:
    """Return *table* by key."""
    return [list(state) for state in zip(*table, strict=True)]


def merged(*tables: Table) -> Table:
    """Return tables of one key each, merged in the order of the log."""
    total = PLAN.empty()
    PLAN.add_keys(total, 1)
    for each in tables:
        PLAN.merge(total, [0], each, [0])
    return total


@CALM
@given(logs=LOGS)
def test_a_fold_of_columns_is_what_its_parts_mean(logs: list[Events]) -> None:
    assert states(fold(logs)) == [fold_naively(each) for each in logs]


@CALM
@given(one=EVENTS, two=EVENTS, three=EVENTS)
def test_merging_is_associative_and_is_the_fold_of_all_in_the_order_of_the_log(
    one: Events, two: Events, three: Events
) -> None:
    a, b, c = (fold([each]) for each in (one, two, three))
    assert merged(merged(a, b), c) == merged(a, merged(b, c)) == fold([one + two + three])


@CALM
@given(one=EVENTS, two=EVENTS)
def test_only_ties_of_first_and_last_know_which_came_before(one: Events, two: Events) -> None:
    later: Events = [(values, ts + 10) for values, ts in two]
    assert merged(fold([one]), fold([later])) == merged(fold([later]), fold([one]))


@CALM
@given(events=EVENTS)
def test_the_identity_changes_nothing_and_merge_leaves_its_right_side_alone(events: Events) -> None:
    state = fold([events])
    before = deepcopy(state)
    assert merged(merged(), state) == merged(state, merged()) == state == before
    target = merged(state)
    PLAN.merge(target, [0], fold([[((1, 1), 0)]]), [0])
    assert state == before


@CALM
@given(events=EVENTS, data=st.data())
def test_folding_some_of_the_events_of_a_batch_is_folding_them_alone(
    events: Events, data: st.DataObject
) -> None:
    chosen = sorted(data.draw(st.sets(st.integers(0, len(events) - 1), min_size=1)))
    assert PLAN.fold(columns_of(events), [chosen]) == fold([[events[ordinal] for ordinal in chosen]])


@CALM
@given(logs=LOGS, data=st.data())
def test_what_nests_is_joined_to_the_fold_of_all_of_it(logs: list[Events], data: st.DataObject) -> None:
    """Windows that nest in a larger one are of different times, so none of their events tie."""
    nested: list[Events] = [
        [(values, ts + 10 * number) for values, ts in each] for number, each in enumerate(logs)
    ]
    order = data.draw(st.permutations(range(len(nested))))
    cut = data.draw(st.integers(1, len(order)))
    picks = [sorted(pick) for pick in (order[:cut], order[cut:]) if pick]
    joined = PLAN.join(fold(nested), picks)
    assert states(joined) == [
        fold_naively(list(chain.from_iterable(nested[each] for each in pick))) for pick in picks
    ]


@CALM
@given(logs=LOGS, more=EVENTS)
def test_the_states_of_a_larger_window_share_nothing_with_those_that_nest_in_it(
    logs: list[Events], more: Events
) -> None:
    smaller = fold(logs)
    larger = PLAN.join(smaller, [[row] for row in range(len(logs))])
    before = deepcopy(smaller), deepcopy(larger)
    PLAN.merge(larger, range(len(logs)), fold([more] * len(logs)), range(len(logs)))
    assert smaller == before[0]
    PLAN.merge(smaller, range(len(logs)), fold([more] * len(logs)), range(len(logs)))
    assert larger == smaller


@CALM
@given(logs=LOGS, more=LOGS, data=st.data())
def test_keys_are_merged_each_in_its_place_and_the_others_stay(
    logs: list[Events], more: list[Events], data: st.DataObject
) -> None:
    table, later = fold(logs), fold(more)
    count = min(len(logs), len(more))
    at = data.draw(st.permutations(range(len(logs)))).copy()[:count]
    rows = data.draw(st.permutations(range(len(more)))).copy()[:count]
    PLAN.merge(table, at, later, rows)
    expected = list(logs)
    for place, row in zip(at, rows, strict=True):
        expected[place] = expected[place] + more[row]
    assert states(table) == [fold_naively(each) for each in expected]


@CALM
@given(logs=LOGS, more=LOGS)
def test_keys_that_are_added_begin_with_no_events(logs: list[Events], more: list[Events]) -> None:
    table = fold(logs)
    PLAN.add_keys(table, len(more))
    PLAN.merge(table, range(len(logs), len(logs) + len(more)), fold(more), range(len(more)))
    assert table == fold(logs + more)


@CALM
@given(values=st.lists(SCALED, min_size=1, max_size=9), scale=st.sampled_from([0, 3, 9, 18]))
def test_measures_read_as_the_statistics_module_computes_them(values: list[int], scale: int) -> None:
    layout = StateLayout((FieldLayout.of("x", scale, ALL),))
    plan = plan_of(layout)
    table = plan.fold(EventColumns((values,), (False,), [5] * len(values)), [range(len(values))])
    read = plan.read(table, 0, {"x": ALL})["x"]
    exact = [Fraction(value, 10**scale) for value in values]
    n = len(exact)
    assert (read["count"], fraction(read["sum"])) == (n, sum(exact, Fraction(0)))
    assert fraction(read["mean"]) == nearest(statistics.mean(exact), scale + 3)
    variance = nearest(statistics.variance(exact), 2 * scale + 3) if n > 1 else None
    assert fraction(read["variance"]) == variance
    assert fraction(read["min"]) == min(exact)
    assert fraction(read["max"]) == max(exact)
    assert fraction(read["first"]) == exact[0]  # the same instant: the order of the log
    assert fraction(read["last"]) == exact[-1]


@CALM
@given(events=EVENTS)
def test_first_and_last_go_by_event_time_then_by_place_in_the_log(events: Events) -> None:
    placed = sorted(
        (ts, number, values[0]) for number, (values, ts) in enumerate(events) if values[0] is not None
    )
    read = PLAN.read(fold([events]), 0, {"a": ("first", "last")})["a"]
    assert fraction(read["first"]) == (Fraction(placed[0][2], 10**9) if placed else None)
    assert fraction(read["last"]) == (Fraction(placed[-1][2], 10**9) if placed else None)


def test_of_no_values_count_and_sum_are_zero_and_the_rest_is_absent() -> None:
    read = PLAN.read(merged(), 0, {"a": ALL})["a"]
    assert read == {**dict.fromkeys(ALL), "count": 0, "sum": Decimal(0)}


@CALM
@given(
    st.lists(st.sampled_from(["a", "value", "x1"]), unique=True, max_size=3).flatmap(
        lambda names: st.tuples(
            *(
                st.builds(
                    FieldLayout.of,
                    st.just(name),
                    st.integers(0, 18),
                    st.lists(st.sampled_from(ALL), min_size=1).map(tuple),
                )
                for name in names
            )
        )
    )
)
def test_a_layout_survives_its_text(fields: tuple[FieldLayout, ...]) -> None:
    assert StateLayout.parse(StateLayout(fields).text) == StateLayout(fields)


def test_a_part_that_several_measures_need_is_kept_once() -> None:
    layout = FieldLayout.of("x", 0, ("variance", "mean", "sum", "count"))
    assert layout.parts == ("n", "sum", "sumsq")
    assert all(one != two for one, two in pairwise(layout.parts))


@pytest.mark.parametrize("name", ALL)
def test_a_measure_needs_no_part_but_those_it_names(name: str) -> None:
    measure = MEASURES[name]
    layout = StateLayout((FieldLayout.of("x", 2, (name,)),))
    assert set(layout.fields[0].parts) == set(measure.parts) <= PARTS.keys()
    events, groups = EventColumns(([150, 250],), (False,), [1, 2]), [[0, 1]]
    every = StateLayout((FieldLayout.of("x", 2, ALL),))
    alone, beside = (
        plan_of(each).read(plan_of(each).fold(events, groups), 0, {"x": (name,)}) for each in (layout, every)
    )
    assert alone == beside
    assert alone["x"][name] is not None


def fraction(value: int | Decimal | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def nearest(value: Fraction, places: int) -> Fraction:
    return Fraction(round(value * 10**places), 10**places)
