"""Hypothesis strategies: events, the records that carry them, whole logs, and what Lambda may do with them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from processors.pipeline_files import FilesIn
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import PoisonCode, PoisonRecord
from streamgage.formats.avro import MARKER
from streamgage.formats.kpl import MAGIC
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.reading.poison import Refused, refusals
from streamgage.records import StreamRecord, UserRecord
from support.fakes import FAULTS, Fault
from support.paths import ROOT

DEFINITION = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
max_future = "5m"
max_lateness = "7d"

[[sources]]
name = "click"
schema = "schemas/click.avsc"
partition_key = "visitor_id"
event_time = "ts"
time_unit = "ms"

[[rollups]]
name = "device_metrics"
source = "reading"
key = ["device_id", "metric"]
windows = ["1m", "90s", "1h"]
keep = "90d"
[rollups.measures]
value = ["count", "sum", "min", "max", "mean", "variance", "first", "last"]

[[rollups]]
name = "page_views"
source = "click"
key = ["page"]
windows = ["1h"]
[rollups.measures]
bytes = ["count", "sum", "mean", "max"]

[[rollups]]
name = "visits"
source = "click"
key = ["visitor_id"]
windows = ["1d"]
[rollups.measures]
ts = ["min", "max"]
bytes = ["sum"]
"""
ARRIVAL_MS = 1_699_999_200_000  # the whole hour 2023-11-14T22:00:00Z
MINUTE_MS, DAY_MS = 60_000, 86_400_000

# As AWS gives them: 56 digits. Others cross a power of ten, where text and numbers order differently.
REAL_SEQUENCE = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_STARTS = st.sampled_from([REAL_SEQUENCE, 10**55 - 7, 10**56 - 3 * 10**18, 7])


@cache
def pipeline() -> Pipeline:
    """Return the definition that every strategy here writes for."""
    return parse_pipeline(DEFINITION, FilesIn(ROOT))


@dataclass(frozen=True, slots=True)
class Sent:
    """One good event in a log, and its place in its Kinesis record."""

    sub_sequence_number: int
    source: str
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """One poison record in a log: the place of a user record, or None for the whole Kinesis record."""

    sub_sequence_number: int | None
    code: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One Kinesis record, and what a reader should make of it."""

    record: StreamRecord
    good: tuple[Sent, ...]
    bad: tuple[Bad, ...]


# Plain numbers of a sensor; anything that 38 digits hold at scale 9; and halves at the scale, which round to even.
VALUES = (
    st.integers(-100_000, 100_000).map(lambda n: n / 1000)
    | st.floats(-9e28, 9e28)
    | st.integers(-9999, 9999).map(lambda n: float(f"{n}.{abs(n) % 1000:03d}0000005"))
)
# Often close to a border of a window, often the same instant twice.
_LAGS_MS = st.sampled_from([-MINUTE_MS, -1, 0, 0, 1, 30_000, MINUTE_MS, 89_999]) | st.integers(
    -7 * DAY_MS, 5 * MINUTE_MS
)

_Make = Callable[[int], tuple[str, dict[str, Any], bytes]]
"""``make(arrival_ms)``: source, event and the user record's data."""


def _readings(device: str, metric: str, lag_ms: int, value: float, as_json: bool) -> _Make:  # noqa: FBT001 - drawn
    def make(arrival_ms: int) -> tuple[str, dict[str, Any], bytes]:
        return _encoded("reading", reading(device, metric, arrival_ms + lag_ms, value), as_json)

    return make


def _clicks(visitor: str, page: str, lag_ms: int, size: int | None, as_json: bool) -> _Make:  # noqa: FBT001 - drawn
    def make(arrival_ms: int) -> tuple[str, dict[str, Any], bytes]:
        return _encoded("click", click(visitor, page, arrival_ms + lag_ms, size), as_json)

    return make


def reading(device: str, metric: str, ts: int, value: float) -> dict[str, Any]:
    """Return an event of the source ``reading``."""
    return {"device_id": device, "metric": metric, "ts": ts, "value": value}


def click(visitor: str, page: str, ts: int, size: int | None) -> dict[str, Any]:
    """Return an event of the source ``click``."""
    return {"visitor_id": visitor, "page": page, "ts": ts, "bytes": size}


def _encoded(source: str, event: dict[str, Any], as_json: bool) -> tuple[str, dict[str, Any], bytes]:  # noqa: FBT001
    if as_json:
        return source, event, json.dumps({"source": source, **event}).encode()
    return source, event, pipeline().sources[source].schema.encode(event)


def _readings_of(devices: st.SearchStrategy[str]) -> st.SearchStrategy[_Make]:
    return st.builds(_readings, devices, st.sampled_from(["temp", "rpm"]), _LAGS_MS, VALUES, st.booleans())


