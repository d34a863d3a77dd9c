"""The process of one event source mapping: ``python -m infra.local.mapping.process --config FILE``.

One thread owns the decision (``infra.local.mapping.stream``); readers, invocations and deliveries are threads of their own that
post what happened to it. The checkpoint on disk follows the decision, never the other way round, so a kill -9 at any
moment is followed by redelivery, and by no loss.
"""

import argparse
import logging
import os
import queue
import signal
import sys
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

from infra.local.function.pool import FunctionPool, Invoked, version_of
from infra.local.function.sandbox import FunctionConfig
from infra.local.function.update import ConfigWatch
from infra.local.mapping.checkpoints import CheckpointFile
from infra.local.mapping.clock import SteppedClock
from infra.local.mapping.destinations import OnFailure, failure_record
from infra.local.mapping.payload import encode_payload
from infra.local.mapping.process_config import ProcessConfig, load
from infra.local.mapping.readers import (
    Attempt,
    KinesisTrouble,
    Listed,
    Read,
    ShardLister,
    ShardReader,
    refuse_missing_stream,
)
from infra.local.mapping.status import StatusBoard
from infra.local.mapping.stream import Discard, Invocation, ShardCheckpoint, StreamMapping
from streamgage import limits
from streamgage.errors import ConfigError

_LOG = logging.getLogger(__name__)
_SAVE_MS = 50  # how long a checkpoint may lag behind what is done
_STATUS_MS = 1000
_LOOK_MS = 500  # how often the parent, and another version of the function, are looked for
_GRACE_S = 5  # what a stop allows beyond the function's own timeout
_SLOWEST_POLL_MS = 1000 // limits.SHARD_READS_PER_S
_POLLS_A_WINDOW = 10  # what a poll may add to freshness is a tenth of what gathering adds


@dataclass(frozen=True, slots=True)
class _Settled:
    invocation: Invocation
    invoked: Invoked


@dataclass(frozen=True, slots=True)
class _Delivered:
    discard: Discard


@dataclass(frozen=True, slots=True)
class _Updated:
    refused: str | None


