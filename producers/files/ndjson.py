"""Read NDJSON: one JSON object a line."""

import json
from collections.abc import Iterable, Iterator

from producers.files.lines import Line
from producers.files.rows import AnyRow, BadRow, BlankLine, Row
from streamgage.errors import ConfigError


def read_ndjson(lines: Iterable[Line], name: str) -> Iterator[AnyRow]:
    """Yield the row of each line. NaN and Infinity are not JSON; of a repeated key the last value counts.

    Raises:
        ConfigError: there is no line but blank ones.
    """
    empty = True
    for line in lines:
        if line.is_blank:
            yield BlankLine(line.number, line.end_bytes)
            continue
        empty = False
        yield _row(line)
    if empty:
        raise ConfigError(f"{name} is empty; one JSON object a line is expected")


def _row(line: Line) -> AnyRow:
    if line.problem is not None:
        return BadRow(line.number, line.raw, line.problem, line.end_bytes)
    try:
        values = json.loads(line.text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return BadRow(line.number, line.raw, f"not JSON: {error}", line.end_bytes)
    if not isinstance(values, dict):
        return BadRow(line.number, line.raw, "not a JSON object", line.end_bytes)
    return Row(line.number, line.raw, values, line.end_bytes)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
