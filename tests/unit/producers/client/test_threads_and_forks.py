"""One producer, many threads; and what a forked child has of it."""

import copy
import gc
import multiprocessing
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from producers.client.batcher import BatcherConfig
from producers.client.core import CoreConfig, ProducerCore
from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.kinesis import connect
from producers.client.ports import PutResult
from producers.clock import MonotonicClock
from streamgage.formats.kpl import decode_aggregate
from streamgage.records import UserRecord
from streamgage.shards import Shard
from support.counting import HALVES, CountingStream

THREADS, PUTS = 8, 2_000


def a_producer(port: "CountingStream | Piped", *, concurrency: int = 2) -> ProducerCore:
    rng = random.Random(1)
    return ProducerCore(
        port,
        clock=MonotonicClock(),
        rng=rng,
        config=CoreConfig(
            batching=BatcherConfig(aggregate_bytes=400, request_bytes=4_000),
            concurrency=concurrency,
            max_buffered_bytes=20_000,
        ),
        tags_for=Identity(rng).tags_for,
    )


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns a thousand times as often as they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize("concurrency", [1, 3])
def test_eight_threads_put_flush_and_poll_and_each_event_is_stored_once(concurrency: int) -> None:
    stream = CountingStream()
    producer = a_producer(stream, concurrency=concurrency)
    together = threading.Barrier(THREADS)

    def work(thread: int) -> None:
        together.wait()
        for number in range(PUTS):
            producer.put(UserRecord(f"k{number % 9}", b"%d:%d" % (thread, number)))
            if number % 100 == 99:
                (producer.flush if thread % 2 else producer.poll)()

    threads = [threading.Thread(target=work, args=(each,)) for each in range(THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    producer.close()
    assert stream.counts == Counter(b"%d:%d" % (t, n) for t in range(THREADS) for n in range(PUTS))
    assert producer.stats.events_put == producer.stats.events_stored == THREADS * PUTS


class Piped:
    """A port that tells what it stored through a pipe, which a child may use as well; each entry is one message."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def list_shards(self) -> Sequence[Shard]:
        return HALVES

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        for entry in entries:
            self._pipe.send((entry.partition_key, entry.data))
        return CountingStream().put_records(entries)


def stored_by(fork: Callable[[Callable[[], None]], None]) -> tuple[Counter[bytes], set[str]]:
    """Put 50 events, fork children by *fork* that put 50 each, and return what a consumer counts, and who sent it."""
    here, there = multiprocessing.Pipe(duplex=False)
    producer = a_producer(Piped(there))
    for number in range(50):
        producer.put(UserRecord(f"k{number % 9}", b"parent %d" % number))

    def child() -> None:
        for number in range(50):
            producer.put(UserRecord(f"k{number % 9}", b"child %d" % number))
        producer.close()

    fork(child)
    fork(child)
    producer.close()
    assert producer.stats.events_stored == 50
    there.close()
    counting, marks = CountingStream(), set[str]()
    while True:
        try:
            partition_key, data = here.recv()
        except EOFError:
            return counting.counts, marks
        marks.add(decode_aggregate(data).tags["sg"].partition(".")[0])
        counting.put_records([PutEntry("", partition_key, None, data, len(data), (), (), 0)])


def by_os_fork(child: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def by_multiprocessing(child: Callable[[], None]) -> None:
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("fork", [by_os_fork, by_multiprocessing])
def test_a_forked_child_sends_under_a_name_of_its_own_and_nothing_of_its_parent(
    fork: Callable[[Callable[[], None]], None],
) -> None:
    counts, senders = stored_by(fork)
    parent = Counter(b"parent %d" % n for n in range(50))
    assert counts == parent + Counter({b"child %d" % n: 2 for n in range(50)})
    assert len(senders) == 3


def test_a_fork_while_another_thread_is_within_the_producer_leaves_the_child_a_producer_that_works() -> None:
    stream, within, go_on = CountingStream(), threading.Event(), threading.Event()
    producer = a_producer(stream, concurrency=1)

    def wait(_: PutEntry) -> str:
        within.set()
        go_on.wait()
        return "stored"

    stream.fate = wait
    producer.put(UserRecord("k", b"parent"))
    thread = threading.Thread(target=producer.flush)
    thread.start()
    within.wait()

    def child() -> None:
        signal.alarm(20)  # a child that hangs is killed
        stream._lock = threading.Lock()
        stream.fate = lambda _: "stored"
        producer.put(UserRecord("k", b"child"))
        producer.flush()
        assert stream.counts == Counter([b"child"])

    try:
        by_os_fork(child)
    finally:
        go_on.set()
        thread.join()
    assert stream.counts == Counter([b"parent"])


def test_a_producer_is_neither_pickled_nor_copied() -> None:
    producer = a_producer(CountingStream())
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="Make one in each process"):
            copied(producer)
    process = multiprocessing.get_context("spawn").Process(target=print, args=(producer,))
    with pytest.raises(TypeError, match="Make one in each process"):
        process.start()


class _Kinesis(BaseHTTPRequestHandler):
    """Lists one shard and stores everything; keeps connections open, and counts them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["X-Amz-Target"].endswith("ListShards"):
            text = (
                b'{"Shards":[{"ShardId":"s","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"%d"},'
                b'"SequenceNumberRange":{"StartingSequenceNumber":"1"}}]}' % (2**128 - 1)
            )
        else:
            text = b'{"FailedRecordCount":0,"Records":[{"ShardId":"s","SequenceNumber":"1"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    connections = 0

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        self.connections += 1
        return super().get_request()


def test_a_forked_child_has_connections_of_its_own_and_the_parent_keeps_its_own() -> None:
    server = _Server(("127.0.0.1", 0), _Kinesis)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        producer = connect(
            "s",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            region="eu-west-1",
            credentials=("a", "b"),
            config=CoreConfig(concurrency=1),
        )
        producer.put(UserRecord("k", b"1"))
        producer.flush()
        assert server.connections == 1
        inode = os.fstat(_connected(server.server_port)[0]).st_ino

        def child() -> None:
            assert inode not in {os.fstat(each).st_ino for each in _connected(server.server_port)}
            producer.put(UserRecord("k", b"2"))
            producer.flush()

        by_os_fork(child)
        assert server.connections == 2
        producer.put(UserRecord("k", b"3"))
        producer.flush()
        assert server.connections == 2  # the parent's own is still in use
        producer.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _connected(port: int) -> list[int]:
    """Return the descriptors of this process that are connected to *port*."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            copied = socket.socket(fileno=os.dup(int(each.name)))
        except OSError:
            continue
        with copied:
            try:
                if copied.getpeername()[1] == port:
                    found.append(int(each.name))
            except (OSError, IndexError):
                continue
    return found


def test_a_thread_that_outlives_the_main_thread_sends_what_it_put(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = CountingStream()
    producer = a_producer(stream, concurrency=3)
    for number in range(100):
        producer.put(UserRecord("k", b"%d" % number))
    # What the interpreter does first when the main thread ends: from then on no pool takes anything.
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)
    for number in range(100, 200):
        producer.put(UserRecord("k", b"%d" % number))
    producer.close()
    assert stream.counts == Counter(b"%d" % number for number in range(200))


@pytest.mark.parametrize("calls", [(), ("flush",), ("close",)])
def test_a_producer_that_goes_with_events_unsent_says_how_many(
    calls: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    producer = a_producer(CountingStream())
    for number in range(3):
        producer.put(UserRecord("k", b"%d" % number))
    for call in calls:
        getattr(producer, call)()
    del producer
    gc.collect()
    told = [] if calls else ["3 events were put into a producer that was never closed, and are lost"]
    assert [each.partition(": call close()")[0] for each in caplog.messages] == told


def test_at_the_end_of_the_interpreter_it_is_told_too_on_stderr_of_its_own() -> None:
    script = (
        "import random; from support.counting import CountingStream; from streamgage.records import UserRecord\n"
        "from producers.client.core import ProducerCore; from producers.clock import MonotonicClock\n"
        "producer = ProducerCore(CountingStream(), clock=MonotonicClock(), rng=random.Random(1))\n"
        "producer.put(UserRecord('k', b'1'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("1 events were put into a producer that was never closed, and are lost")
