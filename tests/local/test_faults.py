"""Real faults on the real stack: SIGKILL by pid, resharding, lost answers, parallel lanes; every total is exact."""

import time
from pathlib import Path

import pytest

from infra.local.comparison import compare, read_all_items
from processors.pipeline_files import load_pipeline
from producers.simulators.totals import Totals, read_totals
from support.machine import (
    FAULTS,
    Machine,
    finish,
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
    totals = tmp_path / "totals.json"
    with running(
        tmp_path, "--param", "BatchingWindow=0", "--param", "BatchSize=20", "--kinesis-faults", FAULTS
    ) as machine:
        sender = simulate(machine, totals, events=60_000, rate=6_000)
        kill(machine, "sandbox")
        kill(machine, "kinesis")
        reshard(machine, split_first)
        kill(machine, "mapping")
        kill(machine, "kinesis")
        reshard(machine, merge_last_two)
        kill(machine, "sandbox")
        assert sender.poll() is None, "the faults did not fall into the load"
        assert finish(machine, sender, totals) == []
        said = machine.run("status").stdout
        assert "finished" in said
        assert "repeats of producers dropped" in said, "no answer was lost: the faults proved nothing"


@pytest.mark.parametrize("factor", [4])
def test_parallel_lanes_by_partition_key_are_exact(tmp_path: Path, factor: int) -> None:
    totals = tmp_path / "totals.json"
    with running(
        tmp_path, "--param", f"ParallelizationFactor={factor}", "--param", "BatchingWindow=0", "--param", "BatchSize=20",
        "--kinesis-faults", FAULTS,
    ) as machine:  # fmt: skip
        assert machine.home.info().one_key_per_record
        sender = simulate(machine, totals, events=10_000, rate=5_000)
        kill(machine, "sandbox")
        assert finish(machine, sender, totals) == []


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
    with running(tmp_path, "--param", "BatchingWindow=1", "--kinesis-faults", FAULTS) as machine:
        for burst in range(10):
            totals = tmp_path / f"totals-{burst}.json"
            sender = simulate(machine, totals, events=10_000, rate=2_500, day=burst + 1)
            kill(machine, "sandbox" if burst % 2 else "mapping")
            said, _ = sender.communicate(timeout=60)
            assert sender.returncode == 0, said
            began = time.monotonic()
            machine.run("drain", "--seconds", "30")
            print(f"burst {burst}: all aggregated {time.monotonic() - began:.1f} s after the last was sent")
        assert (
            compare(
                load_pipeline(ROOT / "pipeline.toml"), read_all_items(machine.home.info()), union(tmp_path)
            )
            == []
        )


def union(folder: Path) -> Totals:
    """Return the totals of all bursts, which are of different days."""
    merged: Totals = {}
    for page in folder.glob("totals-*.json"):
        for rollup, rows in read_totals(page).items():
            known = merged.setdefault(rollup, {})
            assert not known.keys() & rows.keys()
            known.update(rows)
    return merged
