"""A function's batches over crashes, twins, lost answers and reshards: each that was acknowledged counts once, and no part twice."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.awsjson.client import ServiceError
from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.ports import PutFailed, PutResult, PutStored
from producers.collector import sealing, streamed
from producers.collector.durable import Batch, KeyReused, Once
from producers.collector.message import Refused
from producers.collector.sealing import Groups, Note, seal
from producers.collector.streamed import DynamoDbNotes, Noted, NotStored, StreamDurable
from streamgage.errors import ConfigError, RetryableError
from streamgage.fold.lane_log import RANGES
from streamgage.formats.kpl import decode_aggregate
from streamgage.formats.mark import Mark, decode_mark
from streamgage.shards import Shard, ShardMap
from support.collecting import counted, pipeline, reading

PIPELINE = pipeline()
READING = PIPELINE.sources["reading"]
END = 2**128 - 1
MAPS = (
    (Shard("a", 0, END),),
    (Shard("b", 0, END // 2), Shard("c", END // 2 + 1, END)),
    (Shard("d", 0, END // 3), Shard("e", END // 3 + 1, END // 2), Shard("c", END // 2 + 1, END)),
)


class Crashed(BaseException):
    """The sandbox is gone."""


class World:
    """A stream, a table of keys, and sandboxes, all of which fail as *dice* say."""

    def __init__(self, dice: random.Random, *, hostile: bool = True) -> None:
        self.dice, self.hostile = dice, hostile
        self.records: list[bytes] = []
        self.notes: dict[str, Noted] = {}
        self.shards: Sequence[Shard] = MAPS[0]
        self.ms = 0

    def _meet(self, odds: float) -> bool:
        return self.hostile and self.dice.random() < odds

    def now_ms(self) -> int:
        return self.ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.ms += max(duration_ms, 1)
        if self._meet(0.3):
            self.shards = self.dice.choice(MAPS)

    def list_shards(self) -> Sequence[Shard]:
        return self.shards

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        self._step()
        results: list[PutResult] = []
        for each in entries:
            if self._meet(0.2):
                results.append(PutFailed("ProvisionedThroughputExceededException", "slow"))
                continue
            self.records.append(each.data)
            results.append(PutStored(each.shard_id, len(self.records)))
        self._step()
        if self._meet(0.2):
            raise RetryableError("no answer")
        return results

    def put_first(self, key: str, noted: Noted, *, expires_s: int) -> Noted | None:
        del expires_s
        self._step()
        there = self.notes.setdefault(key, noted)
        self._step()
        if self._meet(0.1):
            raise RetryableError("no answer")
        return None if there is noted else there

    def _step(self) -> None:
        self.sleep_ms(1)
        if self._meet(0.08):
            raise Crashed

    def sandbox(self) -> StreamDurable:
        left = self.dice.randrange(50, 5_000)
        return StreamDurable(
            self, self, clock=self, left_ms=lambda: left, rng=random.Random(self.dice.getrandbits(64))
        )


def batch(number: int, size: int, *, has_key: bool = True) -> Batch:
    """Return the batch of that number: readings of times of their own."""
    events = [
        {name: value for name, value in reading(number * 1_000 + at).items() if name != "source"}
        for at in range(size)
    ]
    key = number.to_bytes(16, "big")
    return Batch({READING: events}, Once(key, key) if has_key else None, 100 * size)


def run(seed: int, clients: int = 6) -> None:
    """Have clients send until they are told 200, each batch by whichever sandbox answers; judge what the stream holds."""
    dice = random.Random(seed)
    world = World(dice)
    sandboxes = [world.sandbox() for _ in range(3)]
    waiting = {number: batch(number, dice.randrange(1, 40)) for number in range(clients)}
    begun: dict[int, Batch] = {}
    acknowledged: Counter[int] = Counter()
    for _ in range(300):
        if not waiting:
            break
        number = dice.choice(list(waiting))
        begun[number] = waiting[number]
        at = dice.randrange(len(sandboxes))
        try:
            sandboxes[at].keep(waiting[number])
        except RetryableError:
            continue
        except KeyReused as error:
            raise AssertionError(f"seed {seed}: refused, and cannot be finished") from error
        except Crashed:
            sandboxes[at] = world.sandbox()
            continue
        acknowledged.update(event["ts"] for event in waiting[number].events[READING])
        if dice.random() < 0.7:  # else the answer was lost, and it comes again
            del waiting[number]
    counts = counted(world.records, PIPELINE)
    assert all(count == 1 for count in counts.values()), f"seed {seed}: counted twice"
    assert not acknowledged.keys() - counts.keys(), f"seed {seed}: acknowledged and lost"


@given(seed=st.integers(0, 2**32))
def test_each_acknowledged_batch_of_a_key_counts_once_whatever_dies_and_whoever_sends_it(seed: int) -> None:
    run(seed)


def caught() -> bool:
    """Tell whether a run of some seeds finds what was planted."""
    for seed in range(60):
        try:
            run(seed)
        except AssertionError:
            return True
    return False


def test_marks_drawn_anew_for_a_known_key_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def anew(groups: object, _note: Note, *, one_key_per_record: bool) -> Sequence[PutEntry]:
        identity = Identity(random.Random(random.getrandbits(64)))
        found: Sequence[PutEntry] = seal(
            groups,  # type: ignore[arg-type]
            ShardMap(MAPS[0]),
            identity.tags_for,
            one_key_per_record=one_key_per_record,
        )
        return found

    monkeypatch.setattr(streamed, "seal_again", anew)
    assert caught()


def test_events_assigned_by_the_shards_of_now_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Note.encode

    def forgetful(note: Note) -> str:
        return encode(replace(note, starts=(0,) * len(note.starts)))

    monkeypatch.setattr(Note, "encode", forgetful)
    monkeypatch.setattr(sealing, "_cuts", lambda _: 0)  # by which it would be refused
    assert caught()


def test_a_known_key_that_is_answered_without_sending_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "seal_again", lambda *_, **__: [])
    assert caught()


def test_marks_that_were_put_back_although_they_were_used_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    send = StreamDurable._send

    def reusing(self: StreamDurable, entries: Sequence[PutEntry]) -> None:
        send(self, entries)
        self._identity = Identity(random.Random(7))

    monkeypatch.setattr(StreamDurable, "_send", reusing)
    assert caught()


def test_two_sandboxes_from_one_snapshot_draw_marks_of_their_own() -> None:
    world = World(random.Random(1), hostile=False)
    sandboxes = [world.sandbox() for _ in range(2)]
    assert [each._identity for each in sandboxes] == [None, None]  # what is not there is not copied
    for number, each in enumerate(sandboxes):
        each.keep(batch(number, 3, has_key=False))
    assert sum(counted(world.records, PIPELINE).values()) == 6


def test_a_key_with_other_content_is_refused_and_a_changed_definition_said() -> None:
    world = World(random.Random(1), hostile=False)
    sandbox, first = world.sandbox(), batch(1, 3)
    sandbox.keep(first)
    with pytest.raises(KeyReused, match="other content"):
        sandbox.keep(Batch(first.events, Once(first.once.key, b"x" * 16), 1))  # type: ignore[union-attr]
    with pytest.raises(KeyReused, match="another definition"):
        sandbox.keep(Batch({READING: first.events[READING][:2]}, first.once, 1))


def test_a_version_that_would_cut_the_events_otherwise_under_the_same_marks_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many records and events as before, other events in each: under the marks of old, some would be dropped."""
    world = World(random.Random(1), hostile=False)
    sandbox, first = world.sandbox(), batch(1, 400)
    sandbox.keep(first)
    stored = len(world.records)

    def otherwise(groups: Groups, *args: Any, **options: Any) -> Sequence[PutEntry]:
        one, *others = seal(groups, *args, **options)
        return [replace(one, records=one.records[:-1]), *others]

    monkeypatch.setattr(sealing, "seal", otherwise)
    with pytest.raises(KeyReused, match="another version"):
        sandbox.keep(first)
    assert len(world.records) == stored


