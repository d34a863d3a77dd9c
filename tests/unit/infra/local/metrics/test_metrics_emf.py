"""The reader of EMF lines, on logs as they are written, cut, renamed and broken."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.metrics.emf import KEPT_S, EmfLog


def emf(at_ms: int = 1_000_000, **metrics: Any) -> str:
    directive = {"Namespace": "n", "Dimensions": [[]], "Metrics": [{"Name": name} for name in metrics]}
    return json.dumps({"_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]}, **metrics}) + "\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_metrics_add_up_and_other_lines_do_not_count(tmp_path: Path) -> None:
    log = EmfLog(tmp_path / "log")
    log.read()
    assert (log.batches, dict(log.totals)) == (0, {})
    append(tmp_path / "log", "START\n" + emf(A=1, B=2) + '{"message": "_aws"}\n' + emf(A=[3, 4]) + "END\n")
    log.read()
    assert (log.batches, dict(log.totals)) == (2, {"A": 8, "B": 2})
    log.read()
    assert log.batches == 2
    log.close()


def test_lines_that_only_look_like_metrics_are_left_out(tmp_path: Path) -> None:
    good = emf(A=1)
    for wrong in (
        '{"_aws": 1}', '{"_aws": {}}', '"_aws"', '{"_aws": {"Timestamp": 1}', emf(A=None)[:-1], emf(A="x")[:-1],
        '{"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Metrics": [{"Name": "missing"}]}]}}',
    ):  # fmt: skip
        append(tmp_path / "log", wrong + "\n")
    append(tmp_path / "log", good)
    log = EmfLog(tmp_path / "log")
    log.read()
    assert (log.batches, dict(log.totals)) == (1, {"A": 1})
    log.close()


@given(cuts=st.lists(st.integers(0, 700), max_size=8))
@settings(deadline=None, max_examples=60)
def test_however_the_writes_are_cut_each_line_counts_once(tmp_path_factory: Any, cuts: list[int]) -> None:
    path = tmp_path_factory.mktemp("emf") / "log"
    text = "".join(emf(A=n) for n in range(5))
    log, begun = EmfLog(path), 0
    for cut in [*sorted(cuts), len(text)]:
        append(path, text[begun:cut])
        begun = max(begun, min(cut, len(text)))
        log.read()
    assert (log.batches, log.totals["A"]) == (5, 10)
    log.close()


def test_a_renamed_file_is_read_on_beside_the_one_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, emf(A=1))
    log = EmfLog(path)
    log.read()
    append(path, emf(A=10))
    path.rename(tmp_path / "log.1")
    log.read()
    assert log.totals["A"] == 11
    append(path, emf(A=100))
    log.read()
    append(tmp_path / "log.1", emf(A=1000))  # whoever has it open writes on
    log.read()
    assert log.totals["A"] == 1111
    log.close()


def test_a_file_cut_short_is_read_from_its_start_and_sums_never_go_down(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append(path, emf(A=1) + emf(A=1) + '{"half of a li')
    log = EmfLog(path)
    log.read()
    path.write_text("")
    append(path, emf(A=5))
    log.read()
    assert log.totals["A"] == 7
    log.close()


def test_sums_by_second_are_of_the_last_seconds_only(tmp_path: Path) -> None:
    last_s = 5_000
    for second in (last_s - KEPT_S - 1, last_s - KEPT_S, last_s, last_s):
        append(tmp_path / "log", emf(second * 1000 + 999, A=2))
    log = EmfLog(tmp_path / "log")
    log.read()
    assert {second: dict(each) for second, each in log.by_second.items()} == {
        last_s - KEPT_S: {"A": 2, "batches": 1},
        last_s: {"A": 4, "batches": 2},
    }
    assert log.totals["A"] == 8
    log.close()
