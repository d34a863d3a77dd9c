"""From the quarantine back to what may be sent: the refused events, all of them, and no other."""

import io
import json
import sys
from base64 import b64decode
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.quarantine.bulk import decode_bulk, encode_bulk
from processors.quarantine.message import encode_poison, encode_reference
from processors.quarantine.redrive import main, redrive
from streamgage.errors import POISON_CODES
from streamgage.formats.blocks.builder import BlockCodec
from streamgage.records import StreamRecord, UserRecord
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, DAY_MS, POISON_KINESIS_RECORDS, aggregated, pipeline, reading
from support.tables import fold_plainly, states_folded

SCHEMA = pipeline().sources["reading"].schema
LATE_MS = -8 * DAY_MS


def quarantined(*users: UserRecord, arrival_ms: int = ARRIVAL_MS) -> list[str]:
    record = StreamRecord("shardId-000000000000", 10**55, "p", aggregated(list(users)), arrival_ms)
    return [encode_poison(each, deflate=True) for each in fold_plainly(pipeline(), [record]).poison]


def read(lines: list[str], *codes: str) -> list[UserRecord]:
    left = Counter[str]()
    found = list(redrive(lines, pipeline(), codes or POISON_CODES, left))
    assert not left
    return found


def event(lag_ms: int, value: float) -> dict[str, object]:
    return reading("d1", "temp", ARRIVAL_MS + lag_ms, value)


@given(st.lists(st.sampled_from([0, LATE_MS, DAY_MS]), min_size=1, max_size=20))
def test_the_refused_events_of_a_block_come_out_as_rows_and_no_other(lags_ms: list[int]) -> None:
    events = [event(lag_ms, value) for value, lag_ms in enumerate(lags_ms)]
    data = BlockCodec(SCHEMA).encode(events)
    bad = [each for each, lag_ms in zip(events, lags_ms, strict=True) if lag_ms]
    rows = [UserRecord("d1", SCHEMA.encode(each)) for each in bad]
    whole = len(bad) == len(events)
    assert read(quarantined(UserRecord("d1", data))) == ([UserRecord("d1", data)] if whole else rows)
    late = [row for row, each in zip(rows, bad, strict=True) if each["ts"] == ARRIVAL_MS + LATE_MS]
    if len(late) < len(events):
        assert read(quarantined(UserRecord("d1", data)), "late") == late


def test_what_was_sent_anew_counts_and_what_was_counted_does_not_again() -> None:
    """As after a mend: what was too early may be sent once its time has come."""
    data = BlockCodec(SCHEMA).encode([event(0, 1.0), event(DAY_MS, 2.0), event(0, 3.0)])
    again = read(quarantined(UserRecord("d1", data), UserRecord("d1", b"junk")), "future")
    later = StreamRecord("shardId-000000000000", 10**56, "p", aggregated(again), ARRIVAL_MS + DAY_MS)
    folded = fold_plainly(pipeline(), [later])
    assert (folded.user_records, folded.poison) == (1, [])
    assert {state[0] for state in states_folded(folded, pipeline()).values()} == {1}


def test_an_object_is_read_as_messages_are() -> None:
    users = [UserRecord("a", b"junk"), UserRecord("b", b"more")]
    record = StreamRecord("shardId-000000000000", 10**55, "p", aggregated(users), ARRIVAL_MS)
    body = encode_bulk(fold_plainly(pipeline(), [record]).poison).body
    assert read([encode_poison(each, deflate=False) for each in decode_bulk(body)]) == users


def test_what_is_left_is_told_with_its_reason() -> None:
    (line,) = quarantined(UserRecord("d1", b"junk"))
    broken = StreamRecord("shardId-000000000000", 10**55, "p", POISON_KINESIS_RECORDS[0], ARRIVAL_MS)
    unframed = fold_plainly(pipeline(), [broken]).poison
    partly = json.loads(line) | {"events": 2, "id": "another", "sub_sequence_number": 7}
    left = Counter[str]()
    lines = [
        line,
        line,
        "",
        "{}",
        encode_poison(unframed[0], deflate=True),
        encode_reference("bucket", "key", unframed),
        json.dumps(partly),
    ]
    assert list(redrive(lines, pipeline(), POISON_CODES, left)) == [UserRecord("d1", b"junk")]
    assert left == {
        "sent to the quarantine more than once": 1,
        "not a poison record: KeyError: 'sub_sequence_number'": 1,
        "the framing of its Kinesis record is broken: which events it held is not known": 1,
        "1 user records are in s3://bucket/key": 1,
        "a block of no source of the pipeline": 1,
    }


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdin", text)
    return text


def test_the_command_writes_entries_of_put_records(
    stdin: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin.write("\n".join([*quarantined(UserRecord("größe", b"junk")), "{}"]))
    stdin.seek(0)
    assert main([str(ROOT / "pipeline.toml"), "--code", "unknown_format"]) == 0
    out, err = capsys.readouterr()
    (entry,) = map(json.loads, out.splitlines())
    assert (b64decode(entry["Data"]), entry["PartitionKey"]) == (b"junk", "größe")
    assert "1 user records to send\nleft, 1: not a poison record" in err
