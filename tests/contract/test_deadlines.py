"""Nothing of a call waits beyond its deadline, whatever hangs: a name server, a connect, a handshake, a body, a reader.

A fake clock moves where a test says so; the few that need real waits have all other timeouts far behind the deadline, and
would run into the suite's own where they waited for those.
"""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Barrier, Event, Lock
from typing import Any

import pytest

from processors.aggregate.lineage import KinesisLineage
from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.connections import Timeouts
from processors.awsjson.credentials import Credentials
from processors.deadline import Deadline
from processors.sink.lean_dynamodb import LeanDynamoItemStore
from processors.sink.writes import Unsure, Write
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey, StoredItem
from support.lean_server import (
    CREDENTIALS,
    THROTTLED,
    FakeDynamo,
    FakeTime,
    Reply,
    Request,
    client_at,
    client_of,
    serving,
)

PATIENT = Timeouts(connect_s=60, read_s=60)
SOON_S = 0.3
ITEM = StoredItem(1, "", b"", 0)


@dataclass
class TickingTime:
    """A clock on which every look at it takes ``tick_s``."""

    tick_s: float
    now_s: float = 1000.0

    def clock(self) -> float:
        self.now_s += self.tick_s
        return self.now_s


def call(client: AwsJsonClient, deadline: Deadline, body: str = "{}") -> bytes:
    """Make one call that has no other limit than *deadline*."""
    return client.call("PutItem", body, client.retries(deadline))


