"""The thread that sends what a producer holds: lingering ends, answers come in, and whoever waits is told."""

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue

from producers.client.batcher import NEVER_MS
from producers.client.engine import Engine
from producers.client.entry import PutEntry
from producers.client.outcomes import Outcome
from producers.client.settings import ProducerStats
from streamgage.errors import RetryableError
from streamgage.shards import ShardMap

_LOG = logging.getLogger("streamgage.producer")

_IDLE_S = 1.0  # it looks by itself so often: an interrupt may have come between an event and the word that it is there
_FAULTS = 10  # in a row, of our own making, before what is held is given up
_METRICS_MS = 10_000
_AGAIN_MS = 500  # after a spool that takes nothing
_LONG_MS = 5_000  # a shard that takes nothing for so long is worth a line in the log

Hook = Callable[[ProducerStats], None]


class Courier:
    """Sends what *engine* holds. Whoever touches the engine holds ``lock``, and says ``noticed`` when he has put something.

    Everything it waits with is atomic for an interrupt: a SimpleQueue, and bare locks as gates. Its thread starts with the
    first event, and is a daemon: who ends the interpreter calls ``Producer.close``, or has it called. Where the engine is not
    to work in the background there is none: what waits takes its turns, and so does whoever calls ``turn``, a simulation.
    """

    def __init__(self, engine: Engine, *, max_memory_bytes: int, on_metrics: Hook | None) -> None:
        self.engine = engine
        self._max_memory_bytes, self._on_metrics = max_memory_bytes, on_metrics
        self._begin()

    def _begin(self) -> None:
        self.lock = threading.RLock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._waiting: deque[Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._asleep_until_ms = -1  # awake: it will look before it sleeps
        self._ending = False
        self._faults = 0
        self.fault: str | None = None  # why nothing can be kept just now
        self._waits_since_ms: int | None = None
        self._is_waiting_told = False
        self._metrics_ms = self.engine.clock.now_ms()
        self.engine.sender.on_answer = _weakly(self)

    def renew(self) -> None:
        """Begin anew, in a forked child: the thread is the parent's."""
        self._begin()

    @property
    def is_full(self) -> bool:
        """Whether no more events are to be taken."""
        return self.engine.memory_bytes >= self._max_memory_bytes

    def noticed(self) -> None:
        """Wake the thread if what was just put is due before it would wake by itself. The lock is held."""
        if self._thread is None:
            self._start()
        due_ms = self.engine.batcher.next_deadline_ms()
        if due_ms is not None and due_ms < self._asleep_until_ms:
            self.wake()

    def wake(self) -> None:
        """Have it look now."""
        self._asleep_until_ms = -1
        self._wake.put(None)

    def call_after_turn(self, tell: Callable[[], object]) -> None:
        """Call *tell* once it has looked again: there may be room, or something may be stored."""
        self._waiting.append(tell)

    def wait(self, is_so: Callable[[], bool], timeout_s: float | None) -> bool:
        """Return True once *is_so*, which is asked with the lock held; False where it was not in time."""
        clock = self.engine.clock
        until_ms = None if timeout_s is None else clock.now_ms() + int(timeout_s * 1000)
        self.wake()
        while True:
            gate = threading.Lock()
            gate.acquire()
            self.call_after_turn(gate.release)
            with self.lock:
                if is_so():
                    return True
                self._start()
            left_s = _IDLE_S if until_ms is None else (until_ms - clock.now_ms()) / 1000
            if left_s <= 0:
                return False
            left_s = min(left_s, _IDLE_S)
            if self._thread is None:  # the interpreter ends, and starts no threads; or none is wanted
                pause_ms = max(self.turn() - clock.now_ms(), 1)
                clock.sleep_ms(min(pause_ms, int(left_s * 1000)))
            else:
                gate.acquire(timeout=left_s)

    def end(self) -> None:
        """Have the thread end once nothing is left, and return at once."""
        self._ending = True
        self.wake()

    def join(self) -> None:
        """Wait for the thread to end, if it may; where there is none, do its last turn."""
        thread = self._thread
        if thread is None:
            self.turn()
        elif thread is not threading.current_thread():
            thread.join(_IDLE_S)

    def turn(self) -> int:
        """Do once what is to be done now; return when the next thing is, on the engine's clock."""
        engine = self.engine
        with self.lock:
            if self.is_full and not engine.outbox:
                engine.seal()
            try:
                engine.send_due()
            finally:
                settled = engine.settled()
            next_ms = self._asleep_until_ms = engine.next_turn_ms()
        self._tell(settled)
        self._tell_waiting_for()
        self._tell_metrics()
        for _ in range(len(self._waiting)):
            with suppress(RuntimeError):  # an event loop that is closed
                self._waiting.popleft()()
        return next_ms

    def take_shards(self, shards: ShardMap) -> None:
        """Predict with *shards* from now on. Called by who forwards a spool, on his thread."""
        with self.lock:
            self.engine.batcher.set_shards(shards)

    def tell_metrics(self) -> None:
        """Give the hook the figures of now."""
        if self._on_metrics is not None:
            self._metrics_ms = self.engine.clock.now_ms()
            try:
                self._on_metrics(replace(self.engine.stats))
            except Exception:  # noqa: BLE001 - the hook is somebody else's
                _LOG.exception("the metrics hook failed")

    def _start(self) -> None:
        """Have a thread send, unless one does or none is to. The lock is held."""
        if self._thread is not None or not self.engine.config.in_background:
            return
        thread = threading.Thread(target=self._run, name="streamgage-producer", daemon=True)
        try:
            self._thread = thread
            thread.start()
        except BaseException as error:
            self._thread = None
            if not isinstance(error, RuntimeError):  # "can't create new thread at interpreter shutdown"
                raise

    def _run(self) -> None:
        pid, me = os.getpid(), threading.current_thread()
        with self.lock:
            if self._thread is not me:  # its start was interrupted: another one is, or will be
                return
        try:
            while os.getpid() == pid:
                next_ms = self._turn_whatever_comes()
                if self._ending and not self.engine.buffered_bytes:
                    return
                wait_s = _IDLE_S if next_ms == NEVER_MS else (next_ms - self.engine.clock.now_ms()) / 1000
                with suppress(Empty):
                    if wait_s > 0:
                        self._wake.get(timeout=min(wait_s, _IDLE_S))
                    while True:
                        self._wake.get_nowait()
        finally:
            with self.lock:
                if self._thread is me:  # whoever comes next starts another
                    self._thread = None

    def _turn_whatever_comes(self) -> int:
        """Turn; a fault of ours, or of a spool, must not end the thread: what is held would stay for ever."""
        try:
            next_ms = self.turn()
        except RetryableError as error:  # a spool that is full, or its disk: what is held waits
            if self.fault is None:
                _LOG.warning("what is put cannot be kept just now: %s", error)
            self.fault = error.code
            self._asleep_until_ms = NEVER_MS
            return self.engine.clock.now_ms() + _AGAIN_MS
        except Exception:  # noqa: BLE001 - see above
            self._faults += 1
            _LOG.exception("sending failed; what is held is tried again")
            if self._faults >= _FAULTS and not self.engine.sender.diverted:
                self._give_up()
            pause_ms = min(100 << min(self._faults, 6), 5_000)
            self._asleep_until_ms = NEVER_MS
            return self.engine.clock.now_ms() + pause_ms
        self._faults, self.fault = 0, None
        return next_ms

    def _give_up(self) -> None:
        """Give up what is held. The fault may come again here: then it is held on, and tried again."""
        try:
            with self.lock:
                self.engine.give_up()
                settled = self.engine.settled()
            self._tell(settled)
        except Exception:  # noqa: BLE001 - see _turn_whatever_comes
            _LOG.exception("what is held cannot be given up either")

    def _tell(self, settled: Iterable[tuple[PutEntry, Outcome]]) -> None:
        for entry, outcome in settled:
            for tell in entry.outcomes:
                try:
                    tell(outcome)
                except (Exception, SystemExit):  # noqa: BLE001 - the callback is somebody else's
                    _LOG.exception("an on_delivery callback failed")

    def _tell_waiting_for(self) -> None:
        """Log a shard that takes nothing for long, once, and that it does again."""
        reason, now_ms = self.engine.sender.waiting_for, self.engine.clock.now_ms()
        if reason is None:
            if self._is_waiting_told:
                _LOG.info("the stream takes events again")
            self._waits_since_ms, self._is_waiting_told = None, False
        elif self._waits_since_ms is None:
            self._waits_since_ms = now_ms
        elif not self._is_waiting_told and now_ms - self._waits_since_ms >= _LONG_MS:
            self._is_waiting_told = True
            _LOG.warning("a shard has taken nothing for %d s: %s", _LONG_MS // 1000, reason)

    def _tell_metrics(self) -> None:
        if self.engine.clock.now_ms() - self._metrics_ms >= _METRICS_MS:
            self.tell_metrics()


def _weakly(courier: Courier) -> Callable[[], None]:
    """Return what wakes *courier* while it lives, and does not keep it alive."""
    reference = weakref.ref(courier)

    def wake() -> None:
        found = reference()
        if found is not None:
            found.wake()

    return wake
