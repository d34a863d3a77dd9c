"""Every metric of the function has a name in Prometheus, from the start, and follows its conventions."""

from collections import Counter

from infra.local.metrics.families import Reading, code_of, families, name_of
from infra.local.metrics.text import render
from processors.aggregate.report import METRICS

STATUS = {
    "counters": dict.fromkeys(
        ("invocations", "errors", "partial_failures", "bisects", "retries", "records_read", "records_invoked",
         "records_discarded", "cold_starts"), 7,
    ),
    "shards": {
        "shardId-0": {
            "checkpoint": "1", "finished": False, "caught_up": False, "behind_ms": 1500, "iterator_age_ms": None,
            "undone": 3, "read_started_ms": 1, "records_read": 11,
        },
    },
    "sandboxes": [1, 2], "version": "3", "started_ms": 1_500,
}  # fmt: skip


def text_of(**changes: object) -> str:
    values: dict[str, object] = {"alive": {"mapping": True}, "emf": Counter(), "batches": 0, "status": {}}
    return render(families(Reading(**{**values, **changes})))  # type: ignore[arg-type]  # a test's shorthand


def test_every_metric_of_the_function_is_there_before_anything_happened() -> None:
    text = text_of()
    for metric in METRICS:
        code = code_of(metric)
        if metric == "Behind":
            assert 'streamgage_behind_seconds_sum{service="aggregate"} 0\n' in text
        elif code is None:
            assert f'{name_of(metric)}{{service="aggregate"}} 0\n' in text
        else:
            assert f'streamgage_poison_by_code_total{{code="{code}",service="aggregate"}} 0\n' in text


def test_names_are_those_of_the_report_in_the_way_of_prometheus() -> None:
    assert name_of("WriteConflicts") == "streamgage_write_conflicts_total"
    assert name_of("Poison") == "streamgage_poison_total"
    assert (code_of("PoisonBadKplFraming"), code_of("Poison"), code_of("Writes")) == (
        "bad_kpl_framing",
        None,
        None,
    )


def test_durations_are_in_seconds() -> None:
    text = text_of(
        emf={"Behind": 2500},
        batches=2,
        status=STATUS,
        applied_ms={"shardId-0": 9_000, "shardId-1": 0},
        now_ms=10_500,
    )
    assert 'streamgage_behind_seconds_sum{service="aggregate"} 2.5\n' in text
    assert 'streamgage_behind_seconds_count{service="aggregate"} 2\n' in text
    assert 'streamgage_shard_behind_seconds{shard="shardId-0"} 1.5\n' in text
    assert 'streamgage_shard_freshness_seconds{shard="shardId-0"} 1.5\n' in text
    assert "streamgage_mapping_start_time_seconds 1.5\n" in text


def test_what_is_not_known_is_left_out_and_not_said_to_be_zero() -> None:
    text = text_of(status=STATUS, applied_ms={"shardId-1": 0})
    assert "iterator_age" not in text
    assert "freshness" not in text
    assert "quarantine_messages" not in text
    assert "streamgage_quarantine_messages 0\n" in text_of(quarantine_depth=0)


def test_the_counters_of_the_mapping_are_counters() -> None:
    text = text_of(status=STATUS)
    for name in STATUS["counters"]:  # type: ignore[attr-defined]  # it is a dict
        assert f"# TYPE streamgage_mapping_{name}_total counter\nstreamgage_mapping_{name}_total 7\n" in text
    assert 'streamgage_function_version_info{version="3"} 1\n' in text
    assert 'streamgage_process_up{process="mapping"} 1\n' in text
