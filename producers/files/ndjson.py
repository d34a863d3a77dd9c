"""Read NDJSON: one JSON object a line."""

from collections.abc import Iterable, Iterator

from producers.files.lines import Line
from producers.files.row_loop import read_rows
from producers.files.rows import AnyRow
from streamgage.errors import PoisonRecord
from streamgage.formats.json_event import parse_json_object


def read_ndjson(lines: Iterable[Line], name: str) -> Iterator[AnyRow]:
    """Yield the row of each line, by the rules of JSON events.

    Raises:
        ConfigError: there is no line but blank ones.
    """
    return read_rows(lines, name, _parse, expected="one JSON object a line is expected")


def _parse(text: str) -> dict[str, object]:
    try:
        return parse_json_object(text)
    except PoisonRecord as poison:
        hint = ""
        if text.lstrip()[:1] == "[":
            hint = "; of an array, make a line an element: jq -c '.[]' FILE"
        elif text.strip() in ("{", "},", "}"):
            hint = "; of an object over several lines, make one line: jq -c . FILE"
        raise ValueError(f"{poison.reason}{hint}") from poison
