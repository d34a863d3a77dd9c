"""Where the function asks: one table and one stream, whose clients live as long as the sandbox."""

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.deadline import Deadline
from processors.live.scope import Scope
from processors.live.shard_reads import ShardReads
from processors.live.tickets import Pass, TicketTable
from processors.query.cells import CountingStore
from processors.query.freshness import Freshness
from processors.query.lean_store import LeanPartialStore, Memory
from processors.query.progress import read_progress
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey

_NOTHING = ItemKey("~health", "~")  # no item is there
_QUEUE_WAIT_S = 1.0
_KNOWN_S = 1.0


class Stack(Protocol):
    """The stack whose tables are asked."""

    @property
    def pipeline(self) -> Pipeline:
        """The definition, of this consumer."""

    @property
    def consumer(self) -> str:
        """Whose rollups are asked."""

    def open(self, deadline: Deadline) -> tuple[CountingStore, Freshness]:
        """Return the table for one request, and how fresh it is now. Raises: RetryableError, ServiceError, ConfigError."""

    def check(self, deadline: Deadline) -> None:
        """Ask the table for something. Raises: as ``open`` does."""

    def quarantined(self, deadline: Deadline) -> int | None:
        """Return about how many messages are in quarantine; None where nobody can tell."""

    def ticket(self, may: Pass, now_ms: int, deadline: Deadline) -> str | None:
        """Return a ticket for the WebSocket API; None where it takes none. Raises: RetryableError, ServiceError."""


@dataclass(slots=True)
class LiveStack:
    """The stack of the environment. *sqs* is None where there is no *quarantine_url*; *warn* is told what was not known.

    What is known of freshness is good for a second: what was applied stays applied, so an older word says less, not more.
    """

    pipeline: Pipeline
    consumer: str
    table: str
    stream: str
    dynamodb: AwsJsonClient
    shards: ShardReads
    readers: Executor
    warn: Callable[[str], None]
    sqs: AwsJsonClient | None = None
    quarantine_url: str = ""
    tickets: TicketTable | None = None
    memory: Memory = field(default_factory=lambda: Memory.of_mb(0))
    clock: Callable[[], float] = time.monotonic
    _known: tuple[float, Freshness] | None = None  # and until when it is good

    def open(self, deadline: Deadline) -> tuple[CountingStore, Freshness]:
        """Return the table for one request, and how fresh it is now."""
        return self._store(deadline), self._freshness(deadline)

    def check(self, deadline: Deadline) -> None:
        """Ask the table for an item that is not there."""
        self._store(deadline).get([_NOTHING])

    def quarantined(self, deadline: Deadline) -> int | None:
        """Return SQS' own approximation."""
        if self.sqs is None:
            return None
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        body = json.dumps({"QueueUrl": self.quarantine_url, "AttributeNames": names})
        try:
            retries = self.sqs.retries(deadline.sooner(_QUEUE_WAIT_S))
            found: Mapping[str, str] = json.loads(self.sqs.call("GetQueueAttributes", body, retries))[
                "Attributes"
            ]
        except (ServiceError, RetryableError) as error:
            self.warn(f"the quarantine could not be asked: {error}")
            return None
        return sum(int(found.get(name, 0)) for name in names)

    def ticket(self, may: Pass, now_ms: int, deadline: Deadline) -> str | None:
        """Return a new one, of its table."""
        if self.tickets is None:
            return None
        return self.tickets.give(may, now_s=now_ms / 1000, deadline=deadline)

    def _freshness(self, deadline: Deadline) -> Freshness:
        if self._known is not None and self.clock() < self._known[0]:
            return self._known[1]
        progress = read_progress(self._store(deadline), self.consumer, self.stream)
        try:
            fresh = self.shards.freshness(progress, deadline=deadline)
        except (ServiceError, RetryableError) as error:
            self.warn(f"nothing is said of freshness: {error}")
            return Freshness({}, 0, 0)
        self._known = (self.clock() + _KNOWN_S, fresh)
        return fresh

    def _store(self, deadline: Deadline) -> LeanPartialStore:
        return LeanPartialStore(
            self.dynamodb, self.table, deadline=deadline, readers=self.readers, memory=self.memory
        )


@dataclass(slots=True)
class CallersPlace:
    """What one caller asks, in one request: a Place for ``Tables``.

    ``was_opened``: the question was understood, and is being answered. What is wrong from then on is not the question.
    """

    stack: Stack
    scope: Scope
    deadline: Deadline
    was_opened: bool = False
    _store: CountingStore | None = None

    @property
    def read_units(self) -> float:
        """What it cost to read consistently, of all keys: for who runs the stack, and not for a limited caller."""
        return 0.0 if self._store is None else self._store.read_units

    @property
    def pipeline(self) -> Pipeline:
        """The rollups that he may see."""
        return self.scope.pipeline(self.stack.pipeline)

    def open(self) -> tuple[CountingStore, Freshness, str]:
        """Return the keys that he may see, how fresh they are, and whose rollups they are of."""
        self.was_opened = True
        store, fresh = self.stack.open(self.deadline)
        self._store = store
        return self.scope.store(store, self.stack.pipeline), fresh, self.stack.consumer
