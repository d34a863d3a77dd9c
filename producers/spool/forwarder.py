"""Carry a spool to the stream: what is stored is removed, whatever is not comes again, by the same bytes."""

import logging
import random
import threading
from collections.abc import Sequence
from typing import Protocol

from producers.client.entry import UnsendableRecord
from producers.clock import Clock, MonotonicClock
from producers.spool.row import Spooled
from producers.spool.spool import Spool
from producers.spool.told import SpoolError
from streamgage.errors import ConfigError, DeliveryError
from streamgage.limits import MIB, PUT_RECORDS_ENTRIES
from streamgage.records import SealedRecord

_LOG = logging.getLogger("streamgage.spool")
_WINDOW_BYTES = 4 * MIB
_WINDOW_RECORDS = 2 * PUT_RECORDS_ENTRIES
_LOOK_MS = 10  # while requests are under way: their answers come in other threads
_IDLE_MS = 1_000  # an append ends it at once
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 1_000, 60_000


class Core(Protocol):
    """What sends: a ProducerCore that nobody else uses. Each call raises DeliveryError with what was given up."""

    @property
    def waiting_for(self) -> str | None:
        """Why nothing is sent just now."""

    def put_sealed(self, record: SealedRecord) -> None:
        """Take a record, to be sent as it is. Raises: UnsendableRecord, it never can be."""

    def poll(self) -> None:
        """Send what is due, and take the answers that are there."""

    def unstored(self) -> Sequence[SealedRecord]:
        """Return what was taken and is not known to be stored."""

    def give_up(self) -> None:
        """Hand back all that was taken, by a DeliveryError."""


