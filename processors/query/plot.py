"""A picture of an answer: lines over time in a terminal, or as PNG or SVG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from processors.query.answer import Answer
from streamgage.errors import ConfigError

MOST_LINES = 10
_BARS = " ▁▂▃▄▅▆▇█"
_LEVELS = len(_BARS) - 1


@dataclass(frozen=True, slots=True)
class Line:
    """The numbers of one key, with the times of their windows' starts; None is a gap."""

    label: str
    times: Sequence[str]
    values: Sequence[float | None]


def lines_of(answer: Answer, column: str) -> tuple[list[Line], int]:
    """Return a line a key of the numbers in *column*, the first MOST_LINES keys; and how many more keys there are.

    Raises:
        ConfigError: the answer has no such column, or no windows.
    """
    if column not in answer.names or "window_start" not in answer.names:
        numbers = ", ".join(answer.names[answer.keys + 2 : -2])
        raise ConfigError(f"--plot {column}: the answer has no such column over time; it has: {numbers}")
    at, time = answer.names.index(column), answer.names.index("window_start")
    found: dict[str, dict[str, float | None]] = {}
    times: dict[str, None] = {}
    for row in answer.rows:
        label = " ".join(str(each) for each in row[: answer.keys]) or column
        value = row[at]
        number = float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None
        found.setdefault(label, {})[str(row[time])] = number
        times[str(row[time])] = None
    ordered = sorted(times)
    lines = [Line(label, ordered, [of.get(each) for each in ordered]) for label, of in found.items()]
    return lines[:MOST_LINES], len(lines) - min(len(lines), MOST_LINES)


def in_terminal(lines: Sequence[Line], *, width: int, height: int = 8) -> list[str]:
    """Return a chart of bars a line: its range at the left, times below, *width* columns at most."""
    text: list[str] = []
    for line in lines:
        known = [each for each in line.values if each is not None]
        if not known:
            continue
        low, high = min(0.0, *known), max(known)
        scale = f"{_short(high)}", f"{_short(low)}"
        margin = max(map(len, scale)) + 1
        columns = _narrowed(line.values, max(width - margin - 1, 10))
        text.append(line.label)
        for level in range(height, 0, -1):
            edge = scale[0] if level == height else scale[1] if level == 1 else ""
            text.append(
                f"{edge:>{margin - 1}} ┤" + "".join(_cell(each, low, high, level, height) for each in columns)
            )
        first, last = line.times[0], line.times[-1]
        text.append(" " * margin + f"{first}{last:>{max(len(columns) - len(first), len(last) + 1)}}")
    return text


def _cell(value: float | None, low: float, high: float, level: int, height: int) -> str:
    if value is None:
        return " "
    filled = (value - low) / (high - low) * height * _LEVELS if high > low else height * _LEVELS
    return _BARS[max(0, min(_LEVELS, round(filled) - (level - 1) * _LEVELS))]


def _narrowed(values: Sequence[float | None], most: int) -> list[float | None]:
    """Return *values* in *most* columns at most: where several share one, the greatest of them."""
    each = -(-len(values) // most)
    runs = [values[first : first + each] for first in range(0, len(values), each)]
    return [max((one for one in run if one is not None), default=None) for run in runs]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


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
        instants: Any = [datetime.fromisoformat(each) for each in line.times]
        values = [float("nan") if each is None else each for each in line.values]
        marker = "o" if len(values) < 60 else None
        axes.plot(
            instants, values, label=line.label.replace("$", r"\$"), marker=marker, markersize=3, linewidth=1.4
        )
    axes.set_ylabel(column)
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