class MappingProcess:
    """The driver. ``run`` returns when it was told to stop; what it owns is then gone, and the checkpoint saved.

    *kinesis* is a boto3 client of the stream's endpoint; given by tests, built from *config* otherwise. *config_file* is
    where another version of the function would appear.
    """

    def __init__(
        self, config: ProcessConfig, *, kinesis: Any = None, config_file: Path | None = None
    ) -> None:
        self._config = config
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._checkpoints = CheckpointFile(config.checkpoint_file)
        self._saved = self._checkpoints.load()
        self._saved_ms = 0
        self._mapping = StreamMapping(config.mapping, stream_arn=config.stream_arn, checkpoints=self._saved)
        self._run_id = uuid.uuid4()
        self._kinesis = kinesis or boto3.client(
            "kinesis", **_client_settings(config, config.kinesis_endpoint)
        )
        if not self._saved:  # it is made now: later a stream that is gone for a while is waited for
            refuse_missing_stream(self._kinesis, stream_name=config.stream_name, stream_arn=config.stream_arn)
        self._on_failure: OnFailure | None = None
        if config.mapping.on_failure_arn is not None:
            self._on_failure = OnFailure(
                config.mapping.on_failure_arn,
                session=boto3,
                client_settings=_client_settings(config, config.endpoint),
                mapping_id=config.mapping_id,
            )
        self._pool = FunctionPool(config.function)
        self._invokers = ThreadPoolExecutor(config.function.max_concurrency, thread_name_prefix="invoker")
        self._deliverer = ThreadPoolExecutor(1, thread_name_prefix="on-failure")
        self._updater = ThreadPoolExecutor(1, thread_name_prefix="updater")
        self._watch = ConfigWatch(config_file, config, load)
        self._looked_ms = 0
        self._lister = ShardLister(
            self._kinesis, stream_name=config.stream_name, every_ms=config.list_shards_ms, events=self._events
        )
        self._readers: dict[str, ShardReader] = {}
        self._waiting: set[str] = set()  # readers that have posted and not been allowed again
        self._digits = 0
        self._idle_ms = max(
            config.poll_idle_ms, min(_SLOWEST_POLL_MS, config.mapping.window_ms // _POLLS_A_WINDOW)
        )
        self._invoking = 0
        self._dirty = False
        self._mute = False  # of a status that could not be written, which was said
        self._stopping = threading.Event()
        self._clock = SteppedClock()
        self._parent = os.getppid()
        self._board = StatusBoard(config, started_ms=_now_ms())

    def stop(self) -> None:
        """Ask for an orderly end. Safe in a signal handler, and from any thread."""
        self._stopping.set()
        self._events.put(None)

    def run(self) -> None:
        """Work until stopped."""
        self._lister.start()
        try:
            while not self._stopping.is_set():
                self._take(self._wait_ms() / 1000)
                self._pump()
                self._keep()
                self._look_for_update()
                if self._config.exit_with_parent and os.getppid() != self._parent:
                    _LOG.warning("the parent process has gone: stopping")
                    self.stop()
            self._finish_what_is_under_way()
        finally:
            self._end()

    def _now_ms(self) -> int:
        """Return the time of day, once all that waits by it was moved by its steps. In the main thread only."""
        if step_ms := self._clock.step_ms():
            _LOG.warning("the clock was set by %.1f s", step_ms / 1000)
            self._mapping.clock_stepped(step_ms)
            self._saved_ms += step_ms
            self._looked_ms += step_ms
            self._board.written_ms = 0  # what it says of the time is of another clock
        return self._clock.now_ms()

    def _wait_ms(self) -> int:
        wake_ms = self._mapping.next_wake_ms()
        due_ms = [self._board.written_ms + _STATUS_MS, self._now_ms() + _LOOK_MS]
        if wake_ms is not None:
            due_ms.append(wake_ms)
        if self._dirty:
            due_ms.append(self._saved_ms + _SAVE_MS)
        return max(0, min(due_ms) - self._now_ms())

    def _take(self, timeout_s: float) -> None:
        """Take note of whatever has been posted; wait for the first thing."""
        try:
            self._note(self._events.get(timeout=timeout_s) if timeout_s else self._events.get_nowait())
            while True:
                self._note(self._events.get_nowait())
        except queue.Empty:
            pass

    def _note(self, event: Any) -> None:
        match event:
            case Listed(shards, started_ms, digits, steady_ms):
                self._mapping.update(shards, self._now_ms())
                self._digits = digits
                self._board.note_listed(started_ms, steady_ms)
            case Read():
                self._note_read(event)
            case _Settled(invocation, invoked):
                self._invoking -= 1
                self._mapping.settle(invocation.invocation_id, invoked.outcome, self._now_ms())
                self._board.note_invocation(invocation, invoked, self._now_ms())
            case _Delivered(discard):
                self._mapping.discarded(discard.discard_id)
                self._board.note_discard(discard)
            case _Updated(refused):
                self._board.note_update(refused, self._now_ms())
            case KinesisTrouble(message, what):
                self._board.note_trouble(what, message, self._now_ms())
            case BaseException():
                raise event  # a mistake in one of the threads: better no process than one that stands still

    def _note_read(self, read: Read) -> None:
        if self._stopping.is_set():
            return
        filtered = self._mapping.feed(read.shard_id, read.records, self._now_ms())
        self._board.note_read(read, filtered)
        if read.ended:
            self._mapping.end_of_shard(read.shard_id)
            del self._readers[read.shard_id]
        else:
            self._waiting.add(read.shard_id)

    def _pump(self) -> None:
        """Start what is due: readers, reads, invocations, deliveries."""
        if self._stopping.is_set():
            return
        for work in self._mapping.due(self._now_ms()):
            if isinstance(work, Invocation):
                self._invoking += 1
                self._invokers.submit(self._invoke, work).add_done_callback(self._post)
            else:
                self._deliverer.submit(self._deliver, work).add_done_callback(self._post)
        readable = set(self._mapping.readable())
        for shard_id in readable - set(self._readers):
            reader = ShardReader(
                self._kinesis,
                stream_name=self._config.stream_name,
                shard_id=shard_id,
                start=self._mapping.read_from(shard_id),
                digits=self._digits,
                idle_ms=self._idle_ms,
                events=self._events,
            )
            self._readers[shard_id] = reader
            reader.start()
            self._waiting.add(shard_id)
        for shard_id in set(self._readers) - readable:  # it expired while it was read
            self._readers.pop(shard_id).stop()
            self._waiting.discard(shard_id)
        for shard_id in [shard_id for shard_id in self._waiting if self._mapping.wants_records(shard_id)]:
            self._waiting.remove(shard_id)
            self._readers[shard_id].allow()

    def _post(self, future: "Future[Any]") -> None:
        if not future.cancelled():
            self._events.put(future.exception() or future.result())

    def _invoke(self, invocation: Invocation) -> _Settled:
        payload = encode_payload(invocation.records, stream_arn=self._config.stream_arn)
        return _Settled(invocation, self._pool.invoke(self._request_id(invocation.invocation_id), payload))

    def _deliver(self, discard: Discard) -> _Delivered | None:
        """Deliver, however long it takes: the checkpoint waits for it."""
        _LOG.warning(
            "discarded %d records of %s: %s", len(discard.records), discard.shard_id, discard.condition
        )
        destination = self._on_failure
        if destination is not None:
            attempt = Attempt(
                self._stopping, self._events, f"on-failure destination {self._config.mapping.on_failure_arn}"
            )
            now_ms = _now_ms()
            record = failure_record(
                discard,
                request_id=self._request_id(discard.invocation_id or discard.discard_id),
                function_arn=self._config.function.arn,
                stream_arn=self._config.stream_arn,
                now_ms=now_ms,
            )

            def send() -> bool:
                destination.deliver(record, discard, stream_arn=self._config.stream_arn, now_ms=now_ms)
                return True

            while not attempt(send):
                if self._stopping.is_set():
                    return None  # not delivered, not done: the next process delivers the records again
        return _Delivered(discard)

    def _look_for_update(self) -> None:
        """Shift the function to another version where the configuration file has one."""
        if self._now_ms() < self._looked_ms + _LOOK_MS:
            return
        self._looked_ms = self._now_ms()
        try:
            function = self._watch.changed()
        except ConfigError as error:
            self._board.note_update("; ".join(error.problems), self._now_ms())
            return
        if function is not None:
            self._updater.submit(self._update, function).add_done_callback(self._post)

    def _update(self, function: FunctionConfig) -> _Updated:
        refused = self._pool.update(function)
        _LOG.info("update to version %s: %s", version_of(function), refused or "done")
        return _Updated(refused)

    def _request_id(self, invocation_id: int) -> str:
        return str(uuid.uuid5(self._run_id, str(invocation_id)))

    def _keep(self) -> None:
        """Save the checkpoint and the status where they have changed and it is time."""
        now_ms = self._now_ms()
        checkpoints = self._mapping.checkpoints()
        self._dirty = checkpoints != self._saved
        if self._dirty and now_ms >= self._saved_ms + _SAVE_MS:
            self._saved_ms = now_ms
            if self._save(checkpoints):
                self._dirty = False
        if now_ms >= self._board.written_ms + _STATUS_MS or self._board.stale(self._mapping):
            self._write_status(checkpoints, now_ms)

    def _save(self, checkpoints: dict[str, ShardCheckpoint]) -> bool:
        """Save the checkpoint. Where the disk does not take it, the mapping works on: what is not saved is read again."""
        try:
            self._checkpoints.save(checkpoints)
        except OSError as error:
            self._board.note_trouble("checkpoint", f"the checkpoint cannot be saved: {error}", self._now_ms())
            return False
        self._board.note_saved()
        self._saved = checkpoints
        return True

    def _write_status(self, checkpoints: dict[str, ShardCheckpoint], now_ms: int) -> None:
        try:
            self._board.write(self._mapping, checkpoints, pool=self._pool, now_ms=now_ms)
        except OSError as error:
            if not self._mute:
                _LOG.warning("the status cannot be written: %s", error)
            self._mute, self._board.written_ms = True, now_ms
        else:
            self._mute = False

    def _finish_what_is_under_way(self) -> None:
        """Let invocations end, within their timeout; start nothing new."""
        self._board.state = "stopping"
        self._stop_reading()
        deadline = time.monotonic() + self._config.function.timeout_s + _GRACE_S
        while self._invoking and time.monotonic() < deadline:
            self._take(0.1)

    def _stop_reading(self) -> None:
        self._lister.stop()
        for reader in self._readers.values():
            reader.stop()

    def _end(self) -> None:
        self._stopping.set()
        self._stop_reading()
        self._invokers.shutdown(wait=False, cancel_futures=True)
        self._updater.shutdown(wait=False, cancel_futures=True)
        self._deliverer.shutdown(wait=True, cancel_futures=True)
        self._pool.close()
        self._invokers.shutdown(wait=True)
        self._updater.shutdown(wait=True)
        self._take(0)
        checkpoints = self._mapping.checkpoints()
        self._save(checkpoints)
        self._board.state = "stopped"
        self._write_status(checkpoints, self._now_ms())


def main(arguments: list[str] | None = None) -> int:
    """Run the mapping of a configuration file until SIGTERM or SIGINT; return the exit status."""
    parser = argparse.ArgumentParser(prog="infra.local.mapping.process", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON: infra.local.mapping.process_config")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        process = MappingProcess(load(options.config), config_file=options.config)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        process.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    process.run()
    return 0


def _client_settings(config: ProcessConfig, endpoint: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "region_name": config.region,
        "config": ClientConfig(
            retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=15, max_pool_connections=64
        ),
    }
    if endpoint is not None:
        settings |= {
            "endpoint_url": endpoint,
            "aws_access_key_id": config.access_key,
            "aws_secret_access_key": config.secret_key,
        }
    return settings


def _now_ms() -> int:
    return round(time.time() * 1000)


if __name__ == "__main__":
    sys.exit(main())
