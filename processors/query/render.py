"""Answers as text: a table for people, CSV and JSON for programs. Numbers are exact decimals, never floats."""

import csv
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal

from processors.query.answer import Answer, Cell

# Source: https://owasp.org/www-community/attacks/CSV_Injection (checked 2026-11-29); the last four are wide forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")  # a key of an integer field is among the texts too


def to_csv(answer: Answer, *, raw: bool = False) -> Iterator[str]:
    """Yield the lines of a CSV table, RFC 4180 but for its line ends.

    A spreadsheet takes a text for a formula that begins as one, and may run it: such a text gets an apostrophe in front,
    by which a spreadsheet knows a text. Numbers stay numbers. With *raw* every text is as it is, for programs.
    """
    yield _csv_line(list(answer.names))
    for row in answer.rows:
        yield _csv_line([_csv_text(each, raw=raw) for each in row])


def to_json(answer: Answer) -> str:
    """Return a JSON array of one object a row; decimals are numbers of as many digits as they have."""
    lines = list(to_ndjson(answer))
    return "[\n" + ",\n".join(lines) + "\n]" if lines else "[]"


def to_ndjson(answer: Answer) -> Iterator[str]:
    """Yield a JSON object a row, in one line."""
    names = [json.dumps(each) for each in answer.names]
    for row in answer.rows:
        yield (
            "{"
            + ", ".join(f"{name}: {_json_value(cell)}" for name, cell in zip(names, row, strict=True))
            + "}"
        )


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
