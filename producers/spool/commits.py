"""Group commit: what several threads want written at one time becomes one transaction, and waits for the disk once."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from producers.spool.remembered import Remembered
from producers.spool.told import SpoolError
from streamgage.limits import MIB
from streamgage.records import SealedRecord

_MOST_BYTES = 8 * MIB


class Waiting(Protocol):
    """What waits to be written: of how many ``bytes``. ``error`` says why it was not, once it is ``done``."""

    bytes: int
    done: bool
    error: Exception | None


class Batch:
    """The records of one ``append``: all of them are written or none, with the batches to be ``remembered`` beside them."""

    __slots__ = ("bytes", "done", "error", "priority", "records", "remembered")

    def __init__(
        self, records: Sequence[SealedRecord], priority: int, remembered: Sequence[Remembered] = ()
    ) -> None:
        self.records, self.priority, self.remembered = records, priority, remembered
        self.bytes = sum(len(each.data) for each in records)
        self.done = False
        self.error: Exception | None = None


Each = TypeVar("Each", bound=Waiting)


class GroupCommit(Generic[Each]):
    """Whoever comes first writes for all who wait by then; the others find it done.

    *write* is called by one thread at a time, and sets the ``error`` of those that it did not write.
    """

    def __init__(self, write: Callable[[Sequence[Each]], None]) -> None:
        self._write = write
        self._turn = threading.Lock()
        self._mutex = threading.Lock()
        self._waiting: list[Each] = []

    def commit(self, batch: Each) -> None:
        """Return once *batch* is written. Raises: its ``error``; an interrupt leaves it written or not."""
        with self._mutex:
            self._waiting.append(batch)
        while not batch.done:
            with self._turn:
                if not batch.done:
                    self._write_waiting()
        if batch.error is not None:
            raise batch.error

    def _write_waiting(self) -> None:
        group: list[Each] = []
        try:
            with self._mutex:
                room_bytes = _MOST_BYTES
                while self._waiting and (not group or self._waiting[0].bytes <= room_bytes):
                    room_bytes -= self._waiting[0].bytes
                    group.append(self._waiting[0])
                    del self._waiting[0]
            self._write([each for each in group if not each.done])
        except BaseException as error:
            for each in group:
                each.error = each.error or SpoolError(
                    f"{type(error).__name__} in the thread that wrote for others"
                )
            raise
        finally:
            for each in group:
                each.done = True
