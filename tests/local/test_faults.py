"""Real faults on the real stack: SIGKILL by pid, resharding, lost answers, parallel lanes; every total is exact."""

import time
from pathlib import Path

import pytest

from infra.local.stack.children import wait_until
from support.load import Load
from support.machine import (
    FAULTS,
    Machine,
    differences,
    kill,
    merge_last_two,
    reshard,
    running,
    simulate,
    split_first,
)
from support.paths import ROOT

pytestmark = pytest.mark.local


def test_kills_of_every_part_a_split_and_a_merge_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    with (
        running(tmp_path, "--param", "BatchSize=20", "--kinesis-faults", FAULTS) as machine,
        Load(machine, events=6_000, rate=6_000) as load,
    ):
        kill(machine, "sandbox")
        kill(machine, "kinesis")
        reshard(machine, split_first)
        kill(machine, "mapping")
        kill(machine, "kinesis")
        reshard(machine, merge_last_two)
        kill(machine, "sandbox")
        # An answer that was lost is what a producer repeats for: without one the faults would prove nothing.
        wait_until(
            lambda: "repeats of producers dropped" in machine.run("status").stdout,
            seconds=60,
            what="a repeat",
        )
        assert load.finish() == []
        assert "finished" in machine.run("status").stdout


@pytest.mark.parametrize("factor", [4])
def test_parallel_lanes_by_partition_key_are_exact(tmp_path: Path, factor: int) -> None:
    with (
        running(
            tmp_path, "--param", f"ParallelizationFactor={factor}", "--param", "BatchSize=20", "--kinesis-faults", FAULTS
        ) as machine,
        Load(machine, events=5_000, rate=5_000) as load,
    ):  # fmt: skip
        assert machine.home.info().one_key_per_record
        kill(machine, "sandbox")
        assert load.finish() == []


def test_lanes_by_shard_with_parallel_batches_are_refused(tmp_path: Path) -> None:
    template = (ROOT / "infra/template/template.yaml").read_text()
    broken = tmp_path / "template.yaml"
    broken.write_text(template.replace("!If [Parallel, partition_key, shard]", "shard"))
    done = Machine(tmp_path).run(
        "up", "--port", "0", "--kinesis-port", "0", "--pipeline", str(ROOT / "pipeline.toml"),
        "--template", str(broken), "--param", "ParallelizationFactor=2", check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "lanes by shard would lose events" in done.stderr


@pytest.mark.slow
def test_bursts_of_ten_thousand_events_are_all_aggregated_within_thirty_seconds_ten_times_in_a_row(
    tmp_path: Path,
) -> None:
    """The bar of the LEDA workshop: a burst within a minute, under failures, nothing lost or doubled, within 30 s."""
    pages = [tmp_path / f"totals-{burst}.json" for burst in range(10)]
    with running(tmp_path, "--param", "BatchingWindow=1", "--kinesis-faults", FAULTS) as machine:
        for burst, totals in enumerate(pages):
            sender = simulate(machine, totals, events=10_000, rate=2_500, day=burst + 1)
            kill(machine, "sandbox" if burst % 2 else "mapping")
            said, _ = sender.communicate(timeout=60)
            assert sender.returncode == 0, said
            began = time.monotonic()
            machine.run("drain", "--seconds", "30")
            print(f"burst {burst}: all aggregated {time.monotonic() - began:.1f} s after the last was sent")
        assert differences(machine, *pages) == []
