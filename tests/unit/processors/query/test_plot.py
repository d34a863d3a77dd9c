"""A picture of an answer tells when each window was, and leaves a gap where there is none."""

from decimal import Decimal
from pathlib import Path

import pytest

from processors.query.answer import Answer, Cell, time_text
from processors.query.plot import in_terminal, lines_of, to_image
from streamgage.errors import ConfigError

DAY_MS = 86_400_000
NAMES = ("device", "window_start", "window_end", "events", "value.mean", "may_change", "partial")


def answer(*rows: tuple[str, int, float | None]) -> Answer:
    """Return an answer of (device, day, mean) rows."""
    made: list[tuple[Cell, ...]] = [
        (device, time_text(day * DAY_MS), time_text((day + 1) * DAY_MS), 1, None if mean is None else Decimal(str(mean)), False, False)
        for device, day, mean in rows
    ]  # fmt: skip
    return Answer(NAMES, made, 1)


def bars(given: Answer, *, width: int) -> list[list[str]]:
    """Return of each line the bars of its levels, the highest first."""
    lines, _ = lines_of(given, "value.mean")
    charts: list[list[str]] = []
    for each in in_terminal(lines, width=width, height=2):
        if "┤" not in each:
            charts += [[]] if not each.startswith(" ") else []
        else:
            assert len(each) <= width
            charts[-1].append(each.partition("┤")[2])
    return charts


def test_a_window_stands_where_its_time_is_and_what_is_missing_is_a_gap() -> None:
    (chart,) = bars(answer(("d", 0, 2), ("d", 1, 1), ("d", 3, 2)), width=15)
    assert chart == ["███      ███", "██████   ███"]


def test_all_lines_have_one_axis_of_time() -> None:
    charts = bars(answer(("a", 0, 1), ("b", 2, 1)), width=15)
    assert charts == [["████        "] * 2, ["        ████"] * 2]


def test_where_windows_share_a_column_the_greatest_is_drawn() -> None:
    (chart,) = bars(answer(*(("d", day, 9 if day == 57 else 3) for day in range(100))), width=13)
    assert [each.count("█") for each in chart] == [1, 1]
    assert chart[0].index("█") == 57 // 10


def test_nothing_and_no_value_differ_from_zero_and_bars_begin_at_zero() -> None:
    (chart,) = bars(answer(("d", 0, 0), ("d", 1, None), ("d", 2, 100), ("d", 3, 50)), width=17)
    assert chart == ["      ███   ", "▁▁▁   ██████"]
    (chart,) = bars(answer(("d", 0, -1), ("d", 1, -2)), width=15)
    assert chart == ["     ", "     "] or chart[1].startswith("█")


def test_dates_stand_below_where_they_say_all() -> None:
    lines, _ = lines_of(answer(*(("d", day, 1) for day in range(16_500, 16_530))), "value.mean")
    assert in_terminal(lines, width=60)[-1].split() == ["2015-03-06", "2015-04-05"]


def test_a_key_is_shown_and_not_obeyed() -> None:
    lines, _ = lines_of(answer(("d\x1b[31m\n", 0, 1)), "value.mean")
    assert in_terminal(lines, width=40)[0] == r"d\x1b[31m\n"


def test_the_first_ten_keys_are_drawn_and_how_many_more_there_are_is_told() -> None:
    lines, left = lines_of(answer(*((f"d{number:02}", 0, 1) for number in range(13))), "value.mean")
    assert ([each.label for each in lines], left) == ([f"d{number:02}" for number in range(10)], 3)


@pytest.mark.parametrize("column", ["device", "window_start", "may_change", "valu"])
def test_what_is_no_number_over_time_is_told_with_what_is(column: str) -> None:
    with pytest.raises(ConfigError, match=rf"{column}: .*it has: events, value\.mean$"):
        lines_of(answer(("d", 0, 1)), column)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture_is_written(tmp_path: Path, ending: str) -> None:
    lines, _ = lines_of(answer(("d$x$", 0, 1), ("d$x$", 2, 3), ("e", 2_932_896, None)), "value.mean")
    to_image(lines, tmp_path / f"p.{ending}", column="value.mean", title="of $all$")
    written = (tmp_path / f"p.{ending}").read_bytes()
    assert written.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
