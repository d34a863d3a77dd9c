"""What a consumer is shown of a stream that is not its alone, and how late an event may be for its rollups."""

import json
from typing import Any

import pytest

from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.fold.batch import Folded
from streamgage.formats.avro import MARKER
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.records import StreamRecord, UserRecord
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DAY_MS, DEFINITION, aggregated, click, pipeline, reading
from support.tables import States, fold_plainly, states_folded

SCHEMAS = {name: each.schema for name, each in pipeline().sources.items()}


def fold(text: str, consumer: str, *datas: bytes) -> Folded:
    return fold_plainly(
        parse_pipeline(text, FilesIn(ROOT)).of_consumer(consumer),
        [
            StreamRecord("shardId-000000000000", 10**55 + at, "p", data, ARRIVAL_MS)
            for at, data in enumerate(datas)
        ],
    )


def states(folded: Folded) -> States:
    return states_folded(folded, parse_pipeline(APART, FilesIn(ROOT)))


def codes(folded: Folded) -> list[str]:
    return [code for each in folded.poison for code in each.codes]


# --- what is passed over ---

APART = DEFINITION.replace('key = ["page"]', 'key = ["page"]\nconsumer = "web"').replace(
    'key = ["visitor_id"]', 'key = ["visitor_id"]\nconsumer = "web"'
)


def readings(*, lag_ms: int = 0, count: int = 1) -> list[dict[str, Any]]:
    return [reading("d1", "temp", ARRIVAL_MS + lag_ms, float(n)) for n in range(count)]


ROW = SCHEMAS["reading"].encode(readings()[0])
OF_ANOTHER = {
    "a row": ROW,
    "a row that cannot be decoded": ROW[:-1],
    "a row that is too late": SCHEMAS["reading"].encode(readings(lag_ms=-8 * DAY_MS)[0]),
    "a block": BlockCodec(SCHEMAS["reading"]).encode(readings(count=3)),
    "a block that is cut short": BlockCodec(SCHEMAS["reading"]).encode(readings(count=3))[:-2],
    "a block without a number of events": BlockCodec(SCHEMAS["reading"]).prefix + b"\x10",
    "a block with none": BlockCodec(SCHEMAS["reading"]).prefix + b"\x10\x00",
    "JSON": json.dumps({"source": "reading", **readings()[0]}).encode(),
    "JSON that does not fit": b'{"source": "reading"}',
}
CLICK = SCHEMAS["click"].encode(click("v", "/", ARRIVAL_MS, 5))


@pytest.mark.parametrize("name", OF_ANOTHER)
@pytest.mark.parametrize("together", [False, True])
def test_events_of_a_source_that_no_rollup_of_the_consumer_reads_are_no_poison_and_count_nowhere(
    name: str,
    together: bool,  # noqa: FBT001 - a table
) -> None:
    datas = [CLICK, OF_ANOTHER[name], CLICK]
    folded = fold(
        APART, "web", *([aggregated([UserRecord("k", each) for each in datas])] if together else datas)
    )
    assert folded.poison == []
    alone = fold(APART, "web", CLICK, CLICK)
    assert {place[0]: state[0] for place, state in states(folded).items()} == {
        place[0]: state[0] for place, state in states(alone).items()
    }
    assert len(alone.items) == 2


@pytest.mark.parametrize(
    "name", ["a row that cannot be decoded", "a block that is cut short", "JSON that does not fit"]
)
def test_whoever_counts_them_refuses_them(name: str) -> None:
    assert codes(fold(APART, "main", OF_ANOTHER[name], CLICK)) == ["undecodable"]


def test_events_that_are_passed_over_keep_their_numbers_so_that_first_and_last_are_those_of_the_log() -> None:
    block = BlockCodec(SCHEMAS["reading"]).encode(readings(count=3))
    late = SCHEMAS["click"].encode(click("v", "/", -1, 5))
    users = [UserRecord("k", each) for each in (block, late)]
    (poison,) = fold(APART, "web", aggregated(users)).poison
    assert (*poison.codes, poison.sub_sequence_number) == ("bad_time", 3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (MARKER + bytes(8), "unknown_schema"),
        (b'{"source": "raeding"}', "unknown_schema"),
        (b"x", "unknown_format"),
    ],
)
def test_what_is_of_no_source_is_poison_to_every_consumer(data: bytes, code: str) -> None:
    for consumer in ("main", "web"):
        assert codes(fold(APART, consumer, data)) == [code]


# --- how late an event may be ---


def late(text: str, lag_ms: int) -> list[str]:
    folded = fold(text, "main", SCHEMAS["reading"].encode(readings(lag_ms=-lag_ms)[0]))
    assert bool(folded.items) == (not folded.poison)
    return [f"{refused.code}: {refused.reason}" for each in folded.poison for refused in each.refused]


KEPT_FOR_3_DAYS = DEFINITION.replace('keep = "90d"', 'keep = "3d"')
UNBOUNDED = DEFINITION.replace('max_lateness = "7d"\n', "")


def test_the_shortest_keep_bounds_how_late_an_event_may_be_for_the_item_of_its_window_may_be_gone() -> None:
    assert late(KEPT_FOR_3_DAYS, 3 * DAY_MS) == []
    assert late(KEPT_FOR_3_DAYS, 3 * DAY_MS + 1) == [
        f"late: {3 * DAY_MS + 1} ms before its arrival; keep of rollup device_metrics is {3 * DAY_MS} ms"
    ]


def test_max_lateness_bounds_where_it_is_less_than_every_keep() -> None:
    assert late(DEFINITION, 7 * DAY_MS) == []
    assert late(DEFINITION, 7 * DAY_MS + 1) == [
        f"late: {7 * DAY_MS + 1} ms before its arrival; max_lateness is {7 * DAY_MS} ms"
    ]


def test_keep_bounds_without_max_lateness_and_without_either_every_age_counts() -> None:
    assert late(UNBOUNDED, 90 * DAY_MS) == []
    assert "keep of rollup device_metrics" in late(UNBOUNDED, 90 * DAY_MS + 1)[0]
    assert late(UNBOUNDED.replace('keep = "90d"\n', ""), ARRIVAL_MS) == []


def test_of_two_rollups_of_a_source_the_one_that_forgets_first_bounds_both() -> None:
    shorter = DEFINITION + (
        '[[rollups]]\nname = "day"\nsource = "reading"\nkey = ["metric"]\nwindows = ["1m"]\nkeep = "1d"\n'
        '[rollups.measures]\nvalue = ["sum"]\n'
    )
    assert late(shorter, DAY_MS) == []
    assert "keep of rollup day" in late(shorter, DAY_MS + 1)[0]
    assert late(shorter.replace('name = "day"', 'name = "day"\nconsumer = "other"'), DAY_MS + 1) == []
