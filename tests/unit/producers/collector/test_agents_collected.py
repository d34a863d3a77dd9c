"""What agents' own encoders wrote (tests/golden), by HTTP: exactly what they meant is kept, and what is not is told."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from producers.client.entry import PutEntry
from producers.client.ports import PutResult, PutStored
from producers.clock import MonotonicClock
from producers.collector.collector import Collector
from producers.collector.limits import Bounds
from producers.collector.message import Answer
from producers.collector.spooled import SpoolDurable
from producers.collector.streamed import Noted, StreamDurable
from producers.spool import Spool
from streamgage.formats.kpl import decode_aggregate
from streamgage.formats.mark import decode_mark
from streamgage.reading.record_reader import SourceReader
from streamgage.shards import Shard, ShardMap
from support.agents import agent_records, agents_pipeline, gauge, otlp_json
from support.collecting import Kept, collector_over, pipeline, post

PIPELINE = agents_pipeline()
AT_MS = 1_767_614_400_000
SHARDS = (Shard("s", 0, 2**128 - 1),)
RECORDS = agent_records()
LINES = {
    (r'a b,c=d\e"f', "a float", 20.5, AT_MS),
    (r'a b,c=d\e"f', "int", float(-(2**63)), AT_MS),
    (r'a b,c=d\e"f', "uint", float(2**64), AT_MS),
    (r'a b,c=d\e"f', "tiny", 5e-324, AT_MS),
    ("x", "one", 1.0, AT_MS + 1),
}
POINTS = {
    ("h", "temp", 20.5, AT_MS),
    ("h", "temp", -3.0, AT_MS),
    ("h", "hits", 7.0, AT_MS),
    ("é-1", "s", 4.5, AT_MS),
    ("é-1", "By", 10.0, AT_MS),
}
ONCE = {"idempotency_key": "k"}


def counted(records: Iterable[bytes]) -> Counter[tuple[Any, ...]]:
    """Return how often each reading counts: sealed records of one mark are one."""
    reader = SourceReader(PIPELINE.sources["reading"], ("ts",))
    found, seen = Counter[tuple[Any, ...]](), set[object]()
    for data in records:
        aggregate = decode_aggregate(data)
        mark = decode_mark(aggregate.tags)
        if mark in seen:
            continue
        seen.add(mark)
        for record in aggregate.user_records():
            found[_told(reader.events.decode(record.data))] += 1
    return found


def _told(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return event["device_id"], event["metric"], event["value"], event["ts"]


def once_each(events: set[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    return Counter(dict.fromkeys(events, 1))


def export(collector: Collector, name: str, **headers: str) -> Answer:
    form, _, coding = name.partition(" ")
    kind = {"otlp_proto": "application/x-protobuf", "otlp_json": "application/json"}[form]
    more = {"content_encoding": coding} if coding else {}
    return post(collector, RECORDS[name], "/v1/metrics", content_type=kind, **more, **headers)


@pytest.mark.parametrize("name", ["otlp_proto", "otlp_proto gzip", "otlp_json"])
def test_points_of_the_opentelemetry_collector_are_in_the_spool_once_and_the_rejected_one_is_told(
    tmp_path: Path, name: str
) -> None:
    with Spool.open(tmp_path / "spool", fsync=False) as spool:
        port = SpoolDurable(spool, ShardMap(SHARDS), max_bytes=1 << 30, one_key_per_record=False)
        collector = collector_over(port, definition=PIPELINE)
        answers = [export(collector, name, **ONCE) for _ in range(2)]
        assert counted(each.record.data for each in spool.records()) == once_each(POINTS)
    assert answers[0] == answers[1]
    assert answers[0].status == 200
    if name == "otlp_json":
        partial = json.loads(answers[0].body)["partialSuccess"]
        assert partial["rejectedDataPoints"] == "1"
        assert "sum hits point 0: a cumulative sum" in partial["errorMessage"]
    else:
        assert answers[0].body[0] == 0x0A  # partial_success = 1
        assert answers[0].body[3:5] == b"\x08\x01"  # rejected_data_points = 1
        assert b"sum hits point 0: a cumulative sum" in answers[0].body
    assert (collector.tally.accepted, collector.tally.refused, collector.tally.repeated) == (5, 2, 5)


class Stream:
    """A stream, and the notes beside it."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.notes: dict[str, Noted] = {}

    def list_shards(self) -> Sequence[Shard]:
        return SHARDS

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        self.records += [each.data for each in entries]
        return [PutStored(each.shard_id, number) for number, each in enumerate(entries)]

    def put_first(self, key: str, noted: Noted, *, expires_s: int) -> Noted | None:
        assert expires_s > 0
        there = self.notes.setdefault(key, noted)
        return None if there is noted else there


