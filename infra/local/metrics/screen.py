"""A frame on the terminal, by rich; in 80 columns and more, in as many rows as there are shards."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from infra.local.mapping.standing import SILENT_MS
from infra.local.metrics.frame import Frame, Rate, ShardLine
from streamgage.visible import visible

_LATE_MS, _VERY_LATE_MS = 30_000, 300_000
_TROUBLE = frozenset({"errors", "records discarded"})
_SHARDS_SHOWN = 16
_COUNTS_A_ROW = 3


def screen(frame: Frame) -> RenderableType:
    """Return *frame* as rich draws it."""
    title = Rule(f"streamgage · {frame.stream} → {frame.table}", align="left", style="dim")
    parts: list[RenderableType] = [title, _head(frame), "", _rates(frame), "", _shards(frame)]
    if len(frame.shards) > _SHARDS_SHOWN:
        parts.append(Text(f"… and {len(frame.shards) - _SHARDS_SHOWN} more shards", style="dim"))
    parts += ["", *_counts(frame), *_troubles(frame)]
    return Group(*parts)


def _head(frame: Frame) -> Text:
    line = Text()
    for name, alive in frame.processes.items():
        line.append("● " if alive else "✗ ", "green" if alive else "bold red").append(f"{name}  ")
    return line.append(f"\n{frame.sandboxes} sandboxes, version {frame.version or '-'}", "dim")


def _rates(frame: Frame) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=9)
    table.add_column(justify="right", width=8)
    table.add_column(no_wrap=True)
    for rate in frame.rates:
        table.add_row(rate.name, Text(_per_s(rate.per_s), "bold"), Text(_drawn(rate), "cyan"))
    table.add_row(
        "fresh to", _age(frame.freshness_ms), Text("ago: all that arrived before is applied", "dim")
    )
    return table


def _drawn(rate: Rate) -> str:
    return rate.sparkline if any(rate.seconds) else "nothing in the last minute"


def _shards(frame: Frame) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), expand=False, header_style="dim")
    for name in ("shard", "in work", "behind", "fresh to", "checkpoint", "state"):
        right = name in ("in work", "behind", "fresh to")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for shard in sorted(frame.shards, key=_urgency)[:_SHARDS_SHOWN]:
        table.add_row(
            shard.shard_id.removeprefix("shardId-"), f"{shard.undone:,}", _age(shard.behind_ms),
            _age(shard.freshness_ms), shard.checkpoint, _state(shard),
        )  # fmt: skip
    return table


def _urgency(shard: ShardLine) -> tuple[int, str]:
    return -(shard.freshness_ms or 0) // _LATE_MS if not shard.caught_up else 0, shard.shard_id


def _state(shard: ShardLine) -> Text:
    if shard.stands:
        return Text("stands still", "bold red")
    return Text("up to date", "green") if shard.caught_up else Text("working", "yellow")


def _counts(frame: Frame) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 2, 0, 0))
    cells = []
    for name, count in frame.totals.items():
        style = "bold red" if count and name in _TROUBLE else "bold" if count else "dim"
        cells.append(Text(f"{name} ").append(f"{count:,}", style))
    for start in range(0, len(cells), _COUNTS_A_ROW):
        table.add_row(*cells[start : start + _COUNTS_A_ROW])
    yield table
    depth = "-" if frame.quarantine_depth is None else f"{frame.quarantine_depth:,}"
    text = Text("quarantine ").append(depth, "bold yellow" if frame.quarantine_depth else "dim")
    if frame.poison:
        text.append("   by code: " + ", ".join(f"{code} {count:,}" for code, count in frame.poison.items()))
    yield text


def _troubles(frame: Frame) -> Iterator[Text]:
    if frame.failed_batches:
        yield Text(f"failed batches in the bucket: {frame.failed_batches:,}", "bold red")
    if frame.mapping_silent_ms is None:
        yield Text("the mapping has not said anything yet", "yellow")
    elif frame.mapping_silent_ms > SILENT_MS:
        yield Text(f"the mapping has been silent for {frame.mapping_silent_ms / 1000:.0f} s", "bold red")
    for line in frame.standing:
        yield Text(line, "bold red")
    if frame.last_error:
        yield Text(
            f"last error: {visible(frame.last_error.partition(chr(10))[0])}",
            "red",
            overflow="ellipsis",
            no_wrap=True,
        )


def _per_s(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"


def _age(ms: int | None) -> Text:
    if ms is None:
        return Text("-", "dim")
    style = "bold red" if ms >= _VERY_LATE_MS else "yellow" if ms >= _LATE_MS else ""
    return Text(f"{ms} ms" if ms < 1000 else f"{ms / 1000:,.1f} s", style)
