"""``streamgage load``: what it refuses, what it costs on AWS and who must agree, and how it shows what it found."""

import argparse
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import infra.commands.asked_at
import infra.commands.places
from infra.commands import load
from infra.commands.places import Target
from infra.commands.world import World, real_world
from infra.load.cost import estimate_usd
from infra.load.job import Job
from infra.load.run import Campaign, Look, Outcome
from infra.load.senders import Progress
from infra.load.tell import LoadTeller, exit_code, line_of, lines_of
from infra.load.verify import Verified
from processors.pipeline_files import load_pipeline
from processors.query.freshness import Freshness
from producers.files.stop import Stop
from producers.load.events import sources_of
from producers.load.profile import PROFILES
from streamgage.errors import ConfigError
from support.paths import ROOT


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    load.add_parser(parser.add_subparsers())
    return parser.parse_args(["load", *words])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return replace(real_world(), environ={}, folder=tmp_path, out=io.StringIO(), err=io.StringIO())


@pytest.fixture
def on_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that is found, and whose table nobody asks."""

    def found(name: str, *, region: str | None) -> Target:
        return Target(f"{name}-Stream", region=region or "eu-central-1")

    def opened(_name: str, _region: str | None) -> Any:
        return None, Freshness({}, 0, 0), "main"

    monkeypatch.setattr(infra.commands.places, "find_aws_target", found)
    monkeypatch.setattr(infra.commands.asked_at, "_open_aws", opened)


def prepared(world: World, *words: str) -> tuple[Campaign, Sequence[str]]:
    said: list[str] = []
    campaign = load.prepare(parsed(*words, "--pipeline", str(ROOT / "pipeline.toml")), world, said.append)
    return campaign, said


def test_arguments_that_are_out_of_bounds_are_told_together(world: World) -> None:
    with pytest.raises(ConfigError) as refused:
        load.run(parsed("--events-per-s", "nan", "--seconds", "1e9", "--devices", "0", "--mark", "é"), world)
    assert len(refused.value.problems) == 4
    with pytest.raises(ConfigError, match="events are more than 1,000,000,000"):
        load.run(parsed("--events-per-s", "1000000", "--seconds", "86400"), world)


@pytest.mark.usefixtures("on_aws")
def test_on_aws_the_cost_is_said_and_above_a_dollar_someone_must_agree(world: World) -> None:
    aws = ("--target", "aws", "--stack", "plant")
    campaign, said = prepared(
        world, *aws, "--events-per-s", "100", "--seconds", "10", "--region", "eu-west-1"
    )
    assert "about $0.00 for 1,000 events" in said[-1]
    job = campaign.jobs[0]
    assert (job.stream, job.region, job.credentials) == ("plant-Stream", "eu-west-1", None)
    much = (*aws, "--events-per-s", "2000", "--seconds", "86400", "--devices", "10000")
    with pytest.raises(ConfigError, match=r"costs about \$[\d.]+: say --yes"):
        prepared(world, *much)
    campaign, said = prepared(world, *much, "--yes")
    assert campaign.seconds == 86_400


def test_ten_times_the_events_cost_about_ten_times_as_much() -> None:
    pipeline = load_pipeline(ROOT / "pipeline.toml")
    sources = sources_of(pipeline)
    one, ten = (
        estimate_usd(pipeline, sources, events=each, rate_per_s=1_000, devices=1_000, senders=1)
        for each in (10**6, 10**7)
    )
    assert 0.001 < one < 10
    assert ten == pytest.approx(10 * one)


@pytest.mark.usefixtures("on_aws")
def test_processes_are_as_many_as_the_rate_needs_and_each_load_has_a_mark_of_its_own(world: World) -> None:
    aws = ("--target", "aws", "--seconds", "1")
    one, _ = prepared(world, *aws)
    three, _ = prepared(world, *aws, "--workers", "3", "--source", "click", "--mark", "mine")
    assert len(one.jobs) == 1
    assert one.mark.startswith("load-")
    assert [each.share.mark for each in three.jobs] == ["mine"] * 3
    assert three.jobs[0].sources == ("click",)


@pytest.mark.usefixtures("on_aws")
def test_a_job_comes_through_a_pipe_as_it_is_and_shows_no_secret(world: World) -> None:
    campaign, _ = prepared(world, "--target", "aws", "--profile", "realistic")
    job = replace(campaign.jobs[0], credentials=("key", "hush"))
    assert Job.of_line(job.line()) == job
    assert job.profile == PROFILES["realistic"]
    assert "hush" not in repr(job)


LATENCY = {"p50": 10.0, "p99": 20.0, "p99.9": 30.0, "max": 40.0}
PROGRESS = Progress(sent=100, stored=100, records=5, bytes=1_000, latency_ms=LATENCY)


@pytest.mark.usefixtures("on_aws")
def test_what_was_found_is_said_and_only_exact_totals_end_with_0(world: World) -> None:
    campaign, _ = prepared(world, "--target", "aws", "--profile", "realistic")
    exact = Outcome(
        progress=PROGRESS,
        sent_s=2.0,
        applied_s=1.5,
        verified=Verified(rows=3, values=9, events={"visits": 100}),
    )
    text = "\n".join(lines_of(exact, campaign))
    assert "exact: 9 values of 3 rows are what was sent (events counted: visits 100)" in text
    assert "max 40 ms" in text
    assert exit_code(exact, Stop()) == 0
    wrong = replace(exact, verified=Verified(rows=3, values=9, differences=["visits a\x1b: 1 events"]))
    assert "different: visits a" in "\n".join(lines_of(wrong, campaign))
    assert "\x1b" not in "\n".join(lines_of(wrong, campaign))
    lost = replace(exact, verified=None, why="3 events could not be delivered")
    assert "NOT VERIFIED: 3 events" in "\n".join(lines_of(lost, campaign))
    late = replace(exact, applied_s=None, why="not all was applied within 300 s")
    none = replace(exact, verified=Verified())
    assert "NOT VERIFIED: no rollup counts any of what was sent" in "\n".join(lines_of(none, campaign))
    assert "exact" not in "\n".join(lines_of(none, campaign))
    assert [exit_code(each, Stop()) for each in (wrong, lost, late, none)] == [1, 1, 1, 1]


def test_who_ends_it_by_a_signal_gets_the_signals_code_where_all_is_exact() -> None:
    stop = Stop()
    stop.ask(2)
    exact = Outcome(progress=PROGRESS, sent_s=1.0, applied_s=1.0, verified=Verified(rows=1))
    assert exit_code(exact, stop) == 130
    assert exit_code(replace(exact, verified=None), stop) == 1
    stop.ask(2)
    assert exit_code(replace(exact, verified=None), stop) == 130


def test_a_line_says_rate_errors_lag_and_percentiles_and_moves_only_at_a_terminal() -> None:
    look = Look(2.0, "sending", replace(PROGRESS, failed=3, behind_ms=7), 1_500.0)
    line = line_of(look)
    assert "100 sent (50/s); 100 stored; 3 failed; 7 ms behind schedule" in line
    assert "p50 10, p99 20, max 40 ms; applied up to 1.5 s ago" in line
    piped, terminal = io.StringIO(), io.StringIO()
    for err, is_terminal in ((piped, False), (terminal, True)):
        teller = LoadTeller(err, is_terminal=is_terminal)
        teller.look(look)
        teller.look(look)  # within half a second
        teller.close()
    assert piped.getvalue() == line + "\n"
    assert terminal.getvalue() == "\r" + line + "\n"
