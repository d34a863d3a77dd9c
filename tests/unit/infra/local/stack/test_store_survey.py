"""What the check reads of a real log, and the home's own note."""

from pathlib import Path

from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.stream import Entry
from infra.local.stack.home import Home
from infra.local.stack.stores.facts import Gap, Mark
from infra.local.stack.stores.marks import Note, read_note, write_note
from infra.local.stack.stores.survey import survey

HOUR_MS = 3_600_000
ID = "shardId-000000000000"


def put(data: Path, now_ms: int, count: int) -> list[int]:
    storage = DiskStorage(data)
    try:
        model = KinesisModel(clock_ms=lambda: now_ms, storage=storage)
        if not model.names():
            model.create(
                "s", shard_count=1, on_demand=False, tags={"streamgage:home": "h", "streamgage:epoch": "3"}
            )
        stored = model.find("s").put([Entry(0, b"k", b"data")] * count)
    finally:
        storage.close()
    return [each.sequence_number for each in stored]  # type: ignore[union-attr]  # none is refused


def test_the_log_tells_its_tip_its_mark_and_what_has_expired_beyond_a_record(tmp_path: Path) -> None:
    start_ms = 1_800_000_000_000
    old = put(tmp_path, start_ms, 5)
    young = put(tmp_path, start_ms + 20 * HOUR_MS, 2)
    found = survey(tmp_path, "s", now_ms=start_ms + 30 * HOUR_MS)
    assert found is not None
    assert (found.mark, found.next_index) == (Mark("h", 3), 1)
    facts = found.facts(progress={ID: old[1]}, read={ID: old[3]}).logs[ID]
    assert facts.first < old[0]
    assert (facts.tip, facts.next > young[-1]) == (young[-1], True)
    assert facts.uncounted == Gap(3, certain=True, first_ms=start_ms, last_ms=start_ms)
    assert facts.unread.records == 1
    assert found.facts(progress={ID: young[0]}, read={}).logs[ID].uncounted.is_empty
    assert found.facts(progress={}, read={}).logs[ID].uncounted == Gap(5, False, start_ms, start_ms)
    calm = survey(tmp_path, "s", now_ms=start_ms + HOUR_MS)
    assert calm is not None
    assert calm.facts(progress={}, read={}).logs[ID].uncounted.is_empty


def test_there_is_no_survey_of_what_is_not_there_and_nothing_is_made_by_looking(tmp_path: Path) -> None:
    assert survey(tmp_path / "absent", "s", now_ms=0) is None
    assert not (tmp_path / "absent").exists()
    put(tmp_path, 1_800_000_000_000, 1)
    assert survey(tmp_path, "another", now_ms=0) is None


def test_a_note_is_read_as_it_was_written_and_a_damaged_one_says_nothing(tmp_path: Path) -> None:
    home, note = Home(tmp_path), Note(Mark("h", 3), settled=True, accepted={ID: 10**55}, told=("a line",))
    write_note(home, note)
    assert read_note(home) == note
    home.stores_file.write_text('{"home": 1}')
    assert read_note(home) == Note()
