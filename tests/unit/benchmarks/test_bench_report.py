from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.harness import Headline, Result, Series, Table, figure, write_result
from benchmarks.plots import draw
from benchmarks.report import BEGIN, END, write_report
from streamgage.errors import ConfigError

BARS = Table(
    title="Decode and fold",
    unit="µs of CPU an event",
    series=(Series("ours", "ours", (1.0, 2.0, 3.0)), Series("them", "peer", (400.0, 500.0, 600.0))),
    baseline="ours",
)
LINE = Table(
    title="By keys",
    unit="µs",
    series=tuple(Series("ours", "ours", (cost,), at=at) for at, cost in ((1_000, 1.0), (1_000_000, 2.0))),
    x="keys",
    log_x=True,
)
RESULT = Result(
    name="fold",
    question="What does it cost?",
    method="By turns.",
    tables=(BARS, LINE),
    facts={"slopes": {"keys": 0.1}},
    missing={"Bytewax": "not installed"},
    headlines=(
        Headline("decode + fold", "2.0 µs", "500 µs", 250.0, "≥ 8", first=True),
        Headline("encode", "3.0 µs", "6 µs", 2.0),
    ),
    limits=("No network.",),
)


def _root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"# it\n\n{BEGIN}\nold\n{END}\n\nmore\n")
    return tmp_path


def test_figures_keep_three_digits_that_mean_something() -> None:
    shown = {each: figure(each) for each in (0, 0.004123, 0.0361, 0.5, 2.0, 35.25, 2604.4)}
    assert list(shown.values()) == ["0.00", "0.00412", "0.0361", "0.500", "2.00", "35.2", "2,604"]


def test_page_plots_and_table_are_made_from_the_results(tmp_path: Path) -> None:
    root = _root(tmp_path)
    write_result(RESULT, tmp_path / "results", seed=7, quick=False)
    written = write_report(tmp_path / "results", root=root)
    page = (root / "docs/benchmarks.md").read_text()
    assert "| them | 500 | 400 to 600 | 250.00 |" in page
    assert "| ours | 1,000,000 | 2.00 | 2.00 to 2.00 |" in page
    assert "| encode | 3.0 µs | 6 µs | 2.0x |  |" in page  # and not in the README
    assert "not measured: Bytewax: not installed" in page
    assert "No network." in page
    assert "seed 7" in page
    for each in ("fold-decode-and-fold.svg", "fold-by-keys.svg"):
        assert f"(benchmarks/{each})" in page
        assert (root / "docs/benchmarks" / each).stat().st_size > 1_000
        assert (root / "docs/benchmarks" / each) in written
    assert (root / "README.md").read_text() == (
        f"# it\n\n{BEGIN}\n| measured | streamgage | beside it | ratio | target |\n|---|---|---|---|---|\n"
        f"| decode + fold | 2.0 µs | 500 µs | 250.0x | ≥ 8 |\n{END}\n\nmore\n"
    )


def test_the_same_results_give_the_same_files(tmp_path: Path) -> None:
    root = _root(tmp_path)
    write_result(RESULT, tmp_path / "results", seed=7, quick=False)
    first = {path: path.read_bytes() for path in write_report(tmp_path / "results", root=root)}
    assert {path: path.read_bytes() for path in write_report(tmp_path / "results", root=root)} == first


def test_results_of_quick_runs_make_no_report(tmp_path: Path) -> None:
    root = _root(tmp_path)
    write_result(RESULT, tmp_path / "results", seed=7, quick=True)
    with pytest.raises(ConfigError, match="quick runs, and mean nothing: fold"):
        write_report(tmp_path / "results", root=root)


def test_no_results_make_no_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run `streamgage bench all` first"):
        write_report(tmp_path, root=_root(tmp_path))


def test_a_readme_without_a_place_for_the_table_is_told(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (root / "README.md").write_text("# it\n")
    write_result(RESULT, tmp_path / "results", seed=7, quick=False)
    with pytest.raises(ConfigError, match="nowhere to put the table"):
        write_report(tmp_path / "results", root=root)


def test_a_single_figure_has_no_plot(tmp_path: Path) -> None:
    assert draw(replace(BARS, series=BARS.series[:1]), tmp_path / "one") is None


def test_a_wide_range_of_bars_has_a_logarithmic_axis(tmp_path: Path) -> None:
    wide = draw(BARS, tmp_path / "wide")
    narrow = draw(
        replace(BARS, series=(BARS.series[0], Series("them", "peer", (4.0, 5.0)))), tmp_path / "narrow"
    )
    assert wide is not None
    assert narrow is not None
    assert "logarithmic" in wide.read_text()
    assert "logarithmic" not in narrow.read_text()


def test_zeros_can_be_drawn(tmp_path: Path) -> None:
    series = (Series("ours", "ours", (0.0, 0.0)), Series("them", "peer", (5.0, 6.0)))
    assert draw(replace(BARS, series=series), tmp_path / "zero")
