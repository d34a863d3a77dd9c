"""Bugs of a collector that is a function, or of either kind, each as a patch of the real code."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from producers.client.identity import Identity
from producers.client.ports import KinesisPort
from producers.collector import collector, sealing, streamed
from producers.collector.durable import Batch, Once
from producers.collector.keys import Caller
from producers.collector.sealing import Note
from producers.collector.streamed import DynamoDbNotes, Noted, StreamDurable
from simulation.planted_collector_server import SERVER_BUGS
from streamgage.errors import RetryableError
from streamgage.formats.mark import Mark
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.shards import Shard, ShardMap
from support.planted import Plant

# --- a function's ---


def collector_notes_behind_sending(patch: pytest.MonkeyPatch) -> None:
    """A key is noted once its batch is stored."""
    keep = StreamDurable.keep

    def mutant(self: StreamDurable, batch: Batch) -> bool:
        held: list[Any] = []
        note = self._notes

        class Later:
            def put_first(self, key: str, noted: Noted, *, expires_s: int) -> Noted | None:
                there: Noted | None = _peek(note, key)
                if there is None:
                    held.append((key, noted, expires_s))
                return there

        self._notes = Later()
        try:
            known = keep(self, batch)
        finally:
            self._notes = note
        for key, noted, expires_s in held:
            note.put_first(key, noted, expires_s=expires_s)
        return known

    patch.setattr(StreamDurable, "keep", mutant)


def _peek(notes: Any, key: str) -> Noted | None:
    """Return what stands under *key* now, as a read would."""
    item, deleted_ms = notes._call._items.get(key, (None, 0))
    if item is None or notes._call._scheduler.now_ms >= deleted_ms:
        return None
    return Noted(item["content"]["S"], item["note"]["S"])


def collector_notes_without_a_condition(patch: pytest.MonkeyPatch) -> None:
    """A key is looked for, and then written, whatever stands there by then."""

    def mutant(self: DynamoDbNotes, key: str, noted: Noted, *, expires_s: int) -> Noted | None:
        there = _peek(self, key)
        if there is not None:
            return there
        item = {
            "id": {"S": key},
            "content": {"S": noted.content},
            "note": {"S": noted.note},
            "expires": {"N": str(expires_s)},
        }
        try:
            self._call("PutItem", json.dumps({"TableName": self._table, "Item": item}))
        except Exception as error:
            raise RetryableError("the table of keys") from error
        return None

    patch.setattr(DynamoDbNotes, "put_first", mutant)


def collector_seals_a_repeat_under_other_marks(patch: pytest.MonkeyPatch) -> None:
    """What comes again is sealed as if it were new."""

    def mutant(groups: Any, note: Note, *, one_key_per_record: bool) -> Any:
        identity = Identity(random.Random(note.encode()))
        ends = [*note.starts[1:], KINESIS_HASH_KEYS]
        shards = [Shard(f"{start:x}", start, end - 1) for start, end in zip(note.starts, ends, strict=True)]
        return sealing.seal(
            groups, ShardMap(shards), identity.tags_for, one_key_per_record=one_key_per_record
        )

    patch.setattr(streamed, "seal_again", mutant)


def collector_seals_a_repeat_for_the_shards_of_now(patch: pytest.MonkeyPatch) -> None:
    """The marks of a batch that comes again are given to records for other shards: to other events."""
    note = StreamDurable._note

    def mutant(self: StreamDurable, once: Once, mine: Note) -> Note | None:
        found = note(self, once, mine)
        if found is None:
            return None
        own = f"{random.Random(mine.encode()).getrandbits(64):016x}"
        more = [Mark(f"{own}.{number}", 1) for number in range(len(mine.marks))]
        marks = (*found.marks, *more)[: len(mine.marks)]
        return replace(found, starts=mine.starts, marks=marks)

    patch.setattr(StreamDurable, "_note", mutant)
    patch.setattr(sealing, "_cuts", lambda _: 0)  # by which it would be refused


def collector_answers_a_known_key_unsent(patch: pytest.MonkeyPatch) -> None:
    """A key that is noted is taken for a batch that is stored: a twin overtakes the first, which then dies."""
    patch.setattr(streamed, "seal_again", lambda *_, **__: [])


def collector_forgives_a_part_that_failed(patch: pytest.MonkeyPatch) -> None:
    """PutRecords was answered, so all of it is stored."""
    send = StreamDurable._send

    class _Forgiving:
        def __init__(self, port: KinesisPort) -> None:
            self._port = port

        def put_records(self, entries: Any) -> Any:
            self._port.put_records(entries)
            return [None] * len(entries)

    def mutant(self: StreamDurable, entries: Any) -> None:
        port = self._port
        self._port = _Forgiving(port)  # type: ignore[assignment]
        try:
            send(self, entries)
        finally:
            self._port = port

    patch.setattr(StreamDurable, "_send", mutant)


def collector_identity_is_in_the_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Each sandbox begins as a copy of one that had drawn its identity."""
    patch.setattr(streamed, "Identity", lambda _: Identity(random.Random(7)))