READINGS = _readings_of(st.sampled_from(["d1", "d|2", "d%7C"]))
CLICKS = st.builds(
    _clicks,
    st.sampled_from(["v1", "v2"]),
    st.sampled_from(["/", "/a|b"]),
    _LAGS_MS | st.integers(-ARRIVAL_MS, DAY_MS),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
)


def _weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Choose a strategy by weight, and draw from it."""
    return st.sampled_from([each for weight, each in choices for _ in range(weight)]).flatmap(
        lambda each: each
    )


def _bad(code: str, data: bytes | Callable[[int], bytes]) -> tuple[str, Callable[[int], bytes]]:
    return code, data if callable(data) else lambda _: data


def _bad_reading(**changes: Any) -> Callable[[int], bytes]:
    """Return a reading with some fields as *changes* say; ``lag_ms`` moves it against its arrival."""
    lag_ms = changes.pop("lag_ms", 0)

    def make(arrival_ms: int) -> bytes:
        event = {**reading("d1", "temp", arrival_ms + lag_ms, 1.0), **changes}
        return pipeline().sources["reading"].schema.encode(event)

    return make


def _json(**changes: Any) -> bytes:
    return json.dumps({"source": "reading", **reading("d1", "temp", ARRIVAL_MS, 1.0), **changes}).encode()


_GOOD = _bad_reading()(ARRIVAL_MS)
POISON_USER_RECORDS = (
    _bad("unknown_format", b""),
    _bad("unknown_format", b"\x00\x01binary"),
    _bad("unknown_format", b"[1, 2]"),
    _bad("unknown_format", MAGIC),  # too short for an aggregate
    _bad("unknown_schema", MARKER + b"\x01\x02\x03\x04\x05\x06\x07\x08" + b"body"),
    _bad("unknown_schema", MARKER),
    _bad("undecodable", _GOOD[:10]),
    _bad("undecodable", _GOOD[:-3]),
    _bad("undecodable", _GOOD + b"\x00"),
    _bad("bad_value", _bad_reading(value=float("nan"))),
    _bad("bad_value", _bad_reading(value=float("-inf"))),
    _bad("bad_value", _bad_reading(value=1e29)),
    _bad("bad_time", _bad_reading(ts=-1)),
    _bad("bad_time", _bad_reading(ts=MAX_EVENT_TIME_MS)),
    _bad("future", _bad_reading(lag_ms=5 * MINUTE_MS + 1)),
    _bad("late", _bad_reading(lag_ms=-7 * DAY_MS - 1)),
    _bad("bad_key", _bad_reading(device_id="x" * 2100)),
    _bad("undecodable", b'{"source": "reading", '),
    _bad("undecodable", b"{\xff}"),
    _bad("unknown_schema", _json(source="nobody")),
    _bad("unknown_schema", _json(source=["reading"])),
    _bad("undecodable", _json(value="warm")),
    _bad("bad_time", _json(ts=1.5)),
    _bad("bad_value", _json(value=float("nan"))),
    _bad("bad_value", _json().replace(b"1.0", b"1e999")),
)


def signed(message: bytes) -> bytes:
    """Return *message* framed as an aggregated record."""
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def aggregated(records: list[UserRecord]) -> bytes:
    """Return the data of a Kinesis record that carries *records*."""
    builder = AggregateBuilder()
    for record in records:
        builder.add(record)
    return builder.build()


_WHOLE = aggregated([UserRecord("k", _GOOD)])


@st.composite
def refused_of(draw: st.DrawFn, events: int) -> tuple[Refused, ...]:
    """Draw what was refused of a user record of *events*: one or more."""
    offsets = sorted(draw(st.sets(st.integers(0, events - 1), min_size=1)))
    codes: st.SearchStrategy[PoisonCode] = st.sampled_from(["late", "future", "bad_value"])
    return refusals((offset, PoisonRecord(draw(codes), f"why {offset}")) for offset in offsets)


POISON_KINESIS_RECORDS = (
    _WHOLE[:-1] + bytes((_WHOLE[-1] ^ 1,)),  # bad MD5
    signed(b"\x0a\x01k" + b"\x1a\x06\x08\x01\x1a\x02hi"),  # a key index that points nowhere
    signed(b"\x0a\x7fk"),  # a length behind the end
)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What one Kinesis record will hold: makers of events, poison of user records, or poison of its own."""

    parts: tuple[Any, ...]
    aggregate: bool
    partition_key: str
    broken: bytes | None = None


_PARTS = _weighted((7, READINGS), (2, CLICKS), (2, st.sampled_from(POISON_USER_RECORDS)))
# Many keys, often of one window: the items of a cell are filled, closed, and followed by others.
_MANY_KEYS = _weighted(
    (9, _readings_of(st.integers(0, 30).map("d{}".format))),
    (2, CLICKS),
    (1, st.sampled_from(POISON_USER_RECORDS)),
)
_PARTITION_KEYS = st.sampled_from(["p1", "p2", "p%|"])


