"""Numbers, durations, windows and keys: what the exactness of everything else rests on."""

import math
import struct
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgage.durations import format_duration, parse_duration
from streamgage.errors import PoisonRecord
from streamgage.fold.items import (
    HASH_BITS,
    Lanes,
    chunk_name,
    chunk_number,
    hash_of,
    key_text,
    key_values,
    sort_key,
    window_prefix,
    window_start_ms,
)
from streamgage.limits import DYNAMODB_SORT_KEY_BYTES
from streamgage.measures.decimals import (
    Scaled,
    Scaler,
    divide,
    scale_column,
    scale_decimals,
    scale_number,
    unscale,
)
from streamgage.measures.windows import MAX_EVENT_TIME_MS, TumblingWindows
from support.examples import examples
from support.fakes import KEY_LANES, LANES
from support.strategies import pipeline

CALM = settings(max_examples=examples(100, whole=300), deadline=None)
MANY = settings(max_examples=examples(400, whole=1500), deadline=None)
SCALES = st.integers(0, 18)
WIDE = Context(prec=500, rounding=ROUND_HALF_EVEN)
# Every double there is; sensors' values; and neighbours of exact halves at some scale, above and below.
ANY_BITS = st.integers(0, 2**64 - 1).map(lambda bits: float(struct.unpack(">d", struct.pack(">Q", bits))[0]))
HALVES = st.builds(
    lambda whole, places, step: nudged(float(f"{whole}.{'0' * places}5"), step),
    st.integers(-(10**6), 10**6),
    st.integers(0, 12),
    st.integers(-2, 2),
)
FLOATS = ANY_BITS | HALVES | st.floats(-1e9, 1e9) | st.floats(allow_nan=False, allow_infinity=False)


def nudged(value: float, step: int) -> float:
    return math.nextafter(value, math.inf if step > 0 else -math.inf) if step else value


@MANY
@given(value=FLOATS, scale=SCALES)
@example(value=0.5, scale=0)
@example(value=2.5, scale=0)
@example(value=0.0000000005, scale=9)
@example(value=-0.0, scale=9)
@example(value=float(2**44) + 0.5, scale=0)
@example(value=1e28, scale=9)
@example(value=9.999999999999999e28, scale=9)
@example(value=1e29, scale=9)
@example(value=5e-324, scale=18)
@example(value=1.7976931348623157e308, scale=18)
def test_a_float_is_scaled_as_its_shortest_decimal_rounded_half_to_even(value: float, scale: int) -> None:
    if not math.isfinite(value):
        with pytest.raises(PoisonRecord, match="bad_value"):
            scale_number(value, scale)
        return
    exact = int(Decimal(repr(value)).quantize(Decimal(1).scaleb(-scale), context=WIDE).scaleb(scale, WIDE))
    if abs(exact) >= 10**38:
        with pytest.raises(PoisonRecord, match="more than 38 digits"):
            scale_number(value, scale)
    else:
        scaled = scale_number(value, scale)
        assert (scaled, type(scaled)) == (exact, int)


@CALM
@given(value=st.integers(-(10**40), 10**40) | st.integers(-(2**63), 2**63), scale=SCALES)
def test_an_integer_is_scaled_exactly_or_refused(value: int, scale: int) -> None:
    if abs(value * 10**scale) < 10**38:
        assert scale_number(value, scale) == value * 10**scale
    else:
        with pytest.raises(PoisonRecord, match="more than 38 digits"):
            scale_number(value, scale)


COLUMNS = st.lists(FLOATS, max_size=20) | st.lists(
    st.none()
    | FLOATS
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0.1, 0.1, 2.5, 7, 7.0, 2.0**60, 2**60]),
    max_size=20,
)


