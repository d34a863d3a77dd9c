"""HTTP, bodies, faults and limits of our Kinesis data plane, against a server in a thread."""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from infra.local.kinesis import cbor
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.faults import Faults, parse_faults
from infra.local.kinesis.fields import Instant
from infra.local.kinesis.limits import TokenBucket
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.server import KinesisServer
from infra.local.kinesis.storage import MemoryStorage
from infra.local.kinesis.tls import server_context
from streamgage.errors import ConfigError

NOW_MS = 1_790_000_000_123
JSON = "application/x-amz-json-1.1"
CBOR = "application/x-amz-cbor-1.1"
PUT = {"StreamName": "s", "Data": b"\x00hello", "PartitionKey": "p"}


def serving(faults: Faults | None = None, sleep_s: Callable[[float], None] = time.sleep) -> KinesisServer:
    model = KinesisModel(clock_ms=lambda: NOW_MS, storage=MemoryStorage())
    server = KinesisServer(KinesisApi(model), faults=faults, sleep_s=sleep_s)
    server.start()
    return server


def address(server: KinesisServer) -> tuple[str, int]:
    host, _, port = server.url.rpartition("/")[2].partition(":")
    return host, int(port)


class Wire:
    """One kept-alive connection that speaks either body format."""

    def __init__(self, server: KinesisServer) -> None:
        self.connection = http.client.HTTPConnection(*address(server), timeout=10)

    def call(
        self, action: str, request: object, kind: str = JSON
    ) -> tuple[int, Any, http.client.HTTPResponse]:
        body = cbor.dumps(request) if kind == CBOR else json.dumps(request).encode()
        return self.send(action, body, kind)

    def send(self, action: str, body: bytes, kind: str) -> tuple[int, Any, http.client.HTTPResponse]:
        headers = {"X-Amz-Target": f"Kinesis_20131202.{action}", "Content-Type": kind}
        self.connection.request("POST", "/", body, headers)
        response = self.connection.getresponse()
        content = response.read()
        if not content:
            return response.status, None, response
        return response.status, cbor.loads(content) if kind == CBOR else json.loads(content), response


@pytest.fixture
def server() -> Iterator[KinesisServer]:
    running = serving()
    yield running
    running.stop()


@pytest.fixture
def wire(server: KinesisServer) -> Iterator[Wire]:
    opened = Wire(server)
    opened.call("CreateStream", {"StreamName": "s", "ShardCount": 1})
    yield opened
    opened.connection.close()


def test_cbor_carries_raw_bytes_and_times_in_tagged_milliseconds(wire: Wire) -> None:
    status, put, _ = wire.call("PutRecord", PUT, CBOR)
    assert status == 200
    start = {"StreamName": "s", "ShardId": put["ShardId"], "ShardIteratorType": "AT_TIMESTAMP"}
    _, iterator, _ = wire.call("GetShardIterator", {**start, "Timestamp": Instant(NOW_MS)}, CBOR)
    status, page, response = wire.call("GetRecords", {"ShardIterator": iterator["ShardIterator"]}, CBOR)
    assert response.headers["Content-Type"] == CBOR
    assert page["Records"] == [
        {
            "SequenceNumber": put["SequenceNumber"],
            "ApproximateArrivalTimestamp": Instant(NOW_MS),
            "Data": b"\x00hello",
            "PartitionKey": "p",
        }
    ]