def _drafts(parts: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[_Draft]:
    held = st.lists(parts, min_size=1, max_size=most).map(tuple)
    broken = st.sampled_from(POISON_KINESIS_RECORDS)
    return _weighted(
        (8, st.builds(_Draft, held, st.just(True), _PARTITION_KEYS)),
        (4, st.builds(_Draft, parts.map(lambda part: (part,)), st.just(False), _PARTITION_KEYS)),
        (1, st.builds(_Draft, st.just(()), st.just(True), _PARTITION_KEYS, broken)),
    )


_DRAFTS, _DRAFTS_OF_MANY_KEYS = _drafts(_PARTS, 4), _drafts(_MANY_KEYS, 12)
_GAPS = st.sampled_from([1, 1, 2, 10**18])


@st.composite
def logs(
    draw: st.DrawFn,
    *,
    shard_id: str = "shardId-000000000000",
    max_size: int = 12,
    more_keys: bool = False,
) -> list[Entry]:
    """Draw the log of one shard: aggregated and plain records, Avro and JSON, poison of every kind mixed in."""
    parts = _DRAFTS_OF_MANY_KEYS if more_keys else _DRAFTS
    drafts = draw(st.lists(parts, min_size=max_size // 3, max_size=max_size))
    gaps = draw(st.lists(_GAPS, min_size=len(drafts), max_size=len(drafts)))
    # No two shards of a stream give the same number: 500 is more than a log's small gaps sum up to.
    numbers = accumulate(gaps, initial=draw(SEQUENCE_STARTS) + 500 * int(shard_id[-1]))
    return [
        _entry(draft, shard_id, number, ARRIVAL_MS + 250 * at)
        for at, (draft, number) in enumerate(zip(drafts, numbers, strict=False))
    ]


def _entry(draft: _Draft, shard_id: str, sequence_number: int, arrival_ms: int) -> Entry:
    good: list[Sent] = []
    bad: list[Bad] = []
    users: list[UserRecord] = []
    for sub, part in enumerate(draft.parts):
        if isinstance(part, tuple):
            code, make = part
            data = make(arrival_ms)
            bad.append(Bad(sub, code, data))
        else:
            source, event, data = part(arrival_ms)
            good.append(Sent(sub, source, event))
        users.append(UserRecord(f"user-{sub % 2}", data))
    if draft.broken is not None:
        data = draft.broken
        bad.append(Bad(None, "bad_kpl_framing", data))
    else:
        data = aggregated(users) if draft.aggregate else users[0].data
    record = StreamRecord(shard_id, sequence_number, draft.partition_key, data, arrival_ms)
    return Entry(record, tuple(good), tuple(bad))


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that Lambda does: an invocation, and everything that goes wrong in it.

    ``back`` reaches behind the checkpoint. A ``zombie`` is an invocation whose answer no one waits for any more: of an
    older cut, in a sandbox whose memory is as old. ``overtaken_at`` lets one run in the midst of this invocation,
    before its n-th write. ``stutter`` repeats records within the batch.
    """

    lane: int
    sandbox: int
    back: int
    length: int
    zombie: bool = False
    stutter: bool = False
    overtaken_at: int | None = None
    overtaken_back: int = 0
    asked: int | None = None
    write_faults: dict[int, Fault] = field(default_factory=dict)
    read_faults: dict[int, Fault] = field(default_factory=dict)
    quarantine_faults: dict[int, Fault] = field(default_factory=dict)


_SELDOM = st.sampled_from([0, 0, 1, 2, 4])
_FAULTS = st.sampled_from(FAULTS)
_LOST = st.sampled_from([each for each in FAULTS if each.startswith("lost")])
_CALM = st.just(dict[int, Fault]())
_AT = st.sampled_from([0, 0, 1, 1, 2, 3, 5, 8])
STEPS = st.builds(
    Step,
    lane=st.integers(0, 3),
    sandbox=st.integers(0, 2),
    back=_SELDOM,
    length=st.sampled_from([0, 1, 2, 3, 5, 8]),
    zombie=st.sampled_from([False, False, True]),
    stutter=st.sampled_from([False, False, False, True]),
    overtaken_at=_weighted((2, st.none()), (1, st.integers(0, 4))),
    overtaken_back=_SELDOM,
    asked=_weighted((4, st.none()), (1, st.integers(1, 12))),
    write_faults=_weighted(
        (2, _CALM),
        (2, st.dictionaries(_AT, _FAULTS, min_size=1, max_size=2)),
        (
            3,
            st.dictionaries(st.integers(0, 9), _LOST, min_size=2, max_size=4),
        ),  # some items lag behind others
    ),
    read_faults=_weighted((7, _CALM), (1, st.dictionaries(st.just(0), _FAULTS, min_size=1))),
    quarantine_faults=_weighted(
        (7, _CALM),
        (3, st.just(dict[int, Fault]({0: "lost before"}))),
        (1, st.dictionaries(st.just(0), _FAULTS, min_size=1)),
    ),
)
SCHEDULES = st.lists(STEPS, min_size=6, max_size=14)
