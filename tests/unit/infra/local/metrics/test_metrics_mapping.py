"""What the mapping tells of itself, and when it takes over another version of its function."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.function.pool import LATEST, VERSION_VARIABLE, FunctionPool, Invoked, version_of
from infra.local.function.update import ConfigWatch
from infra.local.mapping.process_config import ProcessConfig, load, parse
from infra.local.mapping.status import StatusBoard
from infra.local.mapping.stream import Discard, Invocation, ShardCheckpoint, StreamMapping
from streamgage.errors import ConfigError
from streamgage.records import StreamRecord

ARN = "arn:aws:kinesis:eu-central-1:000000000000:stream/telemetry"


def document(folder: Path, **mapping: Any) -> dict[str, Any]:
    return {
        "stream_arn": ARN,
        "mapping": {
            "StartingPosition": "TRIM_HORIZON", "BisectBatchOnFunctionError": True,
            "FunctionResponseTypes": ["ReportBatchItemFailures"], **mapping,
        },
        "function": {
            "name": "f", "handler": "h.h", "task_dir": str(folder / "task"), "runtime_dir": str(folder / "runtime"),
            "log_file": str(folder / "f.log"), "env": {},
        },
        "checkpoint_file": str(folder / "c.json"),
        "status_file": str(folder / "s.json"),
    }  # fmt: skip


def batch(first: int, count: int, *, number: int = 1) -> Invocation:
    records = tuple(
        StreamRecord("shardId-0", sequence, f"key-{sequence}", b"", 1_000)
        for sequence in range(first, first + count)
    )
    return Invocation(number, "shardId-0", records)


def counted(folder: Path, *settled: tuple[Invocation, Outcome], **mapping: Any) -> dict[str, int]:
    """Return the counters after these invocations have ended so, those that are 0 left out."""
    config = parse(document(folder, **mapping))
    board = StatusBoard(config, started_ms=0)
    for invocation, outcome in settled:
        board.note_invocation(invocation, Invoked(outcome, 1.0, None), 5_000)
    return {name: count for name, count in told(board, config)["counters"].items() if count}


def told(
    board: StatusBoard, config: ProcessConfig, *, now_ms: int = 5_000, finished: tuple[str, ...] = ()
) -> dict[str, Any]:
    checkpoints = {
        "shardId-0": ShardCheckpoint(),
        **{shard_id: ShardCheckpoint(finished=True) for shard_id in finished},
    }
    mapping = StreamMapping(config.mapping, stream_arn=ARN)
    pool = FunctionPool(config.function)
    try:
        board.write(mapping, checkpoints, pool=pool, now_ms=now_ms)
    finally:
        pool.close()
    read: dict[str, Any] = json.loads(config.status_file.read_text())
    return read


def failure(sequence: int) -> Answered:
    return Answered(json.dumps({"batchItemFailures": [{"itemIdentifier": str(sequence)}]}).encode())


def test_a_batch_that_is_split_is_a_bisect_and_one_that_comes_again_whole_is_a_retry(tmp_path: Path) -> None:
    bad, one = batch(1, 4), batch(1, 1)
    assert counted(tmp_path, (bad, Failed("x"))) == {
        "invocations": 1, "errors": 1, "bisects": 1, "records_invoked": 4,
    }  # fmt: skip
    assert counted(tmp_path, (one, Failed("x")), (one, Failed("x")), (one, Answered(b""))) == {
        "invocations": 3, "errors": 2, "retries": 2, "records_invoked": 3,
    }  # fmt: skip
    assert counted(tmp_path, (bad, Failed("x")), (bad, Answered(b"")), BisectBatchOnFunctionError=False) == {
        "invocations": 2, "errors": 1, "retries": 1, "records_invoked": 8,
    }  # fmt: skip


def test_a_part_that_is_asked_for_again_is_no_retry_and_all_of_it_is_a_bisect(tmp_path: Path) -> None:
    assert counted(tmp_path, (batch(1, 4), failure(3)))["partial_failures"] == 1
    assert "retries" not in counted(tmp_path, (batch(1, 4), failure(3)), (batch(3, 2), Answered(b"")))
    assert counted(tmp_path, (batch(1, 4), failure(1)))["bisects"] == 1


def test_what_was_not_invoked_comes_again_whole(tmp_path: Path) -> None:
    assert counted(tmp_path, (batch(1, 4), NotInvoked("x")), (batch(1, 4), Answered(b"")))["retries"] == 1


def test_a_discarded_batch_is_not_waited_for(tmp_path: Path) -> None:
    config = parse(document(tmp_path))
    board, one = StatusBoard(config, started_ms=0), batch(1, 1)
    board.note_invocation(one, Invoked(Failed("x"), 1.0, None), 5_000)
    board.note_discard(Discard(9, "shardId-0", one.records, "RetryAttemptsExhausted", 1, None, 1))
    status = told(board, config)
    assert (status["counters"]["retries"], status["counters"]["records_discarded"]) == (0, 1)
    assert status["shards"]["shardId-0"]["iterator_age_ms"] == 4_000


def test_once_a_shard_has_ended_no_later_arrival_is_called_known_until_its_children_are_listed(
    tmp_path: Path,
) -> None:
    """Records of a child that nobody has listed were called applied while a stream was resharded under load."""
    config = parse(document(tmp_path))
    board = StatusBoard(config, started_ms=0)
    board.note_listed(4_000)
    assert told(board, config, now_ms=5_000)["known_to_ms"] is None
    assert told(board, config, now_ms=6_000, finished=("shardId-1",))["known_to_ms"] == 4_000
    board.note_listed(5_900)  # asked for before it was seen to have ended
    assert told(board, config, now_ms=6_500, finished=("shardId-1",))["known_to_ms"] == 5_900
    board.note_listed(6_600)
    assert told(board, config, now_ms=7_000, finished=("shardId-1",))["known_to_ms"] is None
    assert told(board, config, now_ms=7_000, finished=("shardId-1", "shardId-2"))["known_to_ms"] == 6_600


def write(path: Path, content: dict[str, Any], *, at_ns: int) -> None:
    path.write_text(json.dumps(content))
    os.utime(path, ns=(at_ns, at_ns))  # two writes may fall into one tick of the clock


def test_another_function_in_the_file_is_told_once(tmp_path: Path) -> None:
    path, content = tmp_path / "mapping.json", document(tmp_path)
    write(path, content, at_ns=1)
    watch = ConfigWatch(path, load(path), load)
    assert watch.changed() is None
    content["function"]["env"] = {VERSION_VARIABLE: "2"}
    write(path, content, at_ns=2)
    function = watch.changed()
    assert function is not None
    assert (version_of(function), version_of(load(path).function)) == ("2", "2")
    assert watch.changed() is None
    write(path, content, at_ns=3)  # the same once more: it may have been refused
    again = watch.changed()
    assert again is not None
    assert version_of(again) == "2"
    assert version_of(parse(document(tmp_path)).function) == LATEST


def test_a_file_that_changes_more_or_is_broken_or_gone_changes_nothing(tmp_path: Path) -> None:
    path, content = tmp_path / "mapping.json", document(tmp_path)
    write(path, content, at_ns=1)
    watch = ConfigWatch(path, load(path), load)
    write(path, document(tmp_path, BatchSize=7), at_ns=2)
    with pytest.raises(ConfigError, match="only the function"):
        watch.changed()
    assert watch.changed() is None
    path.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        watch.changed()
    path.unlink()
    assert watch.changed() is None
    assert ConfigWatch(None, parse(content), load).changed() is None
