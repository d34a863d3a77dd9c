"""The threads of a mapping process that talk to Kinesis: one that lists shards, and one for each shard read."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from infra.local.mapping.stream import ReadFrom, ShardInfo
from streamgage import limits
from streamgage.errors import ConfigError
from streamgage.records import StreamRecord

_LOG = logging.getLogger(__name__)
_BACKOFF_FIRST_S, _BACKOFF_MAX_S = 0.05, 2.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Listed:
    """A complete answer of ListShards; ``started_ms`` is when it was asked for.

    ``digits`` is how many digits a sequence number is written with at least. AWS writes none with leading zeros;
    MiniStack does, and compares them as text: without its zeros a checkpoint would skip all that follows it.
    """

    shards: tuple[ShardInfo, ...]
    started_ms: int
    digits: int
    started_steady_ms: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """An answer of GetRecords. ``ended``: the shard is closed and this was the last of it."""

    shard_id: str
    records: tuple[StreamRecord, ...]
    behind_ms: int
    ended: bool
    started_ms: int
    started_steady_ms: int = 0


@dataclass(frozen=True, slots=True)
class KinesisTrouble:
    """A request failed and will be tried again. ``what`` names it, shard and all: it is one trouble until it succeeds."""

    message: str
    what: str = ""


def steady_now_ms() -> int:
    """Return the time since the machine started, which nobody sets and every process sees alike (Linux, macOS)."""
    return time.monotonic_ns() // 1_000_000


@contextmanager
def _posting_mistakes(events: "queue.SimpleQueue[Any]") -> Iterator[None]:
    """Post to *events* what ends a thread: a mistake in one is the whole process's."""
    try:
        yield
    except BaseException as error:
        events.put(error)
        raise


