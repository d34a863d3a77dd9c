"""A service on a loopback port for the lean client: it records requests, and misbehaves as it is told."""

import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

from processors.awsjson.client import AwsJsonClient
from processors.awsjson.connections import Timeouts
from processors.awsjson.credentials import Credentials
from processors.awsjson.endpoint import Endpoint
from processors.awsjson.retry import RetryPolicy
from processors.awsjson.signing import Signer
from processors.deadline import Deadline

CREDENTIALS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token//==")
NOW_S = 1_790_000_000.0


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived: names of headers in lower case, and on which connection (from 0)."""

    line: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def operation(self) -> str:
        """The operation that X-Amz-Target names."""
        return self.headers["x-amz-target"].partition(".")[2]

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent: the parts, each on its own, then perhaps the end of the connection, or nothing for ever."""

    parts: tuple[bytes, ...] = ()
    close: bool = False
    reset: bool = False
    silent: bool = False

    @classmethod
    def of(cls, body: bytes, *, status: int = 200, headers: str = "", close: bool = False) -> "Reply":
        """Return a plain answer."""
        head = f"HTTP/1.1 {status} Reason\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        return cls((head.encode() + body,), close=close)

    @classmethod
    def error(cls, code: str, *, status: int = 400, **more: Any) -> "Reply":
        """Return DynamoDB's answer to what it refuses."""
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": f"because {code}", **more}
        return cls.of(json.dumps(body).encode(), status=status)


HANG_UP = Reply(close=True)
RESET = Reply(reset=True)
SILENCE = Reply(silent=True)

# On a machine under load an answer takes seconds. Production's patience (1.5 s) would end then, and a test that is not
# about time would see a write twice; so would one that waits too short a time for an answer that never comes.
PATIENT = Timeouts(connect_s=30.0, read_s=30.0)
HASTY = Timeouts(connect_s=30.0, read_s=0.9)  # two of them are within a budget of 1.8 s
THROTTLED = Reply.error("ProvisionedThroughputExceededException")


@dataclass
class Service:
    """A running server. The next request takes the next of ``script``; when it is empty, ``handler`` answers.

    A scripted callable gets the request and what ``handler`` would answer: the call takes effect, its answer is lost.
    """

    handler: Callable[[Request], Reply]
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    script: deque[Reply | Callable[[Reply], Reply]] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed_by_server: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._listener = socket.create_server((self.host, 0), backlog=128)
        self._stopped = Event()
        self._open: list[socket.socket] = []
        self._threads = [Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        number: int = self._listener.getsockname()[1]
        return number

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}"

    def stop(self) -> None:
        """End every connection and thread."""
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                _shut(each)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number, self.connections = self.connections, self.connections + 1
                self._open.append(plain)
                thread = Thread(target=self._serve, args=(plain, number), daemon=True)
                self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        try:
            connected = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
        except OSError:
            plain.close()
            return
        with connected, connected.makefile("rb") as incoming:
            try:
                while (request := _read(incoming, number)) is not None and self._answer(connected, request):
                    pass
            except (OSError, ValueError):
                pass
            _shut(connected)
        self.closed_by_server.set()

    def _answer(self, connected: socket.socket, request: Request) -> bool:
        with self._lock:
            self.requests.append(request)
            step = self.script.popleft() if self.script else None
        reply = step if isinstance(step, Reply) else self.handler(request)
        if step is not None and not isinstance(step, Reply):
            reply = step(reply)
        if reply.silent:
            self._stopped.wait(30)
            return False
        for part in reply.parts:
            connected.sendall(part)
        if reply.reset:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connected.close()
        return not (reply.close or reply.reset)


@contextmanager
def serving(
    handler: Callable[[Request], Reply], tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Service]:
    """Serve while the block runs."""
    service = Service(handler, tls, host)
    try:
        yield service
    finally:
        service.stop()


