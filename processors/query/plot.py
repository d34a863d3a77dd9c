"""A picture of an answer: lines over time in a terminal, or as PNG or SVG."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from processors.query.answer import Answer, Cell, time_text
from streamgage.errors import ConfigError
from streamgage.visible import visible

MOST_LINES = 10
_BARS = " ▁▂▃▄▅▆▇█"
_LEVELS = len(_BARS) - 1
_MOST_WIDE = 8  # columns of a bar
_MOST_MARKED = 60  # points of a line that are told apart
_LAST_MS = 253_402_214_400_000  # 9999-12-31: matplotlib has no years of five digits


@dataclass(frozen=True, slots=True)
class Point:
    """The number of one window; None where it has none."""

    start_ms: int
    end_ms: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """The numbers of one key in the order of time. A window without events has no point: nothing is drawn there."""

    label: str
    points: Sequence[Point]


def lines_of(answer: Answer, column: str) -> tuple[list[Line], int]:
    """Return a line a key of the numbers in *column*, the first MOST_LINES keys; and how many more keys there are.

    Raises:
        ConfigError: the answer has no such column, or no windows.
    """
    known = [
        name
        for at, name in enumerate(answer.names)
        if at >= answer.keys + 2 and name not in ("may_change", "partial")
    ]
    if column not in known or "window_start" not in answer.names:
        raise ConfigError(
            f"--plot {column}: the answer has no such column over time; it has: {', '.join(known)}"
        )
    at = answer.names.index(column)
    found: dict[str, list[Point]] = {}
    for row in answer.rows:
        label = " ".join(str(each) for each in row[: answer.keys]) or column
        value = row[at]
        number = float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None
        start_ms, end_ms = (_instant_ms(each) for each in row[answer.keys : answer.keys + 2])
        found.setdefault(label, []).append(Point(start_ms, end_ms, number))
    lines = [Line(label, sorted(points, key=lambda each: each.start_ms)) for label, points in found.items()]
    return lines[:MOST_LINES], len(lines) - min(len(lines), MOST_LINES)


def _instant_ms(cell: Cell) -> int:
    text = str(cell)
    if text.endswith(" ms"):
        return int(text.removesuffix(" ms"))
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def in_terminal(lines: Sequence[Line], *, width: int, height: int = 8) -> list[str]:
    """Return a chart of bars a line: its range at the left, times below, *width* columns at most.

    All lines have one axis of time, and each window stands where its time is: what is missing is a gap.
    """
    text: list[str] = []
    points = [each for line in lines for each in line.points]
    if not points:
        return text
    first_ms, last_ms = min(each.start_ms for each in points), max(each.end_ms for each in points)
    for line in lines:
        known = [each.value for each in line.points if each.value is not None]
        if not known:
            continue
        low, high = min(0.0, *known), max(0.0, *known)
        scale = f"{_short(high)}", f"{_short(low)}"
        margin = max(map(len, scale)) + 1
        count = _columns(points, last_ms - first_ms, max(width - margin - 1, 10))
        columns = _placed(line.points, first_ms, last_ms, count)
        text.append(visible(line.label))
        for level in range(height, 0, -1):
            edge = scale[0] if level == height else scale[1] if level == 1 else ""
            text.append(
                f"{edge:>{margin - 1}} ┤" + "".join(_cell(each, low, high, level, height) for each in columns)
            )
        first, last = _times(first_ms, last_ms)
        text.append(" " * (margin + 1) + f"{first}{last:>{max(count - len(first), len(last) + 1)}}")
    return text


def _columns(points: Sequence[Point], span_ms: int, most: int) -> int:
    """Return how many columns the time takes: as many for each window, up to eight, where there is room."""
    windows = -(-span_ms // min(each.end_ms - each.start_ms for each in points))
    return most if windows > most else windows * min(most // windows, _MOST_WIDE)


def _placed(points: Sequence[Point], first_ms: int, last_ms: int, count: int) -> list[float | None]:
    """Return a number for each of *count* columns: of the windows there, the greatest; None where there are none."""
    columns: list[float | None] = [None] * count
    for each in points:
        if each.value is None:
            continue
        first = (each.start_ms - first_ms) * count // (last_ms - first_ms)
        last = max((each.end_ms - first_ms) * count // (last_ms - first_ms), first + 1)
        for column in range(first, min(last, count)):
            known = columns[column]
            columns[column] = each.value if known is None else max(known, each.value)
    return columns


def _times(first_ms: int, last_ms: int) -> tuple[str, str]:
    """Return both ends of the axis: dates, where they are midnights of UTC."""
    texts = [time_text(each) for each in (first_ms, last_ms)]
    if all(each.endswith("T00:00:00Z") for each in texts):
        texts = [each.removesuffix("T00:00:00Z") for each in texts]
    return texts[0], texts[1]


def _cell(value: float | None, low: float, high: float, level: int, height: int) -> str:
    """Return the part of a bar that lies in *level*: from the least up to the number, at least a line of it."""
    if value is None:
        return " "
    filled = (value - low) / (high - low) * height * _LEVELS if high > low else 0
    steps = max(round(filled), 1)
    return _BARS[max(0, min(_LEVELS, steps - (level - 1) * _LEVELS))]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _with_gaps(points: Sequence[Point]) -> tuple[list[Any], list[float]]:
    """Return times and numbers to draw a line through: it breaks where a window is missing."""
    instants: list[Any] = []
    values: list[float] = []
    for number, each in enumerate(points):
        if number and points[number - 1].end_ms < each.start_ms:
            instants.append(_datetime(points[number - 1].end_ms))
            values.append(math.nan)
        instants.append(_datetime(each.start_ms))
        values.append(math.nan if each.value is None else each.value)
    return instants, values


def _datetime(instant_ms: int) -> datetime:
    return datetime.fromtimestamp(min(instant_ms, _LAST_MS) / 1000, UTC)


def to_image(lines: Sequence[Line], path: Path, *, column: str, title: str) -> None:
    """Write the lines as the image *path*, a PNG or SVG by its ending.

    Raises:
        ConfigError: it has another ending, matplotlib is not installed, or it cannot be written.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise ConfigError(f"{path}: a picture is a .png or a .svg")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError("a picture needs matplotlib: pip install 'streamgage[ask]'") from error
    figure = Figure(figsize=(10, 4.5), dpi=120, layout="constrained")
    (FigureCanvasSVG if path.suffix.lower() == ".svg" else FigureCanvasAgg)(figure)
    axes = figure.add_subplot()
    for line in lines:
        instants, values = _with_gaps(line.points)
        marker = "o" if len(values) < _MOST_MARKED else None
        label = line.label.replace("$", r"\$")
        axes.plot(instants, values, label=label, marker=marker, markersize=3, linewidth=1.4)
    axes.set_ylabel(column)
    axes.set_xlabel("UTC", loc="right")
    axes.set_title(title.replace("$", r"\$"), loc="left", fontsize=11)
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(fontsize=8, frameon=False)
    figure.autofmt_xdate()
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower())
    try:
        path.write_bytes(drawn.getvalue())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error
