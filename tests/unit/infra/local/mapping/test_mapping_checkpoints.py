"""The checkpoint file: whole or not at all, and never mistaken for an empty one."""

from pathlib import Path

import pytest

from infra.local.mapping.checkpoints import CheckpointFile
from infra.local.mapping.stream import ShardCheckpoint
from streamgage.errors import ConfigError


def test_what_was_saved_is_loaded_with_sequence_numbers_of_56_digits(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "c.json")
    progress = {
        "a": ShardCheckpoint(49590338271490256608559692538361571095921575989136588898, finished=True),
        "b": ShardCheckpoint(since_ms=17),
    }
    assert file.load() == {}
    file.save({"a": ShardCheckpoint(1)})
    file.save(progress)
    assert file.load() == progress
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 3, "shards": {}}',
        '{"version": 2, "shards": {}, "mark": {"home": "h"}}',
        '{"version": 2, "shards": {}, "mark": {"home": "h", "epoch": "1"}}',
        '{"version": 1, "shards": []}',
        '{"version": 1, "shards": {"a": {"sequence": "x", "finished": false, "since_ms": null}}}',
        '{"version": 1, "shards": {"a": {"sequence": "1", "finished": 1, "since_ms": null}}}',
        '{"version": 1, "shards": {"a": {"sequence": "1"}}}',
    ],
)
def test_a_corrupt_file_stops_the_mapping_and_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="delete it to start again"):
        CheckpointFile(path).load()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text"):
        CheckpointFile(path).load()
