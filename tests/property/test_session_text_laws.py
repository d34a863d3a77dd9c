"""Entry and exit pages: the same bytes under any cut and order, and what a few lines of plain Python find."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from processors.query.answer import Shape, answer
from processors.query.question import Question
from processors.query.render import to_json
from processors.query.shape import Column
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from streamgage.fold.cells import _MOST_BYTES
from streamgage.measures import session_texts
from streamgage.measures.distinct import Tokens
from streamgage.measures.layout import FieldLayout, StateLayout, plan_of
from streamgage.measures.named import measure_named
from streamgage.measures.packing import pack, varint
from streamgage.measures.parts import TEXT, Groups
from streamgage.measures.session_texts import SHOWN, SessionTextsPart, shortened
from streamgage.measures.sessions import MOST_WITH_TEXTS
from streamgage.measures.sketch_parts import sketch_named
from streamgage.records import StreamRecord
from support.fakes import NOW_MS, Reads, World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DAY_MS

Event = tuple[int, str]
START_MS = ARRIVAL_MS // DAY_MS * DAY_MS
TIMES = st.integers(0, 3 * 3_600_000) | st.integers(0, 20).map(lambda n: n * 1_800_000)
TEXTS = (
    st.sampled_from(
        ["", "/", "/a", "/a/b", "/é" * 40, "/" + "x" * 120 + "1", "/" + "x" * 120 + "2", "\ud800"]
    )
    | st.text(max_size=3)
    | st.text(min_size=20, max_size=110)
)
EVENTS = st.lists(st.tuples(TIMES.map(lambda ms: START_MS + ms), TEXTS), max_size=40)


def ends_naively(events: Sequence[Event], gap_ms: int, *, is_exit: bool) -> list[tuple[int, int, str]]:
    """Cut the events where a pause is longer than the gap; of one instant the least text enters, the greatest leaves."""
    runs: list[list[Event]] = []
    for event in sorted((time, shortened(text)) for time, text in events):
        if not runs or event[0] - runs[-1][-1][0] > gap_ms:
            runs.append([])
        runs[-1].append(event)
    return [(run[0][0], run[-1][0], run[-1][1] if is_exit else run[0][1]) for run in runs]


def part_of(name: str) -> SessionTextsPart:
    part = sketch_named(name)
    assert isinstance(part, SessionTextsPart)
    return part


def folded(part: SessionTextsPart, events: Sequence[Event]) -> Any:
    values: Any = [[text for _, text in events]]
    return part.fold(Groups(values, [[time for time, _ in events]], dense=True, scale=TEXT))[0]


@given(
    EVENTS,
    st.lists(st.integers(0, 40), max_size=6),
    st.randoms(),
    st.sampled_from([1, 600, 1_800]),
    st.booleans(),
)
def test_entries_and_exits_are_the_same_whatever_came_late_and_how_often(
    events: list[Event],
    bounds: list[int],
    dice: random.Random,
    gap_s: int,
    is_exit: bool,  # noqa: FBT001 - drawn
) -> None:
    part = part_of(f"{'exit' if is_exit else 'entry'}{gap_s}")
    again = dice.sample(events, len(events)) + events[: len(events) // 3]
    places = [0, *sorted(min(each, len(again)) for each in bounds), len(again)]
    states = [folded(part, again[first:last]) for first, last in pairwise(places)]
    while len(states) > 1:
        one, other = states.pop(dice.randrange(len(states))), states.pop(dice.randrange(len(states)))
        states += part.merge([one], [other])
    assert states == [tuple(ends_naively(events, gap_s * 1000, is_exit=is_exit))]
    whole = folded(part, events)
    assert part.pack(states, start_ms=START_MS) == part.pack([whole], start_ms=START_MS)
    assert part.join([*states, ()], [[0, 1], [1]]) == [whole, ()]


def test_a_late_event_that_bridges_two_sessions_corrects_both() -> None:
    entry, exit_ = part_of("entry1800"), part_of("exit1800")
    minutes = [(0, "/in"), (20, "/out"), (60, "/again"), (61, "/last")]
    events = [(START_MS + minute * 60_000, text) for minute, text in minutes]
    late = [(START_MS + 40 * 60_000, "/between")]
    before = [[text for *_, text in folded(part, events)] for part in (entry, exit_)]
    assert before == [["/in", "/again"], ["/out", "/last"]]
    (after,), (left,) = (part.merge([folded(part, events)], [folded(part, late)]) for part in (entry, exit_))
    assert after == ((START_MS, START_MS + 61 * 60_000, "/in"),)
    assert left == ((START_MS, START_MS + 61 * 60_000, "/last"),)


@pytest.mark.parametrize("turned", [False, True])
def test_of_one_instant_the_least_text_enters_and_the_greatest_leaves(
    turned: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Whichever of two batches lasts longer; and a pause as long as the gap does not end a session."""
    gap_ms = 1_800_000
    batches = [[(START_MS, "/b"), (START_MS + gap_ms, "/c")], [(START_MS, "/a" if turned else "/b2")]]
    batches[1].append((START_MS + 2 * gap_ms, "/y"))
    batches += [[(START_MS + 2 * gap_ms, "/z" if turned else "/x")]]
    events = [event for batch in batches for event in batch]
    for name in ("entry1800", "exit1800"):
        part = part_of(name)
        merged: Any = [()]
        for batch in reversed(batches) if turned else batches:
            merged = part.merge(merged, [folded(part, batch)])
        assert merged == [tuple(ends_naively(events, gap_ms, is_exit=name == "exit1800"))]
        assert len(merged[0]) == 1
    shorter, longer = ((START_MS, START_MS, "/b"),), ((START_MS, START_MS + 5, "/a"),)
    assert part_of("entry1800").merge([shorter], [longer]) == [longer]


