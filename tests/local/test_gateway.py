"""The gateway before real sandboxes: many at once, functions that fail, clients that are slow, greedy or foreign."""

import base64
import json
import os
import re
import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from infra.local.files import bound_log
from infra.local.function.pool import VERSION_VARIABLE
from infra.local.stack.children import wait_until
from infra.local.stack.home import is_alive, read_json, write_json
from support.hostile_crowd import crowd_before
from support.served import PATIENCE_S, Served, integration, resources, served, status_of

pytestmark = pytest.mark.local

ERROR = b'{"message":"Internal Server Error"}'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "web").mkdir()
    (folder / "web" / "index.html").write_text("<!doctype html><title>page</title>")
    with served(
        folder, resources({"RouteKey": "$default"}, {"RouteKey": "ANY /pets/{name}/{rest+}"})
    ) as running:
        yield running


def raw(gateway: Served, data: bytes) -> bytes:
    """Send *data*, and return all that comes until the server ends."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as client:
        client.sendall(data)
        received = b""
        with suppress(ConnectionResetError):
            while piece := client.recv(65_536):
                received += piece
        return received


def head(
    gateway: Served, path: str, *, method: str = "GET", host: str = "localhost", more: str = ""
) -> bytes:
    return (
        f"{method} /{gateway.base}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode()
    )


def test_a_request_reaches_the_real_runtime_as_aws_would_hand_it(gateway: Served) -> None:
    answer, body = gateway.ask(
        "/pets/a%20b/c/d?x=1&x=2", method="POST", body=b"\xff", cookie="a=1", user_agent="me"
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert re.fullmatch(r"[\w-]{15}=", answer.headers["Apigw-Requestid"])
    answer, body = gateway.ask(
        "/pets/a%20b/c/echo?x=1&x=2", method="POST", body=b"\xff", cookie="a=1", user_agent="me"
    )
    event = json.loads(body)
    assert event["routeKey"] == "ANY /pets/{name}/{rest+}"
    assert event["rawPath"] == "/pets/a b/c/echo"
    assert event["pathParameters"] == {"name": "a b", "rest": "c/echo"}
    assert event["queryStringParameters"] == {"x": "1,2"}
    assert (event["body"], event["isBase64Encoded"]) == (base64.b64encode(b"\xff").decode(), True)
    assert event["cookies"] == ["a=1"]
    assert event["requestContext"]["requestId"] == answer.headers["Apigw-Requestid"]
    assert abs(event["requestContext"]["timeEpoch"] - time.time() * 1000) < PATIENCE_S * 1000
    assert event["requestContext"]["http"]["userAgent"] == "me"
    assert gateway.base not in body.decode()


def test_twenty_at_once_run_side_by_side_and_each_gets_its_own_answer(gateway: Served) -> None:
    def ask(number: int) -> dict[str, str]:
        _, body = gateway.ask(f"/v1/{number}/echo?n={number}")
        parameters: dict[str, str] = json.loads(body)["queryStringParameters"]
        return parameters

    with ThreadPoolExecutor(20) as clients:
        assert list(clients.map(ask, range(200))) == [{"n": str(number)} for number in range(200)]
    wait_until(lambda: len(status_of(gateway)["sandboxes"]) == 4, seconds=PATIENCE_S, what="four sandboxes")


@pytest.mark.parametrize(
    ("deed", "logged", "in_log_of_function"),
    [
        ("raise", "ZeroDivisionError: planted", "Traceback (most recent call last)"),
        ("crash", "signal: SIGKILL", ""),
        ("exit", "exit status 3", ""),
        ("nonsense", "has the statusCode 'OK'", ""),
        ("split", "without a line break", ""),
        ("large?bytes=6291556", "a function may answer 6,291,556", ""),
    ],
)
def test_a_function_that_fails_costs_that_request_only_and_the_log_says_why(
    gateway: Served, deed: str, logged: str, in_log_of_function: str
) -> None:
    answer, body = gateway.ask(f"/v1/{deed}")
    assert (answer.status, body) == (500, ERROR)
    assert logged in gateway.log()
    assert in_log_of_function in gateway.log("api.log")
    assert gateway.ask("/v1/ok")[0].status == 200


def test_one_that_crashes_again_and_again_beside_others_takes_none_of_them_along(gateway: Served) -> None:
    deeds = ["ok", "crash", "ok", "raise"] * 10
    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(lambda deed: gateway.ask(f"/v1/{deed}")[0].status, deeds))
    assert Counter(zip(deeds, statuses, strict=True)) == {
        ("ok", 200): 20,
        ("crash", 500): 10,
        ("raise", 500): 10,
    }


def test_what_a_function_may_answer_comes_whole(gateway: Served) -> None:
    answer, body = gateway.ask("/v1/large?bytes=6000000")
    assert (answer.status, len(body)) == (200, 6_000_000)


def test_head_and_answers_without_content_leave_the_connection_as_it_was(gateway: Served) -> None:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S)
    for method, path, status, size in (
        ("HEAD", "/v1/ok", 200, 0),
        ("GET", "/v1/status?code=204", 204, 0),
        ("GET", "/v1/status?code=304", 304, 0),
        ("GET", "/v1/ok", 200, 12),
        ("HEAD", "/", 200, 0),
        ("GET", "/v1/raise", 500, len(ERROR)),
        ("GET", "/v1/ok", 200, 12),
    ):
        connection.request(method, f"/{gateway.base}{path}")
        answer = connection.getresponse()
        assert (answer.status, len(answer.read())) == (status, size)
        assert connection.sock is not None, "it is kept alive"
    connection.close()


def test_each_cookie_is_set(gateway: Served) -> None:
    answer, body = gateway.ask("/v1/cookies", cookie="x=1; y=2")
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2; HttpOnly"]
    assert json.loads(body) == ["x=1", "y=2"]


def test_the_page_stands_beside_the_api(gateway: Served) -> None:
    answer, body = gateway.ask("/")
    assert (answer.status, body) == (200, b"<!doctype html><title>page</title>")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert gateway.ask("/", if_none_match=answer.headers["ETag"])[0].status == 304
    assert raw(gateway, head(gateway, "/../../credentials.json")).startswith(b"HTTP/1.1 404 ")
    assert raw(gateway, head(gateway, "/%2e%2e/%2e%2e/credentials.json")).startswith(b"HTTP/1.1 404 ")


def test_without_the_secret_nothing_is_told_and_nothing_is_run(gateway: Served) -> None:
    before = gateway.log("api.log").count("START")
    for path in (
        "/v1/ok",
        f"/{'a' * 32}/v1/ok",
        f"/{gateway.base[:-1]}/v1/ok",
        f"/{gateway.base.upper()}/v1/ok",
    ):
        said = raw(gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 403 ")
        assert b"`streamgage status`" in said
        assert gateway.base.encode() not in said
    assert gateway.log("api.log").count("START") == before


@pytest.mark.parametrize(
    ("host", "more", "status"),
    [
        ("evil.example", "", b"403"),  # DNS rebinding: a name of the page's own, which resolves to 127.0.0.1
        ("evil.example", "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n", b"403"),
        ("localhost", "Origin: https://evil.example\r\n", b"403"),
        ("localhost", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n", b"403"),
        ("localhost", "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n", b"200"),
    ],
)
def test_another_sites_page_is_refused_although_it_knows_the_address_and_reads_nothing(
    gateway: Served, host: str, more: str, status: bytes
) -> None:
    for method in ("GET", "OPTIONS"):
        said = raw(gateway, head(gateway, "/v1/ok", method=method, host=host, more=more))
        assert said.split(b" ")[1] == status
        assert b"access-control" not in said.lower()


@pytest.mark.parametrize(
    ("more", "body", "status"),
    [
        (f"X: {'x' * 11_000}\r\n", b"", b"431"),
        (f"X: {'x' * 40_000}\r\n", b"", b"431"),
        ("Content-Length: 10485761\r\n", b"", b"413"),
        ("Content-Length: 7000000\r\nContent-Type: text/plain\r\n", b"x" * 7_000_000, b"413"),
        ("Transfer-Encoding: chunked\r\n", b"5\r\nabcde\r\n0\r\n\r\n", b"200"),
    ],
)
def test_requests_are_bounded_as_on_aws(gateway: Served, more: str, body: bytes, status: bytes) -> None:
    method = "GET" if more.startswith("X") else "POST"
    assert raw(gateway, head(gateway, "/v1/ok", method=method, more=more) + body).split(b" ")[1] == status


def held_by_others(gateway: Served, count: int) -> None:
    files = Path(f"/proc/{gateway.process.pid}/fd")
    before = len(list(files.iterdir()))
    with crowd_before(gateway.port, count):
        assert [gateway.ask("/v1/ok")[0].status for _ in range(20)] == [200] * 20
    wait_until(
        lambda: len(list(files.iterdir())) <= before + 16, seconds=PATIENCE_S, what="its files to come back"
    )
    assert gateway.ask("/v1/ok")[0].status == 200


def test_a_thousand_connections_that_others_hold_keep_nobody_out(gateway: Served) -> None:
    held_by_others(gateway, 1_000)


@pytest.mark.slow
def test_ten_thousand_connections_that_others_hold_keep_nobody_out(gateway: Served) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held_by_others(gateway, 10_000 if hard == resource.RLIM_INFINITY else min(10_000, hard - 100))


def test_clients_that_send_a_byte_at_a_time_hold_no_thread_and_no_sandbox(gateway: Served) -> None:
    stop = threading.Event()

    def drip(client: socket.socket) -> None:
        with suppress(OSError):
            for byte in head(gateway, "/v1/ok", method="POST", more="Content-Length: 100000\r\n"):
                client.sendall(bytes([byte]))
                if stop.wait(0.05):
                    return

    with ExitStack() as stack, ThreadPoolExecutor(64) as drips:
        for _ in range(64):  # more than there are threads that answer
            drips.submit(drip, stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port))))
        assert [gateway.ask("/v1/ok")[0].status for _ in range(20)] == [200] * 20
        stop.set()


def test_a_route_that_takes_too_long_is_given_up_and_the_next_request_is_not(tmp_path: Path) -> None:
    described = resources(
        {"RouteKey": "$default"}, {"RouteKey": "GET /quick/{what}", "Target": "integrations/quick"}
    )
    quick = {"ApiId": "api", **integration(TimeoutInMillis=500)}
    described["quick"] = {"Type": "AWS::ApiGatewayV2::Integration", "Properties": quick}
    with served(tmp_path, described, max_concurrency=2, timeout_s=5) as gateway:
        assert gateway.ask("/quick/ok")[0].status in (200, 503)  # a cold start may be slower than that
        answer, body = gateway.ask("/quick/slow?s=3")
        assert (answer.status, body) == (503, b'{"message":"Service Unavailable"}')
        assert gateway.ask("/v1/slow?s=0.1")[0].status == 200
        answer, body = gateway.ask("/v1/slow?s=60")  # the function's own time
        assert (answer.status, body) == (500, ERROR)
        assert "Task timed out after 5.00 seconds" in gateway.log()
        assert gateway.ask("/v1/ok")[0].status == 200


def test_throttling_is_as_the_stage_says(tmp_path: Path) -> None:
    stage = {"DefaultRouteSettings": {"ThrottlingRateLimit": 0.001, "ThrottlingBurstLimit": 3}}
    with served(tmp_path, resources(stage=stage)) as gateway:
        assert [gateway.ask("/v1/ok")[0].status for _ in range(5)] == [200, 200, 200, 429, 429]
        assert gateway.ask("/v1/ok")[1] == b'{"message":"Too Many Requests"}'


def test_stopped_it_answers_what_it_has_begun_and_leaves_no_sandbox(tmp_path: Path) -> None:
    with served(tmp_path) as gateway, ThreadPoolExecutor(1) as client:
        assert gateway.ask("/v1/ok")[0].status == 200
        wait_until(lambda: bool(status_of(gateway)["sandboxes"]), seconds=PATIENCE_S, what="a sandbox")
        sandboxes = status_of(gateway)["sandboxes"]
        asked = client.submit(gateway.ask, "/v1/slow?s=1.5")
        begun = gateway.log("api.log").count("START")
        wait_until(
            lambda: gateway.log("api.log").count("START") >= begun, seconds=PATIENCE_S, what="its begin"
        )
        time.sleep(0.3)  # it is under way
        gateway.process.send_signal(signal.SIGTERM)
        assert asked.result()[0].status == 200
        assert gateway.process.wait(PATIENCE_S) == 0
        wait_until(lambda: not any(map(is_alive, sandboxes)), seconds=PATIENCE_S, what="the sandboxes' end")


def test_killed_it_leaves_no_sandbox(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        assert gateway.ask("/v1/ok")[0].status == 200
        wait_until(lambda: bool(status_of(gateway)["sandboxes"]), seconds=PATIENCE_S, what="a sandbox")
        sandboxes = status_of(gateway)["sandboxes"]
        os.kill(gateway.process.pid, signal.SIGKILL)
        gateway.process.wait(PATIENCE_S)
        wait_until(lambda: not any(map(is_alive, sandboxes)), seconds=PATIENCE_S, what="the sandboxes' end")
        gateway.process.returncode = 0  # it was us


def test_another_version_takes_over_and_one_that_cannot_start_is_refused(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:

        def shift(version: str, handler: str) -> None:
            config = read_json(tmp_path / "gateway.json")
            config["function"] |= {"handler": handler, "env": {VERSION_VARIABLE: version}}
            write_json(tmp_path / "gateway.json", config)

        def version() -> object:
            return json.loads(gateway.ask("/v1/version")[1])["version"]

        assert version() == "$LATEST"
        shift("1", "handlers.handler")
        wait_until(lambda: status_of(gateway)["version"] == "1", seconds=PATIENCE_S, what="version 1")
        assert version() == "1"
        shift("2", "handlers.missing")
        wait_until(lambda: status_of(gateway)["update_refused"], seconds=PATIENCE_S, what="the refusal")
        assert "missing" in status_of(gateway)["update_refused"]
        assert version() == "1"


def test_the_functions_log_is_bounded_and_what_is_written_later_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab") as sandbox:
        sandbox.write(b"x" * 100)
        sandbox.flush()
        bound_log(log, 100)
        assert log.stat().st_size == 100
        sandbox.write(b"y")
        sandbox.flush()
        bound_log(log, 100)
        sandbox.write(b"z")
    assert log.read_bytes() == b"z"
    assert (tmp_path / "api.log.1").read_bytes() == b"x" * 100 + b"y"
    assert (tmp_path / "api.log.1").stat().st_mode & 0o777 == 0o600
