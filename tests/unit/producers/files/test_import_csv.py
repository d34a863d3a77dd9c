"""CSV, NDJSON, and the lines under them."""

import io
import tracemalloc

import pytest

from producers.files.csv import read_csv
from producers.files.lines import MAX_LINE_BYTES, read_lines
from producers.files.ndjson import read_ndjson
from producers.files.rows import AnyRow, BadRow, BlankLine, Row
from streamgage.errors import ConfigError


def csv_rows(data: bytes, delimiter: str = ",") -> list[AnyRow]:
    return list(read_csv(read_lines(io.BytesIO(data), "f.csv"), "f.csv", delimiter=delimiter).rows)


def ndjson_rows(data: bytes) -> list[AnyRow]:
    return list(read_ndjson(read_lines(io.BytesIO(data), "f"), "f"))


def values(rows: list[AnyRow]) -> list[object]:
    return [dict(row.values) for row in rows if isinstance(row, Row)]


def bad(rows: list[AnyRow]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in rows if isinstance(row, BadRow)]


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,2\n3,4\n",
        b"a,b\r\n1,2\r\n3,4\r\n",
        b"\xef\xbb\xbfa,b\n1,2\n3,4",
        b'"a", b \n"1","2"\n3,4\n',
        b"\n\na,b\n1,2\n3,4\n",
    ],
    ids=["plain", "CRLF", "BOM and no last newline", "quoted", "blank lines first"],
)
def test_the_usual_spellings_of_a_table_give_the_same_rows(data: bytes) -> None:
    assert values(csv_rows(data)) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a_quoted_field_may_hold_delimiters_quotes_and_newlines() -> None:
    rows = csv_rows(b'a,b\n"x,""y""\nz",2\n3,4\n')
    assert values(rows) == [{"a": 'x,"y"\nz', "b": "2"}, {"a": "3", "b": "4"}]
    assert [(row.line, row.raw) for row in rows if isinstance(row, Row)] == [
        (2, b'"x,""y""\nz",2\n'),
        (4, b"3,4\n"),
    ]


def test_a_ragged_row_is_bad_and_its_neighbours_are_not() -> None:
    rows = csv_rows(b"a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert bad(rows) == [(3, "has 1 cells; the header has 2"), (4, "has 3 cells; the header has 2")]
    assert len(values(rows)) == 2


def test_a_quote_that_is_never_closed_costs_one_line_not_the_rest_of_the_file() -> None:
    rows = csv_rows(b'a,b\n1,"2\n3,4\n5,6\n')
    assert bad(rows) == [(2, "a quoted field is not closed")]
    assert values(rows) == [{"a": "3", "b": "4"}, {"a": "5", "b": "6"}]


def test_a_quoted_field_without_end_is_given_up_after_a_bound() -> None:
    filler = (b"3," + b"4" * 1021 + b"\n") * 1100
    assert len(filler) > MAX_LINE_BYTES
    rows = csv_rows(b'a,b\n1,"2\n' + filler)
    assert [line for line, _ in bad(rows)] == [2]
    assert len(values(rows)) == 1100


def test_a_row_of_many_long_fields_is_given_up_after_a_bound() -> None:
    cell = b'"' + b"x" * 60_000 + b"\n" + b"y" * 60_000 + b'"'
    rows = csv_rows(b",".join([b"h"] * 12) + b"\n" + b",".join([cell] * 12) + b"\n")
    assert bad(rows)[0] == (2, "the row runs on, in quotes, for more than 1,048,576 bytes")
    assert values(rows) == []


def test_bytes_that_are_no_text_spoil_their_line_only() -> None:
    rows = csv_rows(b'a,b\n1,\xff\n2,\x00\n"3\n\xff",4\n5,6\n')
    assert [line for line, _ in bad(rows)] == [2, 3, 4, 5]
    assert values(rows) == [{"a": "5", "b": "6"}]


def test_blank_lines_are_told_apart() -> None:
    rows = csv_rows(b"a,b\n1,2\n\n  \n3,4\n\r\n")
    assert [row.line for row in rows if isinstance(row, BlankLine)] == [3, 4, 6]


def test_another_delimiter_is_taken() -> None:
    assert values(csv_rows(b"a;b\n1,5;2\n", ";")) == [{"a": "1,5", "b": "2"}]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "f.csv is empty"),
        (b"\n \n", "f.csv is empty"),
        (b"a,b\n", "a header and no rows"),
        (b"a,b\n\n\n", "a header and no rows"),
        (b'a,"b\n', "the header cannot be read"),
        (b"\x1f\x8b\x08\x00rest", "gzip -dc"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"\x7fELF\x02\x01\x01\x00", "binary"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_a_reason(data: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        csv_rows(data)


class Endless:
    """A stream of one line of many megabytes, then a short one; made as it is read."""

    def __init__(self, megabytes: int) -> None:
        self._left = megabytes * 1024 * 1024
        self._tail = [b"\n", b'{"a": 1}\n']

    def readline(self, size: int, /) -> bytes:
        if self._left > 0:
            taken = min(size, self._left)
            self._left -= taken
            return b"x" * taken
        return self._tail.pop(0) if self._tail else b""


def test_a_line_of_100_megabytes_is_quarantined_in_little_memory() -> None:
    tracemalloc.start()
    try:
        rows = list(read_ndjson(read_lines(Endless(100), "f"), "f"))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [type(row) for row in rows] == [BadRow, Row]
    assert "104,857,601 bytes long" in bad(rows)[0][1]
    assert peak_bytes < 8 * MAX_LINE_BYTES
    assert rows[-1].end_bytes == 100 * 1024 * 1024 + 1 + 9


def test_a_line_of_just_the_bound_is_read_and_one_more_is_not() -> None:
    fits = b'{"a":"' + b"x" * (MAX_LINE_BYTES - 8) + b'"}'
    assert len(fits) == MAX_LINE_BYTES
    assert [type(row) for row in ndjson_rows(fits + b"\n" + fits + b" \n{}\n")] == [Row, BadRow, Row]


def test_ndjson_lines_that_are_no_objects_are_bad_with_a_reason() -> None:
    lines = [
        b'{"a": 1}',
        b"[1]",
        b"{",
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"null",
    ]
    rows = ndjson_rows(b"\n".join(lines))
    assert values(rows) == [{"a": 1}]
    assert [line for line, _ in bad(rows)] == [2, 3, 4, 5, 6, 7]
    assert bad(rows)[2] == (4, "NaN is not a finite number")


def test_ndjson_of_blank_lines_only_is_empty() -> None:
    with pytest.raises(ConfigError, match="is empty"):
        ndjson_rows(b"\n\n")