class ShardLister(threading.Thread):
    """Lists the stream's shards now and then, until stopped."""

    def __init__(
        self, kinesis: Any, *, stream_name: str, every_ms: int, events: "queue.SimpleQueue[Any]"
    ) -> None:
        super().__init__(name="shard-lister", daemon=True)
        self._kinesis, self._stream_name, self._every_ms, self._events = (
            kinesis,
            stream_name,
            every_ms,
            events,
        )
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let the thread end after what it is doing."""
        self._stopped.set()

    def run(self) -> None:
        """List, wait, and list again. A mistake is posted to *events*."""
        with _posting_mistakes(self._events):
            self._run()

    def _run(self) -> None:
        attempt = Attempt(self._stopped, self._events, "ListShards")
        while not self._stopped.is_set():
            started_ms, steady_ms = round(time.time() * 1000), steady_now_ms()
            shards = attempt(lambda: list(self._list()))
            if shards is not None:
                infos = tuple(_info(shard) for shard in shards)
                starts = [shard["SequenceNumberRange"]["StartingSequenceNumber"] for shard in shards]
                digits = max((len(start) for start in starts if start.startswith("0")), default=0)
                self._events.put(Listed(infos, started_ms, digits, steady_ms))
                self._stopped.wait(self._every_ms / 1000)

    def _list(self) -> Iterator[Any]:
        request: dict[str, Any] = {"StreamName": self._stream_name}
        while True:
            answer = self._kinesis.list_shards(**request)
            yield from answer["Shards"]
            if not answer.get("NextToken"):
                return
            request = {"NextToken": answer["NextToken"]}


def refuse_missing_stream(kinesis: Any, *, stream_name: str, stream_arn: str) -> None:
    """Refuse to make a mapping of a stream that is not there. A Kinesis that does not answer is waited for later.

    Recorded on AWS: "Stream not found: " and the ARN, when the mapping is made (LocalStack's
    test_esm_with_not_existing_kinesis_stream).

    Raises:
        ConfigError: there is no such stream.
    """
    try:
        kinesis.describe_stream_summary(StreamName=stream_name)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise ConfigError(f"Stream not found: {stream_arn}") from error
        _LOG.warning("the stream could not be looked up: %s", error)
    except (BotoCoreError, ResponseParserError) as error:
        _LOG.warning("the stream could not be looked up: %s", error)


class ShardReader(threading.Thread):
    """Reads one shard in order, one GetRecords for each ``allow``; the records go to *events* as ``Read``.

    Where nothing more was left to read, the next request waits *idle_ms*: a request costs the same for one record and for
    thousands, and a shard allows five a second.
    """

    def __init__(
        self,
        kinesis: Any,
        *,
        stream_name: str,
        shard_id: str,
        start: ReadFrom,
        digits: int,
        idle_ms: int,
        events: "queue.SimpleQueue[Any]",
    ) -> None:
        super().__init__(name=f"reader-{shard_id}", daemon=True)
        self.shard_id = shard_id
        self._kinesis, self._stream_name, self._events = kinesis, stream_name, events
        self._after, self._since_ms = start.after_sequence, start.since_ms
        self._digits = digits
        self._idle_s = idle_ms / 1000
        self._stopped = threading.Event()
        self._permits = threading.Semaphore(0)
        self._iterator: str | None = None

    def allow(self) -> None:
        """Let the reader ask for records once; it posts exactly one ``Read`` for it (or ends)."""
        self._permits.release()

    def stop(self) -> None:
        """Let the thread end after what it is doing."""
        self._stopped.set()
        self._permits.release()

    def run(self) -> None:
        """Read whenever allowed, and slowly while caught up. A mistake is posted to *events*."""
        with _posting_mistakes(self._events):
            self._run()

    def _run(self) -> None:
        attempt = Attempt(self._stopped, self._events, f"GetRecords {self.shard_id}")
        while True:
            self._permits.acquire()
            read = None
            while read is None:
                if self._stopped.is_set():
                    return
                read = attempt(self._read)
            caught_up = not read.behind_ms and not read.ended
            if caught_up and not read.records:
                self._stopped.wait(self._idle_s)
            self._events.put(read)
            if read.ended:
                return
            if caught_up and read.records:
                self._stopped.wait(self._idle_s)

    def _read(self) -> Read:
        started_ms, steady_ms = round(time.time() * 1000), steady_now_ms()
        try:
            if self._iterator is None:
                self._iterator = self._kinesis.get_shard_iterator(**self._position())["ShardIterator"]
            answer = self._kinesis.get_records(ShardIterator=self._iterator, Limit=limits.GET_RECORDS_ENTRIES)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ResourceNotFoundException":  # the shard has expired, with all that was in it
                return Read(self.shard_id, (), 0, True, started_ms, steady_ms)
            self._iterator = None  # expired, or forgotten by a data plane that started again
            raise
        records = tuple(_record(self.shard_id, item) for item in answer["Records"])
        self._iterator = answer.get("NextShardIterator")
        if records:
            self._after = records[-1].sequence_number
        return Read(
            self.shard_id,
            records,
            answer.get("MillisBehindLatest", 0),
            self._iterator is None,
            started_ms,
            steady_ms,
        )

    def _position(self) -> dict[str, Any]:
        request: dict[str, Any] = {"StreamName": self._stream_name, "ShardId": self.shard_id}
        if self._after is not None:
            return {
                **request,
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "StartingSequenceNumber": str(self._after).zfill(self._digits),
            }
        if self._since_ms is not None:
            since = datetime.fromtimestamp(self._since_ms / 1000, UTC)
            return {**request, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": since}
        return {**request, "ShardIteratorType": "TRIM_HORIZON"}


class Attempt:
    """Makes a request; when it fails, says so, waits longer each time, and returns None: try again."""

    def __init__(self, stopped: threading.Event, events: "queue.SimpleQueue[Any]", what: str) -> None:
        self._stopped, self._events, self._what = stopped, events, what
        self._failures = 0

    def __call__(self, request: Callable[[], _T]) -> _T | None:
        """Return the answer, or None after a failure and its wait."""
        try:
            answer = request()
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            self._failures += 1
            message = f"{self._what}: {error}"
            if self._failures == 1:
                _LOG.warning("%s", message)
            self._events.put(KinesisTrouble(message, self._what))
            self._stopped.wait(min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** min(self._failures, 10)))
            return None
        self._failures = 0
        return answer


def _info(shard: Any) -> ShardInfo:
    parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
    return ShardInfo(
        shard["ShardId"],
        tuple(parent for parent in parents if parent),
        closed="EndingSequenceNumber" in shard["SequenceNumberRange"],
    )


def _record(shard_id: str, item: Any) -> StreamRecord:
    return StreamRecord(
        shard_id=shard_id,
        sequence_number=int(item["SequenceNumber"]),
        partition_key=item["PartitionKey"],
        data=item["Data"],
        arrival_ms=round(item["ApproximateArrivalTimestamp"].timestamp() * 1000),
    )