@given(TEXTS | st.text(min_size=40, max_size=110), TEXTS | st.text(min_size=40, max_size=110))
def test_a_long_text_is_shortened_and_taken_for_no_other(one: str, two: str) -> None:
    short, data = shortened(one), one.encode("utf-8", "surrogatepass")
    size = len(short.encode("utf-8", "surrogatepass"))
    if len(data) <= 96:
        assert short == one
    else:
        assert 96 < size <= 103
        assert one.startswith(short.partition("…")[0])
        assert len(short.rpartition("…")[2]) == 11
    assert (shortened(one) == shortened(two)) is (one == two)


def test_long_texts_that_begin_alike_are_counted_apart() -> None:
    long = "/" + "x" * 100
    part = part_of("entry60")
    events = [(START_MS + n * 100_000, f"{long}{n % 2}") for n in range(5)]
    told = json.loads(session_texts.shown(folded(part, events)))
    assert sorted(told["top"].values()) == [2, 3]


def test_what_is_remembered_of_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text may be as long as a record: twenty thousand of them would end a sandbox."""
    remembered, tokens = session_texts._Shortened(), Tokens()
    for number in range(30):
        text = f"{number}" + "x" * 2_000
        assert remembered[text] == shortened(text)
        assert tokens[text] == tokens[text]
    assert (len(remembered), len(tokens)) == (0, 0)
    monkeypatch.setattr(session_texts, "_REMEMBERED", 5)
    assert [remembered[f"/{number}"] for number in range(30)] == [f"/{number}" for number in range(30)]
    assert len(remembered) <= 5


def test_no_more_texts_are_told_one_by_one_than_are_said_and_the_rest_in_numbers() -> None:
    counts = Counter({f"/{n:02d}": n // 2 + 1 for n in range(30)})
    told = json.loads(session_texts.shown(counts))
    ranked = sorted(counts, key=lambda each: (-counts[each], each))
    assert list(told["top"]) == ranked[:SHOWN]
    rest = ranked[SHOWN:]
    assert told["others"] == {"values": len(rest), "sessions": sum(counts[each] for each in rest)}
    assert json.loads(session_texts.shown(())) == {"top": {}, "others": {"values": 0, "sessions": 0}}
    assert json.loads(session_texts.shown(Counter({'/"\n\ud800é': 1})))["top"] == {'/"\n\ud800é': 1}
    session_texts.shown(Counter({"/\ud800é": 1})).encode()


def test_more_different_texts_than_an_answer_holds_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_texts, "MOST_TEXTS", 3)
    part = part_of("exit60")
    states = [((START_MS, START_MS, f"/{n}"),) for n in range(4)]
    assert part.across(states, [[0, 1, 2]])[0].total() == 3
    with pytest.raises(ConfigError, match="more than 3 different values: narrow"):
        part.across(states, [[0, 1, 2, 3]])


@given(st.lists(EVENTS, max_size=5), st.data())
def test_damaged_bytes_are_named_or_are_another_state(logs: list[list[Event]], data: st.DataObject) -> None:
    part = part_of(data.draw(st.sampled_from(["entry1800", "exit60"])))
    column = [folded(part, each) for each in logs]
    packed = part.pack(column, start_ms=START_MS)
    assert part.unpack(b"x" + packed + b"y", 1, len(column), start_ms=START_MS) == (column, len(packed) + 1)
    assert len(packed) <= 70 + sum(part.most_bytes_in(DAY_MS) for _ in column)
    broken = bytearray(packed)
    for at in data.draw(st.lists(st.integers(0, len(packed) - 1), min_size=1, max_size=3)):
        broken[at] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    try:
        states, end = part.unpack(cut, 0, len(column), start_ms=0)
    except (ValueError, IndexError, TypeError):
        return
    assert len(states) == len(column)
    assert end <= len(broken)


def test_what_no_sessions_have_is_damaged() -> None:
    part = part_of("entry60")
    good = b"".join(
        (pack([2]), pack([0, 100_000]), pack([0, 5]), varint(2), pack([1, 1]), b"ab", pack([0, 1]))
    )
    assert part.unpack(good, 0, 1, start_ms=0) == ([((0, 0, "a"), (100_000, 100_005, "b"))], len(good))
    for old, new, said in (
        (b"ab", b"ba", "not in order"),
        (b"ab", b"aa", "not in order"),
        (pack([0, 1]), pack([0, -1]), "a text that is none"),
        (pack([0, 1]), pack([0, 2]), "a text that is none"),
        (pack([0, 5]), pack([0, -5]), "ends before it begins"),
        (pack([0, 100_000]), pack([0, 60_000]), "not apart"),
        (pack([0, 100_000]), pack([100_000, 0]), "not apart"),
        (varint(2), varint(3), "more texts than sessions"),
        (pack([1, 1]), pack([1, 120]), "too long, or cut off"),
        (b"ab", b"\xff\xfe", "codec"),
        (pack([2]), pack([2_000_000]), "more sessions"),
    ):
        at = good.rindex(old) if new != varint(3) else len(pack([2]) + pack([0, 100_000]) + pack([0, 5]))
        with pytest.raises(ValueError, match=said):
            part.unpack(good[:at] + new + good[at + len(old) :], 0, 1, start_ms=0)


def test_a_key_is_thought_to_take_as_much_as_its_window_may_hold() -> None:
    """Else so many keys would share an item that it could grow beyond what DynamoDB holds."""
    for measure in ("entry", "sessions"):
        plan = plan_of(StateLayout((FieldLayout.of("page", TEXT, (measure,)),)))
        day, week, ever = (plan.most_key_bytes(size_ms) for size_ms in (DAY_MS, 7 * DAY_MS, 9_999 * DAY_MS))
        assert 6.5 * day < week < 7 * day
        assert week < ever < _MOST_BYTES


def test_as_many_sessions_as_a_window_may_have_fit_into_an_item_and_no_more_are_read() -> None:
    part, longest_ms = part_of("exit1"), measure_named("exit@1s").longest_ms
    assert longest_ms == MOST_WITH_TEXTS * 1000
    events = [(START_MS + n * 1001, "é" * 30 + str(n)) for n in range(longest_ms // 1001 + 1)]
    (column,) = [[folded(part, events)]]
    packed = part.pack(column, start_ms=START_MS)
    assert len(column[0]) <= MOST_WITH_TEXTS
    assert len(packed) <= part.most_bytes_in(longest_ms) + 70 < _MOST_BYTES
    assert part.unpack(packed, 0, 1, start_ms=START_MS) == (column, len(packed))
    many = [(START_MS + n * 1001, "") for n in range(MOST_WITH_TEXTS + 1)]
    with pytest.raises(ValueError, match="more sessions"):
        part.unpack(part.pack([folded(part, many)], start_ms=START_MS), 0, 1, start_ms=START_MS)


VISITS = """
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"
[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1h", "1d"]
[rollups.measures]
page = ["entry", "exit", "sessions", "entry@10m"]
"""
VIEWS = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    TIMES.map(lambda ms: START_MS + 10 * ms),
    st.sampled_from(["/", "/a", "/b"]),
)


@given(st.lists(VIEWS, min_size=1, max_size=40), st.sets(st.integers(1, 40)), st.integers(1, 3))
def test_entries_of_a_day_are_those_of_its_visitors_whatever_the_lanes_and_the_cut(
    views: list[tuple[str, int, str]], cuts: set[int], shards: int
) -> None:
    pipeline = parse_pipeline(VISITS, FilesIn(ROOT))
    schema, world = pipeline.sources["click"].schema, World(pipeline, slice_events=3)
    for shard in range(shards):
        datas = [
            (n, schema.encode({"visitor_id": who, "page": page, "ts": ts}))
            for n, (who, ts, page) in enumerate(views, 1)
            if n % shards == shard
        ]
        records = [StreamRecord(f"shardId-{shard}", n, "k", data, ARRIVAL_MS) for n, data in datas]
        places = [0, *sorted(each for each in cuts if each < len(records)), len(records)]
        for first, last in pairwise(places):
            assert first == last or invoke(world.sandbox(), records[first:last]) is None
    assert world.quarantine.kept == []
    by_day: dict[tuple[int, str], list[Event]] = {}
    for who, ts, page in views:
        by_day.setdefault((ts // DAY_MS * DAY_MS, who), []).append((ts, page))
    for names, total in ((None, False), ((), False), ((), True)):
        question = Question.parse(
            pipeline,
            rollup="visits",
            key={},
            window="1d",
            from_ms=0,
            to_ms=2**42,
            group_by=names,
            total=total,
        )
        said = answer(Reads(world.store), question, Shape(), applied_ms=NOW_MS, now_ms=NOW_MS)
        rows = json.loads(to_json(said))
        assert len(rows) == (
            len(by_day) if names is None else 1 if total else len({day for day, _ in by_day})
        )
        for row in rows:
            mine = [
                events
                for (day, who), events in by_day.items()
                if (names is not None or row["visitor_id"] == who)
                and (total or row["window_start"][:10] == day_text(day))
            ]
            for column, gap_ms in (("entry", 1_800_000), ("exit", 1_800_000), ("entry@10m", 600_000)):
                right: Counter[str] = Counter()
                for events in mine:
                    found = ends_naively(events, gap_ms, is_exit=column == "exit")
                    right.update(text for *_, text in found)
                told = json.loads(row[f"page.{column}"])
                ranked = sorted(right.items(), key=lambda each: (-each[1], each[0]))
                assert list(told["top"].items()) == ranked
                assert told["others"] == {"values": 0, "sessions": 0}
            assert row["page.sessions"] == sum(json.loads(row["page.entry"])["top"].values())


def day_text(day_ms: int) -> str:
    return f"2023-11-{14 + (day_ms - START_MS) // DAY_MS:02d}"


def test_windows_of_one_visitor_are_united_where_they_are_merged() -> None:
    """A session that goes on past the hour is one of the two hours together, and enters where it began."""
    pipeline = parse_pipeline(VISITS, FilesIn(ROOT))
    schema, world = pipeline.sources["click"].schema, World(pipeline)
    views = [(3_590_000, "/first"), (3_610_000, "/second")]
    datas = [schema.encode({"visitor_id": "v", "page": page, "ts": START_MS + ms}) for ms, page in views]
    records = [StreamRecord("shardId-0", n, "k", data, ARRIVAL_MS) for n, data in enumerate(datas, 1)]
    assert invoke(world.sandbox(), records) is None
    for window, entries in (("1h", [{"/first": 1}, {"/second": 1}]), ("2h", [{"/first": 1}])):
        question = Question.parse(
            pipeline, rollup="visits", key={"visitor_id": "v"}, window=window, from_ms=START_MS, to_ms=2**42
        )
        said = answer(Reads(world.store), question, Shape(), applied_ms=NOW_MS, now_ms=NOW_MS)
        assert [json.loads(row["page.entry"])["top"] for row in json.loads(to_json(said))] == entries


def test_a_text_is_not_ranked() -> None:
    rollup = parse_pipeline(VISITS, FilesIn(ROOT)).rollups["visits"]
    with pytest.raises(ConfigError, match=r"it has: events, page\.sessions$"):
        Column.parse(rollup, "page.entry")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('page = ["entry",', 'bytes = ["entry",', "'bytes' is long or null; entry, exit, entry@10m is enum or string"),
        ('"sessions"', '"sum"', "entry, exit, entry@10m is of texts, sum of numbers: no field has both"),
        ('"entry@10m"', '"entry@10"', "'entry@10' is not a measure"),
        ('"entry@10m"', '"entry@2d"', "'entry@2d' is not a measure"),
        ('"entry@10m"', '"exit@500ms"', "'exit@500ms' is not a measure"),
        ('"entry@10m"', '"entree"', "'entree' is not a measure; did you mean 'entry'"),
        ('"1d"]', '"90d"]', "in 90d than an item holds of 'entry': take windows of 1500h at most"),
        ('"entry@10m"', '"sessions@1s"', "in 1d than an item holds of 'sessions@1s': take windows of 20000s at most"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_told(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pipeline(VISITS.replace(old, new), FilesIn(ROOT))
    assert said in str(caught.value)


def test_visitors_are_added_up_after_the_windows_of_each_are_united() -> None:
    """A session that goes on past the hour is one of both, of however many visitors it is asked; two visitors' are two."""
    pipeline = parse_pipeline(VISITS, FilesIn(ROOT))
    schema, world = pipeline.sources["click"].schema, World(pipeline)
    views = [("v", 3_590_000, "/a"), ("v", 3_610_000, "/b"), ("w", 3_620_000, "/c"), ("w", 7_210_000, "/d")]
    datas = [schema.encode({"visitor_id": who, "page": page, "ts": START_MS + ms}) for who, ms, page in views]
    records = [StreamRecord("shardId-0", n, "k", data, ARRIVAL_MS) for n, data in enumerate(datas, 1)]
    assert invoke(world.sandbox(), records) is None
    one, two = {"/a": 1}, {"/c": 1, "/d": 1}
    for names, window, total, moving, right in (
        ((), None, True, 1, [one | two]),
        (("visitor_id",), None, True, 1, [one, two]),
        ((), "1d", False, 1, [one | two]),
        ((), "2h", False, 1, [{"/a": 1, "/c": 1}, {"/d": 1}]),
        ((), "1h", False, 3, [{"/a": 1}, {"/a": 1, "/c": 1}, one | two]),
        ((), "1h", False, 1, [{"/a": 1}, {"/b": 1, "/c": 1}, {"/d": 1}]),
    ):
        question = Question.parse(
            pipeline,
            rollup="visits",
            key=None,
            window=window,
            from_ms=START_MS,
            to_ms=2**42,
            group_by=names,
            total=total,
            moving=moving,
        )
        said = answer(Reads(world.store), question, Shape(), applied_ms=NOW_MS, now_ms=START_MS)
        rows = json.loads(to_json(said))
        assert [json.loads(row["page.entry"])["top"] for row in rows] == right
        assert [row["page.sessions"] for row in rows] == [sum(each.values()) for each in right]
