"""Another version of the function under load: new bundle, mapping kept; nothing is killed, lost or counted twice."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from infra.aws.bundle.dists import build_runtime_dir
from infra.local.function.outcome import Answered
from infra.local.function.pool import VERSION_VARIABLE, FunctionPool
from infra.local.function.sandbox import FunctionConfig
from infra.local.stack.clients import local_client
from infra.local.stack.home import is_alive
from support.load import Load
from support.machine import Machine, differences, running, simulate
from support.paths import ROOT

pytestmark = pytest.mark.local

# The next version refuses less. What is counted is fixed for a stack's life.
OLD, NEXT = 'max_future = "5m"', 'max_future = "6m"'
LIMIT_S = 120
SOME = 4  # batches: enough to say that a version is at work


def write_next(folder: Path) -> Path:
    folder.mkdir()
    (folder / "schemas").symlink_to(ROOT / "schemas")
    path = folder / "pipeline.toml"
    text = (ROOT / "pipeline.toml").read_text()
    assert OLD in text
    path.write_text(text.replace(OLD, NEXT))
    return path


def lines(machine: Machine) -> list[str]:
    log = machine.home.logs / "function.log"
    return log.read_text().splitlines() if log.exists() else []


def batches_of_version(machine: Machine) -> Counter[str]:
    return Counter(
        match[1] for each in lines(machine) if (match := re.match(r"START .* Version: (\S+)$", each))
    )


def events_of_version(machine: Machine) -> Counter[str]:
    """Return how many events the batches of each version say they have applied."""
    version_of = {
        match[1]: match[2]
        for each in lines(machine)
        if (match := re.match(r"START RequestId: (\S+) Version: (\S+)$", each))
    }
    events: Counter[str] = Counter()
    for each in lines(machine):
        if each.startswith("{") and '"user_records"' in each:
            said = json.loads(each)
            events[version_of[said["function_request_id"]]] += said["user_records"]
    return events


def test_an_update_and_a_roll_back_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    following = write_next(tmp_path / "next")
    with (
        running(tmp_path, "--param", "BatchSize=4") as machine,
        Load(machine, events=1_000, rate=1_000) as load,
    ):
        work_begins(machine, "$LATEST")
        mapping = machine.home.info().pids["mapping"]
        before = set(machine.home.status()["sandboxes"])

        said = machine.run("update", "--pipeline", str(following)).stderr
        assert "version 1 runs" in said
        assert "version $LATEST has ended" in said
        assert not [pid for pid in before if is_alive(pid)]
        done = batches_of_version(machine)
        work_begins(machine, "1")
        assert batches_of_version(machine)["$LATEST"] == done["$LATEST"]

        machine.run("update", "--back")
        done = batches_of_version(machine)
        work_begins(machine, "$LATEST")
        assert batches_of_version(machine)["1"] == done["1"]

        assert load.finish() == []
        assert machine.home.info().pids["mapping"] == mapping
        status = machine.home.status()
        assert (status["version"], status["draining"]) == ("$LATEST", [])
        assert [status["counters"][name] for name in ("errors", "retries", "bisects")] == [0, 0, 0]
        events = events_of_version(machine)
        assert events.total() == load.events
        assert 0 < events["1"] < load.events


def work_begins(machine: Machine, version: str) -> None:
    """Wait until *version* has done some more batches."""
    enough = batches_of_version(machine)[version] + SOME
    wait_until(lambda: batches_of_version(machine)[version] >= enough)


def test_a_definition_that_counts_something_else_is_refused_by_update_and_up(tmp_path: Path) -> None:
    following = write_next(tmp_path / "next")
    following.write_text(
        following.read_text().replace('windows = ["1m", "1h", "1d"]', 'windows = ["1m", "1h"]')
    )
    with running(tmp_path, "--param", "BatchingWindow=0") as machine:
        sender = simulate(machine, tmp_path / "totals.json", events=500, rate=5_000)
        said, _ = sender.communicate(timeout=60)
        assert sender.returncode == 0, said
        machine.run("drain", "--seconds", "60")
        refused = machine.run("update", "--pipeline", str(following), check=False)
        assert refused.returncode == 2
        assert "device_metrics.1|1d would be removed" in refused.stderr
        assert not (machine.home.root / "versions").exists()
    again = machine.run("up", "--detach", "--pipeline", str(following), check=False)
    assert again.returncode == 2
    assert "device_metrics.1|1d would be removed" in again.stderr
    assert f"rm -r {machine.home.root}" in again.stderr


def test_what_agents_write_may_become_more_and_is_counted_and_is_never_read_otherwise(tmp_path: Path) -> None:
    more, other = (tmp_path / name for name in ("more.toml", "other.toml"))
    (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    text = (ROOT / "pipeline.toml").read_text()
    before = tmp_path / "before.toml"
    before.write_text(re.sub(r"\[\[sources\.from\]\].*?\n\n", "", text, flags=re.DOTALL))
    more.write_text(text)
    other.write_text(text.replace("tag:device_id", "tag:host"))
    line = b"weather,device_id=a,host=b temperature=20.5 1767614400000000000"
    with running(tmp_path, "--param", "BatchingWindow=0", "--pipeline", str(before)) as machine:
        sender = simulate(machine, tmp_path / "totals.json", events=500, rate=5_000)
        said, _ = sender.communicate(timeout=60)
        assert sender.returncode == 0, said
        machine.run("drain", "--seconds", "60")
        counted = machine.query("device_metrics", "--window", "1h", "--pipeline", str(before))
        machine.run("update", "--pipeline", str(more))
        info = machine.home.info()
        kinesis = local_client("kinesis", info.endpoints["kinesis"], info.credentials)
        kinesis.put_record(StreamName=info.stream, Data=line, PartitionKey="a")
        machine.run("drain", "--seconds", "60")
        asked = ("--window", "1h", "--pipeline", str(more))
        (row,) = machine.query("device_metrics", "device_id=a", "metric=weather_temperature", *asked)
        assert (row["events"], row["value.sum"]) == (1, Decimal("20.5"))
        rows = machine.query("device_metrics", *asked)
        assert [each for each in rows if each["device_id"] != "a"] == counted
        for again in (other, before):
            refused = machine.run("update", "--pipeline", str(again), check=False)
            assert refused.returncode == 2
            assert "source reading would read of agents what it did otherwise" in refused.stderr


def test_a_version_that_cannot_start_is_refused_and_the_one_before_runs_on(tmp_path: Path) -> None:
    totals, following = tmp_path / "totals.json", write_next(tmp_path / "next")
    with running(tmp_path) as machine:
        config = json.loads(machine.home.mapping_config_file.read_text())
        broken = machine.run("update", "--back", check=False)
        assert broken.returncode == 2
        assert "no version to go back to" in broken.stderr

        machine.run("update", "--pipeline", str(following))
        bundle = machine.home.root / "versions" / "1"
        machine.run("update", "--back")
        for each in (
            bundle / "processors" / "aggregate" / "function.py",
            *bundle.glob("processors/aggregate/__pycache__/function.*"),
        ):
            each.unlink()
        broken = machine.run("update", "--back", check=False)
        assert broken.returncode == 2
        assert "version 1 is refused" in broken.stderr
        assert "processors.aggregate.function" in broken.stderr
        now = json.loads(machine.home.mapping_config_file.read_text())
        assert now["function"]["task_dir"] == config["function"]["task_dir"]

        sender = simulate(machine, totals, events=500, rate=5_000)
        said, _ = sender.communicate(timeout=LIMIT_S)
        assert sender.returncode == 0, said
        machine.run("drain", "--seconds", "60")
        assert batches_of_version(machine)["1"] == 0
        assert differences(machine, totals) == []


HANDLER = """
import os, time

