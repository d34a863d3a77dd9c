"""Item sizes and units, by the examples and rules of AWS's documentation."""

from typing import Any

import pytest

from infra.aws.cost.item_size import item_size_bytes, number_size_bytes, read_units, write_units


@pytest.mark.parametrize(
    ("item", "size_bytes"),
    [
        ({}, 0),
        ({"pk": {"S": "abc"}}, 5),
        ({"é": {"S": "ü"}}, 4),  # UTF-8, in names as well
        ({"b": {"B": b"\0\1\2"}}, 4),
        ({"t": {"BOOL": True}, "n": {"NULL": True}}, 4),
        ({"l": {"L": []}}, 4),
        ({"l": {"L": [{"S": "ab"}, {"S": "c"}]}}, 1 + 3 + (1 + 2) + (1 + 1)),
        ({"m": {"M": {"k": {"S": "v"}}}}, 1 + 3 + 1 + 1 + 1),
        ({"expires": {"N": "1775001600"}}, 7 + 4 + 1),  # its trailing zeroes are trimmed
    ],
)
def test_an_item_weighs_its_names_and_values(item: Any, size_bytes: int) -> None:
    assert item_size_bytes(item) == size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 1),
        ("1", 2),
        ("12", 2),
        ("123", 3),
        ("1000", 2),
        ("0.00012", 2),
        ("-12", 2),
        ("9" * 38, 20),
        ("1E+30", 2),
    ],
)
def test_a_number_takes_a_byte_for_two_significant_digits_and_one_more(text: str, size_bytes: int) -> None:
    assert number_size_bytes(text) == size_bytes


def test_a_set_is_refused_for_its_size_is_not_documented() -> None:
    with pytest.raises(ValueError, match="SS"):
        item_size_bytes({"s": {"SS": ["a"]}})


@pytest.mark.parametrize(
    ("size_bytes", "units"), [(0, 1), (1, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3)]
)
def test_writes_round_up_to_kilobytes(size_bytes: int, units: int) -> None:
    assert write_units(size_bytes) == units


@pytest.mark.parametrize(("size_bytes", "units"), [(0, 1), (4096, 1), (4097, 2)])
def test_reads_round_up_to_four_kilobytes(size_bytes: int, units: int) -> None:
    assert read_units(size_bytes) == units
