"""What a stack writes down of itself: a full disk is told once, survived, and made up for."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from infra.local.stack import books
from infra.local.stack.books import Books, noted_children
from infra.local.stack.home import Home, StackInfo, read_json, write_json
from infra.local.stack.processes import identify
from streamgage.errors import ConfigError

INFO = StackInfo(
    endpoints={}, region="r", stream="s", stream_arn="a", table="t", quarantine_url="q", failed_batches_bucket="b",
    pipeline="p", credentials_file="c",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_who_runs_is_noted_by_pid_and_start(home: Home) -> None:
    noted = Books(home, say=print)
    noted.note({"child": os.getpid(), "gone": 2**22 + 1})
    assert noted_children(home) == [identify(os.getpid())]
    noted.publish(INFO)
    assert home.info().started == {"supervisor": _start_of_this(), "child": _start_of_this()}
    noted.close()
    assert noted_children(home) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_nothing_is_told_once_survived_and_made_up_for(
    home: Home, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    noted = Books(home, say=said.append)
    noted.publish(INFO)

    def full(path: Path, _: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(books, "write_json", full)
        noted.note({"child": os.getpid()})
        for _ in range(3):
            noted.settle()
    (text,) = said
    assert os.strerror(number) in text
    assert noted_children(home) == []
    noted.settle()
    assert noted_children(home) == [identify(os.getpid())]
    assert home.info().pids["child"] == os.getpid()


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 1}', '{"a": {"pid": "x", "started": 1}}'])
def test_a_damaged_note_names_nobody(home: Home, text: str) -> None:
    home.root.mkdir()
    home.processes_file.write_text(text)
    assert noted_children(home) == []


def test_a_stack_whose_number_a_stranger_has_now_does_not_run(home: Home) -> None:
    Books(home, say=print).publish(INFO)
    raw = read_json(home.info_file)
    raw["started"]["supervisor"] = "another boot/1"
    write_json(home.info_file, raw)
    with pytest.raises(ConfigError, match="no stack is running"):
        home.info()


def _start_of_this() -> str:
    own = identify(os.getpid())
    assert own is not None
    return own.started
