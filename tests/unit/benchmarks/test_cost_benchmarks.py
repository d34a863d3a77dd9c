"""The cost benchmarks in small: they run, agree with each other, and meet the target where it is promised."""

import pytest

from benchmarks import cost, write_units
from benchmarks.harness import Series, Table, WrongAnswerError


def test_write_units_are_a_small_part_of_one_a_record() -> None:
    result = write_units.run(quick=True, seed=3, progress=lambda _: None)
    often, seldom = result.headlines
    assert seldom.ratio
    assert seldom.ratio > 5 * (often.ratio or 0)  # of 60 s, beside those of 5 s
    levers = {each.label: each.median for each in result.tables[-1].series}
    assert levers["20 s, batches go to any of 4 sandboxes"] == pytest.approx(levers["20 s"], rel=0.1)
    item = result.facts["item"]
    assert item["all"] == sum(item[name] for name in ("pk", "sk", "fence", "counts", "body", "expires"))
    assert item["largest"] < 1024
    assert item["keys"] > 10
    # No item was lost: minutes, an hour and a day of 300 keys.
    assert item["keys_of_all_items"] % 300 == 0


def test_a_sweep_that_grows_is_refused() -> None:
    grows = Table(
        "t", "u", tuple(Series("rows", "ours", (value,), at) for at, value in ((1, 10.0), (2, 11.0)))
    )
    with pytest.raises(WrongAnswerError, match="rows grows"):
        write_units._check_monotone([grows])


def test_a_million_events_cost_a_fraction_and_the_lines_add_up() -> None:
    result = cost.run(quick=True, seed=3, progress=lambda _: None)
    assert (result.headlines[0].ratio or 0) > 10
    for table, mode in zip(result.tables[: len(cost.MODES)], cost.MODES, strict=True):
        for series in table.series:
            assert sum(result.facts[series.label][mode].values()) == pytest.approx(series.median)
    peer = result.facts[result.tables[0].series[0].label]["provisioned"]
    assert peer["DynamoDB: writes"] == pytest.approx(0.625)
    assert peer["Kinesis: PUT payload units"] == pytest.approx(0.014)
    # 5 ms of waiting an event at 512 MB: its loop has one write under way.
    assert peer["Lambda: duration"] == pytest.approx(1e6 * 0.00503 * 0.5 * 0.0000133334, rel=0.02)
