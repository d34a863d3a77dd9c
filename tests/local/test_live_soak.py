"""Open pages and questions beside a load: nothing is lost, nothing fails, pages see what changes, memory stays as it was.

STREAMGAGE_PAGES, STREAMGAGE_PAGES_S and STREAMGAGE_PAGES_RATE say how many pages, for how long, beside how many events a second.
"""

import asyncio
import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from infra.local.comparison import compare, read_all_items
from processors.pipeline_files import load_pipeline
from producers.client.kinesis import connect
from producers.simulators.totals import Tally
from support.machine import PATIENCE_S, Machine, running, simulate, union
from support.open_pages import Answers, Watch, ask_at_rate, open_pages, page_watches, spread
from support.paths import ROOT

pytestmark = [pytest.mark.local, pytest.mark.slow]

PAGES = int(os.environ.get("STREAMGAGE_PAGES", "50"))
SECONDS = int(os.environ.get("STREAMGAGE_PAGES_S", "60"))
RATE = int(os.environ.get("STREAMGAGE_PAGES_RATE", "10000"))
ASKED_A_S = 20
WARM_S = 10
_CLICK_EVERY = 6  # readings
MOST_GROWN_BYTES = 64 * 1024 * 1024  # of one process
PIPELINE = load_pipeline(ROOT / "pipeline.toml")
PROBE = "probe"
RATES = {"device_metrics": "1m", "page_views": "1h", "visits": "1d"}
LINES = [(f"device-{number:04}", "temperature") for number in range(9)] + [(PROBE, PROBE)]
QUESTIONS = (
    "/v1/rollups/device_metrics/range?window=1m&from=10m&group_by=metric",
    "/v1/rollups/device_metrics/top?window=1h&from=2h&by=value.max",
    "/prometheus/api/v1/query?query=sum(rate(device_metrics_events%7Bwindow%3D%221m%22%7D%5B5m%5D))",
    "/v1/status",
)


class Probe:
    """A reading twice a second, whose value is its number: the greatest that a page was told says what it has seen.

    And a click every three seconds, of a rollup that nothing else changes: when its news comes to a page.
    """

    def __init__(self, machine: Machine) -> None:
        self.tally = Tally(PIPELINE)
        self.seen_after_s: list[float] = []
        self.told_after_s: list[float] = []
        self._sent_s: list[float] = []
        self._clicked_s = 0.0
        self._told: dict[int, float] = {}
        self._seen: dict[int, int] = defaultdict(int)
        self._ended = threading.Event()
        info = machine.home.info()
        endpoint = info.endpoints["kinesis"]
        self._producer = connect(
            info.stream, endpoint_url=endpoint, region=info.region, credentials=info.credentials
        )
        self._thread = threading.Thread(target=self._send, name="probe")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._producer.close()

    def begin(self) -> None:
        """Forget what pages saw: others are opened."""
        self.seen_after_s, self.told_after_s = [], []
        self._seen.clear()
        self._told.clear()

    def heard(self, page: int, rollups: frozenset[str]) -> None:
        """Note when *page* was told of each click for the first time."""
        now_s, clicked_s = time.time(), self._clicked_s
        if "page_views" in rollups and self._told.get(page) != clicked_s:
            if page in self._told:  # it listened when the click was sent
                self.told_after_s.append(now_s - clicked_s)
            self._told[page] = clicked_s

    def saw(self, page: int, watch: Watch, body: Mapping[str, Any]) -> None:
        """Note when *page* saw each reading for the first time."""
        if not watch.is_lines:
            return
        now_s, before = time.time(), self._seen[page]
        told = max((int(row["value.max"]) for row in body["rows"] if row["device_id"] == PROBE), default=0)
        if before:  # it was not open when what it saw first was sent
            self.seen_after_s += [now_s - self._sent_s[number - 1] for number in range(before + 1, told + 1)]
        self._seen[page] = max(before, told)

    def _send(self) -> None:
        while not self._ended.wait(0.5):
            ts = time.time_ns() // 1_000_000
            event = {"device_id": PROBE, "metric": PROBE, "ts": ts, "value": float(len(self._sent_s) + 1)}
            self._sent_s.append(time.time())
            self.tally.add("reading", event)
            self._producer.send(PIPELINE.sources["reading"], event)
            if len(self._sent_s) % _CLICK_EVERY == 0:
                click = {"visitor_id": PROBE, "page": PROBE, "ts": ts, "bytes": 1}
                self._clicked_s = time.time()
                self.tally.add("click", click)
                self._producer.send(PIPELINE.sources["click"], click)
            self._producer.flush()


