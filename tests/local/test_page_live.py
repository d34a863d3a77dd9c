"""The page of a running stack, told of changes over a real socket: it says so, shows a change soon, and asks for little else.

STREAMGAGE_CHANGES says how many changes are watched; what it took is printed, and never judged by the clock.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from processors.pipeline_files import load_pipeline
from producers.client.kinesis import connect
from support.browser import Visit, chromium, visiting
from support.machine import PATIENCE_S, Machine, running
from support.open_pages import spread
from support.paths import ROOT
from support.sockets import Refused, connected

pytestmark = pytest.mark.local

CHANGES = int(os.environ.get("STREAMGAGE_CHANGES", "3"))
VIEW = "measures=%5B%22events%22%5D"
MINUTE_MS = 60_000
QUIET_MS = 10_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


class Sender:
    """Sends readings of one key, one at a time, in the minute in which it was made: it counts how many."""

    def __init__(self, machine: Machine) -> None:
        info = machine.home.info()
        endpoint = info.endpoints["kinesis"]
        self._source = load_pipeline(ROOT / "pipeline.toml").sources["reading"]
        self._ts = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS
        self._producer = connect(
            info.stream, endpoint_url=endpoint, region=info.region, credentials=info.credentials
        )
        self.sent = 0

    def send(self) -> float:
        """Send one; return when, in s."""
        self.sent += 1
        event = {"device_id": "d1", "metric": "temp", "ts": self._ts + self.sent, "value": 1.0}
        began_s = time.time()
        self._producer.send(self._source, event)
        self._producer.flush()
        return began_s

    def close(self) -> None:
        """Let go of its connection."""
        self._producer.close()


def until_state(visit: Visit, state: str) -> None:
    visit.until("(state) => document.querySelector('#health').textContent === state", state)


def asked(visit: Visit) -> Counter[str]:
    """Return how often the page has asked for what."""
    paths = (urlsplit(each).path for each in visit.requests)
    return Counter(re.sub(r"^/[^/]+/", "", each) for each in paths)


def test_a_page_is_told_by_the_gateway_and_shows_a_change_that_it_did_not_wait_for(
    browser: Any, tmp_path: Path
) -> None:
    with running(tmp_path) as machine, closing(Sender(machine)) as sender:
        took_s = list[float]()
        sender.send()
        machine.run("drain")
        url = f"{machine.home.info().endpoints['http'].rstrip('/')}/"
        with visiting(browser, url) as visit:
            visit.go(VIEW)
            until_state(visit, "live")
            visit.until_rows(lambda rows: sum(int(each[3]) for each in rows) == sender.sent)
            visit.note_sums(3)
            for number in range(CHANGES):
                visit.page.wait_for_timeout(
                    1_500 + 437 * (number % 5)
                )  # out of step with all that goes round
                began_s = sender.send()
                took_s.append(visit.until_sum(sender.sent) - began_s)
            print(
                f"a change was seen by the page after {spread(took_s)}: {[round(each, 2) for each in took_s]}"
            )
            assert visit.page.evaluate("() => document.querySelector('#health').textContent") == "live"
            before = asked(visit)
            visit.page.wait_for_timeout(QUIET_MS)
            print(f"an idle page asked in {QUIET_MS / 1000:g} s: {asked(visit) - before}")


def ticket_of(machine: Machine) -> str:
    base = machine.home.info().endpoints["http"].rstrip("/")
    with urlopen(Request(f"{base}/v1/live/ticket", method="POST"), timeout=PATIENCE_S) as answer:  # noqa: S310 - our own
        ticket: str = json.load(answer)["ticket"]
    return ticket


def test_where_the_api_takes_tokens_a_ticket_of_it_opens_the_socket_once_and_nothing_else_does(
    tmp_path: Path,
) -> None:
    tokens = ("--param", "JwtIssuer=https://issuer.example", "--param", "JwtAudience=charts")
    with running(tmp_path, *tokens) as machine, closing(Sender(machine)) as sender:
        place, ticket = urlsplit(machine.home.info().endpoints["live"]), ticket_of(machine)
        assert place.port is not None
        with connected(place.port, f"{place.path}?ticket={ticket}") as client:
            client.send({"action": "subscribe", "rollups": ["device_metrics"]})
            assert client.message() == {"subscribed": {"rollups": ["device_metrics"]}}
            sender.send()
            assert client.message()["changed"][0]["rollup"] == "device_metrics"
            for query in (f"?ticket={ticket}", f"?ticket={'A' * 43}", "?ticket=", ""):
                with (
                    pytest.raises(Refused) as refused,
                    connected(place.port, f"{place.path}{query}"),
                ):
                    pass
                assert refused.value.status == 401