def test_json_carries_base64_and_times_in_seconds_as_plain_decimals(wire: Wire) -> None:
    wire.call("PutRecord", {**PUT, "Data": "AGhlbGxv"})
    start = {"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "AT_TIMESTAMP"}
    _, iterator, _ = wire.call("GetShardIterator", {**start, "Timestamp": NOW_MS / 1000})
    _, page, _ = wire.call("GetRecords", iterator)
    assert page["Records"][0]["Data"] == "AGhlbGxv"
    assert page["Records"][0]["ApproximateArrivalTimestamp"] == 1_790_000_000.123


def test_the_maps_of_indefinite_length_that_the_java_sdk_writes_are_read() -> None:
    content = bytes.fromhex(
        "bf"  # a map without a length
        "6a53747265616d4e616d65" "7f" "6161" "6162" "ff"  # StreamName: a text in two pieces
        "675265636f726473" "9f" "bf" "6444617461" "42beef" "ff" "ff"  # Records: a list of one map
        "6954696d657374616d70" "c1" "1b000001a0c4a2d47b"  # Timestamp: tag 1, milliseconds
        "ff"
    )  # fmt: skip
    assert cbor.loads(content) == {
        "StreamName": "ab",
        "Records": [{"Data": b"\xbe\xef"}],
        "Timestamp": Instant(0x1A0C4A2D47B),
    }


@pytest.mark.parametrize(
    "content", ["", "ff", "a1", "a10161", "9f", "5f6161ff", "bf6161ff", "1c", "0000", "f8ff"]
)
def test_broken_cbor_is_a_value_error(content: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        cbor.loads(bytes.fromhex(content))


def test_deep_nesting_is_refused_in_either_format(wire: Wire) -> None:
    for kind, body in ((CBOR, b"\x81" * 100_000), (JSON, b"[" * 100_000)):
        status, error, _ = wire.send("PutRecord", body, kind)
        assert (status, error["__type"]) == (400, "SerializationException")


def test_errors_carry_code_message_and_header_in_the_clients_format(wire: Wire) -> None:
    for kind in (JSON, CBOR):
        status, error, response = wire.call("DescribeStream", {"StreamName": "absent"}, kind)
        assert status == 400
        assert error["__type"] == response.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"
        assert "absent" in error["message"]
        assert response.headers["x-amzn-RequestId"]


def test_health_says_ok_and_other_pages_are_not_found(server: KinesisServer, wire: Wire) -> None:
    wire.connection.request("GET", "/health")
    answer = json.loads(wire.connection.getresponse().read())
    assert (answer["status"], answer["streams"]) == ("ok", ["s"])
    wire.connection.request("GET", "/")
    response = wire.connection.getresponse()
    response.read()
    assert response.status == 404


def raw(server: KinesisServer, *pieces: bytes) -> bytes:
    """Send pieces one by one and return all that comes back until the server closes or has said 100."""
    with socket.create_connection(address(server), timeout=10) as connection:
        received = b""
        for piece in pieces:
            connection.sendall(piece)
            received += connection.recv(65536)
        return received


def test_a_client_that_expects_100_continue_is_told_to_go_on(server: KinesisServer) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: K.ListStreams\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    received = raw(server, head, b"{}")
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b"HTTP/1.1 200 OK" in received


def test_a_body_without_a_length_or_too_long_is_refused(server: KinesisServer) -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(server, chunked).startswith(b"HTTP/1.1 411 ")
    huge = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
    assert raw(server, huge).startswith(b"HTTP/1.1 413 ")


def test_two_requests_in_one_packet_are_both_answered(server: KinesisServer) -> None:
    one = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: K.ListStreams\r\nContent-Length: 2\r\n\r\n{}"
    last = one.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
    with socket.create_connection(address(server), timeout=10) as connection:
        connection.sendall(one + last)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_stopping_ends_idle_connections_at_once() -> None:
    other = serving()
    with socket.create_connection(address(other), timeout=10) as idle:
        idle.sendall(b"POST / HTTP/1.1\r\nContent-")  # and never more
        other.stop()
        with suppress(ConnectionResetError):
            assert idle.recv(100) == b""


def test_a_port_that_is_taken_is_a_clear_error(server: KinesisServer) -> None:
    host, port = address(server)
    with pytest.raises(ConfigError, match=rf"cannot listen on {host}:{port}.*another process"):
        KinesisServer(KinesisApi(KinesisModel(clock_ms=lambda: 0, storage=MemoryStorage())), port=port)


def test_a_lost_answer_closes_the_connection_after_the_write() -> None:
    server = serving(parse_faults("1:lost=1"))
    wire = Wire(server)
    wire.call("CreateStream", {"StreamName": "s", "ShardCount": 1})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        wire.call("PutRecord", {**PUT, "Data": ""})
    wire.connection.request("GET", "/health")
    assert json.loads(wire.connection.getresponse().read())["faults"]["lost"] == 1
    wire.connection.close()
    server.stop()


def test_an_injected_error_is_a_500_and_a_delay_is_waited_for() -> None:
    waits: list[float] = []
    server = serving(parse_faults("1:error=1,delay=1@250"), waits.append)
    wire = Wire(server)
    wire.call("CreateStream", {"StreamName": "s", "ShardCount": 1})
    status, error, _ = wire.call("PutRecord", {**PUT, "Data": ""})
    assert (status, error["__type"]) == (500, "InternalFailure")
    assert waits == [0.25]
    wire.connection.close()
    server.stop()


@pytest.mark.parametrize("text", ["", "x", "1", "x:lost=1", "1:lost", "1:lots=1", "1:lost=2", "1:delay=1@x"])
def test_faults_that_cannot_be_understood_are_a_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--faults"):
        parse_faults(text)


def test_fault_rates_are_about_what_was_asked_for() -> None:
    faults = parse_faults("7:throttle=0.1,internal=0.05,lost=0.2,error=0.1,delay=0.3@5")
    for _ in range(200):
        faults.plan("PutRecords", 50)
    assert 800 < faults.fired["ProvisionedThroughputExceededException"] < 1200
    assert 350 < faults.fired["InternalFailure"] < 650
    assert 20 < faults.fired["lost"] < 65
    assert 5 < faults.fired["error"] < 40
    assert 35 < faults.fired["delay"] < 90


def test_a_bucket_refills_at_its_rate_up_to_one_second_and_ignores_a_clock_that_steps_back() -> None:
    bucket = TokenBucket(1000, now_ms=0)
    bucket.take(1000)
    assert bucket.level(0) == 0
    assert bucket.level(100) == 100
    assert bucket.level(50) == 100
    assert bucket.level(99_999) == 1000


def test_a_bucket_goes_on_refilling_when_the_clock_was_set_back() -> None:
    bucket = TokenBucket(1000, now_ms=3_600_000)
    bucket.take(1000)
    assert bucket.level(0) == 0
    assert bucket.level(500) == 500


def test_tls_serves_a_certificate_that_a_client_can_trust(tmp_path: Path) -> None:
    context = server_context(tmp_path)
    api = KinesisApi(KinesisModel(clock_ms=lambda: 0, storage=MemoryStorage()))
    server = KinesisServer(api, tls=context)
    server.start()
    host, port = address(server)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    connection = http.client.HTTPSConnection(host, port, context=trusting, timeout=10)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()
    with socket.create_connection((host, port), timeout=10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\n\r\n")  # not TLS: refused, and the server lives on
        with suppress(ConnectionResetError):
            plain.recv(100)
    first = (tmp_path / "cert.pem").read_bytes()
    server_context(tmp_path)
    assert (tmp_path / "cert.pem").read_bytes() == first
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0
    server.stop()
