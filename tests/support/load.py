"""A load that lasts as long as a test needs it: what happens meanwhile happens under load, on however slow a machine."""

import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from support.machine import PATIENCE_S, Machine, differences, simulate


class Load:
    """Senders one after the other, each of another day, from ``with`` until ``finish``."""

    def __init__(self, machine: Machine, *, events: int, rate: int) -> None:
        self._machine, self._events, self._rate = machine, events, rate
        self._senders: list[subprocess.Popen[str]] = []
        self._said: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for sender in self._senders:
            if sender.poll() is None:
                sender.kill()
        self._thread.join(PATIENCE_S)

    def finish(self) -> list[str]:
        """Wait until the last sender is done and all is applied; return where the totals differ from what was sent."""
        self._ended.set()
        self._thread.join(PATIENCE_S)
        assert [each.returncode for each in self._senders] == [0] * len(self._senders), "\n".join(self._said)
        self._machine.run("drain", "--seconds", "200")
        return differences(self._machine, *self.totals)

    @property
    def events(self) -> int:
        """How many events were sent, once it is finished."""
        return self._events * len(self._senders)

    @property
    def totals(self) -> list[Path]:
        """The files that say what was sent."""
        return [self._totals(day) for day in range(len(self._senders))]

    def _send(self) -> None:
        while not self._ended.is_set():
            day = len(self._senders)
            sender = simulate(
                self._machine, self._totals(day), events=self._events, rate=self._rate, day=day + 1
            )
            self._senders.append(sender)
            self._said.append(sender.communicate()[0])

    def _totals(self, day: int) -> Path:
        return self._machine.folder / f"totals-{day}.json"
