"""A drain believes nothing that was said before it began, whichever way the clock was set since."""

import time
from pathlib import Path
from typing import Any

import pytest

from infra.local.mapping.readers import steady_now_ms
from infra.local.stack import drain
from infra.local.stack.home import Home, StackInfo
from processors.query.freshness import Freshness
from streamgage.errors import RetryableError

HOUR_MS = 3_600_000


class Told(Home):
    """A home whose mapping says, one after the other, what it is given to say; the last for ever."""

    def __init__(self, root: Path, *statuses: dict[str, Any]) -> None:
        super().__init__(root)
        self.left = list(statuses)

    def info(self) -> StackInfo:
        return StackInfo({}, "r", "s", "a", "t", "q", "b", "p", "c")

    def status(self) -> dict[str, Any]:
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def status(*, wall_ms: int, steady_ms: int) -> dict[str, Any]:
    return {
        "drained_to_ms": wall_ms,
        "drained_to_steady_ms": steady_ms,
        "shards": {},
        "as_of_ms": wall_ms,
        "state": "running",
    }


@pytest.fixture(autouse=True)
def nothing_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "applied", lambda *_: Freshness({}, 0, 0))


def test_what_was_drained_before_the_clock_was_set_back_is_not_what_was_put_since(tmp_path: Path) -> None:
    old = status(wall_ms=time.time_ns() // 1_000_000 + HOUR_MS, steady_ms=steady_now_ms() - 1)
    with pytest.raises(RetryableError, match="not drained"):
        drain.wait_drained(Told(tmp_path, old), seconds=0)


def test_what_is_drained_after_the_clock_was_set_back_is_enough(tmp_path: Path) -> None:
    new = status(wall_ms=time.time_ns() // 1_000_000 - HOUR_MS, steady_ms=steady_now_ms() + HOUR_MS)
    drain.wait_drained(Told(tmp_path, {}, new), seconds=60)
