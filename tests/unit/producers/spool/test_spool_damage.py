"""Whatever is flipped, cut or torn in a spool: it opens, loses what was hit and no more, and names it."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.spool.check import examine
from producers.spool.files import exchange, finish_exchange, mended_path
from producers.spool.mend import damage_list
from producers.spool.pages import PAGE_BYTES
from producers.spool.spool import Spool
from streamgage.errors import ConfigError
from support.examples import examples
from support.spooled import files_of, name_of, names_in, put_back, record_of

NAMES = [f"r{number}" for number in range(60)]
ENDS = ("", "-wal", "-shm", ".lock")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def a_killed_spool(path: Path, *, log: bool) -> dict[str, bytes]:
    """Return the files of a spool that holds NAMES: as they are beside a process that was killed, or in order."""
    with Spool.open(path, fsync=False) as spool:
        for number in range(0, 90, 3):
            spool.append([record_of(f"gone{number}")])
        for at in range(0, len(NAMES), 4):
            spool.append([record_of(each) for each in NAMES[at : at + 4]], priority=at % 3)
        spool.remove([each.id for each in spool.records() if name_of(each.record).startswith("gone")])
        if log:
            return files_of(path, *ENDS)
    return files_of(path, *ENDS)


def flipped(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    at = rng.randrange(len(changed))
    if rng.random() < 0.4:  # what holds the pages together
        at = at // PAGE_BYTES * PAGE_BYTES + rng.randrange(16)
    changed[min(at, len(changed) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def torn(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(0, len(content), 512)
    return content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def lost_of(path: Path) -> tuple[set[str], Spool]:
    """Return what is missing from a damaged spool, which opens; nothing in it is there twice, or is another."""
    spool = Spool.open(path, fsync=False)
    spool.verify()
    names = names_in(spool)
    assert len(names) == len(set(names))
    return set(NAMES) - set(names), spool


@pytest.mark.parametrize(
    ("harm", "most"), [(flipped, 1), (torn, 1), (cut, len(NAMES))], ids=["flipped", "torn", "cut"]
)
@pytest.mark.parametrize("place", ["", "-wal"], ids=["in the file", "in the log"])
def test_a_damaged_file_loses_what_was_hit_and_names_it(
    path: Path, harm: Callable[[random.Random, bytes], bytes], most: int, place: str
) -> None:
    whole = a_killed_spool(path, log=bool(place))
    name = path.name + place
    for seed in range(examples(6, whole=300)):
        put_back(path, {**whole, name: harm(random.Random(f"{harm.__name__} {seed}"), whole[name])})
        lost, spool = lost_of(path)
        with spool:
            assert len(lost) <= (most if harm is not torn else 8), seed  # small rows share 512 bytes
            stats = spool.stats
            if harm is not cut:
                assert stats.damaged >= len(lost), seed
            if lost:
                assert damage_list(path).read_text()
            spool.append([record_of("after")])
        with Spool.open(path, fsync=False) as again:
            assert again.mended is None
            assert set(names_in(again)) >= {"after", *set(NAMES) - lost}


def test_several_damages_at_once_lose_no_more_than_each_alone(path: Path) -> None:
    whole = a_killed_spool(path, log=False)
    for seed in range(examples(4, whole=200)):
        rng, content = random.Random(seed), whole[path.name]
        for _ in range(5):
            content = flipped(rng, content)
        put_back(path, {**whole, path.name: content})
        lost, spool = lost_of(path)
        assert len(lost) <= 5, seed
        spool.close()


def test_check_changes_nothing_and_finds_what_opening_finds(path: Path) -> None:
    whole = a_killed_spool(path, log=False)
    put_back(path, whole)
    found = examine(path)
    assert (found.rows, found.events, found.damage) == (60, sum(record_of(each).events for each in NAMES), ())
    for seed in range(examples(4, whole=200)):
        content = flipped(random.Random(f"check {seed}"), whole[path.name])
        put_back(path, {**whole, path.name: content})
        found = examine(path)
        if found.damage:
            assert path.read_bytes() == content
        lost, spool = lost_of(path)
        assert bool(lost) <= bool(found.damage)
        assert len(found.missing) == len(lost)
        spool.close()


def test_what_is_damaged_stands_in_the_list_with_its_bytes(path: Path) -> None:
    with Spool.open(path, fsync=False) as spool:
        spool.append([record_of("r0"), record_of("r1")])
        body = record_of("r0").data
    content = path.read_bytes()
    at = content.index(body[:10])
    path.write_bytes(content[: at + 3] + b"X" + content[at + 4 :])
    with Spool.open(path, fsync=False) as spool:
        assert names_in(spool) == ["r1"]
        assert (spool.stats.damaged, spool.stats.records) == (1, 1)
    (line,) = damage_list(path).read_text().splitlines()
    noted = json.loads(line)
    assert (noted["events"], noted["priority"]) == (record_of("r0").events, 0)
    assert "its CRC-32 differs" in noted["what"]
    assert noted["row"]


def test_a_file_that_is_damaged_while_it_is_open_is_mended_there_and_then(path: Path) -> None:
    with Spool.open(path, fsync=False) as spool:
        spool.append([record_of(each) for each in NAMES])
        database = spool._contents._database  # type: ignore[union-attr]
        deleted = database.connection.execute("DELETE FROM records WHERE id % 10 = 0").rowcount
        assert deleted
        assert set(names_in(spool)) < set(NAMES)
        assert spool.mended is not None
        assert (spool.stats.damaged, spool.stats.records) == (deleted, 60 - deleted)
        spool.append([record_of("after")])
        assert names_in(spool)[-1] == "after"


def test_an_emptied_spool_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a_killed_spool(path, log=False)
    path.write_bytes(b"")
    with Spool.open(path, fsync=False) as spool:
        assert spool.stats.records == 0
    assert "was a spool before" in caplog.text
    assert "lost" in damage_list(path).read_text()


@pytest.mark.parametrize("step", range(4))
def test_mending_that_is_killed_in_between_is_begun_or_ended_by_the_next(path: Path, step: int) -> None:
    whole = a_killed_spool(path, log=False)
    content = bytearray(whole[path.name])
    content[PAGE_BYTES * 3] ^= 4  # the state's page
    put_back(path, {**whole, path.name: bytes(content)})
    if step:
        fresh = path.with_name("fresh.db")
        fresh.write_bytes(whole[path.name])
        fresh.replace(mended_path(path))
        if step == 1:
            mended_path(path).write_bytes(whole[path.name][:10_000])
        if step >= 2:
            path.with_name(path.name + ".mended").replace(path.with_name(path.name + ".whole"))
        if step == 3:
            path.unlink()
    with Spool.open(path, fsync=False) as spool:
        assert set(names_in(spool)) == set(NAMES)
    assert not list(path.parent.glob("*.mended")) + list(path.parent.glob("*.whole"))


def test_no_more_than_two_damaged_files_are_kept(path: Path) -> None:
    for number in range(4):
        path.write_bytes(b"%d" % number)
        mended_path(path).write_bytes(b"new")
        exchange(path)
        finish_exchange(path)
        assert path.read_bytes() == b"new"
    kept = sorted(path.parent.glob(f"{path.name}.damaged.*"))
    assert [each.read_bytes() for each in kept] == [b"2", b"3"]


def test_a_mend_for_which_the_disk_has_no_room_leaves_the_file_as_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = a_killed_spool(path, log=False)
    content = bytearray(whole[path.name])
    content[PAGE_BYTES * 3] ^= 4
    put_back(path, {**whole, path.name: bytes(content)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("producers.spool.mend._copy", full)
        with pytest.raises(ConfigError, match="as much room as the file takes"):
            Spool.open(path)
    assert path.read_bytes() == content
    with Spool.open(path) as spool:
        assert set(names_in(spool)) == set(NAMES)
