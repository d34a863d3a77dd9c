"""``streamgage status``: what the local stack is doing."""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from typing import Any

from infra.local.stack.home import Home, StackInfo, read_json
from processors.query.freshness import Freshness, freshness

_WIDTH = 160  # where the output is not a terminal


def run(arguments: argparse.Namespace) -> int:
    """Show the processes, the shards and how far behind they are."""
    home = Home.of(os.environ)
    info, mapping = home.info(), home.status()
    fresh = freshness(_progress(info), mapping)
    if arguments.format == "json":
        print(
            json.dumps(
                {"stack": read_json(home.info_file), "mapping": mapping, "freshness": asdict(fresh)}, indent=1
            )
        )
    else:
        _print(info, mapping, fresh)
    return 0


def _progress(info: StackInfo) -> list[Any]:
    from infra.local.stack.supervisor import local_client  # noqa: PLC0415 - boto3 takes a tenth of a second: --help has no use for it
    from processors.query.question import DynamoPartialStore, read_progress  # noqa: PLC0415 - the same

    return list(
        read_progress(
            DynamoPartialStore(
                local_client("dynamodb", info.endpoints["dynamodb"], info.credentials), info.table
            )
        )
    )


def _print(info: StackInfo, mapping: dict[str, Any], fresh: Freshness) -> None:
    screen = console()
    screen.print(f"stream [bold]{info.stream}[/]  table [bold]{info.table}[/]")
    screen.print("endpoints: " + ", ".join(f"{name} {url}" for name, url in info.endpoints.items()))
    screen.print("processes: " + ", ".join(f"{name} {pid}" for name, pid in info.pids.items()))
    print_mapping(screen, mapping, fresh, since="since the mapping started")


def console() -> Any:
    """Return rich's console: as wide as the terminal, and wide where there is none."""
    from rich.console import Console  # noqa: PLC0415 - only tables need it

    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)


def print_mapping(console: Any, mapping: dict[str, Any], fresh: Freshness, *, since: str) -> None:
    """Print shards, counters (of *since*) and freshness of a mapping, local or on AWS."""
    from rich.table import Table  # noqa: PLC0415 - only tables need it

    table = Table()
    for name in ("shard", "checkpoint", "records read", "in work", "state"):
        table.add_column(name, justify="left" if name in ("shard", "checkpoint") else "right", no_wrap=True)
    for shard_id, shard in sorted(mapping.get("shards", {}).items()):
        table.add_row(
            shard_id,
            shard["checkpoint"] or "-",
            _number(shard["records_read"]),
            _number(shard["undone"]),
            _state(shard),
        )
    console.print(table)
    counters = mapping.get("counters", {})
    console.print(f"{since}: " + ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counters.items()))
    console.print(fresh.describe(time.time_ns() // 1_000_000))
    if fresh.repeated or fresh.forgotten:
        console.print(
            f"repeats of producers dropped: {fresh.repeated:,}; marks forgotten beyond the bound: {fresh.forgotten:,}"
        )
    if mapping.get("last_error"):
        console.print(f"last error: {mapping['last_error']['message']}", markup=False)


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _state(shard: dict[str, Any]) -> str:
    if shard["finished"]:
        return "finished"
    if shard["caught_up"]:
        return "up to date"
    return "behind" if shard["behind_ms"] is None else f"{shard['behind_ms']} ms behind"
