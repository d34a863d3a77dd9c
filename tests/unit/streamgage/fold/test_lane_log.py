"""Producer duplicates: what is seen of a lane's log, what is forgotten, and how it stands in an item."""

from contextlib import suppress
from copy import deepcopy
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.client.identity import Identity
from streamgage.fold.lane_log import LOG_BYTES, RANGES, Entry, LaneLog
from streamgage.formats.mark import Mark, decode_mark, encode_mark
from streamgage.limits import DYNAMODB_ITEM_BYTES, DYNAMODB_WRITE_UNIT_BYTES
from support.read_body import read_progress

ARRIVAL_MS = 1_700_000_000_000
FAR = 10**15 // RANGES - 1  # apart: counters of a mark have 15 digits


@pytest.mark.parametrize(
    "tags", [{}, {"sg": ""}, {"sg": "p"}, {"sg": ":1"}, {"sg": "p:"}, {"sg": "p:-1"}, {"sg": "p:٣"}, {"sg": "p:1e3"},
             {"sg": "p" * 65 + ":1"}, {"sg": "p:" + "9" * 16}, {"other": "p:1"}],
)  # fmt: skip
def test_a_tag_of_somebody_elses_making_is_no_mark(tags: dict[str, str]) -> None:
    assert decode_mark(tags) is None


def test_a_mark_survives_its_tag() -> None:
    assert decode_mark(encode_mark(Mark("a:b.7", 12))) == Mark("a:b.7", 12)


def test_an_identity_counts_each_group_without_gaps_and_shares_marks_with_no_other() -> None:
    identity, other = Identity(Random(1)), Identity(Random(2))
    marks = [decode_mark(identity.tags_for(group)) for group in ("s0", "s1", "s0", ("s0", "k"), "s0")]
    assert [mark.counter for mark in marks if mark] == [1, 1, 2, 1, 3]
    assert len({mark.producer for mark in marks if mark}) == 3
    assert decode_mark(other.tags_for("s0")) not in marks


def note(log: LaneLog, *marks: Mark | None) -> LaneLog:
    for mark in marks:
        log.append(Entry(0, ARRIVAL_MS, mark))
    return log


COUNTERS = st.lists(st.integers(1, 60), max_size=80)


@given(counters=COUNTERS)
@settings(deadline=None)
def test_a_counter_is_seen_exactly_if_it_came_before(counters: list[int]) -> None:
    log, naive = LaneLog(), set[int]()
    for counter in counters:
        assert log.saw(Mark("p", counter)) == (counter in naive)
        note(log, Mark("p", counter))
        naive.add(counter)
        log = LaneLog.of_body(log.to_body())
    ranges = next(iter(log.producers.values()), [])
    assert {n for low, high in ranges for n in range(low, high + 1)} == naive
    assert all(before[1] + 1 < after[0] for before, after in pairwise(ranges))
    assert log.dropped == len(counters) - len(naive)


def test_of_one_producer_the_lowest_ranges_are_forgotten_and_counted_and_no_unseen_event_is_dropped() -> None:
    log = note(LaneLog(), *(Mark("p", 2 * number) for number in range(RANGES + 5)))
    assert log.forgotten == 5
    assert not log.saw(Mark("p", 0))
    assert not any(log.saw(Mark("p", 2 * number + 1)) for number in range(RANGES + 5))
    assert log.saw(Mark("p", 2 * (RANGES + 4)))


def test_beyond_the_bound_the_producer_last_seen_longest_ago_is_forgotten_and_counted() -> None:
    log = note(LaneLog(), *(Mark(f"p{number}", 1) for number in range(900)), Mark("p0", 2))
    before = len(log.producers)
    note(log, *(Mark(f"q{number}", 1) for number in range(400)))
    assert log.forgotten == before + 400 - len(log.producers) > 0
    assert log.saw(Mark("p0", 1)), "it was seen again, after p1"
    assert [log.saw(Mark(f"p{number}", 1)) for number in (1, 899)] == [False, True]
    assert log.saw(Mark("q399", 1))


@pytest.mark.parametrize("name", ["{:030d}.7", "\N{BEAR FACE}" * 58 + "{:06d}"], ids=["own", "foreign emoji"])
@pytest.mark.parametrize("step", [2, FAR], ids=["near", "far"])
def test_no_number_of_producers_and_ranges_takes_more_than_the_bound(name: str, step: int) -> None:
    """1,000 producers of 32 ranges took 471 kB, and tags of 64 emoji 779 kB: then the lane failed for ever."""
    log = LaneLog()
    for gap in range(RANGES):
        for producer in range(1_000):
            note(log, Mark(name.format(producer), (gap + 1) * step))
        size = len(log.to_body())
        assert size <= LOG_BYTES + 40 <= 26 * DYNAMODB_WRITE_UNIT_BYTES <= DYNAMODB_ITEM_BYTES
    assert log.forgotten > 0
    assert len(log.producers) > LOG_BYTES // (RANGES * 20), "what fits is kept"


