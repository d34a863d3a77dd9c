"""HTTP answers what Python answers; and who may see some keys sees what he would if there were no others."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.live.scope import Scope
from processors.query import Tables
from processors.query.cells import CountingStore
from processors.query.freshness import Freshness
from processors.query.render import to_csv
from processors.query.tables import Place, Result
from streamgage.fold.chunk import decode_chunk
from streamgage.fold.items import window_start_ms
from streamgage.records import StreamRecord
from support.fakes import NOW_MS, InMemoryItemStore, World, invoke
from support.http_face import Counted, Face, FakeStack, world
from support.strategies import ARRIVAL_MS, pipeline, reading

CLAIM = "streamgage:keys"
ROLLUP = pipeline().rollups["device_metrics"]
DEVICES = ["d1", "d2", "d;3", "a,b", "%", "d*", ""]


@pytest.fixture(scope="module")
def store() -> InMemoryItemStore:
    return world().store


def tables(store: InMemoryItemStore, applied_ms: int = NOW_MS) -> Tables:
    def opened() -> tuple[CountingStore, Freshness, str]:
        return Counted(store), Freshness({"shardId-0": applied_ms}, 0, 0), "main"

    place = SimpleNamespace(pipeline=pipeline(), open=opened)
    return Tables(cast("Place", place), now_ms=lambda: NOW_MS)


SHAPES: dict[str, st.SearchStrategy[Any]] = {
    "window": st.sampled_from(["1m", "1h", "1d", "6h", "1w@Europe/Berlin"]),
    "start": st.integers(ARRIVAL_MS - 40_000_000, ARRIVAL_MS - 1),
    "end": st.integers(ARRIVAL_MS, ARRIVAL_MS + 4_000_000),
    "group_by": st.sampled_from([[], ["metric"], ["device_id"], ["metric", "device_id"]]),
    "key": st.sampled_from([{"metric": "temp"}, {"device_id": "d?"}, {"device_id": "d1", "metric": "*"}]),
    "where": st.sampled_from(["events > 1", "value.max >= 3.5", "value.mean < 2"]),
    "select": st.sampled_from([{"spread": "value.max - value.min"}, {"each": "value.sum / events"}]),
    "limit": st.integers(1, 5),
    "eventual": st.booleans(),
}
WINDOWED: dict[str, st.SearchStrategy[Any]] = {
    "compare": st.sampled_from(["previous", "1d"]),
    "moving": st.integers(1, 5),
}
RANGES = st.fixed_dictionaries({}, optional={**SHAPES, **WINDOWED}) | st.fixed_dictionaries(
    {"total": st.just(value=True)}, optional=SHAPES
)
TOPS = st.fixed_dictionaries(
    {"top": st.integers(1, 9), "by": st.sampled_from(["events", "value.sum", "value.mean"])},
    optional={**SHAPES, "each_window": st.booleans()},
)
QUESTIONS = st.tuples(st.just("range"), RANGES) | st.tuples(st.just("top"), TOPS)
NAMES = {"start": "from", "end": "to", "top": "n"}


def query_of(asked: Mapping[str, Any]) -> str:
    """Return the query string that asks what the arguments of ``Tables.query`` ask."""
    pairs: list[tuple[str, str]] = []
    for name, value in asked.items():
        if name == "key":
            pairs += [(f"key.{field}", text) for field, text in value.items()]
        elif name == "select":
            pairs += [("select", f"{column}={text}") for column, text in value.items()]
        elif name == "group_by":
            pairs.append((name, ",".join(value)))
        else:
            text = json.dumps(value) if isinstance(value, bool) else str(value)
            pairs.append((NAMES.get(name, name), text))
    return urlencode(pairs)


def rows_of(result: Result) -> list[Any]:
    return [
        [each if not isinstance(each, Decimal) else each.normalize() for each in row]
        for row in result.answer.rows
    ]


def told_rows(told: Mapping[str, Any]) -> list[Any]:
    return [
        [each if not isinstance(each, Decimal) else each.normalize() for each in row.values()]
        for row in told["rows"]
    ]


@settings(max_examples=60)
@given(question=QUESTIONS)
def test_http_answers_what_python_answers(
    store: InMemoryItemStore, question: tuple[str, dict[str, Any]]
) -> None:
    how, asked = question
    right = tables(store).query("device_metrics", **asked)
    target = f"/v1/rollups/device_metrics/{how}?{query_of(asked)}"
    face = Face(FakeStack(store))
    told = face(target).json
    assert [each["name"] for each in told["columns"]] == list(right.names)
    assert told_rows(told) == rows_of(right)
    assert (told["left"], told["read_units"]) == (right.answer.left, right.read_units)
    assert told["freshness"] == {"applied_ms": right.applied_ms, "text": right.freshness}
    csv = face(target, headers={"Accept": "text/csv"}).body.decode()
    assert csv == "".join(f"{line}\r\n" for line in to_csv(right.answer))


@settings(max_examples=30)
@given(
    age=st.sampled_from(["1h", "2h", "3d"]),
    at=st.none() | st.integers(ARRIVAL_MS - 40_000_000, NOW_MS),
    key=st.sampled_from([{}, {"metric": "temp"}]),
)
def test_http_tells_the_silent_keys_that_python_tells(
    store: InMemoryItemStore, age: str, at: int | None, key: dict[str, str]
) -> None:
    right = tables(store).silent("device_metrics", age, as_of=at, key=key or None)
    asked = {"for": age, **({} if at is None else {"at": at}), "key": key}
    told = Face(FakeStack(store))(f"/v1/rollups/device_metrics/silent?{query_of(asked)}").json
    assert told_rows(told) == rows_of(right)


# --- who may see what ---


Event = tuple[str, str, int, int]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(DEVICES),
        st.sampled_from(["temp", "hum"]),
        st.integers(0, 600).map(lambda n: ARRIVAL_MS - n * 60_000),
        st.integers(-100, 100),
    ),
    max_size=30,
)
SEEN = st.sets(st.sampled_from(DEVICES), min_size=1)


def world_of(events: Sequence[Event]) -> World:
    found, schema = World(pipeline(), room_bytes=60), pipeline().sources["reading"].schema
    records = [
        StreamRecord("shardId-0", number, "p", schema.encode(reading(device, metric, ts, value)), ARRIVAL_MS)
        for number, (device, metric, ts, value) in enumerate(events)
    ]
    if records:
        assert invoke(found.sandbox(), records) is None
    return found


def claims_of(seen: set[str]) -> dict[str, Any]:
    return {
        "jwt": {"claims": {CLAIM: "device_id=" + ",".join(quote(each, safe="*") for each in sorted(seen))}}
    }


TARGETS = [
    "/v1/rollups/device_metrics/keys",
    "/v1/rollups/device_metrics/keys?limit=1",
    "/v1/rollups/device_metrics/range?window=1h",
    "/v1/rollups/device_metrics/range?window=1h&group_by=",
    "/v1/rollups/device_metrics/range?window=1h&group_by=metric&compare=previous&moving=3",
    "/v1/rollups/device_metrics/range?total=true&group_by=metric",
    "/v1/rollups/device_metrics/range?window=1h&fill=zero&group_by=",
    "/v1/rollups/device_metrics/range?key.device_id=d1&key.metric=temp&window=1h",
    "/v1/rollups/device_metrics/range?window=1h&eventual=true",
    "/v1/rollups/device_metrics/top?n=2",
    "/v1/rollups/device_metrics/top?n=1&each_window=true&window=1h&group_by=metric",
    "/v1/rollups/device_metrics/silent?for=1h",
    "/v1/rollups/device_metrics/silent?for=1h&limit=1",
    "/v1/rollups",
    "/v1/rollups/device_metrics",
    "/v1/openapi.json",
    "/v1/status",
]  # fmt: skip


@settings(max_examples=25)
@given(events=EVENTS, seen=SEEN)
def test_who_sees_some_keys_sees_what_he_would_if_there_were_no_others(
    events: list[Event], seen: set[str]
) -> None:
    whole, alone = (
        Face(FakeStack(world_of(found).store), keys_claim=CLAIM)
        for found in (events, [each for each in events if each[0] in seen])
    )
    for target in TARGETS:
        told, right = (face(target, authorizer=claims_of(seen)) for face in (whole, alone))
        assert (told.status, told.body, told.headers) == (right.status, right.body, right.headers), target
        assert told.status == 200


@settings(max_examples=25)
@given(events=EVENTS, seen=SEEN)
def test_a_table_that_one_may_see_has_no_item_with_another_key(events: list[Event], seen: set[str]) -> None:
    """Whatever asks it, Prometheus' API too: of what is read, nothing tells of another key."""
    whole, alone = world_of(events), world_of([each for each in events if each[0] in seen])
    scope = Scope({"device_id": frozenset(seen)})
    narrowed = tables(whole.store)
    narrowed._place = cast(
        "Place",
        SimpleNamespace(
            pipeline=scope.pipeline(pipeline()),
            open=lambda: (
                scope.store(Counted(whole.store), pipeline()),
                Freshness({"s": NOW_MS}, 0, 0),
                "main",
            ),
        ),
    )
    for window in ("1m", "1h"):
        told, right = (
            each.query("device_metrics", window=window) for each in (narrowed, tables(alone.store))
        )
        assert told.answer == right.answer
    assert list(scope.store(Counted(whole.store), pipeline()).range("~progress|main", "", "~")) == []


