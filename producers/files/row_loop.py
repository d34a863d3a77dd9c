"""The one loop of all files that hold a row a line."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from producers.files.lines import Line
from producers.files.rows import AnyRow, BadRow, BlankLine, EmptyFile, Row

ParseLine = Callable[[str], Mapping[str, object] | None]
"""Returns the values of a line; None where it is a comment or a directive. Raises ValueError, with the reason."""


def read_rows(lines: Iterable[Line], name: str, parse: ParseLine, *, expected: str) -> Iterator[AnyRow]:
    """Yield what each line is: a row, a row that cannot be read, or nothing that counts.

    Raises:
        EmptyFile: there is no line but blank ones and comments; *expected* says what should be there.
    """
    empty = True
    for line in lines:
        if line.is_blank:
            yield BlankLine(line.number, line.end_bytes)
            continue
        row = _row(line, parse)
        empty = empty and isinstance(row, BlankLine)
        yield row
    if empty:
        raise EmptyFile(f"{name} is empty; {expected}")


def _row(line: Line, parse: ParseLine) -> AnyRow:
    if line.problem is not None:
        return BadRow(line.number, line.raw, line.problem, line.end_bytes)
    try:
        values = parse(line.text)
    except ValueError as error:
        return BadRow(line.number, line.raw, str(error), line.end_bytes)
    if values is None:
        return BlankLine(line.number, line.end_bytes, "comment lines")
    return Row(line.number, line.raw, values, line.end_bytes)