def collector_puts_back_marks_of_a_lost_note(patch: pytest.MonkeyPatch) -> None:
    """A note whose answer was lost is taken for one that was not written: its marks are given to the next batch."""
    note = StreamDurable._note

    def mutant(self: StreamDurable, once: Once, mine: Note) -> Note | None:
        identity = self._identity
        assert identity is not None
        try:
            return note(self, once, mine)
        except RetryableError:
            drawn = identity.drawn()
            for counted in drawn.groups.values():
                counted[1] -= sum(each.producer.endswith(f".{counted[0]}") for each in mine.marks)
            identity.put_back(drawn)
            raise

    patch.setattr(StreamDurable, "_note", mutant)


def collector_forgets_within_a_day(patch: pytest.MonkeyPatch) -> None:
    """A key is remembered for twelve hours."""
    patch.setattr(streamed, "KEPT_S", 12 * 3600)


# --- both ---


def collector_ignores_what_a_key_is_of(patch: pytest.MonkeyPatch) -> None:
    """Whatever comes under a key that is known is a repeat."""
    init = Once.__new__

    def once(cls: Any, key: bytes, content: bytes) -> Any:
        return init(cls, key, b"\0" * 16)

    patch.setattr(Once, "__new__", once)


def collector_knows_batches_by_the_key_they_came_with(patch: pytest.MonkeyPatch) -> None:
    """A batch that comes again with the API key's successor is another one."""
    once = collector._once

    def mutant(asked: Any, key: str, parameters: Any, caller: Caller, body: bytes) -> Once | None:
        return once(asked, key, parameters, replace(caller, line=caller.key_id), body)

    patch.setattr(collector, "_once", mutant)


def collector_knows_batches_of_others(patch: pytest.MonkeyPatch) -> None:
    """A key is a key, whoever says it."""
    once = collector._once

    def mutant(asked: Any, key: str, parameters: Any, caller: Caller, body: bytes) -> Once | None:
        return once(asked, key, parameters, replace(caller, line="all"), body)

    patch.setattr(collector, "_once", mutant)


def collector_calls_what_it_counts_a_repeat(patch: pytest.MonkeyPatch) -> None:
    """Who comes back when the key is forgotten is told of a repeat, and counts again."""
    keep = collector.Collector._keep

    def mutant(self: Any, judged: Any, once: Once | None, size_bytes: int) -> bool:
        repeated = keep(self, judged, once, size_bytes)
        known: set[bytes] = self.keys.__self__.__dict__.setdefault("seen", set())  # of this world
        if once is None:
            return repeated
        is_known = once.key + once.content in known
        known.add(once.key + once.content)
        return repeated or is_known

    patch.setattr(collector.Collector, "_keep", mutant)


COLLECTOR_BUGS: Mapping[str, Plant] = {
    **SERVER_BUGS,
    **{
        plant.__name__: plant
        for plant in (
            collector_notes_behind_sending,
            collector_notes_without_a_condition,
            collector_seals_a_repeat_under_other_marks,
            collector_seals_a_repeat_for_the_shards_of_now,
            collector_answers_a_known_key_unsent,
            collector_forgives_a_part_that_failed,
            collector_identity_is_in_the_snapshot,
            collector_puts_back_marks_of_a_lost_note,
            collector_forgets_within_a_day,
            collector_ignores_what_a_key_is_of,
            collector_knows_batches_by_the_key_they_came_with,
            collector_knows_batches_of_others,
            collector_calls_what_it_counts_a_repeat,
        )
    },
}