def over(stream: Stream) -> StreamDurable:
    return StreamDurable(stream, stream, clock=MonotonicClock(), left_ms=lambda: 60_000, rng=random.Random(1))


def test_lines_of_the_influx_library_are_in_the_stream_once_and_refused_fields_are_told() -> None:
    stream = Stream()
    collector = collector_over(over(stream), definition=PIPELINE)
    answers = [
        post(collector, RECORDS["line protocol"], "/api/v2/write", content_type="text/plain", **ONCE)
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0].status == 400  # what InfluxDB says of a partial write
    told = json.loads(answers[0].body)
    assert told["code"] == "invalid"
    assert told["message"].startswith("partial write: 5 events were accepted, 2 refused: line 2 field text: ")
    assert "; line 2 field yes: value: True is not a number" in told["message"]
    assert len(stream.records) == 2  # it was sent again, under its marks
    assert counted(stream.records) == once_each(LINES)


def test_a_write_under_its_key_in_another_precision_is_another_batch_and_is_refused() -> None:
    stream = Stream()
    collector = collector_over(over(stream), definition=PIPELINE)
    lines = b"weather,host=h t=1 1767614400"
    statuses = [
        post(collector, lines, "/api/v2/write", f"precision={unit}", content_type="text/plain", **ONCE).status
        for unit in ("s", "ms", "s")
    ]
    assert statuses == [204, 409, 204]
    assert counted(stream.records) == once_each({("h", "t", 1.0, AT_MS)})


def test_lines_that_share_so_long_tags_that_nothing_holds_their_events_are_refused_whole() -> None:
    stream = Stream()
    collector = collector_over(over(stream), definition=PIPELINE, bounds=Bounds(inflated_bytes=200_000))
    fields = ",".join(f"f{number}=1" for number in range(100))
    lines = f"weather,host={'h' * 5_000} {fields} {AT_MS}000000".encode()
    answer = post(collector, lines, "/api/v2/write", content_type="text/plain")
    assert (answer.status, stream.records) == (413, [])
    assert b"send smaller batches" in answer.body


LINE = b"weather,device_id=d1 temperature=20.5 1767614400"
POINT = otlp_json(gauge("humidity", [48], ts_ms=1_767_614_400_000), resource={"device.id": "d1"})


def test_the_definition_that_ships_takes_a_line_and_a_point_of_otlp() -> None:
    port = Kept()
    collector = collector_over(port)
    assert post(collector, LINE, "/api/v2/write", "precision=s", content_type="text/plain").status == 204
    assert post(collector, POINT, "/v1/metrics").status == 200
    assert [_told(each) for each in port.events] == [
        ("d1", "weather_temperature", 20.5, 1_767_614_400_000),
        ("d1", "humidity", 48.0, 1_767_614_400_000),
    ]


