"""The pipeline benchmark on a deployed stack: what a load showed becomes a result, and a wrong total none."""

from dataclasses import replace
from typing import cast

import pytest

from benchmarks.aws_pipeline import Looks, result_of
from benchmarks.harness import WrongAnswerError
from infra.load.job import Job
from infra.load.run import Campaign, Look, Outcome
from infra.load.senders import Progress
from infra.load.verify import Verified
from producers.load.events import Share
from producers.load.profile import Profile
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import RetryableError

PROGRESS = Progress(sent=100, stored=100, records=5, bytes=1_000, latency_ms={"p50": 10.0, "max": 40.0})
EXACT = Outcome(progress=PROGRESS, sent_s=2.0, applied_s=1.5, verified=Verified(rows=3, values=9))
SHARE = Share(mark="m", seed=1, first=0, devices=10, rate_per_s=50, seconds=2)


def campaign() -> Campaign:
    job = Job(
        share=SHARE,
        profile=Profile(),
        pipeline="p",
        consumer="main",
        sources=(),
        stream="s",
        totals="",
        give_up_s=1,
    )
    return Campaign(
        pipeline=cast("Pipeline", None), jobs=[job, job], mark="m", open=lambda: pytest.fail("not asked"),
        look_s=1, drain_s=1,
    )  # fmt: skip


def looks() -> Looks:
    found = Looks()
    for phase, behind in (("sending", None), ("sending", 3_000.0), ("applying", 9_000.0)):
        found.look(Look(1.0, phase, PROGRESS, behind))
    return found


def test_latencies_and_looks_become_tables() -> None:
    result = result_of(campaign(), EXACT, looks(), stack="plant")
    stored, behind = result.tables
    assert {each.label: each.median for each in stored.series} == {"p50": 10.0, "max": 40.0}
    assert behind.series[0].samples == (3.0,)
    assert result.configuration["rate_per_s"] == 100
    assert (result.facts["exact_values"], result.facts["bytes_per_event"]) == (9, 10.0)
    assert not result.missing


def test_a_wrong_total_or_one_that_was_not_compared_is_no_result() -> None:
    wrong = replace(EXACT, verified=Verified(values=9, differences=["x: 1 events, 2 were sent"]))
    with pytest.raises(WrongAnswerError, match=r"1 of 9 values .* the first: x"):
        result_of(campaign(), wrong, looks(), stack="plant")
    with pytest.raises(RetryableError, match="nothing was compared: gone"):
        result_of(campaign(), replace(EXACT, verified=None, why="gone"), looks(), stack="plant")
    late = replace(EXACT, applied_s=None, why="not all was applied")
    assert result_of(campaign(), late, looks(), stack="plant").missing == {"totals": "not all was applied"}
