"""The collector as a part of the stack: by HTTP into the stream, counted once, told to who listens, refused without a key."""

import gzip
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from support.machine import PATIENCE_S, Machine, running
from support.paths import ROOT
from support.sockets import connected

pytestmark = pytest.mark.local

READING = {
    "source": "reading",
    "device_id": "d1",
    "metric": "temperature",
    "ts": 1767614400000,
    "value": 20.5,
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running(tmp_path_factory.mktemp("collector"), "--param", "BatchingWindow=0") as machine:
        yield machine


def ask(
    machine: Machine, target: str, body: bytes | None = None, *, method: str = "POST", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    place = urlsplit(machine.home.info().endpoints["http"])
    connection = HTTPConnection("127.0.0.1", place.port or 0, timeout=PATIENCE_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, place.path + target, body, named)
        answer = connection.getresponse()
        content = answer.read()
        kind = answer.headers.get("content-type", "")
        said = json.loads(content) if content and "json" in kind else content
        return answer.status, said, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def counted(machine: Machine, target: str) -> list[dict[str, Any]]:
    status, said, _ = ask(machine, target, method="GET")
    assert status == 200, said
    rows: list[dict[str, Any]] = said["rows"]
    return rows


def test_a_click_is_told_and_shown_and_what_comes_twice_counts_once(machine: Machine) -> None:
    info = machine.home.info()
    live = urlsplit(info.endpoints["live"])
    click = {"source": "click", "visitor_id": "v1", "page": "/a", "bytes": 100}
    with connected(live.port or 0, live.path) as client:
        client.send({"action": "subscribe", "rollups": ["page_views"]})
        client.message()
        wait_until(
            lambda: machine.home.changes_status().get("is_reading") is True,
            seconds=PATIENCE_S,
            what="changes",
        )
        sent_s = time.monotonic()
        body = json.dumps([{**click, "ts": time.time_ns() // 1_000_000}]).encode()
        for repeated in (False, True):
            status, said, _ = ask(
                machine, "/v1/events", body, content_type="application/json", idempotency_key="a"
            )
            assert (status, said) == (200, {"accepted": 1, "refused": [], "repeated": repeated})
        while not (news := client.message()).get("changed"):
            continue
        assert {each["rollup"] for each in news["changed"]} == {"page_views"}
        rows = counted(machine, "/v1/rollups/page_views/range?window=1h&key.page=/a")
        print(f"from a click to its number on a page that listens: {time.monotonic() - sent_s:.2f} s")
    assert [each["events"] for each in rows] == [1]


def test_all_entrances_lead_into_one_rollup_whatever_their_bytes_are(machine: Machine) -> None:
    lines = "\n".join(json.dumps({**READING, "device_id": "d2", "value": each}) for each in (1, 2)).encode()
    for body, headers in (
        (json.dumps([{**READING, "device_id": "d2"}]).encode(), {"content_type": "application/json"}),
        (json.dumps({**READING, "device_id": "d2"}).encode(), {"content_type": "text/plain;charset=UTF-8"}),
        (gzip.compress(lines), {"content_type": "application/x-ndjson", "content_encoding": "gzip"}),
        (
            gzip.compress(lines.splitlines()[0]),
            {"content_type": "application/json", "content_encoding": "gzip"},
        ),
    ):
        status, said, _ = ask(machine, "/v1/events", body, **headers)
        assert status == 200, said
        assert said["refused"] == []
    wanted = "/v1/rollups/device_metrics/range?window=1h&from=2026-01-05T00:00Z&to=2026-01-06T00:00Z&key.device_id=d2"
    wait_until(
        lambda: [each["events"] for each in counted(machine, wanted)] == [5],
        seconds=PATIENCE_S,
        what="five events",
    )
    assert ask(machine, "/v1/events/health", method="GET")[0] == 200
    assert ask(machine, "/v1/events/ready", method="GET")[0] == 200
    assert ask(machine, "/v1/events", b"[]" * 3_500_000, content_type="application/json")[0] == 413


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_line_and_otlp_of_the_guide_are_counted_by_the_definition_that_ships(machine: Machine) -> None:
    """And a line that an agent put on the stream beside, and what lacks its device is told so."""
    page = (ROOT / "docs" / "sending.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```sh\n(curl [^`]*/api/v2/write[^`]*)```", page)
    (line,) = re.findall(
        r"```sh\n(curl [^`]*)```", (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    )
    assert line in snippet
    info = machine.home.info()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", snippet.replace("curl ", "curl -sS --fail-with-body ")],
        env={"PATH": os.environ["PATH"], "HTTP": info.endpoints["http"]},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert json.loads(done.stdout) == {}
    kinesis = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
    again = b"weather,device_id=d1 temperature=21.5 1767614400000000001"
    kinesis.put_record(StreamName=info.stream, Data=again, PartitionKey="d1")
    wanted = "/v1/rollups/device_metrics/range?window=1h&from=2026-01-05T00:00Z&to=2026-01-06T00:00Z&key.device_id=d1"

    def values() -> dict[str, tuple[int, float]]:
        rows = counted(machine, wanted)
        return {each["metric"]: (each["events"], each["value.sum"]) for each in rows}

    wait_until(
        lambda: sum(each for each, _ in values().values()) == 3, seconds=PATIENCE_S, what="three readings"
    )
    assert values() == {"weather_temperature": (2, 42.0), "humidity": (1, 48.0)}
    status, said, _ = ask(machine, "/api/v2/write", b"cpu,host=a usage=1 1767614400000000000")
    assert status == 400
    assert "device_id: it has no tag:device_id" in json.dumps(said)


@pytest.fixture
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A stack of its own: once there was a key there is no going back to none."""
    with running(tmp_path_factory.mktemp("keys"), "--param", "BatchingWindow=0") as machine:
        yield machine


def test_a_key_closes_the_door_for_who_has_none_and_opens_it_for_its_source_and_pages(
    closed: Machine,
) -> None:
    machine = closed
    page = "https://shop.example"
    key = machine.run("keys", "create", "web", "--source", "click", "--origin", page).stdout.strip()
    assert key.startswith("sgk_web_")
    machine.run("update")  # new sandboxes, of the collector too: they read the keys afresh
    body = json.dumps([{**READING, "device_id": "d3"}]).encode()
    assert ask(machine, "/v1/events", body, content_type="application/json")[0] == 401
    keyed = {
        "content_type": "application/json",
        "x_api_key": key,
        "origin": page,
        "sec_fetch_site": "cross-site",
    }
    status, said, headers = ask(machine, "/v1/events", b"[]", **keyed)
    assert (status, said["accepted"]) == (200, 0)
    assert headers["access-control-allow-origin"] == page
    assert ask(machine, "/v1/events", body, **keyed)[0] in (403, 422)  # of another source
    assert ask(machine, "/v1/events", b"[]", **{**keyed, "origin": "https://evil.example"})[0] == 403
    asked = {"origin": page, "access_control_request_method": "POST", "sec_fetch_site": "cross-site"}
    status, _, headers = ask(machine, "/v1/events", None, method="OPTIONS", **asked)
    assert (status, headers["access-control-allow-origin"]) == (204, page)
    status, _, headers = ask(
        machine, "/v1/events", None, method="OPTIONS", **{**asked, "origin": "https://evil.example"}
    )
    assert "access-control-allow-origin" not in headers
    assert ask(machine, "/v1/rollups", method="GET", origin=page)[0] == 403  # it may send, and read nothing