class FakeDynamo:
    """PutItem with the two conditions of the item store, and BatchGetItem, over a dict of items as DynamoDB JSON."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.unprocessed = 0  # how many of the next BatchGetItem leave all but one key unprocessed
        self._lock = Lock()

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        with self._lock:
            return {"PutItem": self._put, "BatchGetItem": self._get}[request.operation](request.json)

    def delete(self, key: tuple[str, str]) -> None:
        """Remove an item, as TTL does."""
        del self.items[key[0], key[1]]

    def _put(self, call: Any) -> Reply:
        assert call["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
        key = (call["Item"]["pk"]["S"], call["Item"]["sk"]["S"])
        old = self.items.get(key)
        if call["ConditionExpression"] == "attribute_not_exists(pk)":
            passed = old is None
        else:
            assert call["ConditionExpression"] == "fence = :fence"
            passed = old is not None and old["fence"] == call["ExpressionAttributeValues"][":fence"]
        if passed:
            self.items[key] = call["Item"]
            return Reply.of(b"{}")
        more: dict[str, Any] = {"Item": old} if old else {}
        return Reply.error("ConditionalCheckFailedException", **more)

    def _get(self, call: Any) -> Reply:
        ((table, wanted),) = call["RequestItems"].items()
        assert wanted["ConsistentRead"] is True
        keys, left = wanted["Keys"], []
        assert 0 < len(keys) <= 100
        if self.unprocessed > 0 and len(keys) > 1:
            self.unprocessed -= 1
            keys, left = keys[:1], keys[1:]
        found = [self.items.get((key["pk"]["S"], key["sk"]["S"])) for key in keys]
        answer = {
            "Responses": {table: [each for each in found if each]},
            "UnprocessedKeys": {table: {"Keys": left, "ConsistentRead": True}} if left else {},
        }
        return Reply.of(json.dumps(answer).encode())


@dataclass
class FakeTime:
    """A clock that moves only when someone sleeps."""

    now_s: float = 1000.0
    pauses_s: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Return the time."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.pauses_s.append(seconds)
        self.now_s += seconds

    def deadline(self, seconds: float = 3600.0) -> Deadline:
        """Return the deadline *seconds* from now, of this clock."""
        return Deadline.after(seconds, self.clock)

    def policy(self, **fields: Any) -> RetryPolicy:
        """Return a policy that waits on this clock, with the longest pauses that the jitter allows."""
        defaults: dict[str, Any] = {"sleep": self.sleep, "random": lambda: 1.0}
        return RetryPolicy(**{**defaults, **fields})


def client_of(
    service: Service,
    *,
    target: str = "DynamoDB_20120810",
    policy: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
    tls: ssl.SSLContext | None = None,
) -> AwsJsonClient:
    """Return a client of *service* with fixed credentials and a fixed time of day."""
    return client_at(
        service.url,
        target=target,
        policy=policy or FakeTime().policy(),
        timeouts=timeouts or PATIENT,
        tls=tls,
    )


def client_at(
    url: str,
    *,
    target: str = "DynamoDB_20120810",
    policy: RetryPolicy | None = None,
    timeouts: Timeouts | None = None,
    tls: ssl.SSLContext | None = None,
) -> AwsJsonClient:
    """Return a client of what is at *url*, the same way."""
    return AwsJsonClient(
        target,
        endpoint=Endpoint.parse(url),
        signer=Signer(service="dynamodb", region="eu-central-1"),
        credentials=lambda _: CREDENTIALS,
        tls=tls,
        timeouts=timeouts,
        policy=policy,
        now_s=lambda: NOW_S,
    )


def _read(incoming: Any, number: int) -> Request | None:
    line = incoming.readline().decode("latin-1").strip()
    if not line:
        return None
    headers: dict[str, str] = {}
    while text := incoming.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return Request(line, headers, incoming.read(int(headers.get("content-length", "0"))), number)


def _shut(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