def test_a_limited_caller_sees_no_rollup_that_cannot_be_limited_so(store: InMemoryItemStore) -> None:
    face = Face(FakeStack(store), keys_claim=CLAIM)
    authorizer = claims_of({"d1"})
    assert [each["name"] for each in face("/v1/rollups", authorizer=authorizer).json["rollups"]] == [
        "device_metrics"
    ]
    for path in ("page_views", "page_views/top", "page_views/keys", "visits/range", "visits/silent?for=1h"):
        found = face(f"/v1/rollups/{path}", authorizer=authorizer)
        assert found.status == 404
        assert "there are: device_metrics" in found.json["error"]
    document = face("/v1/openapi.json", authorizer=authorizer).body.decode()
    assert "page_views" not in document
    assert face("/v1/status", authorizer=authorizer).json["quarantined"] == {"messages": None}
    found = face("/v1/rollups/device_metrics/keys", authorizer=authorizer)
    assert (found.json["read_units"], "streamgage-read-units" in found.headers) == (None, False)


@pytest.mark.parametrize(
    "authorizer",
    [
        None,
        {},
        {"jwt": {"claims": {}}},
        {"jwt": {"claims": {CLAIM: ""}}},
        {"jwt": {"claims": {CLAIM: "device_id"}}},
        {"jwt": {"claims": {CLAIM: "=d1"}}},
        {"jwt": {"claims": {CLAIM: "device_id=d1;device_id=d2"}}},
        {"jwt": {"claims": {CLAIM: ["d1"]}}},
        {"jwt": {"claims": {"other": "*"}}},
        {"jwt": {"claims": {}}, "lambda": {CLAIM: "*"}},
        {"iam": {"userArn": "arn:aws:iam::000000000000:user/somebody"}},
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/rollups", "/v1/rollups/device_metrics/keys", "/v1/status", "/v1/openapi.json"]
)
def test_who_cannot_be_judged_sees_nothing(store: InMemoryItemStore, authorizer: Any, path: str) -> None:
    stack = FakeStack(store)
    found = Face(stack, keys_claim=CLAIM)(path, authorizer=authorizer)
    assert (found.status, CLAIM in found.json["error"]) == (403, True)
    assert stack.opened == []


def test_a_star_is_everything_and_without_a_claim_to_look_at_everybody_sees_all(
    store: InMemoryItemStore,
) -> None:
    target = "/v1/rollups/device_metrics/keys"
    right = Face(FakeStack(store))(target)
    for authorizer in ({"jwt": {"claims": {CLAIM: "*"}}}, {"lambda": {CLAIM: "*"}}):
        assert Face(FakeStack(store), keys_claim=CLAIM)(target, authorizer=authorizer).body == right.body


def test_nothing_that_a_client_sends_is_taken_for_a_claim(store: InMemoryItemStore) -> None:
    """In payload format 2.0 claims stand in requestContext, which API Gateway writes; nothing else is looked at."""
    face = Face(FakeStack(store), keys_claim=CLAIM)
    forged = {
        "Authorization": "Bearer e30.eyJzdHJlYW1nYWdlOmtleXMiOiIqIn0.",  # {"streamgage:keys": "*"}, unsigned
        CLAIM: "*",
        "requestContext": '{"authorizer": {"jwt": {"claims": {"streamgage:keys": "*"}}}}',
        "X-Amzn-Request-Context": '{"authorizer": {"lambda": {"streamgage:keys": "*"}}}',
        "Cookie": f"{CLAIM}=*",
    }
    assert face("/v1/rollups", headers=forged).status == 403
    mine = claims_of({"d1"})
    for query in ("", "?streamgage:keys=*", "?authorizer=*"):
        found = face(f"/v1/rollups/device_metrics/keys{query}", headers=forged, authorizer=mine)
        assert found.status == (400 if query else 200)
        assert {each["device_id"] for each in found.json.get("keys", ())} <= {"d1"}


def test_of_many_keys_that_stand_in_many_items_only_ones_own_are_seen() -> None:
    events = [(f"d{n}", "temp", ARRIVAL_MS, n) for n in range(300)]
    store = world_of(events).store
    whole, counted = Counted(store), Counted(store)
    scope = Scope({"device_id": frozenset({"d7", "d299", "nobody"})})
    assert len({key.pk for key in store.rows if "|1h|" in key.pk}) > 3  # a root, and items below it
    narrowed = scope.store(counted, pipeline())
    keys = {key for key in store.rows if key.pk.startswith("device_metrics.")}
    seen = {
        name
        for key, item in narrowed.get(list(keys)).items()
        for name in decode_chunk(item.body, ROLLUP.layout, start_ms=window_start_ms(key.sk)).keys
    }
    assert seen == {"d7|temp", "d299|temp"}
    assert len(whole.get(list(keys))) == len(keys)
    told = Face(FakeStack(store), keys_claim=CLAIM)(
        "/v1/rollups/device_metrics/keys", authorizer=claims_of({"d7", "d299", "nobody"})
    )
    assert [each["device_id"] for each in told.json["keys"]] == ["d299", "d7"]


ATOMS = st.sampled_from(
    ["events", "value.sum", "value.min", "metric", "window_start", "'x'", "''", "'%'", "0", "-1", "1e99", "0.1", "null", "true"]
)  # fmt: skip
OPERATORS = st.sampled_from(["+", "-", "*", "/", "%", "||", "=", "<", ">=", "and", "or", "like"])
FUNCTIONS = st.sampled_from(
    ["lower", "length", "host", "part", "hour", "day", "abs", "bucket", "coalesce", "if", "no_such"]
)
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, OPERATORS, inner)
        | st.builds("not {}".format, inner)
        | st.builds("-{}".format, inner)
        | st.builds("{} is null".format, inner)
        | st.builds("{}({})".format, FUNCTIONS, st.lists(inner, min_size=1, max_size=3).map(", ".join))
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@example(text="bucket(events, null)", option="where")
@example(text="-null", option="select")
@given(text=EXPRESSIONS, option=st.sampled_from(["where", "select"]))
def test_an_expression_is_computed_or_refused_and_never_fails(
    store: InMemoryItemStore, text: str, option: str
) -> None:
    face = Face(FakeStack(store))
    asked = {option: text if option == "where" else f"more={text}"}
    found = face(f"/v1/rollups/device_metrics/range?window=1h&{urlencode(asked)}")
    assert found.status in (200, 400), face.told[-1].error
    if found.status == 400:
        assert option in found.json["error"]
