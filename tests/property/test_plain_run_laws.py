"""Plain records that follow each other are read at once, and it comes out what comes out one by one."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgage.fold.batch import BatchFold, Folded
from streamgage.fold.items import Lanes
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.formats.mark import Mark
from streamgage.reading.rows import MAX_PLAIN_BYTES
from streamgage.records import StreamRecord, UserRecord
from support.examples import examples
from support.fakes import KEY_LANES, LANES, counting_of
from support.strategies import ARRIVAL_MS, aggregated, pipeline, reading
from support.tables import states_folded

SCHEMA = pipeline().sources["reading"].schema
CLICK = {
    "visitor_id": "v", "page": "/p", "referrer": None, "action": "view", "status": 200, "bytes": 7,
    "ts": ARRIVAL_MS, "properties": None,
}  # fmt: skip
CLICKED = pipeline().sources["click"].schema.encode(CLICK)


def row(device: str = "d", value: float = 1.5, lag_ms: int = 0) -> bytes:
    return SCHEMA.encode(reading(device, "m", ARRIVAL_MS + lag_ms, value))


def framed(data: bytes) -> bytes:
    """Return *data* as an aggregated record holds it: in place of an ending, it looks like one more record."""
    whole = aggregated([UserRecord("k", data)])
    return whole[whole.index(b"\x1a") : -16]


GOOD = st.builds(row, st.sampled_from(["d", "e", "ü"]), st.floats(-99, 99), st.integers(-60_000, 60_000))
BLOCK = BlockCodec(SCHEMA).encode([reading("d", "m", ARRIVAL_MS, 2.0), reading("e", "m", ARRIVAL_MS, 3.0)])
HOSTILE: tuple[bytes, ...] = (
    b"",
    b"\xc3\x01",
    row()[:10],
    row()[:-1],
    row() + b"\0",
    row() + framed(row()),
    row()[:-1] + framed(row("e")),
    row("\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
    row().replace(b"\x02d", b"\x02\xff", 1),
    row(value=float("nan")),
    row(lag_ms=86_400_000),
    row(lag_ms=-30 * 86_400_000),
    row("x" * 127),
    row("x" * 128),
    row("x" * (MAX_PLAIN_BYTES + 9)),
    CLICKED,
    CLICKED[:-1],
    b"\xc3\x01" + b"?" * 8 + b"rest",
    BLOCK,
    BLOCK[:-1],
    aggregated([UserRecord("k", row()), UserRecord("k", row()[:-1])]),
    aggregated([UserRecord("k", row())])[:-1] + b"!",
    b'{"source": "reading", "device_id": "j", "metric": "m", "ts": %d, "value": 4}' % ARRIVAL_MS,
    b'{"source": "reading"}',
)
DATAS = st.lists(GOOD | GOOD | st.sampled_from(HOSTILE), max_size=30) | st.builds(
    lambda some, bad, more: [*some, bad, *more],
    st.lists(GOOD, min_size=3, max_size=20),
    st.sampled_from(HOSTILE),
    st.lists(GOOD, min_size=3, max_size=20),
)
Seen = tuple[Any, list[Any], int, int, int, list[tuple[int, Mark | None]]]


def records_of(datas: Sequence[bytes]) -> list[StreamRecord]:
    return [
        StreamRecord("shardId-000000000000", 10**55 + number, f"p{number % 3}", data, ARRIVAL_MS + number)
        for number, data in enumerate(datas)
    ]


def seen(batch_fold: BatchFold, records: Sequence[StreamRecord], repeats: frozenset[int]) -> Seen:
    """Return all that a fold says of *records*, and what it asked."""
    asked: list[tuple[int, Mark | None]] = []

    def is_repeat(record: StreamRecord, mark: Mark | None) -> bool:
        asked.append((record.sequence_number, mark))
        return record.sequence_number in repeats

    folded: Folded = batch_fold.fold(records, is_repeat, counting_of(pipeline()))
    return (
        states_folded(folded, pipeline()),
        folded.poison,
        folded.kinesis_records,
        folded.user_records,
        folded.repeated_records,
        asked,
    )


@settings(max_examples=examples(100, whole=300), deadline=None)
@given(
    datas=DATAS,
    repeats=st.frozensets(st.integers(10**55, 10**55 + 30), max_size=4),
    lanes=st.sampled_from([LANES, KEY_LANES]),
    slice_events=st.sampled_from([1, 2, 5, 1_000]),
)
@example(datas=[row(), row() + framed(row()), row()], repeats=frozenset(), lanes=LANES, slice_events=1_000)
@example(datas=[row(), *HOSTILE, row()], repeats=frozenset(), lanes=LANES, slice_events=1_000)
@example(
    datas=[row(), row(), row()[:-1], row()], repeats=frozenset([10**55 + 2]), lanes=LANES, slice_events=2
)
def test_a_run_of_plain_records_is_read_as_they_are_one_by_one(
    datas: list[bytes], repeats: frozenset[int], lanes: Lanes, slice_events: int
) -> None:
    records = records_of(datas)
    at_once = seen(BatchFold(pipeline(), lanes, slice_events=slice_events), records, repeats)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchFold, "plain_rows", lambda *_: 0)
        one_by_one = seen(BatchFold(pipeline(), lanes, slice_events=slice_events), records, repeats)
    assert at_once == one_by_one


@pytest.mark.parametrize("bad", HOSTILE)
def test_each_hostile_record_in_a_run_has_its_own_place_and_reason_and_harms_no_other(bad: bytes) -> None:
    records = records_of([row(value=float(number)) for number in range(20)])
    records[9:10] = records_of([row()] * 9 + [bad])[9:]
    folded = BatchFold(pipeline(), LANES).fold(records, lambda *_: False, counting_of(pipeline()))
    assert {each.sequence_number for each in folded.poison} <= {10**55 + 9}
    counted = states_folded(folded, pipeline())
    assert sum(state[0] for place, state in counted.items() if "1m" in str(place)) >= 19


def test_a_run_is_read_at_once_and_not_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchFold, "read_slice", refused)
    records = records_of([row()] * 500)
    folded = BatchFold(pipeline(), LANES).fold(records, lambda *_: False, counting_of(pipeline()))
    assert (folded.kinesis_records, folded.user_records, folded.poison) == (500, 500, [])


def refused(*_: object, **__: object) -> None:
    raise AssertionError("one was read alone")