class Forwarder:
    """Sends what is in a spool, oldest first by priority, and removes it once it is stored.

    By ``step``, whenever the caller likes, or by ``start`` in a thread of its own. At most 4 MiB and 1,000 records are
    under way. A shard is sent to in the spool's order, as an ``Outbox`` keeps it over retries. A core with PATIENT retries
    waits for a stream that is gone for a week; what a core gives up all the same (no right to the stream, no such stream)
    is taken back with all that is behind it, and sent again in order after a pause of 1 s to a minute.

    Should the process end, what was under way is sent again, with the same bytes: its marks say which of it is stored.
    """

    def __init__(
        self,
        spool: Spool,
        core: Core,
        *,
        bytes_per_s: float | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Send from *spool* by *core*.

        Args:
            spool: opened, and open as long as this sends.
            core: a producer with PATIENT retries, whose ``max_buffered_bytes`` is 4 MiB at least, so that it never waits.
            bytes_per_s: of data and partition keys, at most, over any second or longer; without what a retry sends again.
            clock: measures; this machine's own but in a simulation.
            rng: dice for pauses.
        """
        if bytes_per_s is not None and not bytes_per_s > 0:
            raise ConfigError(f"bytes_per_s is {bytes_per_s}: more than 0, or None for no limit")
        self.failure: DeliveryError | SpoolError | None = None
        self.sent_records = self.sent_events = 0
        self._spool, self._core, self._bytes_per_s = spool, core, bytes_per_s
        self._clock, self._rng = clock or MonotonicClock(), rng or random.SystemRandom()
        self._under_way: dict[int, Spooled] = {}
        self._stored: dict[int, Spooled] = {}  # and not yet removed
        self._failures, self._not_before_ms = 0, 0
        self._room_bytes, self._filled_ms = bytes_per_s or 0.0, self._clock.now_ms()
        self._wake, self._is_ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._broken: BaseException | None = None

    @property
    def waiting_for(self) -> str | None:
        """Why nothing is sent just now: as of a ProducerCore, or "bandwidth", or the code of what failed last; else None."""
        if self.failure is not None:
            return self._core.waiting_for or self.failure.code
        if self._bytes_per_s is not None and self._room_bytes <= 0:
            return "bandwidth"
        return self._core.waiting_for

    @property
    def under_way(self) -> int:
        """How many records are being sent, or are stored and not yet removed."""
        return len(self._under_way) + len(self._stored)

    def step(self) -> int:
        """Remove what is stored, and send what may be sent; return after how many ms there may be more to do.

        Raises: nothing that passes: a disk or a stream that fails is ``failure``, and tried again.
        """
        try:
            self._settle()
            now_ms = self._clock.now_ms()
            if now_ms < self._not_before_ms:
                return self._not_before_ms - now_ms
            self._fill(now_ms)
            self._send()
            self._settle()
        except DeliveryError as error:
            self._take_back(error)
        except SpoolError as error:
            self._fail(error)
        return self._pause_ms()

    def start(self) -> None:
        """Send in a thread of its own, until ``stop``."""
        if self._thread is not None:
            raise ValueError("start() of a forwarder that runs")
        self._is_ending.clear()
        self._spool.on_append = self._wake.set
        self._thread = threading.Thread(target=self._work, name="streamgage forwarder", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the thread before its time, if anything did: nothing is sent any more."""
        if self._broken is not None:
            raise self._broken

    def stop(self) -> None:
        """End the thread, and have the core hold nothing: what is under way stays in the spool, and is sent again.

        Raises: what ended the thread before its time.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            self._is_ending.set()
            self._wake.set()
            thread.join()
            self._spool.on_append = None
        try:
            self._settle()
        except (DeliveryError, SpoolError):
            pass  # it stays in the spool
        finally:
            self._give_up()
            self._under_way.clear()
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    def _work(self) -> None:
        try:
            while not self._is_ending.is_set():
                self._wake.clear()
                pause_ms = self.step()
                woken_by = self._wake if pause_ms == _IDLE_MS else self._is_ending
                woken_by.wait(pause_ms / 1000)
        except BaseException as error:  # noqa: BLE001 - nobody called: stop() raises it
            _LOG.exception("the forwarder has ended: nothing is sent any more")
            self._broken = error

    def _settle(self) -> None:
        """Remove what is stored."""
        if self._under_way:
            held = {each.data for each in self._core.unstored()}
            for row_id, spooled in list(self._under_way.items()):
                if spooled.record.data not in held:
                    del self._under_way[row_id]
                    self._stored[row_id] = spooled
        if self._stored:
            self._spool.remove(self._stored)
            self.sent_records += len(self._stored)
            self.sent_events += sum(each.record.events for each in self._stored.values())
            self._stored.clear()
            self._failures, self.failure = 0, None

    def _fill(self, now_ms: int) -> None:
        """Let the room grow by what the time that passed allows, up to a second's."""
        if self._bytes_per_s is not None:
            grown = (now_ms - self._filled_ms) * self._bytes_per_s / 1000
            self._room_bytes = min(self._room_bytes + grown, self._bytes_per_s)
        self._filled_ms = now_ms

    def _send(self) -> None:
        room_bytes: float = _WINDOW_BYTES - sum(map(_size, self._under_way.values()))
        if self._bytes_per_s is not None:
            room_bytes = min(room_bytes, self._room_bytes)
        room_records = _WINDOW_RECORDS - self.under_way
        if room_bytes > 0 and room_records > 0:
            skip = {*self._under_way, *self._stored}
            for spooled in self._spool.head(int(room_bytes), room_records, skip=skip):
                self._room_bytes -= _size(spooled)
                self._under_way[spooled.id] = spooled
                try:
                    self._core.put_sealed(spooled.record)
                except UnsendableRecord as error:
                    del self._under_way[spooled.id]
                    self._spool.refuse(spooled, str(error))
        if self._under_way:
            self._core.poll()

    def _take_back(self, error: DeliveryError) -> None:
        """Have nothing under way any more: all that is not stored is sent again, in the spool's order."""
        back = [*error.sealed, *self._give_up()]
        failed = {each.data for each in back}
        mine = {each.record.data for each in self._under_way.values()}
        self._stored |= {key: each for key, each in self._under_way.items() if each.record.data not in failed}
        self._under_way.clear()
        self._fail(error)
        foreign = [each for each in back if each.data not in mine]
        if foreign:
            self._spool.append(foreign)

    def _give_up(self) -> list[SealedRecord]:
        """Have the core hold nothing, and return what it held."""
        back: list[SealedRecord] = []
        while self._core.unstored():
            try:
                self._core.give_up()
            except DeliveryError as error:
                back += error.sealed
        return back

    def _fail(self, error: DeliveryError | SpoolError) -> None:
        if self.failure is None:
            _LOG.warning("the spool %s is not sent just now: %s", self._spool.path, error)
        self.failure = error
        self._failures += 1
        longest_ms = min(_LONGEST_PAUSE_MS, _FIRST_PAUSE_MS << min(self._failures - 1, 16))
        self._not_before_ms = self._clock.now_ms() + self._rng.randint(longest_ms // 2, longest_ms)

    def _pause_ms(self) -> int:
        now_ms = self._clock.now_ms()
        if now_ms < self._not_before_ms:
            return self._not_before_ms - now_ms
        if self._under_way:
            return _LOOK_MS
        if self._bytes_per_s is not None and self._room_bytes <= 0:
            return int(-self._room_bytes / self._bytes_per_s * 1000) + 1
        return _IDLE_MS


def _size(spooled: Spooled) -> int:
    return len(spooled.record.data) + len(spooled.record.partition_key.encode())
