"""What ``streamgage status`` prints of a mapping, local or on AWS."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streamgage.visible import sentence, visible

if TYPE_CHECKING:
    from processors.query.freshness import Freshness

_WIDTH = 160  # where the output is not a terminal


def console() -> Any:
    """Return rich's console: as wide as the terminal, and wide where there is none."""
    from producers.screen import Screen

    return Screen(width=None if sys.stdout.isatty() else _WIDTH)


def print_mapping(console: Any, mapping: dict[str, Any], fresh: "Freshness", *, since: str) -> None:
    """Print shards, counters (of *since*) and freshness of a mapping, local or on AWS."""
    from rich.table import Table

    from infra.local.mapping.standing import lines

    table = Table()
    for name in ("shard", "checkpoint", "records read", "in work", "state"):
        table.add_column(name, justify="left" if name in ("shard", "checkpoint") else "right", no_wrap=True)
    for shard_id, shard in sorted(mapping.get("shards", {}).items()):
        table.add_row(
            visible(shard_id),
            visible(shard["checkpoint"] or "-"),
            _number(shard["records_read"]),
            _number(shard["undone"]),
            _state(shard),
        )
    console.print(table)
    counters = mapping.get("counters", {})
    console.print(f"{since}: " + ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counters.items()))
    now_ms = time.time_ns() // 1_000_000
    console.print(fresh.describe(now_ms), markup=False)
    for line in lines(mapping, now_ms) if "as_of_ms" in mapping else ():
        console.print(line, markup=False)
    if fresh.repeated or fresh.forgotten:
        console.print(
            f"repeats of producers dropped: {fresh.repeated:,}; marks forgotten beyond the bound: {fresh.forgotten:,}"
        )
    if mapping.get("last_error"):
        console.print(f"last error: {sentence(mapping['last_error']['message'])}")


def named(values: Mapping[str, str]) -> Any:
    """Return ``name value`` of each, the values in bold."""
    from rich.text import Text

    pairs = [Text.assemble(f"{name} ", (visible(value), "bold")) for name, value in values.items()]
    return Text("  ").join(pairs)


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _state(shard: dict[str, Any]) -> str:
    if shard["finished"]:
        return "finished"
    if shard.get("standing"):
        return "stands still"
    if shard.get("waits_for"):
        return "waits for its parents"
    if shard["caught_up"]:
        return "up to date"
    if shard.get("lag_ms"):
        return f"{shard['lag_ms']:,} ms behind"
    return "behind" if shard["behind_ms"] is None else f"{shard['behind_ms']} ms behind"
