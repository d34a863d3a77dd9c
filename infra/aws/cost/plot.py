"""The curve of a plan as a picture."""

from pathlib import Path

from infra.aws.cost.model import Bill, Line
from infra.aws.cost.plan import CURVE_WINDOWS_S, Plan
from streamgage.errors import ConfigError

_FORMATS = (".svg", ".png")
_VISIBLE = 0.005  # what is less of the whole could not be seen


def plot_curve(plan: Plan, path: Path) -> None:
    """Draw $ a million events, by what they are paid for, over the batching window; write it to *path*.

    Raises:
        ConfigError: neither .svg nor .png; matplotlib is not installed; the file cannot be written.
    """
    if path.suffix not in _FORMATS:
        raise ConfigError(f"--plot {path}: name a file that ends in {' or '.join(_FORMATS)}")
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        raise ConfigError("--plot needs matplotlib: pip install 'streamgage[bench]'") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    points = [each for each in plan.curve if each.batching_window_s]
    windows = [each.batching_window_s for each in points]
    parts = list(dict.fromkeys(map(_part, plan.provisioned.lines)))
    amounts = {part: [_usd(each.bill, part) for each in points] for part in parts}
    shown = {
        part: usd
        for part, usd in amounts.items()
        if max(usd) > _VISIBLE * plan.provisioned.usd_per_million_events
    }
    axes.stackplot(windows, list(shown.values()), labels=list(shown))
    axes.axvline(plan.batching_window_s, color="black", linestyle="--", linewidth=1, label="planned")
    axes.set_xscale("log")
    ticks = [each for each in CURVE_WINDOWS_S if each]
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.minorticks_off()
    axes.set_xlabel("batching window, s")
    axes.set_ylabel("$ a million events")
    axes.set_title(
        f"{plan.load.events_per_s:,.0f} events/s, {plan.load.devices:,} devices, {plan.flow.shards} shards"
    )
    axes.legend(loc="upper right")
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"--plot {path}: {error}") from error


def _part(line: Line) -> str:
    """Return what *line* is drawn as: DynamoDB, which is nearly everything, by what it is paid for."""
    return f"{line.service}: {line.what}" if line.service == "DynamoDB" else line.service


def _usd(bill: Bill, part: str) -> float:
    return sum(line.usd for line in bill.lines if _part(line) == part) / bill.events * 1e6
