"""``streamgage spool``: what it says of a whole spool and of a damaged one, and what it takes out."""

from pathlib import Path

import pytest

from infra.commands.main import main
from producers.client.undelivered import UndeliveredReader
from producers.spool.spool import Spool
from streamgage.records import SealedRecord
from support.spooled import names_in, record_of

NAMES = [f"r{number}" for number in range(30)]
EVENTS = sum(record_of(each).events for each in NAMES)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "spool.db"
    with Spool.open(path, fsync=False) as spool:
        spool.append([record_of(each) for each in NAMES])
    return path


def flip(path: Path, of: str) -> None:
    content = path.read_bytes()
    at = content.index(record_of(of).data[:12])
    path.write_bytes(content[: at + 2] + b"!" + content[at + 3 :])


def test_a_whole_spool_is_called_whole(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool", "check", str(path)]) == 0
    assert main(["spool", "repair", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.count(f"30 records, {EVENTS:,} events") == 2
    assert "all is whole" in said


def test_a_damaged_record_is_named_and_repair_keeps_the_others(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(path, "r7")
    before = path.read_bytes()
    assert main(["spool", "check", str(path)]) == 1
    said = capsys.readouterr().out
    assert f"is damaged: {record_of('r7').events} events" in said
    assert f"streamgage spool repair {path}" in said
    assert path.read_bytes() == before
    assert main(["spool", "repair", str(path)]) == 1
    assert "set aside: 1 damaged records" in capsys.readouterr().out
    assert main(["spool", "check", str(path)]) == 0
    assert "lost by damage, since it was made: 1 records" in capsys.readouterr().out
    with Spool.open(path) as spool:
        assert names_in(spool) == [each for each in NAMES if each != "r7"]


def test_a_spool_whose_structure_is_damaged_is_mended(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(path.read_bytes())
    content[2 * 8192] ^= 255  # the list of what is in it
    path.write_bytes(content)
    assert main(["spool", "check", str(path)]) == 1
    assert main(["spool", "repair", str(path)]) == 1
    said = capsys.readouterr().out
    assert "damaged: the list of what is in it is damaged" in said
    assert "mended: 30 records are whole, 0 are known to be lost" in said
    assert path.with_name("spool.db.damaged.1").read_bytes() == content


def test_what_is_exported_is_an_undelivered_file_of_the_same_records(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(path.parent)
    assert main(["spool", "export", str(path)]) == 0
    file = path.parent / "spool.db.undelivered.ndjson"
    assert "streamgage send undelivered spool.db.undelivered.ndjson" in capsys.readouterr().out
    with file.open("rb") as stream:
        reader = UndeliveredReader(stream, file.name)
        found = list(reader)
    assert found == [record_of(each) for each in NAMES]
    assert all(isinstance(each, SealedRecord) and each.kept_ms for each in found)
    assert reader.is_whole
    with Spool.open(path) as spool:
        assert names_in(spool) == NAMES
        spool.remove([each.id for each in spool.records()])
    assert main(["spool", "export", str(path), "other.ndjson"]) == 0
    assert "is empty" in capsys.readouterr().out
    assert not path.with_name("other.ndjson").exists()


@pytest.mark.parametrize("what", ["check", "repair", "export"])
def test_what_is_no_spool_or_in_use_is_refused(
    what: str, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Spool.open(path):
        assert main(["spool", what, str(path)]) == 2
    assert "in use by process" in capsys.readouterr().err
    assert main(["spool", what, str(tmp_path / "nowhere.db")]) == 2
    assert "there is no such file" in capsys.readouterr().err
    other = tmp_path / "readings.csv"
    other.write_text("device_id,value\n" * 500)
    assert main(["spool", what, str(other)]) == 2
    assert "is no spool" in capsys.readouterr().err
    assert other.read_text() == "device_id,value\n" * 500


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["spool"], ["spool", "check"], ["spool", "repair"], ["spool", "export"]):
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        assert "examples:" in capsys.readouterr().out
