"""What marks a missing value: a text, and where a number is expected each spelling of that number."""

import pytest

from producers.files.mapping import Cells


@pytest.mark.parametrize("cell", ["-200", "-200.0", "-200.00", "-2e2", "-2.0E+02", "-0200"])
def test_a_number_that_marks_is_meant_in_each_spelling(cell: str) -> None:
    assert Cells(missing=frozenset({"-200"})).is_missing(cell, is_number=True)


def test_with_a_decimal_comma_too() -> None:
    cells = Cells(decimal_comma=True, missing=frozenset({"-200", "9,99"}))
    assert [cells.is_missing(each, is_number=True) for each in ("-200,0", "9,990", "-200,1", "")] == [
        True,
        True,
        False,
        False,
    ]


def test_of_a_text_only_the_very_same_is_meant() -> None:
    cells = Cells(missing=frozenset({"0", "NA", "nan"}))
    assert not cells.is_missing("00", is_number=False)
    assert not cells.is_missing("0.0", is_number=False)
    assert cells.is_missing("NA", is_number=False)
    assert not cells.is_missing("NaN", is_number=True)  # no number is equal to it, it is neither
