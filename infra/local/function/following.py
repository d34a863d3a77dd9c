"""A pool that follows its process's configuration file: another version of its function there takes over."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from infra.local.function.pool import FunctionPool
from infra.local.function.sandbox import FunctionConfig
from infra.local.function.update import ConfigWatch
from streamgage.errors import ConfigError

Say = Callable[[str], None]


class FollowingPool:
    """Sandboxes of *function*, and the *watch* that tells of another. ``look`` a few times a second; ``close``."""

    def __init__(self, function: FunctionConfig, watch: ConfigWatch, *, say: Say) -> None:
        self.pool = FunctionPool(function)
        self.refused: str | None = None
        self.refused_at_ms = 0
        self._watch, self._say = watch, say
        self._updater = ThreadPoolExecutor(1, thread_name_prefix="updater")
        self._update: Future[str | None] | None = None

    def close(self) -> None:
        """End every sandbox, at work or not."""
        self._updater.shutdown(wait=False, cancel_futures=True)
        self.pool.close()
        self._updater.shutdown()

    def look(self) -> None:
        """Shift the function to another version where the configuration file has one."""
        if self._update is not None:
            if not self._update.done():
                return
            self._note(self._update.result())
            self._update = None
        try:
            function = self._watch.changed()
        except ConfigError as error:
            self._note("; ".join(error.problems))
            return
        if function is not None:
            self._update = self._updater.submit(self.pool.update, function)

    def _note(self, refused: str | None) -> None:
        self._say(f"update: {refused or f'version {self.pool.version} runs'}")
        self.refused, self.refused_at_ms = refused, time.time_ns() // 1_000_000


def status_of(pools: Iterable[FollowingPool]) -> dict[str, Any]:
    """Return what a process says of its *pools*: their version is one once every one of them runs it."""
    there = list(pools)
    refused = max(
        (each for each in there if each.refused), key=lambda each: each.refused_at_ms, default=there[0]
    )
    return {
        "version": " and ".join(sorted({each.pool.version for each in there})),
        "draining": sorted({version for each in there for version in each.pool.draining()}),
        "sandboxes": sorted(pid for each in there for pid in each.pool.pids()),
        "update_refused": refused.refused,
        "refused_at_ms": refused.refused_at_ms,
    }