@contextmanager
def mute_listener(*, full: bool) -> Iterator[int]:
    """Yield the port of a socket that accepts nothing; where it is *full*, connecting to it hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        fill = [socket.socket() for _ in range(8 * full)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for each in fill:
                each.close()


def test_a_hanging_name_server_ends_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = Event(), list[Any]()
    real = socket.getaddrinfo

    def hang(host: Any, port: int, **how: Any) -> Any:
        if how["flags"] & socket.AI_NUMERICHOST:
            return real(host, port, **how)
        asked.append(host)
        answer.wait(30)
        raise socket.gaierror("nobody is there")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    tls = ssl.create_default_context()
    with (
        closing(client_at("https://table.example", timeouts=PATIENT, tls=tls)) as client,
        pytest.raises(RetryableError, match=r"table\.example was not found in time"),
    ):
        call(client, Deadline.after(SOON_S))
    answer.set()
    assert asked == [b"table.example"]


def test_a_hanging_connect_ends_by_the_deadline() -> None:
    with (
        mute_listener(full=True) as port,
        closing(client_at(f"http://127.0.0.1:{port}", timeouts=PATIENT)) as client,
        pytest.raises(RetryableError, match=r"timed out|no time left"),
    ):
        call(client, Deadline.after(SOON_S))


def test_a_hanging_handshake_ends_by_the_deadline() -> None:
    tls = ssl.create_default_context()
    with (
        mute_listener(full=False) as port,
        closing(client_at(f"https://127.0.0.1:{port}", timeouts=PATIENT, tls=tls)) as client,
        pytest.raises(RetryableError, match=r"timed out|no time left"),
    ):
        call(client, Deadline.after(SOON_S))


def test_a_service_that_reads_nothing_ends_by_the_deadline() -> None:
    with (
        mute_listener(full=False) as port,
        closing(client_at(f"http://127.0.0.1:{port}", timeouts=PATIENT)) as client,
        pytest.raises(RetryableError, match=r"timed out|no time left"),
    ):
        call(client, Deadline.after(SOON_S), body="x" * 8_000_000)


def test_a_body_that_drips_ends_by_the_deadline_however_soon_each_drop_comes() -> None:
    drops = Reply((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 50_000))
    time = TickingTime(tick_s=0.01)
    with (
        serving(lambda _: drops) as service,
        closing(client_of(service, timeouts=PATIENT)) as client,
        pytest.raises(RetryableError, match=r"timed out|no time left"),
    ):
        call(client, Deadline.after(1.0, time.clock))
    assert time.now_s < 1000 + 1.0 + 1.0  # some looks at the clock later, not 50,000


def test_no_call_begins_when_the_deadline_has_passed() -> None:
    time, asked = FakeTime(), list[Deadline]()
    with serving(FakeDynamo()) as service, closing(client_of(service)) as client:
        deadline = time.deadline(5)
        time.now_s += 5
        client._credentials = asked.append  # type: ignore[assignment]  # what is asked is of interest, not its answer
        with pytest.raises(RetryableError, match="no time left"):
            call(client, deadline)
    assert (service.connections, asked) == (0, [])


@pytest.mark.parametrize(("left_s", "requests"), [(0.04, 1), (0.06, 2), (0.2, 3), (60.0, 6)])
def test_no_pause_ends_and_no_try_begins_beyond_the_deadline(left_s: float, requests: int) -> None:
    time, begun = FakeTime(), list[float]()

    def throttle(_: Request) -> Reply:
        begun.append(time.now_s)
        return THROTTLED

    with serving(throttle) as service, closing(client_of(service, policy=time.policy())) as client:
        deadline = time.deadline(left_s)
        with pytest.raises(RetryableError, match="ProvisionedThroughputExceeded"):
            call(client, deadline)
    assert len(begun) == requests
    assert max(begun) < deadline.at_s
    assert time.now_s < deadline.at_s


def test_a_store_that_runs_out_of_time_says_so_and_asks_no_more() -> None:
    time, served = FakeTime(), list[str]()

    def credentials(_: Deadline) -> Credentials:
        time.now_s += 1  # before a request is sent, and after it was found that there is time for it
        return CREDENTIALS

    def serve(request: Request) -> Reply:
        served.append(request.operation)
        return Reply.of(json.dumps({"Responses": [{}] * len(request.json["Statements"])}).encode())

    writes = [Write(ItemKey(f"{number}", "0"), ITEM, None) for number in range(200)]
    policy = time.policy(budget_s=100)
    with serving(serve) as service, closing(client_of(service, policy=policy)) as client:
        client._credentials = credentials
        outcomes = LeanDynamoItemStore(client, "aggregates").put_many(writes, deadline=time.deadline(2.5))
        assert [isinstance(each, Unsure) for each in outcomes] == [False] * 50 + [True] * 150
        with pytest.raises(RetryableError, match="no time left"):
            LeanDynamoItemStore(client, "aggregates").get(
                [write.key for write in writes], deadline=time.deadline(0)
            )
    assert len(served) == 2


class Held:
    """BatchGetItem of a table with every item, at most so many at a time as are let in together."""

    def __init__(self, together: int) -> None:
        self._barrier, self._lock = Barrier(together), Lock()
        self.sizes: list[int] = []
        self.active = self.most = 0

    def __call__(self, request: Request) -> Reply:
        keys = request.json["RequestItems"]["aggregates"]["Keys"]
        with self._lock:
            self.sizes.append(len(keys))
            self.active += 1
            self.most = max(self.most, self.active)
            first = len(self.sizes) <= self._barrier.parties
        if first:
            self._barrier.wait(30)
        with self._lock:
            self.active -= 1
        more = {"fence": {"S": "1"}, "counts": {"S": ""}, "body": {"B": ""}, "expires": {"N": "0"}}
        found = [{**key, **more} for key in keys]
        return Reply.of(json.dumps({"Responses": {"aggregates": found}}).encode())


def test_many_keys_are_read_a_hundred_a_request_eight_requests_at_a_time() -> None:
    keys = [ItemKey(f"{number}", "0") for number in range(2_080)]
    held = Held(together=8)
    with serving(held) as service, closing(client_of(service)) as client:
        found = LeanDynamoItemStore(client, "aggregates").get(keys + keys, deadline=FakeTime().deadline())
    assert found == dict.fromkeys(keys, ITEM)
    assert sorted(held.sizes) == [80, *[100] * 20]
    assert held.most == 8


def test_a_read_that_fails_is_told_when_no_other_is_on_its_way_any_more() -> None:
    refused, ended, begun = Event(), list[str](), list[str]()

    def serve(request: Request) -> Reply:
        first: str = request.json["RequestItems"]["aggregates"]["Keys"][0]["pk"]["S"]
        begun.append(first)
        if first == "0":
            refused.set()
            return Reply.error("ResourceNotFoundException")
        refused.wait(30)
        Event().wait(0.2)  # what a read may take; it is no rule of the test
        ended.append(first)
        return Reply.of(b'{"Responses":{}}')

    keys = [ItemKey(f"{number}", "0") for number in range(1_000)]
    with serving(serve) as service, closing(client_of(service)) as client:
        store = LeanDynamoItemStore(client, "aggregates", readers=2)
        with pytest.raises(ServiceError, match="ResourceNotFound"):
            store.get(keys, deadline=FakeTime().deadline())
        assert sorted(ended) == sorted(set(begun) - {"0"})
        assert len(begun) < 10  # what waited for its turn never began


def test_shards_are_listed_page_by_page_by_one_deadline() -> None:
    time, pages = FakeTime(), list[float]()

    def list_shards(_: str, __: Any, /, *, deadline: Deadline) -> Any:
        if deadline.has_passed:
            raise RetryableError("no time left")
        pages.append(time.now_s)
        time.now_s += 1
        return {"Shards": [{"ShardId": f"shardId-{len(pages)}"}], "NextToken": "more"}

    with pytest.raises(RetryableError, match="no time left"):
        KinesisLineage(list_shards, "telemetry").parents_of("shardId-0", deadline=time.deadline(3))
    assert len(pages) == 3