def test_a_batch_that_was_known_leaves_no_gap_among_the_marks() -> None:
    world = World(random.Random(1), hostile=False)
    sandbox = world.sandbox()
    for number in (1, 1, 1, 2):
        sandbox.keep(batch(number, 1))
    identity = sandbox._identity
    assert identity is not None
    assert next(iter(identity.drawn().groups.values()))[1] == 2


def test_a_batch_that_is_refused_for_its_key_leaves_no_gap_among_the_marks() -> None:
    world = World(random.Random(1), hostile=False)
    sandbox = world.sandbox()
    sandbox.keep(batch(1, 1))
    for _ in range(3):
        with pytest.raises(KeyReused):
            sandbox.keep(Batch(batch(1, 1).events, Once((1).to_bytes(16, "big"), b"x" * 16), 1))
    sandbox.keep(batch(2, 1))
    identity = sandbox._identity
    assert identity is not None
    assert next(iter(identity.drawn().groups.values()))[1] == 2


@pytest.mark.parametrize("error", [RetryableError("no answer"), ConfigError("no right to put")])
@pytest.mark.parametrize("fails", ["put_first", "put_records"])
def test_no_identity_has_more_gaps_than_a_lane_remembers_ranges_however_often_an_answer_is_missing(
    fails: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its lowest ranges were forgotten, and a batch of theirs that comes again would count again."""
    world = World(random.Random(1), hostile=False)
    sandbox = world.sandbox()

    def silent(*_: object, **__: object) -> None:
        world.sleep_ms(10_000)
        raise error

    for number in range(200):
        with monkeypatch.context() as patch:
            if number % 2:
                patch.setattr(world, fails, silent)
            with suppress(RetryableError, ConfigError):
                sandbox.keep(batch(number, 1))
    marks = defaultdict[str, list[int]](list)
    for data in world.records:
        mark = decode_mark(decode_aggregate(data).tags)
        assert mark is not None
        marks[mark.producer].append(mark.counter)
    gaps = [sum(after - before > 1 for before, after in pairwise(sorted(each))) for each in marks.values()]
    assert sum(map(len, marks.values())) == 100
    assert max(gaps) < RANGES / 2


def test_a_batch_of_which_parts_here_and_there_are_not_stored_counts_as_that_many_gaps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(random.Random(1), hostile=False)
    sandbox = StreamDurable(
        world, world, clock=world, left_ms=lambda: 1_000, rng=world.dice, one_key_per_record=True
    )
    first: list[PutEntry] = []

    def every_second(entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        world.sleep_ms(100)
        first.extend([] if first else entries)
        return [
            PutStored(each.shard_id, 1) if first.index(each) % 2 else PutFailed("slow", "")
            for each in entries
        ]

    monkeypatch.setattr(world, "put_records", every_second)
    with pytest.raises(NotStored) as told:
        sandbox.keep(batch(1, 400))
    assert len(first) > 2
    assert told.value.gaps == (len(first) + 1) // 2


def test_a_batch_whose_note_no_item_holds_is_refused_and_not_asked_for_again_and_again() -> None:
    world = World(random.Random(1), hostile=False)
    durable = StreamDurable(
        world, world, clock=world, left_ms=lambda: 60_000, rng=random.Random(1), one_key_per_record=True
    )
    events = [{**batch(1, 1).events[READING][0], "device_id": f"d{at}"} for at in range(15_000)]
    once = batch(1, 1).once
    with pytest.raises(Refused, match="send smaller ones") as refused:
        durable.keep(Batch({READING: events}, once, 1))
    assert refused.value.status == 413
    assert (world.notes, world.records) == ({}, [])
    durable.keep(Batch({READING: events[:5_000]}, once, 1))
    (note,) = world.notes.values()
    assert len(note.note) < 390_000


@given(
    starts=st.lists(st.integers(0, END), min_size=1, max_size=50, unique=True).map(sorted),
    marks=st.lists(
        st.tuples(st.from_regex(r"[0-9a-f]{16}\.[0-9]{1,3}", fullmatch=True), st.integers(1, 10**12)),
        min_size=1,
        max_size=50,
    ),
    events=st.integers(0, 10**6),
)
def test_a_note_is_read_as_it_was_written(
    starts: list[int], marks: list[tuple[str, int]], events: int
) -> None:
    note = Note(tuple(starts), tuple(Mark(*each) for each in marks), events, 2**32 - 1)
    assert Note.decode(note.encode()) == note


def test_a_key_of_a_batch_for_twelve_shards_is_one_write_unit() -> None:
    marks = tuple(Mark(f"{2**64 - 1:x}.{shard}", 10**6) for shard in range(12))
    note = Note(tuple(END // 12 * shard for shard in range(12)), marks, 500, 2**32 - 1)
    assert len(note.encode()) + 200 < 1_024


class Table:
    """What DynamoDB answers, once for each call."""

    def __init__(self, error: ServiceError | None = None) -> None:
        self.error = error
        self.requests: list[dict[str, Any]] = []

    def __call__(self, operation: str, body: str) -> object:
        assert operation == "PutItem"
        self.requests.append(json.loads(body))
        if self.error is not None:
            raise self.error
        return b"{}"


def refusal(error: str, **answer: Any) -> ServiceError:
    return ServiceError("PutItem", status=400, error=error, answer=answer)


def test_a_note_is_written_where_none_stands_and_expires_after_two_days() -> None:
    table = Table()
    assert DynamoDbNotes(table, "keys").put_first("k", Noted("c", "n"), expires_s=9) is None
    (request,) = table.requests
    assert request["ConditionExpression"] == "attribute_not_exists(id)"
    assert request["Item"]["expires"] == {"N": "9"}


def test_what_stands_under_a_key_comes_with_the_refusal() -> None:
    there = {"id": {"S": "k"}, "content": {"S": "c"}, "note": {"S": "other"}, "expires": {"N": "1"}}
    notes = DynamoDbNotes(Table(refusal("ConditionalCheckFailedException", Item=there)), "keys")
    assert notes.put_first("k", Noted("c", "n"), expires_s=9) == Noted("c", "other")


@pytest.mark.parametrize("error", ["ConditionalCheckFailedException", "AccessDeniedException"])
def test_a_table_that_says_nothing_of_a_key_lets_no_batch_pass(error: str) -> None:
    with pytest.raises(RetryableError):
        DynamoDbNotes(Table(refusal(error)), "keys").put_first("k", Noted("c", "n"), expires_s=9)
