"""What the bridge remembers, and what it quarantines."""

import base64
import json
from pathlib import Path

import pytest

from producers.mqtt.journal import Journal
from producers.mqtt.messages import Message, digest
from producers.mqtt.quarantine import Quarantine, QuarantineFull
from streamgage.errors import ConfigError
from streamgage.records import SealedRecord

RECORD = SealedRecord("k", b"data", None, 1)


def test_ids_batch_and_facts_outlive_the_process(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.write([b"a", b"b"], [RECORD], {"n": "1"}, now_ms=7)
    with Journal(tmp_path / "j") as journal:
        assert journal.known([b"a", b"c"]) == {b"a"}
        assert journal.facts() == {"n": "1"}
        assert [(each.data, each.kept_ms) for each in journal.unfinished()] == [(b"data", 7)]
        journal.strike_out()
    with Journal(tmp_path / "j") as journal:
        assert (journal.unfinished(), journal.known([b"b"])) == ([], {b"b"})


def test_the_newest_ids_are_remembered(tmp_path: Path) -> None:
    ids = [digest(str(number)) for number in range(2_000)]
    with Journal(tmp_path / "j", most_ids=1_000) as journal:
        for start in range(0, 2_000, 300):
            journal.write(ids[start : start + 300], [], {}, now_ms=0)
        assert journal.known(ids) == set(ids[1_000:])


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"no journal at all " * 500)
    with pytest.raises(ConfigError, match="Move it away"):
        Journal(tmp_path / "j")


def test_parts_are_told_apart() -> None:
    assert digest("a", "bc") != digest("ab", "c")


def test_a_quarantined_message_can_be_read_back(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q")
    quarantine.keep([(Message("t", b"\xff", 1, 1, 5, properties=(("n", "v"),)), ["why"])])
    quarantine.keep([(Message("t", b"n/a", 1, 1, 6), ["x"] * 30)])
    one, two = map(json.loads, (tmp_path / "q").read_text().splitlines())
    assert base64.b64decode(one.pop("payload_base64")) == b"\xff"
    assert one == {"arrived_ms": 5, "topic": "t", "reasons": ["why"], "properties": [["n", "v"]]}
    assert (two["payload"], two["reasons"][-1]) == ("n/a", "… and 10 more")
    assert (tmp_path / "q").stat().st_mode & 0o777 == 0o600


def test_a_quarantine_that_is_full_takes_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "q", most_bytes=100)
    with pytest.raises(QuarantineFull, match="move the file away"):
        quarantine.keep([(Message("t", b"x" * 100, 1, 1, 0), ["why"])])
    assert (tmp_path / "q").stat().st_size == 0
