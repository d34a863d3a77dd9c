"""The tables' file: what survives, what is found damaged, and who may read it."""

import os
import random
import sqlite3
import stat
from pathlib import Path

import pytest

from infra.local.dynamodb.database import open_database
from streamgage.errors import ConfigError
from support.local_tables import TABLE, Refused, Tables, insert, key, update


def written(folder: Path, items: int = 50) -> None:
    tables = Tables(folder)
    for number in range(items):
        tables.put(f"key {number}", fence={"S": str(number)}, filler={"S": "x" * 300})
    tables.close()


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    written(tmp_path)
    tables = Tables(tmp_path)
    assert tables.get("key 7") == {**key("key 7"), "fence": {"S": "7"}, "filler": {"S": "x" * 300}}
    assert tables("DescribeTable", TableName=TABLE)["Table"]["ItemCount"] == 50
    tables.close()


def test_a_store_has_one_identity_and_no_other_has_it(tmp_path: Path) -> None:
    found = []
    for folder in ("a", "a", "b"):
        tables = Tables(tmp_path / folder)
        found.append(tables.store.identity)
        tables.close()
    assert found[0] == found[1]
    assert found[0].identity != found[2].identity
    assert found[0].created_ms == 1_700_000_000_000


def test_a_table_that_was_deleted_and_made_again_is_empty_and_another(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.put("a")
    first = tables("DescribeTable", TableName=TABLE)["Table"]["TableId"]
    tables("DeleteTable", TableName=TABLE)
    tables.create(TABLE)
    assert tables.get("a") is None
    assert tables("DescribeTable", TableName=TABLE)["Table"]["TableId"] != first
    tables.close()


def test_a_request_that_a_full_disk_refuses_half_way_leaves_nothing_of_it(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    connection = tables.store._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    written: list[str] = []
    batch, refusal = ["key 0", "key 1", "key 2"], None
    while refusal is None:
        try:
            tables.batch([insert(name, "x" * 2000) for name in batch])
        except Refused as refused:
            refusal = refused
        else:
            written += batch
            batch = [f"key {len(written) + n}" for n in range(3)]
    assert (refusal.status, refusal.message) == (500, "database or disk is full")
    for _ in range(2):
        assert [tables.get(name) is not None for name in batch] == [False] * 3
        assert all(tables.get(name) is not None for name in written)
        tables.close()
        tables = Tables(tmp_path)
    assert tables.batch([insert(batch[0], "1")]) == [{"TableName": TABLE}]
    tables.close()


def test_a_request_that_meets_damage_half_way_leaves_nothing_of_it(tmp_path: Path) -> None:
    written(tmp_path)
    with sqlite3.connect(tmp_path / "tables.db") as opened:
        opened.execute("UPDATE items_1 SET crc = 0 WHERE pk = ?", (b"key 7",))
    opened.close()
    tables = Tables(tmp_path)
    with pytest.raises(Refused, match="checksum differs"):
        tables.batch([insert("a", "1"), update("key 7", "8", "7"), insert("b", "1")])
    assert [tables.get(each) for each in "ab"] == [None, None]
    assert tables.batch([insert("a", "1")]) == [{"TableName": TABLE}]
    tables.close()


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        tables = Tables(tmp_path / "data")
        tables.put("a")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        tables.close()
    finally:
        os.umask(before)
    assert modes.keys() >= {"tables.db", "tables.db-wal", "tables.db-shm", "lock", "identity"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_two_processes_do_not_have_it_at_once(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
        open_database(tmp_path, now_ms=0)
    tables.close()
    open_database(tmp_path, now_ms=0).close()


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tables.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(ConfigError, match=r"tables\.db: cannot be opened"):
        open_database(tmp_path / "data", now_ms=0)
    assert not (tmp_path / "elsewhere.db").exists()


class TestDamage:
    def refusal(self, folder: Path) -> str:
        with pytest.raises(ConfigError) as refused:
            open_database(folder, now_ms=0)
        return str(refused.value)

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        written(tmp_path)
        return tmp_path / "tables.db"

    def test_a_file_that_is_gone_or_empty_is_named(self, file: Path) -> None:
        file.write_bytes(b"")
        assert f"{file} is damaged: it is empty" in self.refusal(file.parent)
        file.unlink()
        assert f"{file} is damaged: it is empty" in self.refusal(file.parent)

    def test_a_file_that_is_no_database_is_named(self, file: Path) -> None:
        file.write_bytes(b"something else" * 1000)
        assert f"{file} is damaged: file is not a database" in self.refusal(file.parent)

    def test_a_database_of_another_program_is_named_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        with sqlite3.connect(tmp_path / "data" / "tables.db") as other:
            other.execute("CREATE TABLE theirs (x)")
        other.close()
        assert "a database of another program" in self.refusal(tmp_path / "data")

    def test_another_store_in_its_place_is_named(self, file: Path, tmp_path: Path) -> None:
        written(tmp_path / "other")
        file.write_bytes((tmp_path / "other" / "tables.db").read_bytes())
        assert "it was exchanged" in self.refusal(file.parent)

    def test_a_file_of_another_format_is_named(self, file: Path) -> None:
        with sqlite3.connect(file) as opened:
            opened.execute("PRAGMA user_version = 99")
        opened.close()
        assert "has format 99" in self.refusal(file.parent)

    def test_a_file_that_was_cut_is_named(self, file: Path) -> None:
        whole = file.read_bytes()
        for length in (len(whole) // 2, len(whole) - 4096, 4096, 100):
            file.write_bytes(whole[:length])
            assert f"{file} is damaged" in self.refusal(file.parent)

    def test_a_flipped_byte_is_found_or_changes_nothing(self, file: Path) -> None:
        """Seeded flips over the whole file: refused at start, or an item's error, or every item as it was written."""
        whole, dice, found = file.read_bytes(), random.Random(11), 0
        for _ in range(150):
            at = dice.randrange(len(whole))
            file.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << dice.randrange(8))]) + whole[at + 1 :])
            try:
                tables = Tables(file.parent)
            except ConfigError as error:
                assert str(file) in str(error)  # noqa: PT017 - either of two outcomes is right
                found += 1
                continue
            for number in range(50):
                try:
                    item = tables.get(f"key {number}")
                except Refused as refused:
                    assert refused.status == 500  # noqa: PT017 - the same
                    found += 1
                else:
                    wanted = {**key(f"key {number}"), "fence": {"S": str(number)}}
                    assert item == {**wanted, "filler": {"S": "x" * 300}}, at
            tables.close()
        assert found > 50

    def test_a_flipped_key_is_found_in_the_table_and_in_its_index(self, file: Path) -> None:
        whole, name, places = file.read_bytes(), b"key 33", list[int]()
        while (at := whole.find(name, places[-1] + 1 if places else 0)) >= 0:
            places.append(at)
        assert len(places) == 3  # the row's key, its JSON, and the index
        for at in places:
            file.write_bytes(whole[:at] + b"kez" + whole[at + 3 :])
            try:
                tables = Tables(file.parent)
            except ConfigError as error:
                assert "is damaged" in str(error)  # noqa: PT017 - either of two outcomes is right
                continue
            with pytest.raises(Refused, match="checksum differs"):
                tables.get("key 33")
            tables.close()

    def test_an_item_whose_bytes_flipped_is_named_and_the_others_are_served(self, file: Path) -> None:
        whole = file.read_bytes()
        at = whole.rindex(b'"fence":{"S":"33"') + len('"fence":{"S":"')
        file.write_bytes(whole[:at] + b"4" + whole[at + 1 :])
        tables = Tables(file.parent)
        with pytest.raises(Refused, match=r"table aggregates: the item \d+ at b'key 33'.* checksum differs"):
            tables.get("key 33")
        assert tables.get("key 34") is not None
        with pytest.raises(Refused, match="checksum differs"):
            tables.batch([update("key 33", "1", "43")])
        tables.close()