def handler(event, context):
    open(event["started"], "w").close()
    while not os.path.exists(event["go_on"]):
        time.sleep(0.01)
    return os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
"""


def test_what_is_under_way_ends_in_the_old_version_and_what_begins_runs_in_the_new(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLER)
    old = FunctionConfig(
        name="f", handler="handlers.handler", task_dir=tmp_path, log_file=tmp_path / "log", timeout_s=20, memory_mb=256,
        runtime_dir=build_runtime_dir(tmp_path / "runtime"), env={VERSION_VARIABLE: "1"},
    )  # fmt: skip
    pool, go_on = FunctionPool(old), tmp_path / "go_on"

    def answer(name: str) -> object:
        event = {"started": str(tmp_path / name), "go_on": str(go_on)}
        return pool.invoke(name, json.dumps(event).encode()).outcome

    try:
        with ThreadPoolExecutor(1) as other:
            under_way = other.submit(answer, "first")
            wait_until((tmp_path / "first").exists)
            assert pool.update(replace(old, env={VERSION_VARIABLE: "2"})) is None
            assert (pool.version, pool.draining(), len(pool.pids())) == ("2", ["1"], 2)
            go_on.touch()
            assert under_way.result() == Answered(b'"1"')
        assert (pool.draining(), len(pool.pids())) == ([], 1)
        assert answer("second") == Answered(b'"2"')
        refused = pool.update(replace(old, handler="handlers.missing", env={VERSION_VARIABLE: "3"}))
        assert refused is not None
        assert "missing" in refused
        assert answer("third") == Answered(b'"2"')
        assert len(pool.pids()) == 1
    finally:
        pool.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # polls a real process, with a deadline
