"""News to those who want it: to each connection one message, in the time that there is, and what is late is dropped."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from processors.awsjson.retry import Retries, RetryPolicy
from processors.deadline import Deadline
from processors.live.connections import Connection
from processors.live.management import Posted
from processors.live.news import News, news_text
from streamgage.errors import RetryableError

APART_S = 1.0  # two messages to one connection
_KNOWN_S = 1.0  # how long it is taken for true who is connected, where they are many
_FEW = 100  # connections: asked for with each news, some three read units at most, so that who has just come hears the next


class Subscribers(Protocol):
    """Who is connected."""

    def all(self, *, now_s: float, deadline: Deadline) -> Iterable[Connection]:
        """Return those who want something now. Raises: RetryableError, ServiceError."""

    def delete(self, connection_id: str, *, deadline: Deadline) -> None:
        """Forget one. Raises: RetryableError, ServiceError."""


class Post(Protocol):
    """How a message gets to a connection."""

    def __call__(self, connection_id: str, body: bytes, retries: Retries, /) -> Posted:
        """Send it. Raises: RetryableError."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one piece of news, in connections. ``error`` is one reason of those that were dropped."""

    sent: int = 0
    gone: int = 0
    dropped: int = 0
    error: str = ""


class Fanout:
    """Tells the news of one sandbox, which takes one batch at a time: so no connection hears of it more than once a second.

    *posts* makes several at a time. *wait* sleeps; *clock* never goes back; *now_ms* is the time of day.
    """

    def __init__(
        self,
        subscribers: Subscribers,
        post: Post,
        *,
        posts: Executor,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._subscribers, self._post, self._posts, self._policy = subscribers, post, posts, policy
        self._clock, self._wait, self._now_ms = clock, wait, now_ms
        self._told_s: float | None = None
        self._known: tuple[float, tuple[Connection, ...]] | None = None

    def tell(self, news: News, deadline: Deadline) -> Told:
        """Send *news* to all who want it, by *deadline*.

        Who is gone is forgotten. A message that cannot be sent in time is dropped: its reader asks by himself soon.

        Raises:
            RetryableError: who is connected cannot be read now. Nothing was sent.
            ServiceError: it is refused.
        """
        heard = [
            (each, mine) for each in self._connected(deadline) if (mine := each.subscription.hears(news))
        ]
        if not heard:
            return Told()
        self._keep_apart(deadline)
        now_ms = self._now_ms()
        texts = {id(mine): news_text(mine, now_ms).encode() for _, mine in heard}
        outcomes = list(
            self._posts.map(lambda pair: self._send(pair[0], texts[id(pair[1])], deadline), heard)
        )
        gone = [each.id for (each, _), outcome in zip(heard, outcomes, strict=True) if outcome == "gone"]
        self._forget(gone, deadline)
        dropped = [each for each in outcomes if each not in ("sent", "gone")]
        return Told(outcomes.count("sent"), len(gone), len(dropped), dropped[0] if dropped else "")

    def _connected(self, deadline: Deadline) -> tuple[Connection, ...]:
        if self._known is None or self._clock() >= self._known[0]:
            found = tuple(self._subscribers.all(now_s=self._now_ms() / 1000, deadline=deadline))
            self._known = (self._clock() + (_KNOWN_S if len(found) > _FEW else 0), found)
        return self._known[1]

    def _keep_apart(self, deadline: Deadline) -> None:
        """Wait until a second after the last news. A shard of the table's stream writes a batch's worth a second at most."""
        if self._told_s is not None:
            left_s = min(self._told_s + APART_S - self._clock(), deadline.left_s())
            if left_s > 0:
                self._wait(left_s)
        self._told_s = self._clock()

    def _send(self, connection: Connection, body: bytes, deadline: Deadline) -> str:
        try:
            return self._post(connection.id, body, self._policy.start(deadline))
        except RetryableError as error:
            return str(error)

    def _forget(self, gone: Iterable[str], deadline: Deadline) -> None:
        ids = set(gone)
        if not ids:
            return
        if self._known is not None:
            self._known = (self._known[0], tuple(each for each in self._known[1] if each.id not in ids))

        def delete(connection_id: str) -> None:
            try:
                self._subscribers.delete(connection_id, deadline=deadline)
            except RetryableError:
                return  # it is met again with the next news, or expires

        list(self._posts.map(delete, ids))