@pytest.mark.parametrize(
    ("path", "body", "lacks"),
    [
        ("/api/v2/write", LINE.replace(b"device_id", b"host"), "tag:device_id"),
        ("/v1/metrics", POINT.replace(b"device.id", b"host.id"), "resource:device.id"),
    ],
)
def test_what_lacks_its_device_is_told_what_it_lacks(path: str, body: bytes, lacks: str) -> None:
    port = Kept()
    kind = "text/plain" if path == "/api/v2/write" else "application/json"
    answer = post(collector_over(port), body, path, content_type=kind)
    assert f"device_id: it has no {lacks}" in answer.body.decode()
    assert port.events == []


@pytest.mark.parametrize(("path", "body"), [("/api/v2/write", LINE), ("/v1/metrics", POINT)])
def test_a_definition_that_names_no_agents_refuses_them_and_says_where_to_name_some(
    path: str, body: bytes
) -> None:
    port, shipped = Kept(), pipeline()
    none = replace(
        shipped, sources={name: replace(each, agents=()) for name, each in shipped.sources.items()}
    )
    kind = "text/plain" if path == "/api/v2/write" else "application/json"
    answer = post(collector_over(port, definition=none), body, path, content_type=kind)
    assert answer.status == 400
    assert "by [[sources.from]] in pipeline.toml" in answer.body.decode()
    assert port.events == []


@pytest.mark.parametrize(
    ("path", "body", "media"),
    [
        ("/v1/metrics", RECORDS["otlp_proto"], "application/x-protobuf"),
        ("/api/v2/write", RECORDS["line protocol"], ""),
    ],
)
def test_who_says_x_once_body_has_the_same_bytes_counted_once_and_others_beside_them(
    path: str, body: bytes, media: str
) -> None:
    port = Kept()
    collector = collector_over(port, definition=PIPELINE)
    for once, packed, batches in (("", False, 1), ("", False, 2), ("body", False, 3), ("body", True, 3)):
        sent = gzip.compress(body) if packed else body
        coding = {"content_encoding": "gzip"} if packed else {}
        assert post(collector, sent, path, content_type=media, x_once=once, **coding).status in (200, 400)
        assert len(port.batches) == batches
    post(collector, body + body, path, content_type=media, x_once="body")
    post(collector, body, path, content_type=media, x_once="body", idempotency_key="k")  # a name goes before
    assert len(port.batches) == 5
    refused = post(collector, body, path, content_type=media, x_once="yes")
    assert (refused.status, b"X-Once is 'yes'" in refused.body) == (400, True)


def test_the_same_bytes_of_lines_in_another_unit_are_another_batch_by_x_once() -> None:
    port = Kept()
    collector = collector_over(port, definition=PIPELINE)
    for query, batches in (("precision=ns", 1), ("precision=us", 2), ("precision=ns", 2)):
        post(collector, b"weather,host=a t=1 5", "/api/v2/write", query, x_once="body")
        assert len(port.batches) == batches


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/metrics", b'{"a": [%s{}]}', {}),
        ("/v1/events", b"[%s{}]", {"content_type": "application/cloudevents-batch+json"}),
        ("/v1/events", b"[%s{}]", {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "a", "ce_type": "b"}),
        ("/v1/events", b"[%s{}]", {}),
    ],
)
def test_json_of_more_objects_than_its_events_can_have_is_not_parsed_at_any_entrance(
    path: str, body: bytes, headers: dict[str, str]
) -> None:
    """A parser takes some sixty bytes for each two: 130 kB, compressed, would take a gigabyte."""
    collector = collector_over(Kept(), bounds=Bounds(events=10), definition=PIPELINE)
    few, many = (post(collector, body % (b"{}," * count), path, **headers) for count in (150, 250))
    assert b"objects and arrays" not in few.body
    assert (many.status, b"more than 200 objects and arrays" in many.body) == (413, True)


def test_lines_are_bounded_before_any_is_looked_at() -> None:
    collector = collector_over(Kept(), bounds=Bounds(events=10), definition=PIPELINE)
    few, many = (post(collector, b"\n" * count + b"x", "/api/v2/write") for count in (150, 250))
    assert few.status == 400
    assert (many.status, b"more than 200 lines" in many.body) == (413, True)