def test_a_thousand_producers_without_gaps_are_all_remembered() -> None:
    log = LaneLog()
    for counter in range(1, 4):
        note(log, *(Mark(f"p{number}", counter) for number in range(1_000)))
    assert (log.forgotten, len(log.producers)) == (0, 1_000)
    assert all(log.saw(Mark(f"p{number}", 2)) for number in range(1_000))


MARKS = st.none() | st.builds(Mark, st.sampled_from(["p", "q", "r", "🐻" * 64, "s"]), st.integers(1, 300))


@given(before=st.integers(1_200, 1_900), marks=st.lists(MARKS, max_size=40), cuts=st.sets(st.integers(0, 39)))
@settings(deadline=None, max_examples=60)
def test_however_the_log_is_cut_the_same_is_known_and_the_same_forgotten(
    before: int, marks: list[Mark | None], cuts: set[int]
) -> None:
    """A verdict must be a function of the lane's log, so forgetting may not wait for the end of a batch."""
    whole = note(LaneLog(), *(Mark(f"f{number}", 1) for number in range(before // 2)))
    cut = LaneLog.of_body(whole.to_body())
    seen = []
    for at, mark in enumerate(marks):
        seen.append((whole.saw(mark), cut.saw(mark)))
        note(whole, mark, Mark(f"g{at}", 1))
        note(cut, mark, Mark(f"g{at}", 1))
        if at in cuts:
            cut = LaneLog.of_body(cut.to_body())
    assert all(one == other for one, other in seen)
    assert cut == whole
    assert list(cut.producers) == list(whole.producers), "the order in which they will be forgotten"


LOGS = st.builds(
    lambda marks, begin_ms: note(LaneLog(begin_ms=begin_ms), *marks),
    st.lists(MARKS, max_size=60),
    st.sampled_from([0, 1, ARRIVAL_MS]),
)


@given(log=LOGS)
def test_a_log_survives_its_body_which_others_can_read(log: LaneLog) -> None:
    assert LaneLog.of_body(log.to_body()) == log
    assert read_progress(log.to_body()) == (log.applied_ms, log.begin_ms, log.dropped, log.forgotten)


@given(log=LOGS, at=st.integers(0, 10**6), bits=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_body_is_another_log_or_named(log: LaneLog, at: int, bits: int, cut: bool) -> None:  # noqa: FBT001 - drawn
    body = bytearray(log.to_body())
    if cut:
        with pytest.raises(ValueError, match=r"cut short|left over"):
            LaneLog.of_body(bytes(body[: at % len(body)]))
        return
    body[at % len(body)] ^= bits
    with suppress(ValueError):
        LaneLog.of_body(bytes(body))


@pytest.mark.parametrize("body", [b"\x01" + b"\xff" * 300_000, b"\x01" + b"\xff" * 90 + b"\x01"])
def test_a_body_of_endless_numbers_is_damaged_and_costs_nothing(body: bytes) -> None:
    with pytest.raises(ValueError, match="does not end"):
        LaneLog.of_body(body)


def test_a_body_of_a_newer_version_says_so() -> None:
    with pytest.raises(ValueError, match="a newer streamgage"):
        LaneLog.of_body(b"\x02" + LaneLog().to_body()[1:])


@given(log=LOGS, mark=MARKS)
def test_a_copy_shares_nothing(log: LaneLog, mark: Mark | None) -> None:
    before = deepcopy(log)
    note(log.copy(), mark, Mark("new", 1))
    assert log == before


@given(one=LOGS, other=LOGS, mark=st.builds(Mark, st.sampled_from("pqrs"), st.integers(1, 300)))
@settings(deadline=None)
def test_who_inherits_knows_what_either_knew_and_begins_where_the_later_began(
    one: LaneLog, other: LaneLog, mark: Mark
) -> None:
    child, before = LaneLog(), deepcopy((one, other))
    child.inherit(one)
    child.inherit(other)
    if not child.forgotten:
        assert child.saw(mark) == (one.saw(mark) or other.saw(mark))
    assert child.begin_ms == max(one.begin_ms, other.begin_ms)
    assert (child.applied_ms, child.dropped) == (0, 0), "that is the parents' own"
    note(child, mark)
    assert (one, other) == before
