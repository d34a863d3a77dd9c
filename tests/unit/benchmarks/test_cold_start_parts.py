"""The parts of the cold-start benchmark that need no sandbox."""

import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.cold_start import check
from benchmarks.coldstart.aws_stub import answer
from benchmarks.coldstart.cpu_cap import CpuCap, cpu_cap
from benchmarks.coldstart.imports import by_package, parse
from benchmarks.coldstart.stage import BOTO3, EMPTY, EVENTS, OURS, POWERTOOLS
from benchmarks.harness import WrongAnswerError

DONE = b'{"batchItemFailures": []}'


@pytest.mark.parametrize(
    ("label", "body", "asked"),
    [
        (EMPTY, b"null", {}),
        (BOTO3, b"null", {}),
        (POWERTOOLS, DONE, {"UpdateItem": EVENTS}),
        (OURS, DONE, {"ListShards": 1, "BatchGetItem": 2, "PutItem": 25}),
        (OURS, DONE, {"BatchGetItem": 1, "BatchExecuteStatement": 2}),
    ],
)
def test_a_handler_that_did_its_work_passes(label: str, body: bytes, asked: dict[str, int]) -> None:
    check(label, body, Counter(asked))


@pytest.mark.parametrize(
    ("label", "body", "asked"),
    [
        (EMPTY, b"{}", {}),
        (BOTO3, b"null", {"PutItem": 1}),
        (POWERTOOLS, DONE, {"UpdateItem": EVENTS - 1}),
        (POWERTOOLS, b'{"batchItemFailures": [{"itemIdentifier": "1"}]}', {"UpdateItem": EVENTS}),
        (OURS, DONE, {"ListShards": 1, "BatchGetItem": 2}),
        (OURS, DONE, {"PutItem": 25, "SendMessageBatch": 1}),
        (OURS, b'{"batchItemFailures": [{"itemIdentifier": "1"}]}', {"PutItem": 25}),
    ],
)
def test_a_handler_that_did_something_else_is_told(label: str, body: bytes, asked: dict[str, int]) -> None:
    with pytest.raises(WrongAnswerError, match=label.partition(" ")[0]):
        check(label, body, Counter(asked))


def test_the_ledger_has_each_modules_own_time_and_the_sum_of_packages() -> None:
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       100 |        100 |     socket\n"
        "something else\n"
        "import time:      1300 |       1400 |   ssl\n"
        "import time:       500 |       1900 | processors.aggregate.function\n"
        "import time:       250 |        250 | processors.sink.fenced\n"
    )
    modules = parse(text)
    assert modules == {
        "socket": 0.1,
        "ssl": 1.3,
        "processors.aggregate.function": 0.5,
        "processors.sink.fenced": 0.25,
    }
    assert list(by_package(modules).items()) == [("ssl", 1.3), ("processors", 0.75), ("socket", 0.1)]


def test_the_stand_in_answers_each_operation_of_the_hot_path() -> None:
    assert answer("BatchExecuteStatement", {"Statements": [1, 2]}) == {"Responses": [{}, {}]}
    assert answer("BatchGetItem", {}) == {"Responses": {}, "UnprocessedKeys": {}}
    assert answer("PutItem", {}) == {}
    assert len(answer("ListShards", {})["Shards"]) == 1


def test_without_a_cpu_controller_it_says_so(tmp_path: Path) -> None:
    with cpu_cap(tmp_path / "none", tmp_path / "neither") as cap:
        assert cap == "no cgroup with a CPU controller here"


def test_a_version_2_hierarchy_that_does_not_delegate_cpu_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
    with cpu_cap(tmp_path / "none", tmp_path) as cap:
        assert not isinstance(cap, CpuCap)
    assert [each.name for each in tmp_path.iterdir()] == ["cgroup.subtree_control"]


@pytest.mark.parametrize(
    ("kind", "memory_mb", "expected"),
    [
        ("v1", 1_769, {"cpu.cfs_period_us": "20000\n", "cpu.cfs_quota_us": "20000\n"}),
        ("v1", 512, {"cpu.cfs_period_us": "20000\n", "cpu.cfs_quota_us": "5789\n"}),
        ("v2", 256, {"cpu.max": "2894 20000\n"}),
    ],
)
def test_a_memory_size_is_a_share_of_a_core(
    tmp_path: Path, kind: str, memory_mb: int, expected: dict[str, str]
) -> None:
    group = tmp_path / "group"
    group.mkdir()
    cap = CpuCap(kind, tmp_path, group)
    cap.set_memory_mb(memory_mb)
    assert {each.name: each.read_text() for each in group.iterdir()} == expected
    with cap.around_spawn():
        assert not any((tmp_path / name).exists() for name in ("tasks", "cgroup.procs"))
    own = {"v1": ("tasks", threading.get_native_id()), "v2": ("cgroup.procs", os.getpid())}[kind]
    assert [(folder / own[0]).read_text() for folder in (group, tmp_path)] == [f"{own[1]}\n"] * 2
