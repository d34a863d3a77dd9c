"""The dashboard's frame and screen: what is shown, and that it fits."""

import io
from collections import Counter
from typing import Any

import pytest
from rich.console import Console

from infra.local.metrics.families import Reading
from infra.local.metrics.frame import MINUTE_S, Frame, Rate, frame_of
from infra.local.metrics.screen import screen

NOW_MS = 1_800_000_000_500
NOW_S = NOW_MS // 1000


def shard(**changes: Any) -> dict[str, Any]:
    return {
        "checkpoint": "49590338271490256608559692538361571095921575989136588898", "finished": False, "caught_up": True,
        "behind_ms": 0, "undone": 0, **changes,
    }  # fmt: skip


def status(**changes: Any) -> dict[str, Any]:
    return {
        "as_of_ms": NOW_MS - 700, "version": "2", "sandboxes": [1, 2], "last_error": None,
        "counters": {"errors": 0, "partial_failures": 1, "retries": 2, "bisects": 3, "records_discarded": 0},
        "shards": {"shardId-000000000000": shard(), "shardId-000000000001": shard(finished=True)}, **changes,
    }  # fmt: skip


def frame(by_second: dict[int, Counter[str]] | None = None, **changes: Any) -> Frame:
    values: dict[str, Any] = {
        "alive": {"aws": True, "mapping": False}, "emf": Counter(UserRecords=1234, PoisonLate=5, WriteConflicts=6),
        "batches": 9, "status": status(), "applied_ms": {"shardId-000000000000": NOW_MS - 2_500},
        "quarantine_depth": 5, "failed_batches": 0, "now_ms": NOW_MS,
    }  # fmt: skip
    return frame_of(
        Reading(**{**values, **changes}), by_second or {}, {"stream": "telemetry", "table": "aggregates"}
    )


def drawn(what: Frame, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False, force_terminal=False)
    console.print(screen(what))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_rate_is_of_whole_seconds_and_leaves_out_the_one_that_is_not_over() -> None:
    events = {
        NOW_S - 1: Counter(UserRecords=100),
        NOW_S - 10: Counter(UserRecords=50),
        NOW_S: Counter(UserRecords=9999),
    }
    rate = frame(events).rates[0]
    assert (rate.name, rate.per_s) == ("events/s", 15.0)
    assert len(rate.seconds) == MINUTE_S
    assert (rate.seconds[-1], rate.seconds[-10], sum(rate.seconds)) == (100, 50, 150)


def test_the_highest_bar_is_the_most_there_was_and_a_space_is_nothing() -> None:
    assert Rate("r", 0, (0, 1, 4, 8)).sparkline == " ▂▅█"
    assert Rate("r", 0, (0, 0)).sparkline == "  "


def test_freshness_is_of_the_slowest_open_shard_and_unknown_while_one_is_unknown() -> None:
    two = {"a": NOW_MS - 1_000, "b": NOW_MS - 9_000}
    assert frame(applied_ms=two).freshness_ms == 9_000
    assert frame(applied_ms={**two, "c": 0}).freshness_ms is None
    assert frame(applied_ms={}).freshness_ms is None


def test_everything_that_matters_is_on_the_screen() -> None:
    text = "\n".join(drawn(frame(), width=100))
    for said in (
        "telemetry → aggregates", "● aws", "✗ mapping", "2 sandboxes, version 2", "events 1,234", "conflicts 6", "retries 2",
        "bisects 3", "quarantine 5   by code: late 5", "…9136588898", "up to date", "2.5 s",
    ):  # fmt: skip
        assert said in text, said
    assert "000000000001" not in text  # finished


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_none_is_cut(width: int) -> None:
    busy = {NOW_S - n: Counter(UserRecords=123_456 + n, Writes=10_000, batches=250) for n in range(90)}
    shards = {
        f"shardId-{n:012d}": shard(undone=123_456, behind_ms=86_400_000, caught_up=False) for n in range(12)
    }
    what = frame(
        busy,
        status=status(shards=shards, last_error={"message": "x" * 300}),
        applied_ms=dict.fromkeys(shards, NOW_MS - 86_400_000),
        alive=dict.fromkeys(("supervisor", "aws", "dynamodb", "kinesis", "mapping", "metrics"), True),
    )
    lines = drawn(what, width)
    assert max(map(len, lines)) <= width
    assert len(what.rates[0].sparkline) == MINUTE_S
    assert any(what.rates[0].sparkline.strip() in line for line in lines)
    assert [line for line in lines if line.startswith("000000000011") and "working" in line]


def test_what_is_not_known_yet_is_a_dash() -> None:
    empty = frame(status={}, applied_ms={}, quarantine_depth=None, emf=Counter(), alive={})
    text = "\n".join(drawn(empty))
    assert "the mapping has not said anything yet" in text
    assert "quarantine -" in text
    assert "nothing in the last minute" in text


def test_a_silent_mapping_and_discarded_batches_are_told() -> None:
    text = "\n".join(drawn(frame(status=status(as_of_ms=NOW_MS - 60_000), failed_batches=2)))
    assert "silent for 60 s" in text
    assert "failed batches in the bucket: 2" in text
