"""The collector as a part of the stack: by HTTP into the stream, counted once, told to who listens, refused without a key.

STREAMGAGE_CLICKS says how many clicks of a page are watched on another; what each took is printed, and never judged by the clock.
"""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.local.stack.children import wait_until
from infra.local.stack.clients import local_client
from support.browser import WAIT_MS, chromium, visiting
from support.machine import PATIENCE_S, Machine, running
from support.open_pages import spread
from support.paths import ROOT
from support.sockets import connected
from support.web_site import Site, site_of

pytestmark = pytest.mark.local

CLICKS = int(os.environ.get("STREAMGAGE_CLICKS", "3"))
SHOP = "https://shop.example"
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


def is_stopped(pid: int) -> bool:
    """Tell whether each thread of a process stands still: a signal is sent at once, and takes effect a little later."""
    states = [
        each.read_text().rpartition(")")[2].split()[0] for each in Path(f"/proc/{pid}/task").glob("*/stat")
    ]
    return set(states) == {"T"}


def test_while_the_stream_does_not_answer_nothing_is_accepted_and_all_counts_once_when_it_does(
    machine: Machine,
) -> None:
    """It is silent while a client sends the same again and again, then dies and comes back."""
    batches = [
        json.dumps(
            {
                "client": "c-1",
                "batch": number,
                "events": [{**READING, "device_id": "d9", "value": number + each} for each in range(10)],
            }
        ).encode()
        for number in range(4)
    ]

    def sent(body: bytes) -> tuple[int, str | None]:
        status, _, headers = ask(machine, "/v1/events", body, content_type="text/plain")
        return status, headers.get("retry-after")

    assert sent(batches[0]) == (200, None)
    stream = machine.home.info().pids["kinesis"]
    os.kill(stream, signal.SIGSTOP)
    try:
        wait_until(lambda: is_stopped(stream), seconds=PATIENCE_S, what="the stream to stand still")
        with ThreadPoolExecutor(len(batches)) as clients:
            answers = list(clients.map(sent, batches))
    finally:
        os.kill(stream, signal.SIGCONT)
    assert {status for status, _ in answers} == {503}
    assert all(again is not None and int(again) > 0 for _, again in answers), answers
    os.kill(stream, signal.SIGKILL)  # the supervisor starts it again
    for body in batches:
        wait_until(lambda body=body: sent(body)[0] == 200, seconds=PATIENCE_S, what="the stream to take it")  # type: ignore[misc]  # mypy has no type for a lambda with a default
    wanted = "/v1/rollups/device_metrics/range?window=1h&from=2026-01-05T00:00Z&to=2026-01-06T00:00Z&key.device_id=d9"
    wait_until(
        lambda: [each["events"] for each in counted(machine, wanted)] == [40],
        seconds=PATIENCE_S,
        what="each event once",
    )


@dataclass(frozen=True, slots=True)
class Door:
    """A stack as a person gets it, and its key for clicks of SHOP and of a site. ``url``: of page, API and collector."""

    machine: Machine
    site: Site
    url: str
    key: str


@dataclass(slots=True)
class Where:
    url: str = ""
    key: str = ""


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A stack of its own: once there was a key there is no going back to none."""
    where = Where()
    with site_of(where) as site, running(tmp_path_factory.mktemp("keys"), as_said=True) as machine:
        origins = "--origin", SHOP, "--origin", site.url
        where.key = machine.run("keys", "create", "web", "--source", "click", *origins).stdout.strip()
        machine.run("update")  # new sandboxes, of the collector too: they read the keys afresh
        where.url = machine.home.info().endpoints["http"].rstrip("/")
        yield Door(machine, site, where.url, where.key)


def test_a_key_closes_the_door_for_who_has_none_and_opens_it_for_its_source_and_pages(door: Door) -> None:
    machine, key = door.machine, door.key
    assert key.startswith("sgk_web_")
    body = json.dumps([{**READING, "device_id": "d3"}]).encode()
    assert ask(machine, "/v1/events", body, content_type="application/json")[0] == 401
    keyed = {
        "content_type": "application/json",
        "x_api_key": key,
        "origin": SHOP,
        "sec_fetch_site": "cross-site",
    }
    status, said, headers = ask(machine, "/v1/events", b"[]", **keyed)
    assert (status, said["accepted"]) == (200, 0)
    assert headers["access-control-allow-origin"] == SHOP
    assert ask(machine, "/v1/events", body, **keyed)[0] in (403, 422)  # of another source
    assert ask(machine, "/v1/events", b"[]", **{**keyed, "origin": "https://evil.example"})[0] == 403
    asked = {"origin": SHOP, "access_control_request_method": "POST", "sec_fetch_site": "cross-site"}
    status, _, headers = ask(machine, "/v1/events", None, method="OPTIONS", **asked)
    assert (status, headers["access-control-allow-origin"]) == (204, SHOP)
    status, _, headers = ask(
        machine, "/v1/events", None, method="OPTIONS", **{**asked, "origin": "https://evil.example"}
    )
    assert "access-control-allow-origin" not in headers
    assert ask(machine, "/v1/rollups", method="GET", origin=SHOP)[0] == 403  # it may send, and read nothing


def test_a_click_on_a_page_is_on_the_page_of_who_watches_soon(door: Door) -> None:
    """As a person gets both: the three lines of the documentation, and what `up` starts without parameters."""
    tag = re.findall(r"```html\n(.*?)```", (ROOT / "docs/browser.md").read_text(encoding="utf-8"), re.DOTALL)[
        0
    ]
    tag = tag.replace("https://collect.example.org", door.url).replace("sgk_shop_public", door.key)
    door.site.page = f"<!doctype html><title>shop</title>{tag}<button data-track=buy>Buy</button>"
    mapping = json.loads(door.machine.home.mapping_config_file.read_text(encoding="utf-8"))["mapping"]
    assert mapping["MaximumBatchingWindowInSeconds"] == 1
    with chromium() as browser, visiting(browser, f"{door.url}/") as watching:
        shop, random, took_s = browser.new_page(), Random(1), list[float]()
        shop.set_default_timeout(WAIT_MS)
        shop.goto(f"{door.site.url}/shop")
        shop.evaluate("addEventListener('click', () => { window.clicked = Date.now(); }, true)")
        watching.look(rollup="page_views", measures='["events"]')
        watching.until("() => document.querySelector('#health').textContent === 'live'")
        watching.until_rows(lambda rows: [row[1:3] for row in rows] == [["/shop", "1"]])
        watching.note_sums(2)
        for number in range(1, CLICKS + 1):
            shop.wait_for_timeout(random.randrange(3_000))  # out of step with all that goes round
            shop.click("[data-track]")
            took_s.append(watching.until_sum(1 + number) - shop.evaluate("window.clicked") / 1000)
        print(
            f"a click was on the page of who watches after {spread(took_s)}: {[round(each, 2) for each in took_s]}"
        )
        shop.close()
