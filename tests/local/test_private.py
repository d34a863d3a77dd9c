"""The running stack obeys its owner: not a web page in a real browser, not another key, not a foreign name."""

import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from infra.local.http.secret import Credentials
from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from support.machine import Machine, running

pytestmark = pytest.mark.local

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
EVIL = "evil.example"
HEALTH = {
    "aws": "/_ministack/health",
    "kinesis": "/health",
    "dynamodb": "/health",
    "metrics": "/metrics",
    "http": "/health",
}
FORMS = ("Action=CreateTopic&Name=evil&Version=2010-03-31", "Action=CreateQueue&QueueName=evil")
PAGE = """<!doctype html><script>
const ports = %(ports)s, forms = %(forms)s, types = ["application/x-www-form-urlencoded", "text/plain"];
const sent = [];
for (const port of ports) {
  const at = `http://127.0.0.1:${port}`;
  for (const path of ["/_ministack/reset", "/_ministack/config", "/"])
    for (const body of forms)
      for (const type of types)
        sent.push(fetch(at + path, {method: "POST", mode: "no-cors", headers: {"Content-Type": type}, body,
          signal: AbortSignal.timeout(20000)}));
  sent.push(new Promise(done => {
    const frame = document.createElement("iframe");
    frame.name = `frame${port}`;
    document.documentElement.append(frame);
    const form = document.createElement("form");
    Object.assign(form, {method: "post", action: at + "/", target: frame.name});
    for (const pair of forms[0].split("&")) {
      const field = document.createElement("input");
      [field.name, field.value] = pair.split("=");
      form.append(field);
    }
    document.documentElement.append(form);
    frame.onload = done;
    form.submit();
    setTimeout(done, 3000);
  }));
}
Promise.allSettled(sent).then(all => fetch("/done?" + all.length));
</script>"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running(tmp_path_factory.mktemp("private")) as machine:
        wait_until(
            lambda: listens(machine), seconds=60, what="metrics"
        )  # they come last; `up` does not wait for them
        yield machine


def listens(machine: Machine) -> bool:
    with (
        suppress(ConnectionRefusedError),
        socket.create_connection(("127.0.0.1", port_of(machine, "metrics"))),
    ):
        return True
    return False


def client(machine: Machine, service: str, role: str = "aws") -> Any:
    info = machine.home.info()
    return local_client(service, info.endpoints[role], info.credentials)


def port_of(machine: Machine, role: str) -> int:
    return urlsplit(machine.home.info().endpoints[role]).port or 0


def holdings(machine: Machine) -> dict[str, Any]:
    """What a page could have made, changed or wiped."""
    return {
        "topics": client(machine, "sns").list_topics()["Topics"],
        "queues": client(machine, "sqs").list_queues()["QueueUrls"],
        "tables": client(machine, "dynamodb", "dynamodb").list_tables()["TableNames"],
        "streams": client(machine, "kinesis", "kinesis").list_streams()["StreamNames"],
    }


def runtime_ports(machine: Machine) -> list[int]:
    """The ports of the Runtime API, one a sandbox, as each was told its own."""
    told = (machine.home.status(), machine.home.gateway_status(), machine.home.changes_status())
    pids = [pid for each in told for pid in each.get("sandboxes", [])]
    said = [Path(f"/proc/{pid}/environ").read_bytes() for pid in pids]
    return [int(port) for each in said for port in re.findall(rb"AWS_LAMBDA_RUNTIME_API=[^:\0]+:(\d+)", each)]


def listening(pid: int) -> set[int]:
    """The TCP ports that process *pid* listens on."""
    inodes = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.update(re.findall(r"socket:\[(\d+)\]", str(each.readlink())))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes}


def raw(machine: Machine, role: str, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port_of(machine, role)), timeout=10) as connection:
        connection.sendall(data)
        return connection.recv(65_536)


@contextmanager
def page_server(page: bytes) -> Iterator[tuple[int, threading.Event]]:
    """Serve *page* as any site would, and say when it has sent all."""
    done = threading.Event()

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/done"):
                done.set()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"" if self.path.startswith("/done") else page)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        try:
            yield site.server_address[1], done
        finally:
            site.shutdown()


def browser(folder: Path, *arguments: str) -> list[str]:
    assert CHROMIUM is not None
    return [
        CHROMIUM,
        "--headless",
        "--no-sandbox",  # it is root's in a container; the pages are our own
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        f"--host-resolver-rules=MAP {EVIL} 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        *arguments,
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt-get install chromium")
def test_a_page_in_a_browser_posts_to_every_port_and_nothing_happens(
    machine: Machine, tmp_path: Path
) -> None:
    before = holdings(machine)
    ports = [port_of(machine, role) for role in HEALTH]
    ports += runtime_ports(machine)
    page = PAGE % {"ports": ports, "forms": list(FORMS)}
    with page_server(page.encode()) as (port, done):
        command = browser(tmp_path, "--remote-debugging-port=0", f"http://{EVIL}:{port}/")
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            assert done.wait(180), "the page did not come to its end"
        finally:
            os.killpg(process.pid, 9)
            process.wait()
    assert holdings(machine) == before


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here: apt-get install chromium")
def test_a_page_whose_name_was_rebound_to_this_machine_reads_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    for role, path in HEALTH.items():
        url = f"http://{EVIL}:{port_of(machine, role)}{path}"
        shown = subprocess.run(
            browser(tmp_path, "--dump-dom", url), capture_output=True, text=True, timeout=60, check=False
        ).stdout
        assert "loopback name" in shown, role


@pytest.mark.parametrize("role", HEALTH)
def test_a_foreign_host_and_any_origin_are_refused_at_every_port(machine: Machine, role: str) -> None:
    own = b"GET " + HEALTH[role].encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert raw(machine, role, own).split(b" ")[1] == b"200"
    foreign = raw(machine, role, own.replace(b"localhost", b"evil.example"))
    of_page = raw(machine, role, own.replace(b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n"))
    for refused in (foreign, of_page):
        assert refused.split(b" ")[1] == b"403"
        assert b"access-control" not in refused.lower()


@pytest.mark.parametrize(
    "path", ["/_ministack/reset", "//_ministack/reset", "/%5fministack/reset", "/_MINISTACK/x"]
)
def test_the_emulators_admin_paths_are_refused_key_or_not(machine: Machine, path: str) -> None:
    before = holdings(machine)
    key = machine.home.info().credentials.access_key
    for authorization in ("", f"Authorization: AWS4-HMAC-SHA256 Credential={key}/x, Signature=0\r\n"):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{authorization}\r\n"
        assert raw(machine, "aws", head.encode()).split(b" ")[1] == b"403"
    assert holdings(machine) == before


@pytest.mark.parametrize(
    ("service", "role", "action"),
    [
        ("kinesis", "kinesis", "list_streams"),
        ("dynamodb", "dynamodb", "list_tables"),
        ("sqs", "aws", "list_queues"),
        ("sns", "aws", "list_topics"),
        ("s3", "aws", "list_buckets"),
        ("cloudformation", "aws", "list_stacks"),
    ],
)
def test_a_client_with_another_key_is_told_where_the_right_one_is(
    machine: Machine, service: str, role: str, action: str
) -> None:
    getattr(client(machine, service, role), action)()
    stranger = local_client(service, machine.home.info().endpoints[role], Credentials("LOCALOTHER", "x"))
    with pytest.raises(ClientError, match="streamgage env"):
        getattr(stranger, action)()


def test_nothing_listens_but_what_these_tests_ask(machine: Machine) -> None:
    """A face that comes later has to come here too."""
    known = {port_of(machine, role) for role in HEALTH} | set(runtime_ports(machine))
    assert set(machine.home.info().endpoints) - {"live"} == set(HEALTH)  # it is on the port of http
    assert {port for pid in machine.pids() for port in listening(pid)} - known == set()


def test_the_runtime_api_gives_a_stranger_no_payload(machine: Machine) -> None:
    sent = machine.folder / "one.ndjson"
    sent.write_text('{"device_id": "d", "metric": "m", "ts": 1700000000000, "value": 1}\n')
    machine.send("ndjson", str(sent), "--source", "reading")
    machine.run("drain")
    ports = runtime_ports(machine)
    assert ports
    ask = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for port in ports:
        with (
            suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        ):
            connection.sendall(ask)
            connection.settimeout(2)
            with suppress(TimeoutError):
                assert b"200" not in connection.recv(65_536)[:20]


def test_metrics_tell_no_key_and_nothing_of_strangers(machine: Machine) -> None:
    """They ask for no key, so that Prometheus needs none: so they hold numbers and our own names."""
    sent = machine.folder / "hostile.ndjson"
    sent.write_text('{"device_id": "zz-device", "metric": "zz-metric", "ts": 1700000000000, "value": 1}\n')
    machine.send("ndjson", str(sent), "--source", "reading")
    machine.run("drain")
    url = f"{machine.home.info().endpoints['metrics']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a loopback address of our own
        told = answer.read()
    assert b"streamgage_" in told
    for secret in ("zz-device", "zz-metric", *machine.home.info().credentials):
        assert secret.encode() not in told
    names = set(re.findall(rb'(\w+)="', told))
    assert names <= {b"process", b"code", b"shard", b"version", b"service"}, names


def test_env_makes_a_shell_the_owners(machine: Machine) -> None:
    exported = machine.run("env").stdout
    program = "import boto3; print(boto3.client('kinesis').list_streams()['StreamNames'])"
    bare = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    script = f'{exported}\n"{sys.executable}" -c "{program}"'
    shown = subprocess.run(
        ["bash", "-c", script], env=bare, capture_output=True, text=True, timeout=60, check=True
    )
    assert machine.home.info().stream in shown.stdout


def test_the_home_is_its_owners_alone(machine: Machine) -> None:
    root = machine.home.root
    assert root.stat().st_mode & 0o077 == 0
    inside = [root / "credentials.json", machine.home.info_file, *machine.home.logs.iterdir()]
    inside += [each for each in (root / "data").rglob("*") if each.is_file()]
    assert [each for each in inside if each.stat().st_mode & 0o077] == []


def test_status_shows_no_key(machine: Machine) -> None:
    key, secret = machine.home.info().credentials
    shown = machine.run("status", "--format", "json").stdout + machine.run("status").stdout
    assert key not in shown
    assert secret not in shown
