"""Work that may block for ever, done aside: whoever needs it waits until his own deadline, and no longer."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

from processors.deadline import Deadline

Result = TypeVar("Result")
Spawn = Callable[[Callable[[], None]], object]


def on_a_daemon_thread(work: Callable[[], None]) -> None:
    """Begin *work*. A pool's thread would not do: the interpreter waits for those before it ends."""
    Thread(target=work, name="aside", daemon=True).start()


class Aside(Generic[Result]):
    """*work*, shared by all who ask for it while it is on its way.

    Nothing can end a call that hangs. So where it has been on its way for ``stale_s`` another is begun, but never more
    than ``most`` at a time. *spawn* begins work elsewhere, and does not wait for it.
    """

    def __init__(
        self,
        work: Callable[[], Result],
        *,
        clock: Callable[[], float] = time.monotonic,
        spawn: Spawn = on_a_daemon_thread,
        stale_s: float = 5.0,
        most: int = 4,
    ) -> None:
        self._work, self._clock, self._spawn, self._stale_s, self._most = work, clock, spawn, stale_s, most
        self._lock = Lock()
        self._pending: list[tuple[float, Future[Result]]] = []

    def result(self, deadline: Deadline) -> Result:
        """Return what the work that is on its way comes to, or that of work begun now.

        Raises:
            TimeoutError: it had not ended by *deadline*; it goes on.
            Exception: what the work raised.
        """
        return self.begin().result(deadline.left_s())

    def begin(self) -> "Future[Result]":
        """Begin the work where none is on its way, and wait for nothing."""
        with self._lock:
            self._pending = [each for each in self._pending if not each[1].done()]
            if self._pending:
                began_s, newest = self._pending[-1]
                if self._clock() - began_s < self._stale_s or len(self._pending) >= self._most:
                    return newest
            future: Future[Result] = Future()
            self._spawn(lambda: self._run(future))
            self._pending.append((self._clock(), future))
            return future

    def _run(self, future: "Future[Result]") -> None:
        try:
            future.set_result(self._work())
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            future.set_exception(error)
