"""``streamgage drain``: wait until everything that was sent is applied."""

import argparse
import os
import sys
import time
from typing import Any

from infra.commands.arguments import Verbs, add_verb
from infra.local.stack.home import Home

EXAMPLES = """examples:
  streamgage send ndjson events.ndjson --source click && streamgage drain && streamgage query page_views page=/"""

_PATIENCE_MS = 2_000  # a retry or two are nothing to tell


def add_parser(verbs: Verbs) -> None:
    """Add ``drain``."""
    parser = add_verb(verbs, "drain", "wait until everything that was sent is applied", epilog=EXAMPLES)
    parser.add_argument("--seconds", type=float, default=300, help="give up after so long; default: 300")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Wait; 0 once nothing is left to apply. What stands still meanwhile is told, once."""
    from infra.local.stack.drain import wait_drained

    wait_drained(Home.of(os.environ), seconds=arguments.seconds, on_status=_Told().tell)
    return 0


class _Told:
    """Tells on stderr where a shard has stood for a while."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def tell(self, status: dict[str, Any]) -> None:
        from infra.local.mapping.standing import told

        now_ms = time.time_ns() // 1_000_000
        for shard_id, shard in status.get("shards", {}).items():
            standing = shard.get("standing")
            if standing and now_ms - standing["since_ms"] > _PATIENCE_MS:
                what = (shard_id, standing["sequence_number"])
                if what not in self._told:
                    self._told.add(what)
                    print(f"streamgage: {shard_id} {told(standing, now_ms)}", file=sys.stderr)
