"""A table is for people: each row says whose and when it is, whatever the width, and nothing is left out in silence."""

from decimal import Decimal

import pytest
from rich.console import Console

from processors.query.answer import Answer, Cell
from processors.query.question import Question
from processors.query.tabled import table_of
from support.strategies import pipeline

NUMBERS = ("events", "value.count", "value.sum", "value.mean", "value.variance", "value.first")
NAMES = ("device_id", "metric", "window_start", "window_end", *NUMBERS, "may_change", "partial")
LONG = "a-device-with-a-name-that-takes-more-than-half-of-a-terminal-of-eighty-columns"


def row(
    device: str = "d1",
    start: str = "2015-05-17T00:00:00Z",
    end: str = "2015-05-18T00:00:00Z",
    *,
    may_change: bool = False,
    partial: bool = False,
) -> tuple[Cell, ...]:
    mean = Decimal("80.266123456789")
    return (device, "temp", start, end, 33, 33, Decimal("2648.781"), mean, mean * mean, 5, may_change, partial)  # fmt: skip


def drawn(
    *rows: tuple[Cell, ...],
    window: str = "1d",
    width: int | None = 80,
    asked: tuple[str, ...] = (),
    total: bool = False,
    **key: str,
) -> tuple[str, list[str]]:
    question = Question.parse(
        pipeline(), rollup="device_metrics", key=key, window=window, from_ms=0, to_ms=2**42, total=total
    )
    table, said = table_of(question, Answer(NAMES, list(rows), 2), width=width, asked=asked)
    console = Console(width=width or 400, markup=False, highlight=False, emoji=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get(), said


def cells(text: str) -> list[list[str]]:
    return [[each.strip() for each in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_cell_is_cut(width: int) -> None:
    text, _ = drawn(row(LONG), row("d2"), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert "".join(line[0] for line in cells(text)) == LONG + "d2"


def test_what_has_no_room_is_named_and_what_was_asked_for_stays() -> None:
    text, said = drawn(row(LONG), asked=("value.first",), width=60)
    assert said == [
        "no room in 60 columns for value.count, value.sum, value.mean, value.variance: --format csv or json has all"
    ]
    assert cells(text)[0][-2:] == ["33", "5"]


def test_of_what_was_asked_for_as_much_is_shown_as_has_room_and_the_rest_is_named() -> None:
    text, said = drawn(row(LONG), row("d2"), asked=NUMBERS, width=50)
    assert all(len(line) <= 50 for line in text.splitlines())
    assert said[0].startswith("no room in 50 columns for value.")
    assert "".join(line[0] for line in cells(text)) == LONG + "d2"


def test_where_there_is_room_all_is_exact_and_nothing_is_said() -> None:
    text, said = drawn(row(), row("d2"), width=None)
    assert said == []
    assert cells(text)[0][2:] == [
        "33",
        "33",
        "2648.781",
        "80.266123456789",
        str(Decimal("80.266123456789") ** 2),
        "5",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [("80.266123456789", "80.2661"), ("0.000123456789", "0.000123457"), ("123456789.5", "123456790"), ("0", "0"), ("12", "12")],
)  # fmt: skip
def test_a_number_is_rounded_to_six_digits_of_which_none_before_the_point(value: str, text: str) -> None:
    given = list(row(LONG))
    given[7] = Decimal(value)
    shown, said = drawn(tuple(given), asked=("value.mean",), width=70)
    assert said[0] == "numbers are rounded to fit: --format csv or json tells them exactly" or text == value
    assert text in cells(shown)[0]


def test_a_window_is_told_once_as_shortly_as_it_can_be() -> None:
    days, _ = drawn(row(), row(start="2015-05-18T00:00:00Z", end="2015-05-19T00:00:00Z"))
    assert [line[2] for line in cells(days)] == ["2015-05-17", "2015-05-18"]
    hours = [(f"2015-05-17T{hour:02}:00:00Z", f"2015-05-17T{hour + 1:02}:00:00Z") for hour in (0, 1)]
    text, _ = drawn(*(row("d1", *each) for each in hours), window="1h")
    assert [line[2] for line in cells(text)] == ["2015-05-17 00:00", "2015-05-17 01:00"]
    berlin = [
        ("2015-05-16T22:00:00Z", "2015-05-17T22:00:00Z"),
        ("2015-05-17T22:00:00Z", "2015-05-18T22:00:00Z"),
    ]
    text, _ = drawn(*(row("d1", *each) for each in berlin), window="1d@Europe/Berlin")
    assert [line[2] for line in cells(text)] == ["2015-05-17", "2015-05-18"]
    text, _ = drawn(row(), row("d2"), total=True)
    assert text.splitlines()[0].strip() == "device_metrics  2015-05-17 to 2015-05-18"
    assert [line[:3] for line in cells(text)] == [["d1", "temp", "33"], ["d2", "temp", "33"]]
    text, _ = drawn(row(start="253402300799999 ms", end="253402300859999 ms"))
    assert cells(text)[0][2] == "253402300799999 ms to 253402300859999 ms"


def test_what_may_change_and_what_is_partial_is_noted_and_else_no_column_is_spent_on_it() -> None:
    text, _ = drawn(row(may_change=True), row("d2"), row("d3", may_change=True, partial=True), width=200)
    assert [line[-1] for line in cells(text)] == ["may change", "", "may change, partial"]
    text, _ = drawn(row(), row("d2"), width=200)
    assert [line[-1] for line in cells(text)] == ["5", "5"]


def test_the_fields_of_one_key_stand_above_it() -> None:
    text, _ = drawn(row(), device_id="d1", metric="temp", width=200)
    assert text.splitlines()[0].strip() == "device_metrics  device_id=d1  metric=temp"
    assert cells(text)[0][0] == "2015-05-17"


@pytest.mark.parametrize("key", ["[red]x[/red]", ":smile:", "a\x1b[31mb", "a\nb", "日本語" * 20])
def test_a_key_is_shown_as_it_is_and_obeyed_by_nobody(key: str) -> None:
    text, _ = drawn(row(key), row("d2"))
    told = "".join(line[0] for line in cells(text)[:-1])
    assert told.replace(" ", "") == key.replace("\x1b", r"\x1b").replace("\n", r"\n")
    assert "\x1b" not in text
