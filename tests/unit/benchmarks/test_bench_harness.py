import gc
import json
from pathlib import Path

import pytest

from benchmarks.events import Workload, check_totals, totals_of
from benchmarks.harness import (
    Headline,
    Measured,
    Result,
    Series,
    Table,
    WrongAnswerError,
    read_result,
    slope,
    take_turns,
    timed,
    timed_after,
    write_result,
)
from benchmarks.sandbox import PlainFold

RESULT = Result(
    name="fold",
    question="What does it cost?",
    method="By turns.",
    tables=(
        Table(
            title="Fold",
            unit="µs of CPU an event",
            series=(Series("ours", "ours", (1.0, 3.0, 2.0)), Series("them", "peer", (8.0,), at=1_000)),
            baseline="ours",
        ),
    ),
    configuration={"events": 3},
    facts={"writes": {"a": 1}},
    missing={"Bytewax": "not there"},
    headlines=(Headline("fold", "2 µs", "8 µs", 4.0, "≥ 4"),),
    limits=("No network.",),
)


def _silent(_: str) -> None:
    pass


def _accept(_label: str, _answer: object) -> None:
    pass


def test_contestants_take_turns_and_the_first_round_of_several_is_not_counted() -> None:
    turns: list[str] = []

    def contestant(label: str) -> Measured:
        turns.append(label)
        return Measured(float(len(turns)), None)

    seconds = take_turns(
        {"a": lambda: contestant("a"), "b": lambda: contestant("b")},
        rounds=3,
        check=_accept,
        progress=_silent,
    )
    assert turns == ["a", "b"] * 4
    assert seconds == {"a": (3.0, 5.0, 7.0), "b": (4.0, 6.0, 8.0)}


def test_a_quick_round_is_counted() -> None:
    seconds = take_turns({"a": lambda: Measured(1.0, None)}, rounds=1, check=_accept, progress=_silent)
    assert seconds == {"a": (1.0,)}


def test_a_wrong_answer_in_any_round_ends_the_run_and_the_garbage_collector_is_as_before() -> None:
    answers = iter([5, 5, 6])

    def check(label: str, answer: int) -> None:
        if answer != 5:
            raise WrongAnswerError(f"{label}: {answer}")

    with pytest.raises(WrongAnswerError, match="a: 6"):
        take_turns({"a": timed(lambda: next(answers))}, rounds=5, check=check, progress=_silent)
    assert gc.get_freeze_count() == 0


def test_preparing_is_not_measured_and_is_done_anew_each_turn() -> None:
    prepared: list[int] = []

    def prepare() -> int:
        sum(range(3_000_000))
        prepared.append(len(prepared))
        return prepared[-1]

    turn = timed_after(prepare, lambda number: number)
    first, second = turn(), turn()
    assert (first.answer, second.answer) == (0, 1)
    assert max(first.cpu_s, second.cpu_s) < 0.01


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    assert slope({10: 3.0, 100: 30.0, 1000: 300.0}) == pytest.approx(1.0)
    assert slope({10: 7.0, 1000: 7.0}) == pytest.approx(0.0)
    assert slope({1: 1.0, 100: 10.0}) == pytest.approx(0.5)


def test_a_result_is_read_as_it_was_written_with_commit_seed_and_machine(tmp_path: Path) -> None:
    path = write_result(RESULT, tmp_path / "new", seed=7, quick=True)
    assert path == tmp_path / "new" / "fold.json"
    result, around = read_result(path)
    assert result == RESULT
    assert (around["seed"], around["quick"]) == (7, True)
    assert {"date", "commit", "dirty", "machine"} <= around.keys()
    assert {"cpu", "cores", "python", "load_average"} <= around["machine"].keys()
    assert json.loads(path.read_text())["tables"][0]["series"][0]["samples"] == [1.0, 3.0, 2.0]


def test_the_median_of_a_table_is_found_by_label() -> None:
    table = RESULT.tables[0]
    assert table.median_of("ours") == 2.0
    assert table.median_of("nobody") is None


class TestTheWorkload:
    def test_it_is_the_same_for_the_same_seed_and_another_for_another(self) -> None:
        one, same, other = (Workload.of(events=200, devices=5, seed=seed) for seed in (1, 1, 2))
        assert one.records == same.records
        assert one.records != other.records

    def test_our_fold_finds_its_totals(self) -> None:
        workload = Workload.of(events=600, devices=4, seed=3)
        folded = PlainFold(workload.pipeline).fold(workload.records)
        assert not folded.poison
        check_totals("ours", totals_of(folded), workload.totals())

    def test_totals_that_miss_an_event_are_refused(self) -> None:
        workload = Workload.of(events=600, devices=4, seed=3)
        expected = workload.totals()
        less = Workload(workload.pipeline, workload.events[:-1], []).totals()
        with pytest.raises(WrongAnswerError, match="expected"):
            check_totals("them", less, expected)

    def test_a_total_that_is_missing_or_too_much_is_refused(self) -> None:
        expected = Workload.of(events=60, devices=4, seed=3).totals()
        lost = dict(list(expected.items())[1:])
        with pytest.raises(WrongAnswerError, match="1 totals too many or missing"):
            check_totals("them", lost, expected)
        with pytest.raises(WrongAnswerError, match="1 totals too many or missing"):
            check_totals("them", expected, lost)

    def test_a_sum_may_differ_in_the_last_bits_of_a_float_and_no_more(self) -> None:
        check_totals("them", {"k": (2, 0.1 + 0.2, 0.2)}, {"k": (2, 0.3, 0.2)})
        for wrong in ((3, 0.3, 0.2), (2, 0.30001, 0.2), (2, 0.3, 0.20000001)):
            with pytest.raises(WrongAnswerError):
                check_totals("them", {"k": wrong}, {"k": (2, 0.3, 0.2)})
