"""Answers as text: a table for people, CSV and JSON for programs. Numbers are exact decimals, never floats."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

from processors.query.question import Question, Row

# Source: https://owasp.org/www-community/attacks/CSV_Injection (checked 2026-11-29); the last four are wide forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # a key of an integer field is among the texts too

Cell = str | int | Decimal | bool | None


def columns(question: Question) -> list[str]:
    """Return the column names of an answer to *question*."""
    measures = [f"{field}.{name}" for field, names in question.rollup.measures.items() for name in names]
    return [*question.key_names, "window_start", "window_end", "events", *measures, "may_change", "partial"]


def cells(question: Question, row: Row) -> list[Cell]:
    """Return the cells of *row*, in the order of columns."""
    values = [row.values[field][name] for field, names in question.rollup.measures.items() for name in names]
    return [
        *row.key,
        _time(row.window.start_ms),
        _time(row.window.end_ms),
        row.events,
        *values,
        row.may_change,
        row.partial,
    ]


def to_csv(question: Question, rows: Iterable[Row], *, raw: bool = False) -> Iterator[str]:
    """Yield the lines of a CSV table, RFC 4180 but for its line ends.

    A spreadsheet takes a text for a formula that begins as one, and may run it: such a text gets an apostrophe in front,
    by which a spreadsheet knows a text. Numbers stay numbers. With *raw* every text is as it is, for programs.
    """
    yield _csv_line(columns(question))
    for row in rows:
        yield _csv_line([_csv_text(each, raw=raw) for each in cells(question, row)])


def to_json(question: Question, rows: Iterable[Row]) -> str:
    """Return a JSON array of one object a row; decimals are numbers of as many digits as they have."""
    names = columns(question)
    lines = [
        "{"
        + ", ".join(
            f"{json.dumps(n)}: {_json_value(c)}" for n, c in zip(names, cells(question, row), strict=True)
        )
        + "}"
        for row in rows
    ]
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def number_text(cell: Cell) -> str:
    """Return *cell* as people and programs read it: no exponent, no trailing zeros, nothing for None."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, Decimal):
        text = format(cell, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return "" if cell is None else str(cell)


def _json_value(cell: Cell) -> str:
    return number_text(cell) if isinstance(cell, Decimal) else json.dumps(cell)


def _csv_text(cell: Cell, *, raw: bool) -> str:
    if not raw and isinstance(cell, str) and cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return number_text(cell)


def _csv_line(values: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(values)  # it quotes only line ends that it knows of
    return out.getvalue().removesuffix("\r\n")


def _time(instant_ms: int) -> str:
    """Return an instant as ISO 8601 in UTC, with as much of it as there is."""
    try:
        instant = datetime.fromtimestamp(instant_ms // 1000, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return f"{instant_ms} ms"
    return f"{instant.isoformat()}{f'.{instant_ms % 1000:03d}' if instant_ms % 1000 else ''}Z"
