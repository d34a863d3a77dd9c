"""Plots of results: bars for contestants, lines along an axis."""

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.harness import Series, Table

OURS, PEER, REFERENCE = "#0b6e99", "#9aa5ab", "#c98a2b"
_COLOURS = {"ours": OURS, "peer": PEER, "reference": REFERENCE}
_LINES = (OURS, "#c98a2b", "#7b4b94", "#5c8a3a", "#a33d3d")
_WIDE_RANGE = 20
_LINE_POINTS, _POINTS_AN_INCH = 12, 72


def file_stem(name: str, title: str) -> str:
    """Return what the plot's files are called, without their ending."""
    return f"{name}-{re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')}"


def draw(table: Table, stem: Path) -> Path | None:
    """Draw *table* as ``stem.svg`` and return it; draw nothing where there is nothing to compare."""
    if len(table.series) < 2:
        return None
    with mpl.rc_context():
        _set_style()
        plot = Figure(figsize=(8, _height(table)), layout="constrained")
        axes = plot.add_subplot()
        plot.suptitle(
            table.title, x=0.01, ha="left", fontweight="bold"
        )  # above the labels too: they may be long
        if table.x is None:
            _bars(axes, table)
        else:
            _lines(axes, table)
        path = stem.with_name(f"{stem.name}.svg")
        plot.savefig(path, metadata={"Date": None})
    return path


def _set_style() -> None:
    mpl.rc("font", size=10, family="DejaVu Sans")
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc("axes", titlesize=12, titleweight="bold", titlelocation="left")
    mpl.rc("svg", hashsalt="streamgage", fonttype="none")  # the same plot is the same file


def _height(table: Table) -> float:
    return 4.5 if table.x else 1.2 + 0.42 * len(table.series)


def _bars(axes: Axes, table: Table) -> None:
    """A bar a contestant, its figure at its end, least to most as a whisker; the best above."""
    ordered = sorted(table.series, key=lambda each: each.median, reverse=table.better == "less")
    medians = [each.median for each in ordered]
    axes.barh(
        [each.label for each in ordered],
        medians,
        height=0.62,
        color=[_COLOURS[each.role] for each in ordered],
        xerr=_whiskers(ordered),
        error_kw={"elinewidth": 1, "ecolor": "#333333", "capsize": 2},
    )
    if min(medians) > 0 and (table.log_x or max(medians) > _WIDE_RANGE * min(medians)):
        axes.set_xscale("log")
        axes.set_xlim(left=min(medians) / 3)
        axes.xaxis.set_minor_formatter(NullFormatter())
        unit = f"{table.unit}, logarithmic"
    else:
        axes.set_xlim(left=0)
        unit = table.unit
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.set_xlabel(f"{unit} ({table.better} is better)")
    axes.tick_params(axis="y", length=0)
    for row, each in enumerate(ordered):
        axes.annotate(
            _figure(each.median),
            (max(each.samples), row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold" if each.role == "ours" else "normal",
        )
    axes.margins(x=0.14)


def _lines(axes: Axes, table: Table) -> None:
    """A line a label, its name at its end, the spread of the rounds as a band."""
    labels = list(dict.fromkeys(each.label for each in table.series))
    ends: list[tuple[float, float, str, str]] = []
    for label, colour in zip(labels, _LINES * len(labels), strict=False):
        points = sorted(
            (each for each in table.series if each.label == label and each.at is not None),
            key=lambda each: each.at or 0.0,
        )
        xs = [each.at or 0.0 for each in points]
        axes.fill_between(
            xs,
            [min(each.samples) for each in points],
            [max(each.samples) for each in points],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(xs, [each.median for each in points], marker="o", markersize=4, color=colour)
        if len(labels) > 1:
            ends.append((points[-1].median, xs[-1], label, colour))
        else:
            for x, each in zip(xs, points, strict=True):
                axes.annotate(
                    _figure(each.median), (x, max(each.samples)), xytext=(0, 6), textcoords="offset points",
                    ha="center", color=colour,
                )  # fmt: skip
    _scale(axes, table)
    axes.set_xlabel(table.x or "")
    axes.set_ylabel(table.unit)
    axes.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.06 if len(labels) == 1 else 0.18)
    _name_lines(axes, ends)


def _name_lines(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its *end* (y, x, name, colour), the lower ones first, none over another."""
    figure = axes.get_figure(root=True)
    dpi = figure.dpi if figure else _POINTS_AN_INCH
    top_points = float("-inf")
    for y, x, label, colour in sorted(ends):
        at_points = axes.transData.transform((x, y))[1] * _POINTS_AN_INCH / dpi
        top_points = max(at_points, top_points + _LINE_POINTS)
        axes.annotate(
            label,
            (x, y),
            xytext=(7, top_points - at_points),
            textcoords="offset points",
            va="center",
            color=colour,
        )


def _scale(axes: Axes, table: Table) -> None:
    xs = sorted({each.at for each in table.series if each.at is not None})
    if table.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.minorticks_off()
    if len(xs) <= 8:
        axes.set_xticks(xs)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if table.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, max(max(each.samples) for each in table.series) * 1.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _whiskers(series: Sequence[Series]) -> list[list[float]]:
    return [
        [each.median - min(each.samples) for each in series],
        [max(each.samples) - each.median for each in series],
    ]


def _figure(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