@contextmanager
def loading(machine: Machine, totals: Path) -> Iterator["subprocess.Popen[str]"]:
    """Send RATE events a second while pages are open; the sender has gone in the end."""
    sender = simulate(machine, totals, events=(SECONDS + WARM_S) * RATE, rate=RATE, live=True)
    try:
        yield sender
    finally:
        sender.kill()
        sender.communicate()


def resident_bytes(machine: Machine) -> dict[int, int]:
    """Return the memory of the gateway and of its sandboxes, by process."""
    pids = [machine.home.info().pids["gateway"], *machine.home.gateway_status()["sandboxes"]]
    return {
        pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for pid in pids
    }


def processor_s(machine: Machine) -> dict[str, float]:
    """Return the seconds of CPU that each part of the stack has used."""
    parts = {name: [pid] for name, pid in machine.home.info().pids.items()}
    parts["counting sandboxes"] = machine.home.status()["sandboxes"]
    parts["answering sandboxes"] = machine.home.gateway_status()["sandboxes"]
    ticks = os.sysconf("SC_CLK_TCK")

    def used(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    return {name: sum(map(used, pids)) for name, pids in parts.items()}


def test_open_pages_and_questions_beside_a_load_are_answered_and_nothing_is_lost(tmp_path: Path) -> None:
    options = ("--param", "ApiRate=2000", "--param", "ApiBurst=2000", "--param", "BatchingWindow=0")
    of_pages, of_others, totals = Answers(), Answers(), tmp_path / "totals.json"
    with running(tmp_path, *options) as machine:
        base = machine.home.info().endpoints["http"]

        async def look(probe: Probe, seconds: float) -> None:
            until_s = time.monotonic() + seconds
            of_pages.seen, of_pages.heard = probe.saw, probe.heard
            watches = page_watches("device_metrics", LINES, RATES)
            await asyncio.gather(
                open_pages(base, watches, pages=PAGES, answers=of_pages, until_s=until_s),
                ask_at_rate(base, QUESTIONS, per_s=ASKED_A_S, answers=of_others, until_s=until_s),
            )

        with loading(machine, totals) as sender, Probe(machine) as probe:
            asyncio.run(look(probe, WARM_S))  # sandboxes are started, and have what they keep
            before, used_before = resident_bytes(machine), processor_s(machine)
            of_pages, of_others = Answers(), Answers()
            probe.begin()
            began_s = time.monotonic()
            asyncio.run(look(probe, SECONDS))
            took_s = time.monotonic() - began_s
            after, used = resident_bytes(machine), processor_s(machine)
            said, _ = sender.communicate(timeout=5 * PATIENCE_S)  # it may not have kept its pace
        assert sender.returncode == 0, said
        machine.run("drain", "--seconds", "200")
        sent = union(totals)
        for rollup, rows in probe.tally.totals.items():
            sent.setdefault(rollup, {}).update(rows)
        print(said.strip().splitlines()[-1:])
        print(f"{PAGES} pages: {of_pages}; others: {of_others}")
        print(
            f"a change was told to a page after {spread(probe.told_after_s)}, seen after {spread(probe.seen_after_s)}"
        )
        print(f"load average: {os.getloadavg()}")
        print("CPU:", {name: f"{(used[name] - used_before.get(name, 0)) / took_s:.2f}" for name in used})
        print("MB:", {pid: f"{before.get(pid, 0) >> 20} -> {after[pid] >> 20}" for pid in after})
        assert compare(PIPELINE, read_all_items(machine.home.info()), sent) == []
    assert of_pages.statuses.keys() <= {200, 304}
    assert of_others.statuses.keys() == {200}
    assert before.keys() == after.keys(), "no process was started anew"
    assert all(after[pid] - before[pid] < MOST_GROWN_BYTES for pid in after)
    assert min(len(probe.seen_after_s), len(probe.told_after_s)) > PAGES
