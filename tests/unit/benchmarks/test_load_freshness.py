import os
from array import array
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.load.cpu import CpuLedger, machine_cpu_s, process_cpu_s
from benchmarks.load.freshness import Latencies, Seen, over_time, percentiles, slope
from benchmarks.load.schedule import SenderLoad
from benchmarks.load.sent_log import SentEntry, read_log, write_log
from benchmarks.load.trial import Load, Trial
from benchmarks.load.verdict import judge, search

LOAD = SenderLoad(sender=0, seed=1, devices=10, metrics=1, rate_per_s=1_000, events=4_000)
START_MS = 50_000


def entry(sequence: int, first: int, stop: int, shard_id: str = "s") -> SentEntry:
    return SentEntry(shard_id, sequence, 0.0, 10, array("I", range(first, stop)))


def seen_at(*looks: tuple[float, int]) -> Seen:
    seen = Seen()
    for at_ms, fence in looks:
        seen.note(at_ms, {"s": fence})
    return seen


def test_an_event_is_visible_at_the_first_look_that_shows_its_fence_reached() -> None:
    seen = seen_at((100, 7), (200, 7), (300, 9), (400, 10**55))
    assert [seen.visible_ms("s", each) for each in (6, 7, 8, 9, 10, 10**55, 10**55 + 1)] == [
        100, 100, 300, 300, 400, 400, None,
    ]  # fmt: skip
    assert seen.visible_ms("another", 1) is None
    assert seen.resolution_ms() == {"median_ms": 100.0, "longest_ms": 100.0}


def test_freshness_counts_from_when_each_event_was_due() -> None:
    latencies = Latencies()
    latencies.add(
        LOAD, [entry(1, 0, 1_000), entry(2, 1_000, 1_500)], seen_at((START_MS + 2_000, 2)), start_ms=START_MS
    )
    assert latencies.by_second[0] == Counter(
        range(1_001, 2_001)
    )  # due at 0 ms, visible at 2,000: 2,000 ms old
    assert max(latencies.by_second[1]) == 1_000
    assert latencies.measured(warmup_s=1).total() == 500
    assert latencies.unseen == 0


def test_what_was_never_seen_applied_is_counted_apart() -> None:
    latencies = Latencies()
    latencies.add(LOAD, [entry(1, 0, 10), entry(5, 10, 30)], seen_at((START_MS + 99, 4)), start_ms=START_MS)
    assert (latencies.unseen, latencies.measured(warmup_s=0).total()) == (20, 10)


def test_percentiles_are_those_of_the_values_to_three_digits() -> None:
    found = percentiles(Counter(range(1, 10_001)))
    assert found["p50"] == pytest.approx(5_000, rel=0.001)
    assert found["p99.9"] == pytest.approx(9_990, rel=0.001)
    assert found["p100"] == pytest.approx(10_000, rel=0.001)


def saw(*, grows: float, seconds: int = 40, window_s: int = 5) -> dict[int, Counter[int]]:
    """Freshness as a batching window makes it, on a line that grows by so many seconds a second."""
    return {
        second: Counter(
            [round(1000 * (window_s - second % window_s + grows * second)) + n for n in range(100)]
        )
        for second in range(seconds)
    }


@pytest.mark.parametrize("grows", [0.0, 0.05, 0.5])
def test_the_slope_sees_through_the_saw_of_the_batching_window(grows: float) -> None:
    assert slope(over_time(saw(grows=grows)), bin_s=5, warmup_s=5) == pytest.approx(grows, abs=0.002)


def test_a_run_too_short_has_no_slope() -> None:
    assert slope(over_time(saw(grows=0, seconds=14)), bin_s=5, warmup_s=5) is None


def trial(by_second: dict[int, Counter[int]], *, drained: bool = True) -> Trial:
    made = Trial(Load(rate_per_s=100, seconds=40, devices=1), drained=drained)
    made.latencies.by_second.update(by_second)
    return made


def test_a_rate_is_sustained_where_freshness_is_bounded_and_does_not_grow() -> None:
    assert judge(trial(saw(grows=0.0))).sustained
    assert "grows" in judge(trial(saw(grows=0.1))).reasons[0]
    late = {second: Counter({16_000: 100}) for second in range(40)}
    assert "p99 is 16.0 s, over 15" in judge(trial(late)).reasons[0]
    assert "not all was applied" in judge(trial(saw(grows=0.0), drained=False)).reasons[0]


@pytest.mark.parametrize("capacity", [500, 9_000, 14_000, 40_000])
def test_the_search_closes_in_on_what_is_sustained(capacity: float) -> None:
    asked: list[float] = []

    def sustained_at(rate: float) -> bool:
        asked.append(rate)
        return rate <= capacity

    highest, lowest = search(sustained_at, low=10_000, known=capacity >= 10_000, probes=20)
    assert highest is not None
    assert lowest is not None
    assert highest <= capacity < lowest <= highest * 1.10
    assert len(set(asked)) == len(asked)


def test_the_search_ends_with_its_probes() -> None:
    asked: list[float] = []

    def never(rate: float) -> bool:
        asked.append(rate)
        return False

    highest, lowest = search(never, low=8.0, known=False, probes=3)
    assert highest is None
    assert lowest == pytest.approx(8 / 1.5**3)
    assert len(asked) == 3


def test_the_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    entries = [entry(10**55, 0, 3), entry(2, 3, 4, "t")]
    write_log(tmp_path / "sent.json", entries)
    assert read_log(tmp_path / "sent.json") == entries
    (tmp_path / "sent.numbers").write_bytes(b"\0" * 4)
    with pytest.raises(ValueError, match="not those of its entries"):
        read_log(tmp_path / "sent.json")


def test_cpu_is_counted_by_role_from_the_first_look_on() -> None:
    ledger, machine_s = CpuLedger(), machine_cpu_s()
    assert ledger.look({"me": [os.getpid()], "gone": []}) == {"me": 0.0, "gone": 0.0}
    began_s = process_cpu_s(os.getpid())
    assert began_s is not None
    while (process_cpu_s(os.getpid()) or 0) < began_s + 0.05:
        pass
    used = ledger.look({"me": [os.getpid()], "gone": []})
    assert 0.04 <= used["me"] < 1
    assert ledger.look({"gone": [2**22 + 1]})["me"] == used["me"]  # one that has gone keeps what it used
    assert machine_cpu_s() >= machine_s + 0.03
