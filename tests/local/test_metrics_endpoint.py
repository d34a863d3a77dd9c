"""The metrics endpoint and the dashboard, on a running stack whose numbers are known."""

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from infra.commands.watch import watch
from infra.local.stack.clients import local_client
from support.machine import Machine, finish, running, simulate

pytestmark = pytest.mark.local

EVENTS = 3_000


@contextmanager
def endpoint(machine: Machine) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """The endpoint's process, and its address; ended in the end."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "infra.local.metrics.endpoint",
        "--home",
        str(machine.home.root),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        yield process, said.removeprefix("metrics: ").removesuffix("/metrics\n")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()


def get(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own loopback URL
        return answer.headers["Content-Type"], answer.read().decode()


def values(url: str) -> dict[str, float]:
    """Return the value of each series, labels as they are written."""
    kind, text = get(f"{url}/metrics")
    assert kind.startswith("text/plain; version=0.0.4")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"not within 120 s: {what}"
        time.sleep(0.05)  # polls real processes, with a deadline


def test_prometheus_and_the_dashboard_tell_what_was_sent_quarantined_and_restarted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = tmp_path / "totals.json"
    with ExitStack() as outlives, running(tmp_path) as machine:
        with endpoint(machine) as (_, url):
            assert values(url)['streamgage_user_records_total{service="aggregate"}'] == 0
            assert finish(machine, simulate(machine, totals, events=EVENTS, rate=3_000), totals) == []
            put(machine, b"no event at all", count=3)
            machine.run("drain")
            wait_until(lambda: values(url)["streamgage_quarantine_messages"] == 3, "poison is in quarantine")
            seen = values(url)
            assert seen['streamgage_user_records_total{service="aggregate"}'] == EVENTS + 3
            assert seen['streamgage_poison_total{service="aggregate"}'] == 3
            assert sum(n for each, n in seen.items() if each.startswith("streamgage_poison_by_code")) == 3
            assert seen["streamgage_stream_open_shards"] == 2
            assert seen["streamgage_mapping_errors_total"] == 0
            assert seen["streamgage_mapping_records_invoked_total"] > 3
            assert seen['streamgage_process_up{process="kinesis"}'] == 1
            fresh = [n for each, n in seen.items() if each.startswith("streamgage_shard_freshness_seconds")]
            assert len(fresh) == 2
            assert 0 <= max(fresh) < 300  # s: not ms, and not since 1970
            assert get(f"{url}/health")[1] == "ok\n"
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(f"{url}/")

        monkeypatch.setenv("COLUMNS", "80")
        capsys.readouterr()
        assert watch(machine.home, once=True) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        shown = "\n".join(lines)
        assert f"events {EVENTS + 3:,}" in shown
        assert re.search(r"quarantine 3   by code: \w+ 3", shown)
        assert shown.count("up to date") == 2

        # Restarted, it has read the whole log again: what is said of the function goes on where it was.
        process, url = outlives.enter_context(endpoint(machine))
        assert values(url)['streamgage_user_records_total{service="aggregate"}'] == EVENTS + 3
        outlives.callback(check_without_stack, process, url)


def check_without_stack(process: "subprocess.Popen[str]", url: str) -> None:
    """Called when the stack is down: its log is there, its services are not."""
    gone = values(url)
    assert gone['streamgage_user_records_total{service="aggregate"}'] == EVENTS + 3
    assert "streamgage_quarantine_messages" not in gone
    assert process.poll() is None


def put(machine: Machine, data: bytes, *, count: int) -> None:
    info = machine.home.info()
    kinesis = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
    for number in range(count):
        kinesis.put_record(StreamName=info.stream, Data=data, PartitionKey=str(number))
