"""Batches into the spool: however often it is killed and messages come again, each event with an id counts once."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.client.identity import Identity
from producers.mqtt.bridge import Batch, Bridge
from producers.mqtt.journal import Journal
from producers.mqtt.messages import Message
from producers.mqtt.quarantine import Quarantine, QuarantineFull
from producers.mqtt.reading import Reader
from producers.mqtt.routes_toml import subscriptions_of
from producers.mqtt.sealing import Sealer
from producers.spool.told import SpoolError
from streamgage.formats.kpl import decode_aggregate
from streamgage.formats.mark import decode_mark
from streamgage.records import SealedRecord
from streamgage.shards import ShardMap
from support.counting import HALVES
from support.examples import examples
from support.sending import ROWS, numbers_of

NOW_MS = 1_767_225_600_000
JSON: dict[str, Any] = {
    "topic": "plant/+/reading",
    "source": "reading",
    "id": "id",
    "fields": {"device_id": "topic:2", "metric": "text:m"},
}


def message(number: int, packet_id: int = 1, **more: Any) -> Message:
    body = json.dumps({"id": number, "ts": NOW_MS, "value": float(number)}).encode()
    return Message("plant/d1/reading", body, 1, packet_id, NOW_MS, **more)


class World:
    """A disk that outlives bridges: a journal, a spool that counts by marks, a quarantine. ``crash_at`` steps it dies."""

    def __init__(self, folder: Path, *tables: dict[str, Any]) -> None:
        self.path = folder / "spool.mqtt"
        self.tables = list(tables) or [JSON]
        self.spooled: list[SealedRecord] = []
        self.quarantined: list[tuple[Message, Sequence[str]]] = []
        self.steps_left: int | None = None
        self.is_full = False
        self.start()

    def step(self) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise KeyboardInterrupt

    def append(self, records: Sequence[SealedRecord]) -> None:
        self.step()
        if self.is_full:
            raise SpoolError("full")
        self.spooled += records
        self.step()

    def keep(self, refused: Sequence[tuple[Message, Sequence[str]]]) -> None:
        self.step()
        self.quarantined += refused
        self.step()

    def start(self) -> None:
        """Begin another process: everything but the disk is new."""
        self.journal = Journal(self.path)
        sealer = Sealer(ROWS, ShardMap(HALVES), Identity(random.SystemRandom()))
        self.bridge = Bridge(
            Reader(subscriptions_of(self.tables, ROWS.sources)), self.journal, sealer,
            append=self.append, quarantine=self.keep, now_ms=lambda: NOW_MS,
        )  # fmt: skip
        self.bridge.recover(self.journal.unfinished())

    def counted(self) -> dict[int, int]:
        """Return how often each value counts: sealed records with one mark are one."""
        seen, datas = set[object](), Counter[bytes]()
        for record in self.spooled:
            aggregate = decode_aggregate(record.data)
            mark = decode_mark(aggregate.tags)
            assert mark is not None
            if mark not in seen:
                seen.add(mark)
                datas.update(aggregate.datas)
        return numbers_of(dict(datas))


@given(data=st.data())
@settings(max_examples=examples(25, whole=500), deadline=None)
def test_however_it_is_killed_and_messages_come_again_each_counts_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    waiting = list(range(data.draw(st.integers(1, 12))))
    acknowledged: set[int] = set()
    while waiting:
        some = data.draw(
            st.lists(st.sampled_from(waiting), min_size=1, max_size=5)
        )  # twice in one batch, too
        again = data.draw(st.lists(st.sampled_from(sorted(acknowledged)), max_size=2)) if acknowledged else []
        world.steps_left = data.draw(st.none() | st.integers(0, 4))
        try:
            world.bridge.commit(Batch([message(each) for each in (*some, *again)]))
        except KeyboardInterrupt:
            world.steps_left = None
            world.journal.close()
            world.start()
        else:
            acknowledged |= set(some)
            waiting = [each for each in waiting if each not in some]
    world.journal.close()
    assert world.counted() == dict.fromkeys(acknowledged, 1)
    assert world.quarantined == []


def test_a_batch_that_the_spool_did_not_take_goes_on_where_it_was(tmp_path: Path) -> None:
    world, batch = World(tmp_path), Batch([message(1), Message("plant/d1/reading", b"{", 1, 2, NOW_MS)])
    world.is_full = True
    for _ in range(3):
        with pytest.raises(SpoolError):
            world.bridge.commit(batch)
    world.is_full = False
    world.bridge.commit(batch)
    assert (world.counted(), len(world.quarantined)) == ({1: 1}, 1)
    assert (batch.counts.messages, batch.counts.events, batch.counts.quarantined) == (2, 1, 1)
    world.journal.close()


def test_a_full_quarantine_takes_nothing_of_its_batch_which_counts_once_when_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, {**JSON, "id": "property:n"})
    parts = [{"ts": NOW_MS, "value": 1.0}, {"ts": NOW_MS, "value": "x"}]  # one counts, and one cannot
    body = json.dumps(parts).encode()
    some = [Message("plant/d1/reading", body, 1, 1, NOW_MS, properties=(("n", "1"),))]
    world.journal.close()
    with monkeypatch.context() as patched:
        patched.setattr(world, "keep", Quarantine(tmp_path / "quarantine", most_bytes=10).keep)
        world.start()
        with pytest.raises(QuarantineFull):
            world.bridge.commit(Batch(some))
        world.journal.close()
    assert ((tmp_path / "quarantine").read_bytes(), world.counted()) == (b"", {})
    world.start()  # the file was moved away
    for _ in range(2):
        world.bridge.commit(Batch(some))
    assert (world.counted(), len(world.quarantined)) == ({1: 1}, 1)
    world.journal.close()


def test_what_was_refused_may_be_published_again_under_its_id(tmp_path: Path) -> None:
    world = World(tmp_path, {**JSON, "id": "message"})
    bad = Message("plant/d1/reading", b'{"ts": 1, "value": "x"}', 1, 1, NOW_MS)
    for _ in range(2):
        world.bridge.commit(Batch([bad]))
    assert len(world.quarantined) == 2
    world.journal.close()


@pytest.mark.parametrize("refused", [b'{"ts": 1, "value": "x"}', b'{"ts": 4000000000000, "value": 7}', b"{"])
def test_what_was_refused_is_no_reason_to_drop_what_mends_it_in_the_same_batch(
    tmp_path: Path, refused: bytes
) -> None:
    world = World(tmp_path, {**JSON, "id": "property:n"})
    good = json.dumps({"ts": NOW_MS, "value": 7.0}).encode()
    batch = Batch(
        [
            Message("plant/d1/reading", body, 1, at, NOW_MS, properties=(("n", "1"),))
            for at, body in enumerate((refused, good, good), 1)
        ]
    )
    world.bridge.commit(batch)
    assert (world.counted(), len(world.quarantined)) == ({7: 1}, 1)
    assert (batch.counts.events, batch.counts.duplicates) == (1, 1)
    world.journal.close()


def test_a_retained_message_is_passed_over_and_counted(tmp_path: Path) -> None:
    world, batch = World(tmp_path), Batch([message(1, is_retained=True)])
    world.bridge.commit(batch)
    assert (batch.counts.retained, world.counted()) == (1, {})
    world.journal.close()


def test_a_retained_message_that_is_taken_counts_once_by_its_id(tmp_path: Path) -> None:
    world = World(tmp_path, {**JSON, "retained": "take"})
    for _ in range(3):
        world.bridge.commit(Batch([message(1, is_retained=True)]))
    assert world.counted() == {1: 1}
    world.journal.close()


def test_an_id_is_known_within_its_topic_only(tmp_path: Path) -> None:
    world = World(tmp_path, {**JSON, "id": "property:n"})
    for device in ("d1", "d2"):
        body = json.dumps({"ts": NOW_MS, "value": 7.0}).encode()
        world.bridge.commit(
            Batch([Message(f"plant/{device}/reading", body, 1, 1, NOW_MS, properties=(("n", "1"),))] * 2)
        )
    assert world.counted() == {7: 2}
    world.journal.close()


def test_objects_of_one_message_have_ids_of_their_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    one, two = (json.loads(message(number).payload) for number in (1, 2))
    for body in ([one], [one, two], [two, one]):
        world.bridge.commit(Batch([Message("plant/d1/reading", json.dumps(body).encode(), 1, 1, NOW_MS)]))
    assert world.counted() == {1: 1, 2: 1}
    world.journal.close()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xff", "undecodable"),
        (b"", "undecodable"),
        (b"[1]", "undecodable"),
        (b'{"id": 1, "value": 1.0}', "bad_time"),
        (b'{"id": 1, "ts": 1767225600000, "value": NaN}', "bad_value"),
        (b'{"id": 1.5, "ts": 1767225600000, "value": 1}', "undecodable"),
        (b'{"id": 1, "ts": 4000000000000, "value": 1}', "future"),
    ],
)
def test_what_cannot_be_counted_is_quarantined_with_its_reason(
    tmp_path: Path, payload: bytes, code: str
) -> None:
    world = World(tmp_path)
    world.bridge.commit(Batch([Message("plant/d1/reading", payload, 1, 1, NOW_MS)]))
    ((_, reasons),) = world.quarantined
    assert reasons[0].startswith(f"{code}: ")
    assert world.counted() == {}
    world.journal.close()


@pytest.mark.parametrize(("text", "value"), [("20.5", 20.5), (" 7\n", 7.0), ("-1e3", -1000.0)])
def test_a_number_is_an_event(tmp_path: Path, text: str, value: float) -> None:
    fields = {"device_id": "topic:2", "metric": "topic:3", "ts": "arrival", "value": "value"}
    world = World(
        tmp_path, {"topic": "plant/+/+", "source": "reading", "payload": "number", "fields": fields}
    )
    world.bridge.commit(Batch([Message("plant/d1/temperature", text.encode(), 1, 1, NOW_MS)]))
    assert world.counted() == {int(value): 1}
    world.journal.close()


@pytest.mark.parametrize("text", ["", "n/a", "1_000", "nan", "inf", "٣", "1" * 5_000, "0x10"])
def test_what_is_no_number_is_quarantined(tmp_path: Path, text: str) -> None:
    fields = {"device_id": "topic:2", "metric": "topic:3", "ts": "arrival", "value": "value"}
    world = World(
        tmp_path, {"topic": "plant/+/+", "source": "reading", "payload": "number", "fields": fields}
    )
    world.bridge.commit(Batch([Message("plant/d1/temperature", text.encode(), 1, 1, NOW_MS)]))
    assert (len(world.quarantined), world.counted()) == (1, {})
    world.journal.close()


def test_a_message_whose_events_share_so_long_a_topic_that_no_spool_holds_them_is_refused_whole() -> None:
    table = {**JSON, "topic": "plant/+", "fields": {"device_id": "text:d", "metric": "topic:2"}}
    reader = Reader(subscriptions_of([table], ROWS.sources))
    body = b"[%s]" % b",".join(b'{"id":%d,"ts":%d,"value":1}' % (number, NOW_MS) for number in range(1_000))
    taken = reader.read(Message(f"plant/{'m' * 500}", body, 1, 1, NOW_MS))
    assert (len(taken.events), taken.refused) == (1_000, [])
    found = reader.read(Message(f"plant/{'m' * 50_000}", body, 1, 1, NOW_MS))
    assert (found.events, len(found.refused)) == ([], 1)
    assert "send smaller messages" in found.refused[0]
