"""Histograms and distinct counts: the same bytes under any cut and order, and no further from the exact than they say."""

import json
import math
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from processors.query.question import Question, ask
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.measures import distinct, histogram
from streamgage.measures.distinct import REGISTERS, STANDARD_ERROR, Tokens
from streamgage.measures.histogram import MOST_BUCKETS, SCALE
from streamgage.measures.sessions import of_times
from streamgage.measures.sketch_parts import DistinctPart, HistogramPart, sketch_named
from streamgage.records import StreamRecord, UserRecord
from support.fakes import NOW_MS, Reads, World, invoke
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, aggregated

PLACES = 9
VALUES = (
    st.integers(-(10**38), 10**38)
    | st.integers(-1000, 1000).map(lambda n: n * 10**PLACES)
    | st.sampled_from([0, 1, -1, 2**31 * 10**PLACES, 10**PLACES // 2, 10**PLACES // 4])
)


def cut(values: Sequence[Any], bounds: Sequence[int]) -> list[Sequence[Any]]:
    places = [0, *sorted(min(each, len(values)) for each in bounds), len(values)]
    return [values[first:last] for first, last in pairwise(places)]


@given(st.lists(VALUES, max_size=400), st.lists(st.integers(0, 400), max_size=5), st.randoms())
def test_a_histogram_is_the_same_whatever_was_merged_first(
    values: list[int], bounds: list[int], dice: random.Random
) -> None:
    whole = histogram.of_values(values, PLACES)
    shuffled = dice.sample(values, len(values))
    parts = [histogram.of_values(each, PLACES) for each in cut(shuffled, bounds)]
    while len(parts) > 1:
        one, other = parts.pop(dice.randrange(len(parts))), parts.pop(dice.randrange(len(parts)))
        parts.append(histogram.merged([one, other]))
    assert parts == [whole]
    assert len(whole.places) <= MOST_BUCKETS
    assert whole.total == len(values)


@pytest.mark.parametrize("seed", range(12))
def test_many_values_far_apart_lower_the_scale_by_as_much_as_they_must(seed: int) -> None:
    """Parts of different scales among them; no scale lower than the values ask for."""
    dice = random.Random(seed)
    spread = dice.choice([4, 12, 30])
    values = [
        round(dice.choice([1, 1, -1]) * 10 ** dice.uniform(-spread / 2, spread / 2) * 10**PLACES)
        for _ in range(800)
    ]
    whole = histogram.of_values(values, PLACES)
    parts = [histogram.of_values(each, PLACES) for each in cut(values, [3, 10, dice.randrange(700)])]
    dice.shuffle(parts)
    assert histogram.merged(parts) == whole
    assert len({each.scale for each in parts}) > 1 or spread == 4
    indices = {(abs(each) / 10**PLACES, each < 0) for each in values if each}

    def filled(scale: int) -> int:
        return len({(math.ceil(math.log2(each) * 2**scale), is_below) for each, is_below in indices})

    assert filled(whole.scale) == len(whole.places) <= MOST_BUCKETS
    assert whole.scale == SCALE or filled(whole.scale + 1) > MOST_BUCKETS


@pytest.mark.parametrize(("buckets", "scale"), [(MOST_BUCKETS, SCALE), (MOST_BUCKETS + 1, SCALE - 1)])
def test_no_bucket_more_than_there_may_be(buckets: int, scale: int) -> None:
    values = [round(2 ** ((number + 0.5) / 2**SCALE) * 10**PLACES) for number in range(buckets)]
    assert histogram.of_values(values, PLACES).scale == scale
    parts = [histogram.of_values([each], PLACES) for each in values]
    assert histogram.merged(parts) == histogram.of_values(values, PLACES)


@pytest.mark.parametrize("count", [199, 200, 201, 202])
def test_beyond_two_hundred_values_there_are_registers(count: int) -> None:
    tokens = Tokens()
    assert isinstance(distinct.of_tokens(tokens[n] for n in range(count)), frozenset) is (count <= 200)


@pytest.mark.parametrize("seed", range(6))
def test_registers_that_are_united_are_those_of_all_values(seed: int) -> None:
    dice = random.Random(seed)
    tokens = [distinct.token_of(dice.getrandbits(64)) for _ in range(3_000)]
    parts = [distinct.of_tokens(each) for each in cut(tokens, [dice.randrange(3_000) for _ in range(4)])]
    assert distinct.merged(parts) == distinct.of_tokens(tokens)
    assert distinct.merged([distinct.merged(parts[:2]), distinct.merged(parts[2:])]) == distinct.of_tokens(
        tokens
    )


def exact(values: Sequence[int], fraction: float) -> float:
    """The value of that rank, by sorting."""
    rank = max(math.ceil(fraction * len(values)), 1)
    return float(sorted(values)[rank - 1] / 10**PLACES)


def skewed(dice: random.Random) -> float:
    return math.exp(dice.gauss(0, 3))


@pytest.mark.parametrize(
    "draw",
    [
        lambda dice: dice.gauss(20, 5),
        skewed,
        lambda dice: -skewed(dice),
        lambda dice: dice.choice([0.0, 1e-9, 2e-9, 1e-8]),
        lambda dice: dice.uniform(1e17, 9e17),
        lambda dice: dice.choice([-1.0, 0.0, 1.0]) * dice.expovariate(1),
        lambda dice: float(dice.randrange(-3, 4)),
    ],
    ids=["normal", "skewed", "negative", "tiny", "huge", "both sides", "few values"],
)
def test_quantiles_are_no_further_off_than_they_say(draw: Callable[[random.Random], float]) -> None:
    dice = random.Random(1)
    for count in (1, 2, 10, 1_000, 20_000):
        values = [round(draw(dice) * 10**PLACES) for _ in range(count)]
        state = histogram.of_values(values, PLACES)
        bound = histogram.relative_error(state.scale)
        assert bound <= 0.011 or len(state.places) > MOST_BUCKETS / 2
        for fraction in (0.001, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0):
            right, told = exact(values, fraction), histogram.quantile(state, fraction)
            assert told is not None
            assert abs(told - right) <= bound * abs(right) * (1 + 1e-9)


@given(st.lists(VALUES, min_size=1, max_size=300), st.sampled_from([0.1, 0.5, 0.9, 0.999]))
def test_quantiles_of_any_values_are_no_further_off_than_they_say(values: list[int], fraction: float) -> None:
    state = histogram.of_values(values, PLACES)
    right, told = exact(values, fraction), histogram.quantile(state, fraction)
    assert told is not None
    assert abs(told - right) <= histogram.relative_error(state.scale) * abs(right) * (1 + 1e-9)


def test_the_worst_case_is_reached_and_not_passed() -> None:
    """Just above a bound a value is as far off as any: 1.083 %."""
    worst = 0.0
    for number in range(1, 200_000, 7):
        told = histogram.quantile(histogram.of_values([number], 0), 0.5)
        assert told is not None
        worst = max(worst, abs(told - number) / number)
    assert 0.0107 < worst <= histogram.relative_error(SCALE) * (1 + 1e-12) < 0.0109


def test_no_values_have_no_quantile() -> None:
    assert histogram.quantile(histogram.EMPTY, 0.5) is None
    assert histogram.merged([histogram.EMPTY, histogram.EMPTY]) == histogram.EMPTY


@given(st.integers(1, 2**60))
def test_powers_of_two_end_their_bucket_as_opentelemetry_has_it(number: int) -> None:
    """Bounds are inclusive above: (b**i, b**(i+1)]."""
    power = 1 << number.bit_length() - 1
    (place,) = histogram.of_values([power], 0).places
    assert histogram.bound((place >> 1) + 1, SCALE) == power


@given(st.lists(st.integers(-(10**6), 10**6), max_size=100), st.integers(0, 3))
def test_what_opentelemetry_holds_merges_unchanged(values: list[int], finer: int) -> None:
    whole = histogram.of_values(values, 0)
    said: Any = histogram.in_opentelemetry(whole)
    runs = [(said[sign]["offset"], said[sign]["bucketCounts"]) for sign in ("positive", "negative")]
    assert histogram.of_opentelemetry(said["scale"], said["zeroCount"], runs[0], runs[1]) == whole
    # the same points at a finer scale: each bucket's first child
    spread = [
        (offset << finer, [each for count in counts for each in (count, *[0] * ((1 << finer) - 1))])
        for offset, counts in runs
    ]
    if whole.scale == SCALE:
        assert histogram.of_opentelemetry(SCALE + finer, said["zeroCount"], spread[0], spread[1]) == whole


THINGS = st.one_of(st.integers(), st.text(max_size=5))


@given(
    st.lists(THINGS, max_size=60), st.lists(st.integers(0, 60), max_size=4), st.randoms(), st.integers(0, 2)
)
def test_a_distinct_count_is_the_same_whatever_came_first_and_how_often(
    values: list[int | str], bounds: list[int], dice: random.Random, many: int
) -> None:
    tokens = Tokens()
    values += [f"more {number}" for number in range(many * 150)]
    whole = distinct.of_tokens([tokens[each] for each in values])
    again = dice.sample(values, len(values)) + values[: len(values) // 2]
    parts = [distinct.of_tokens([tokens[each] for each in those]) for those in cut(again, bounds)]
    while len(parts) > 1:
        one, other = parts.pop(dice.randrange(len(parts))), parts.pop(dice.randrange(len(parts)))
        parts.append(distinct.merged([one, other]))
    assert parts == [whole]
    if len(set(values)) < 200:
        assert distinct.estimate(whole) == len({(type(each), each) for each in values})


def test_a_text_and_a_number_are_two_values() -> None:
    tokens = Tokens()
    assert tokens["1"] != tokens[1]
    assert tokens[1] == Tokens()[1]


def test_registers_take_896_bytes_and_come_back() -> None:
    dice = random.Random(2)
    registers = tuple(dice.randrange(1 << 28) for _ in range(REGISTERS))
    data = distinct.pack_registers(registers)
    assert len(data) == 896
    assert distinct.unpack_registers(data) == registers
    with pytest.raises(ValueError, match="895 bytes"):
        distinct.unpack_registers(data[1:])


@pytest.mark.parametrize(
    ("count", "states"), [(1, 20), (50, 20), (200, 10), (201, 60), (1_000, 40), (20_000, 10)]
)
def test_the_error_is_what_it_says(count: int, states: int) -> None:
    """Of random hashes: the root of the mean square, at most half more than the standard error, which holds for many."""
    dice = random.Random(count)
    errors = [
        distinct.estimate(distinct.of_tokens({distinct.token_of(dice.getrandbits(64)) for _ in range(count)}))
        / count
        - 1
        for _ in range(states)
    ]
    assert math.sqrt(math.fsum(each**2 for each in errors) / states) <= STANDARD_ERROR * 1.5
    assert count > 200 or not any(errors)


def test_registers_that_are_all_full_have_an_estimate() -> None:
    most = ((64 - 8 - 2 + 1) << 2) << 20 | (1 << 20) - 1
    assert distinct.estimate((most,) * REGISTERS) > 2**50
    assert distinct.estimate((0,) * REGISTERS) == 0


TIMES = st.integers(ARRIVAL_MS - 20_000_000, ARRIVAL_MS) | st.integers(0, 20).map(
    lambda n: ARRIVAL_MS - n * 1_800_000
)


def sessions_naively(times: Sequence[int], gap_ms: int) -> list[list[int]]:
    """Cut the times where a pause is longer than the gap."""
    found: list[list[int]] = []
    for time in sorted(times):
        if found and time - found[-1][-1] <= gap_ms:
            found[-1].append(time)
        else:
            found.append([time])
    return found


@given(
    st.lists(TIMES, max_size=40),
    st.lists(st.integers(0, 40), max_size=6),
    st.randoms(),
    st.sampled_from([1, 600, 1_800]),
)
def test_sessions_are_the_same_whatever_came_late(
    times: list[int], bounds: list[int], dice: random.Random, gap_s: int
) -> None:
    part = sketch_named(f"sessions{gap_s}")
    parts: list[Any] = [of_times(each, gap_s * 1000) for each in cut(dice.sample(times, len(times)), bounds)]
    while len(parts) > 1:
        one, other = parts.pop(dice.randrange(len(parts))), parts.pop(dice.randrange(len(parts)))
        parts += part.merge([one], [other])
    right = sessions_naively(times, gap_s * 1000)
    assert parts == [tuple((each[0], each[-1], len(each)) for each in right)]
    assert part.join([*parts, ()], [[0, 1], [1]]) == [parts[0], ()]


DEFINITION = """
[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"
blocks = true
derive = {both = "visitor_id || ' ' || page", site = "host(referrer)"}
[[rollups]]
name = "pages"
source = "click"
key = ["page"]
windows = ["1m", "1h"]
[rollups.measures]
bytes = ["p50", "p95", "p99.9", "histogram", "sum", "first", "delta", "rate"]
visitor_id = ["distinct", "count"]
both = ["distinct"]
site = ["distinct"]
status = ["distinct", "max"]
"""
CLICKS = st.builds(
    lambda visitor, page, referrer, ts, status, size: {
        "visitor_id": visitor, "page": page, "referrer": referrer, "action": "view", "ts": ts, "status": status,
        "bytes": size, "properties": None,
    },
    st.integers(0, 400).map("v{}".format),
    st.sampled_from(["/a", "/b"]),
    st.sampled_from([None, "http://one.example", "http://two.example", "x"]),
    st.integers(ARRIVAL_MS - 600_000, ARRIVAL_MS),
    st.sampled_from([None, 200, 404]),
    st.none() | st.integers(0, 10**9),
)  # fmt: skip


@given(
    st.lists(st.lists(CLICKS, min_size=1, max_size=40), min_size=1, max_size=8),
    st.sets(st.integers(1, 8)),
    st.integers(1, 3),
    st.booleans(),
)
def test_however_a_log_is_cut_its_items_hold_the_sketches_of_its_events(
    blocks: list[list[dict[str, Any]]],
    cuts: set[int],
    shards: int,
    in_rows: bool,  # noqa: FBT001 - drawn
) -> None:
    pipeline = parse_pipeline(DEFINITION, FilesIn(ROOT))
    schema = pipeline.sources["click"].schema
    world = World(pipeline, slice_events=13)
    for shard in range(shards):
        records = [
            StreamRecord(
                f"shardId-{shard}",
                number,
                "k",
                aggregated(
                    [UserRecord("k", schema.encode(each)) for each in events]
                    if in_rows
                    else [UserRecord("k", BlockCodec(schema).encode(events))]
                ),
                ARRIVAL_MS,
            )
            for number, events in enumerate(blocks, 1)
            if number % shards == shard
        ]
        for those in cut(records, sorted(cuts)):
            assert not those or invoke(world.sandbox(), list(those)) is None
    assert world.quarantine.kept == []
    events = [each for block in blocks for each in block]
    for row in world.ask("pages", None, "1h"):
        mine = [
            each
            for each in events
            if each["page"] == row.key[0] and each["ts"] // 3_600_000 * 3_600_000 == row.window.start_ms
        ]
        sizes = [each["bytes"] for each in mine if each["bytes"] is not None]
        state = histogram.of_values(sizes, 0)
        told = row.values["bytes"]
        assert json.loads(str(told["histogram"])) == histogram.in_opentelemetry(state)
        right = histogram.quantile(state, 0.95)
        assert told["p95"] == (None if right is None else Decimal(f"{right:.6g}"))
        assert told["sum"] == sum(sizes)
        counts = {
            "visitor_id": len({each["visitor_id"] for each in mine}),
            "both": len({each["visitor_id"] for each in mine}),
            "site": len({each["referrer"] for each in mine} - {None, "x"}),
            "status": len({each["status"] for each in mine} - {None}),
        }
        for field, count in counts.items():
            distinct_told = row.values[field]["distinct"]
            assert (
                distinct_told == count
                if count <= 200
                else abs(Decimal(distinct_told or 0) / count - 1) < Decimal("0.15")
            )
        assert row.values["visitor_id"]["count"] == len(mine)


def test_delta_and_rate_are_of_first_and_last() -> None:
    pipeline = parse_pipeline(DEFINITION, FilesIn(ROOT))
    schema, world = pipeline.sources["click"].schema, World(pipeline)
    sizes = ((ARRIVAL_MS, 100), (ARRIVAL_MS + 500, 700), (ARRIVAL_MS + 2_000, 150))
    datas = [
        schema.encode({"visitor_id": "v", "page": "/a", "ts": ts, "bytes": size, "status": 200})
        for ts, size in sizes
    ]
    records = [StreamRecord("shardId-0", n, "k", data, ARRIVAL_MS) for n, data in enumerate(datas, 1)]
    assert invoke(world.sandbox(), records) is None
    (row,) = world.ask("pages", None, "1m")
    assert (row.values["bytes"]["delta"], row.values["bytes"]["rate"]) == (50, 25)
    assert row.errors["bytes.p50"] == pytest.approx(0.01083, abs=1e-5)
    assert row.errors["visitor_id.distinct"] == 0
    one = [StreamRecord("shardId-1", 1, "k", datas[0].replace(b"/a", b"/b"), ARRIVAL_MS)]
    assert invoke(world.sandbox(), one) is None
    single = next(each for each in world.ask("pages", None, "1m") if each.key == ("/b",))
    assert (single.values["bytes"]["delta"], single.values["bytes"]["rate"]) == (0, None)


@pytest.mark.parametrize(
    "name", ["p0", "p100", "p05", "p9.90", "p99.", "p", "median", "p-1", "p1e1", "histogramm"]
)
def test_what_is_no_measure_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is not a measure"):
        parse_pipeline(DEFINITION.replace('"p50"', f'"{name}"'), FilesIn(ROOT))


def test_of_a_text_there_is_no_sum() -> None:
    with pytest.raises(ConfigError, match="'visitor_id' is string; a measure is"):
        parse_pipeline(DEFINITION.replace('["distinct", "count"]', '["distinct", "sum"]'), FilesIn(ROOT))


@given(st.data())
def test_a_damaged_sketch_is_named_or_is_another_one(data: st.DataObject) -> None:
    """Never an error that nobody expects, and never more than a body may hold."""
    part = sketch_named(data.draw(st.sampled_from(["histogram", "distinct", "sessions1800"])))
    if isinstance(part, HistogramPart):
        column: list[Any] = [
            histogram.of_values(each, PLACES) for each in data.draw(st.lists(st.lists(VALUES), max_size=5))
        ]
    elif isinstance(part, DistinctPart):
        tokens = Tokens()
        column = [
            distinct.of_tokens(tokens[n] for n in range(each))
            for each in data.draw(st.lists(st.integers(0, 300), max_size=4))
        ]
    else:
        column = [of_times(each, 1_800_000) for each in data.draw(st.lists(st.lists(TIMES), max_size=4))]
    packed = part.pack(column, start_ms=ARRIVAL_MS)
    assert part.unpack(b"x" + packed + b"y", 1, len(column), start_ms=ARRIVAL_MS) == (column, len(packed) + 1)
    broken = bytearray(packed)
    for at in data.draw(st.lists(st.integers(0, len(packed) - 1), min_size=1, max_size=3)):
        broken[at] = data.draw(st.integers(0, 255))
    try:
        states, end = part.unpack(
            bytes(broken[: data.draw(st.integers(0, len(broken)))]), 0, len(column), start_ms=0
        )
    except (ValueError, IndexError, TypeError):
        return
    assert len(states) == len(column)
    assert end <= len(broken)


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
windows = ["1d"]
[rollups.measures]
page = ["sessions", "bounces", "bounce_rate", "session_length", "session_events", "sessions@10m"]
"""
_DAY_MS = 86_400_000


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), TIMES), min_size=1, max_size=40),
    st.sets(st.integers(1, 40)),
    st.integers(1, 3),
)
def test_sessions_of_a_day_are_those_of_its_visitors(
    events: list[tuple[str, int]], cuts: set[int], shards: int
) -> None:
    pipeline = parse_pipeline(VISITS, FilesIn(ROOT))
    schema, world = pipeline.sources["click"].schema, World(pipeline)
    for shard in range(shards):
        records = [
            StreamRecord(
                f"shardId-{shard}",
                n,
                "k",
                schema.encode({"visitor_id": who, "page": "/", "ts": ts}),
                ARRIVAL_MS,
            )
            for n, (who, ts) in enumerate(events, 1)
            if n % shards == shard
        ]
        for those in cut(records, sorted(cuts)):
            assert not those or invoke(world.sandbox(), list(those)) is None
    for names in (None, ()):
        question = Question.parse(
            pipeline, rollup="visits", key={}, window="1d", from_ms=0, to_ms=2**42, group_by=names
        )
        for row in ask(Reads(world.store), question, applied_ms=NOW_MS, now_ms=NOW_MS):
            by_visitor: dict[str, list[int]] = {}
            for who, ts in events:
                if ts // _DAY_MS * _DAY_MS == row.window.start_ms and (
                    names is not None or who == row.key[0]
                ):
                    by_visitor.setdefault(who, []).append(ts)
            found = [each for times in by_visitor.values() for each in sessions_naively(times, 1_800_000)]
            told = row.values["page"]
            single = [each for each in found if len(each) == 1]
            assert (told["sessions"], told["bounces"]) == (len(found), len(single))
            assert told["bounce_rate"] == round(Decimal(len(single)) / len(found), 6)
            length_ms = sum(each[-1] - each[0] for each in found)
            assert told["session_length"] == round(Decimal(length_ms) / 1000 / len(found), 6)
            assert told["session_events"] == round(Decimal(sum(map(len, found))) / len(found), 6)
            shorter = [each for times in by_visitor.values() for each in sessions_naively(times, 600_000)]
            assert told["sessions@10m"] == len(shorter)