def one_by_one(values: Sequence[float | None], scale: int) -> tuple[list[int | None], list[int]]:
    numbers: list[int | None] = []
    refused = []
    for at, value in enumerate(values):
        try:
            numbers.append(None if value is None else scale_number(value, scale))
        except PoisonRecord:
            numbers.append(None)
            refused.append(at)
    return numbers, refused


def seen(scaled: Scaled) -> tuple[list[int | None], list[int]]:
    assert scaled.gaps == (None in scaled.numbers)
    assert {type(each) for each in scaled.numbers} <= {int, type(None)}
    return list(scaled.numbers), list(scaled.refused)


@MANY
@given(values=COLUMNS | st.lists(st.integers(-(10**39), 10**39)), scale=SCALES)
def test_a_column_is_scaled_as_each_of_its_values(values: list[float | None], scale: int) -> None:
    assert seen(scale_column(values, scale)) == one_by_one(values, scale)


@MANY
@given(columns=st.lists(COLUMNS, max_size=4), scale=SCALES)
def test_what_a_scaler_remembers_changes_no_result(columns: list[list[float | None]], scale: int) -> None:
    scaler = Scaler(scale)
    for values in columns:
        assert seen(scaler.scale(values)) == one_by_one(values, scale)


def test_a_scaler_is_bounded_and_rests_where_no_value_comes_again() -> None:
    scaler, random = Scaler(9), Random(1)
    for batch in range(40):
        values = [random.uniform(-1000, 1000) for _ in range(6_000)]
        assert seen(scaler.scale(values)) == one_by_one(values, 9)
        assert len(scaler) == 6_000 * (1 + batch // 32)
    for _ in range(8):
        scaler.scale([random.uniform(-1000, 1000) for _ in range(4_000)])
    assert len(scaler) <= 20_000


@MANY
@given(
    numbers=st.lists(st.none() | st.integers(-(10**15) + 1, 10**15 - 1), max_size=20),
    places=st.integers(0, 22),
    scale=SCALES,
)
def test_decimals_are_scaled_as_the_doubles_that_they_stand_for(
    numbers: list[int | None], places: int, scale: int
) -> None:
    doubles = [None if each is None else each / 10**places for each in numbers]
    assert seen(scale_decimals(numbers, places, scale)) == one_by_one(doubles, scale)


@CALM
@given(scaled=st.integers(-(10**120), 10**120), scale=SCALES)
def test_unscale_is_exact(scaled: int, scale: int) -> None:
    assert Fraction(unscale(scaled, scale)) == Fraction(scaled, 10**scale)


@CALM
@given(
    numerator=st.integers(-(10**90), 10**90) | st.integers(-50, 50),
    denominator=st.integers(1, 10**60) | st.integers(-8, -1) | st.integers(1, 8),
    places=st.integers(0, 39),
)
def test_divide_rounds_half_to_even(numerator: int, denominator: int, places: int) -> None:
    exact = Fraction(numerator, denominator)
    assert Fraction(divide(numerator, denominator, places)) == Fraction(round(exact * 10**places), 10**places)


@CALM
@given(duration_ms=st.integers(0, 10**15) | st.integers(0, 400).map(lambda n: n * 900_000))
def test_a_duration_survives_its_text(duration_ms: int) -> None:
    assert format_duration(0) == "0ms"
    if duration_ms < 10**12 or duration_ms % 86_400_000 == 0:  # at most twelve digits are read
        assert parse_duration(format_duration(duration_ms)) == duration_ms


@CALM
@given(size_ms=st.integers(1, 10**10), event_time_ms=st.integers(0, MAX_EVENT_TIME_MS - 1))
def test_each_instant_is_in_exactly_one_aligned_window(size_ms: int, event_time_ms: int) -> None:
    window = TumblingWindows(size_ms).assign(event_time_ms)
    assert window.start_ms <= event_time_ms < window.end_ms
    assert window.start_ms % size_ms == 0
    assert window.end_ms - window.start_ms == size_ms


@CALM
@given(one=st.integers(0, MAX_EVENT_TIME_MS - 1), two=st.integers(0, MAX_EVENT_TIME_MS - 1))
def test_window_starts_sort_as_text_as_they_do_as_numbers(one: int, two: int) -> None:
    assert (window_prefix(one) < window_prefix(two)) == (one < two)
    assert window_start_ms(window_prefix(one) + "|shardId-000000000000") == one


TRICKY = st.text(st.sampled_from(["|", "%", "7", "C", "2", "5", "a", ":", "ü"]), max_size=6) | st.text(
    max_size=6
)
ROLLUP = pipeline().rollups["device_metrics"]


@MANY
@given(one=st.tuples(TRICKY, TRICKY), two=st.tuples(TRICKY, TRICKY))
@example(one=("|", ""), two=("%7C", ""))
@example(one=("%", ""), two=("%25", ""))
@example(one=("a", "b"), two=("a|b", ""))
@example(one=("a|", "b"), two=("a", "|b"))
def test_two_keys_never_share_a_text_which_is_one_line_and_says_them(
    one: tuple[str, str], two: tuple[str, str]
) -> None:
    assert (key_text(ROLLUP, one) == key_text(ROLLUP, two)) == (one == two)
    assert key_values(key_text(ROLLUP, one)) == one
    assert "\n" not in key_text(ROLLUP, one)


@CALM
@given(key=TRICKY, among=st.integers(1, 2**20), factor=st.sampled_from([2, 8]))
def test_a_key_has_one_chunk_of_so_many_and_of_more_it_is_one_of_those_in_it(
    key: str, among: int, factor: int
) -> None:
    number = chunk_number(hash_of(key), among)
    assert 0 <= number < among
    assert chunk_number(hash_of(key), among * factor) // factor == number
    assert 0 <= hash_of(key) < 2**HASH_BITS


@CALM
@given(
    one=st.tuples(st.integers(1, 2**56), st.integers(0, 2**56)),
    two=st.tuples(st.integers(1, 2**56), st.integers(0, 2**56)),
)
def test_two_chunks_never_share_a_name(one: tuple[int, int], two: tuple[int, int]) -> None:
    assert (chunk_name(*one) == chunk_name(*two)) == (one == two)
    assert chunk_name(*one) != chunk_name(0, 0)


def test_the_hash_of_a_key_is_the_same_everywhere_and_for_ever() -> None:
    """Items of another machine, or of an older version, are found by it."""
    assert hash_of("d1|temp") == 0xAD2DDACF6896F72F


@MANY
@given(one=TRICKY | TRICKY.map(lambda key: key * 100), two=TRICKY | TRICKY.map(lambda key: key * 100))
def test_two_partition_keys_never_share_a_lane(one: str, two: str) -> None:
    of_key = KEY_LANES.of
    assert (of_key("shardId-0", one) == of_key("shardId-0", two)) == (one == two)
    assert of_key("shardId-0", one) != of_key("shardId-1", one)
    assert LANES.of("shardId-0", one) == LANES.of_shard("shardId-0") == "telemetry/shardId-0"


@CALM
@given(key=TRICKY | TRICKY.map(lambda key: key * 100))
def test_a_sort_key_holds_the_lane_of_any_partition_key_in_a_stream_of_the_longest_name(key: str) -> None:
    lane = Lanes("s" * 128, by_key=True).of("shardId-000000000000", key)
    assert len(sort_key(MAX_EVENT_TIME_MS, lane).encode()) <= DYNAMODB_SORT_KEY_BYTES


def test_a_short_key_that_looks_like_the_digest_of_a_long_one_has_a_lane_of_its_own() -> None:
    long = "x" * 600
    digest = KEY_LANES.of("s", long).partition("|")[2]
    assert KEY_LANES.of("s", digest) != KEY_LANES.of("s", long)
    assert KEY_LANES.of("s", digest.removeprefix("%")) != KEY_LANES.of("s", long)
