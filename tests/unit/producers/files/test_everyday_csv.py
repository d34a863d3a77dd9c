"""CSV as spreadsheets, loggers and exporters write it."""

import io
from typing import Any

import pytest

from producers.files.convert import converter
from producers.files.csv import CsvTable, read_csv
from producers.files.lines import read_lines
from producers.files.rows import BadRow, BlankLine, Row
from streamgage.errors import ConfigError


def table(data: bytes, *, encoding: str = "utf-8", **options: Any) -> CsvTable:
    return read_csv(read_lines(io.BytesIO(data), "f", encoding=encoding), "f", delimiter=None, **options)


def cells(data: bytes, **options: Any) -> list[list[object]]:
    return [list(row.values.values()) for row in table(data, **options).rows if isinstance(row, Row)]


@pytest.mark.parametrize(
    ("data", "delimiter"),
    [
        (b"a;b;c\n1,5;2;3\n", ";"),
        (b"a\tb\n1\t2\n", "\t"),
        (b"a|b\n1|2\n", "|"),
        (b"a,b\n1,2\n", ","),
        (b"a\n1\n", ","),
        (b'"a,b,c,d";e;f\n1;2;3\n', ";"),
    ],
)
def test_the_header_shows_the_delimiter(data: bytes, delimiter: str) -> None:
    assert table(data).delimiter == delimiter


def test_a_header_that_two_delimiters_may_part_is_refused_with_the_option() -> None:
    with pytest.raises(ConfigError, match=r"',' or ';' may part .*; say --delimiter"):
        table(b"time,temp;C\n1,2\n")


def test_empty_cells_behind_the_last_column_are_overlooked_and_counted() -> None:
    found = table(b"a,b,,\n1,2,\n3,4\n5,6,,,\n7,8,9\n10\n")
    rows = list(found.rows)
    assert [list(row.values.values()) for row in rows if isinstance(row, Row)] == [
        ["1", "2"],
        ["3", "4"],
        ["5", "6"],
    ]
    assert [row.line for row in rows if isinstance(row, BadRow)] == [5, 6]
    assert found.notes == {"rows with empty cells behind the last column": 2}


def test_rows_of_nothing_and_headers_that_come_again_are_skipped_by_name() -> None:
    rows = list(table(b"a;b\n1;2\n;\n;;;\na;b\n3;4\n").rows)
    assert [row.what for row in rows if isinstance(row, BlankLine)] == [
        "rows of empty cells",
        "rows of empty cells",
        "repeated header lines",
    ]


def test_lines_before_the_header_and_comments_are_none_of_it() -> None:
    data = b"Station 7\nexported 2026\n# units\na,b\n# half\n1,2\n'x\ny'\n"
    assert cells(data[:-6], skip=2, comment="#") == [["1", "2"]]
    assert cells(b'a,b\n1,"x\n# no comment\ny"\n', comment="#") == [["1", "x\n# no comment\ny"]]


def test_text_in_another_encoding_is_read_or_gets_a_hint() -> None:
    latin = "a,b\ncafé,1\n".encode("latin-1")
    assert cells(latin, encoding="latin-1") == [["café", "1"]]
    (bad,) = [row for row in table(latin).rows if isinstance(row, BadRow)]
    assert "likely Latin-1 (--encoding latin-1)" in bad.reason
    (bad,) = [row for row in table("a,b\n5 €,1\nœuvre é,2".encode("cp1252")).rows if isinstance(row, BadRow)][
        -1:
    ]
    assert "--encoding cp1252" in bad.reason


@pytest.mark.parametrize(
    ("text", "expected"), [("2,6", 2.6), ("-0,5", -0.5), (",5", 0.5), ("7", 7.0), ("1,5e3", 1500.0)]
)
def test_a_decimal_comma_is_read_where_it_was_named(text: str, expected: float) -> None:
    assert converter("double", decimal_comma=True)(text) == expected
    assert converter(["null", "double"], decimal_comma=True)(text) == expected


@pytest.mark.parametrize("text", ["1.292", "1.234,5", "1,2,3", "2,6 C"])
def test_a_point_beside_a_decimal_comma_might_part_thousands_and_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimals stand behind a comma|not a number"):
        converter("double", decimal_comma=True)(text)


def test_a_number_that_is_none_comes_with_the_likely_cure() -> None:
    with pytest.raises(ValueError, match="--decimal ,"):
        converter("double")("2,6")
    for mark in ("NA", "n/a", "-", "null", "#N/A"):
        with pytest.raises(ValueError, match="--na"):
            converter("double")(mark)


@pytest.mark.parametrize("line", [b"sep=;\r\n", b'"sep=;"\n', b"\xef\xbb\xbfsep=;\n"])
@pytest.mark.parametrize("delimiter", [None, ";"])
def test_excels_line_names_the_delimiter_and_is_no_header(line: bytes, delimiter: str | None) -> None:
    found = read_csv(read_lines(io.BytesIO(line + b"a,x;b\n1,5;2\n"), "f"), "f", delimiter=delimiter)
    assert (found.columns, found.delimiter) == (("a,x", "b"), ";")
    (row,) = found.rows
    assert row.line == 3


def test_a_column_named_sep_is_a_column() -> None:
    assert table(b"sep\n1\n").columns == ("sep",)


@pytest.mark.parametrize(
    ("data", "cure"),
    [(b"a,b\r1,2\r", "lines end in CR alone"), ("a,b\n1,2\n".encode("utf-16-le"), "utf-16-le")],
)
def test_a_header_that_cannot_be_read_comes_with_the_likely_cure(data: bytes, cure: str) -> None:
    with pytest.raises(ConfigError, match=cure):
        table(data)
