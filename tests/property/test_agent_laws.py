"""Records of agents count once, whatever was cut, redelivered or broken; each item has one place."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.promises import check_agents
from processors.quarantine.message import encode_poison
from processors.quarantine.redrive import redrive
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import POISON_CODES
from streamgage.fold.batch import BatchFold, Folded
from streamgage.formats.agents.decoder import Taken
from streamgage.formats.agents.influx import Line, lines_of
from streamgage.formats.mark import Mark
from streamgage.records import StreamRecord, UserRecord
from support.agents import (
    DEFINITION,
    agents_pipeline,
    cloud_event,
    decoded,
    gauge,
    gzipped,
    otlp_json,
    parsed,
)
from support.fakes import KEY_LANES, LANES, counting_of
from support.strategies import ARRIVAL_MS, aggregated, reading
from support.tables import states_folded

NAMES = st.text(st.characters(exclude_characters="\n\r\\", exclude_categories=["Cs"]), min_size=1, max_size=8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(
    FINITE.map(lambda each: (each, repr(each))),
    st.integers(-(2**63), 2**63 - 1).map(lambda each: (each, f"{each}i")),
    st.integers(0, 2**64 - 1).map(lambda each: (each, f"{each}u")),
    st.booleans().map(lambda each: (each, str(each).lower())),
    TEXTS.map(lambda each: (each, '"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"')),
)


def escaped(name: str, characters: str) -> str:
    return "".join(f"\\{each}" if each in characters else each for each in name)


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(
        st.tuples(
            NAMES.filter(lambda each: not each.startswith("#") and each.strip(" \t")),
            st.dictionaries(NAMES, NAMES, max_size=3),
            st.dictionaries(NAMES.filter(lambda each: '"' not in each), VALUES, min_size=1, max_size=4),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        max_size=5,
    )
)
def test_what_is_written_as_line_protocol_is_read_as_it_was(lines: list[Any]) -> None:
    text = ""
    for measurement, tags, fields, time in lines:
        text += escaped(measurement, ", ")
        text += "".join(f",{escaped(key, ', =')}={escaped(value, ', =')}" for key, value in tags.items())
        text += " " + ",".join(f"{escaped(key, ', =')}={raw}" for key, (_, raw) in fields.items())
        text += ("" if time is None else f" {time}") + "\n"
    found = list(lines_of(text.encode()))
    assert all(isinstance(each, Line) for each in found), found
    read = [
        (each.series["measurement"], each.series["tags"], dict(each.fields), each.time)
        for each in found
        if isinstance(each, Line)
    ]
    assert read == [
        (name, tags, {key: value for key, (value, _) in fields.items()}, time)
        for name, tags, fields, time in lines
    ]


def influx(*values: float, host: str = "h", lag_ms: int = 0) -> bytes:
    stamp = (ARRIVAL_MS + lag_ms) * 1_000_000
    return "\n".join(f"weather,host={host} t={value},h={value + 1} {stamp}" for value in values).encode()


def own(value: float) -> bytes:
    return agents_pipeline().sources["reading"].schema.encode(reading("d", "m", ARRIVAL_MS, value))


SMALL = st.integers(-50, 50).map(float)
GOOD = st.one_of(
    st.builds(
        influx,
        SMALL,
        SMALL,
        host=st.sampled_from(["a", "b"]),
        lag_ms=st.sampled_from([0, -1000, -(10**9), 10**9]),
    ),
    st.builds(lambda values: otlp_json(gauge("g", values, ts_ms=ARRIVAL_MS)), st.lists(SMALL, max_size=3)),
    st.builds(
        lambda values: json.dumps([cloud_event(each, ts="2023-11-14T22:13:20Z") for each in values]).encode(),
        st.lists(SMALL | st.just("x"), max_size=3),
    ),
    st.builds(
        lambda values: b"\n".join(
            b'{"kind": "reading", "sensor": {"id": "s"}, "metric": "m", "ts": %d, "v": %d}'
            % (ARRIVAL_MS, each)
            for each in values
        ),
        st.lists(st.integers(-9, 9), max_size=3),
    ),
    st.builds(own, SMALL),
)
HOSTILE: tuple[bytes, ...] = (
    b"disk free=1 5",
    b"weather,host=a t=1",
    b'weather,host=a t="open\nweather,host=a t=1 5',
    b"\n\n# nothing\n",
    b"[]",
    b"\x0a\x05oops",
    gzipped(influx(1.0))[:-1],
    b'{"kind": "reading"}{"source": "click"}{"bro',
    b"\xc3\x01" + b"?" * 8,
    b"",
)
RECORDS = st.lists(GOOD | GOOD | GOOD.map(gzipped) | st.sampled_from(HOSTILE), min_size=1, max_size=6)


def records_of(datas: Sequence[bytes]) -> list[StreamRecord]:
    return [
        StreamRecord("shardId-000000000000", 10**55 + number, f"p{number % 2}", data, ARRIVAL_MS)
        for number, data in enumerate(datas)
    ]


@settings(max_examples=120, deadline=None)
@given(datas=RECORDS, by_key=st.booleans(), slice_events=st.sampled_from([1, 3, 1000]), data=st.data())
def test_however_a_log_is_cut_and_redelivered_each_item_counts_once(
    datas: list[bytes],
    by_key: bool,  # noqa: FBT001 - drawn
    slice_events: int,
    data: st.DataObject,
) -> None:
    lanes = KEY_LANES if by_key else LANES
    pipeline, log = agents_pipeline(), records_of(datas)
    whole = BatchFold(pipeline, lanes).fold(log, lambda *_: False, counting_of(pipeline))
    applied: set[int] = set()
    total: dict[Any, list[Any]] = {}
    poison, done = [], 0

    def is_repeat(record: StreamRecord, _mark: Mark | None) -> bool:
        return record.sequence_number in applied

    fold = BatchFold(pipeline, lanes, slice_events=slice_events)
    while done < len(log):
        start, stop = data.draw(st.integers(0, done)), data.draw(st.integers(done + 1, len(log)))
        part = fold.fold(log[start:stop], is_repeat, counting_of(pipeline))
        for place, state in states_folded(part, pipeline).items():
            known = total.setdefault(place, [0, 0, 0])
            known[:] = [one + other for one, other in zip(known, state[:3], strict=True)]
        poison += part.poison
        applied |= {each.sequence_number for each in log[:stop]}
        done = stop
    assert total == {place: list(state[:3]) for place, state in states_folded(whole, pipeline).items()}
    assert poison == whole.poison


@settings(max_examples=60, deadline=None)
@given(datas=RECORDS)
def test_a_user_record_in_an_aggregate_comes_to_what_it_comes_to_alone(datas: list[bytes]) -> None:
    pipeline = agents_pipeline()
    alone = BatchFold(pipeline, LANES).fold(records_of(datas), lambda *_: False, counting_of(pipeline))
    record = records_of([aggregated([UserRecord("k", each) for each in datas])])
    together = BatchFold(pipeline, LANES).fold(record, lambda *_: False, counting_of(pipeline))
    assert states_folded(together, pipeline) == states_folded(alone, pipeline)
    assert together.user_records == alone.user_records
    assert [each.refused for each in together.poison] == [each.refused for each in alone.poison]
    assert [each.data for each in together.poison] == [each.data for each in alone.poison]


@pytest.mark.parametrize("bad", [b"disk free=1 5", b"bad", b"weather,host=a t=1"])
def test_what_is_refused_stands_at_its_offset_and_the_others_count(bad: bytes) -> None:
    pipeline = agents_pipeline()
    data = b"\n".join((influx(1.0), bad, influx(2.0, lag_ms=-(10**9)), influx(3.0)))
    folded = BatchFold(pipeline, LANES).fold(
        records_of([own(1.0), data]), lambda *_: False, counting_of(pipeline)
    )
    (poison,) = folded.poison
    assert (poison.events, poison.data) == (7, data)
    assert [(each.first, each.last) for each in poison.refused] == [(2, 2), (3, 4)]
    assert poison.refused[1].code == "late"
    assert sum(state[0] for state in states_folded(folded, pipeline).values()) == 5


def test_one_kinesis_record_inflates_so_much_and_holds_so_many_events_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamgage.reading.agent_records.MAX_ITEMS", 5)
    pipeline = agents_pipeline()
    record = records_of([aggregated([UserRecord("k", influx(float(each))) for each in range(3)])])
    folded = BatchFold(pipeline, LANES).fold(record, lambda *_: False, counting_of(pipeline))
    assert [(each.sub_sequence_number, each.refused[0].code) for each in folded.poison] == [
        (4, "undecodable")
    ]
    many = BatchFold(pipeline, LANES).fold(
        records_of([influx(1.0), influx(2.0), influx(3.0)]), lambda *_: False, counting_of(pipeline)
    )
    assert (many.poison, many.user_records) == ([], 6), (
        "a record's bounds are its own, whatever was before it in a batch"
    )
    monkeypatch.setattr("streamgage.reading.agent_records.MAX_ITEMS", 100)
    monkeypatch.setattr("streamgage.reading.agent_records.MAX_INFLATED_BYTES", len(influx(1.0)) + 1)
    record = records_of([aggregated([UserRecord("k", gzipped(influx(float(each)))) for each in range(2)])])
    folded = BatchFold(pipeline, LANES).fold(record, lambda *_: False, counting_of(pipeline))
    assert ["inflated" in each.refused[0].reason for each in folded.poison] == [True]


def test_a_line_may_not_smuggle_another_ones_values() -> None:
    first, _ = decoded(b'hall temp=1.5,s="x\nhall temp=9 5" 1767614400000000000')
    assert isinstance(first, Taken)
    assert first.event["value"] == 1.5


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=200)
    | RECORDS.map(b"".join)
    | st.tuples(GOOD, st.integers(0, 400), st.binary(max_size=4)).map(
        lambda each: each[0][: each[1]] + each[2] + each[0][each[1] :]
    )
)
def test_hostile_bytes_keep_every_promise(data: bytes) -> None:
    check_agents(data)


PARTLY = DEFINITION.replace('measurement = "weather"', 'measurement = "other"').replace(
    'kind = "click"', 'kind = "nothing"'
)


@settings(max_examples=60, deadline=None)
@given(datas=RECORDS)
def test_what_a_later_definition_takes_of_the_quarantine_counts_once(datas: list[bytes]) -> None:
    before, after = parsed(PARTLY.replace('consumer = "second"\n', "")), agents_pipeline()
    log = records_of(datas)
    folded = BatchFold(before, LANES).fold(log, lambda *_: False, counting_of(before))
    lines = [encode_poison(each, deflate=True) for each in folded.poison if "late" not in each.codes]
    codes = [code for code in POISON_CODES if code != "late"]
    again = records_of([each.data for each in redrive(lines, after, codes, Counter())])
    sent = BatchFold(after, LANES).fold(again, lambda *_: False, counting_of(after))
    total = Counter(events_of(folded, before))
    total.update(events_of(sent, after))
    late = [each for each in folded.poison if "late" in each.codes]
    if not late:
        whole = BatchFold(after, LANES).fold(log, lambda *_: False, counting_of(after))
        assert total == Counter(events_of(whole, after))


def events_of(folded: Folded, pipeline: Pipeline) -> dict[tuple[str, str], int]:
    return {(place[0], place[2]): state[0] for place, state in states_folded(folded, pipeline).items()}
