"""Read access logs: each line in the layout that its structure shows, or in the one that was named.

A line that is in no known layout is refused, with the layout that it likely is in: a reader that is too kind takes the
virtual host, or the month of a syslog prefix, for the visitor.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from producers.files.access import apache, balancers, json_lines, w3c
from producers.files.access.apache import parse_apache
from producers.files.access.balancers import parse_balancer
from producers.files.access.fields import COLUMNS, Hit
from producers.files.access.hints import likely
from producers.files.access.json_lines import parse_json
from producers.files.access.prefix import cut_prefix
from producers.files.access.w3c import W3cLines
from producers.files.lines import Line
from producers.files.row_loop import read_rows
from producers.files.rows import AnyRow

__all__ = ["AUTO", "COLUMNS", "LAYOUTS", "AccessLog", "parse_line", "read_access_log"]

AUTO = "auto"
LAYOUTS = (*apache.LAYOUTS, *balancers.LAYOUTS, *w3c.LAYOUTS, *json_lines.LAYOUTS)


class AccessLog:
    """Reads the lines of one log. ``layouts`` counts what they were in: ``combined``, ``combined behind syslog``."""

    def __init__(self, layout: str = AUTO) -> None:
        self.layouts: Counter[str] = Counter()
        self._wanted = None if layout == AUTO else layout
        self._w3c = W3cLines()

    def parse(self, text: str) -> Mapping[str, object] | None:
        """Return the values of a line, None for a directive. Raises: ValueError, with the layout that is likely."""
        if self._w3c.directive(text):
            return None
        inner, prefix = cut_prefix(text)
        hit = self._hit(inner)
        if hit is None:
            raise ValueError(f"in no layout that is known: {likely(text)}")
        if self._wanted not in (None, hit.layout):
            raise ValueError(
                f"not in the layout {self._wanted}; it looks like {hit.layout}: --layout {hit.layout}"
            )
        self.layouts[hit.layout if prefix is None else f"{hit.layout} behind {prefix}"] += 1
        return hit.values

    def _hit(self, text: str) -> Hit | None:
        if self._w3c.begun:
            return self._w3c.parse(text)
        if text.startswith("{"):
            return parse_json(text)
        return parse_apache(text, layout=self._wanted) or parse_balancer(text)


def read_access_log(lines: Iterable[Line], name: str, log: AccessLog | None = None) -> Iterator[AnyRow]:
    """Yield the row of each line, with a value for each of COLUMNS (None where there is none).

    Raises:
        ConfigError: there is no line but blank ones.
    """
    parse = (log or AccessLog()).parse
    return read_rows(lines, name, parse, expected="lines of an access log are expected")


def parse_line(text: str, layout: str = AUTO) -> Mapping[str, object]:
    """Return the values of one line that stands by itself. Raises: ValueError, with what was expected."""
    values = AccessLog(layout).parse(text)
    if values is None:
        raise ValueError("a comment, not a request")
    return values
