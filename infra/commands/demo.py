"""``streamgage demo``: the whole pipeline on this machine, and every total compared with what was sent."""

import argparse
import os
from pathlib import Path

from infra.commands.arguments import PIPELINE_FILE, Verbs, add_dynamodb, add_verb
from infra.local.stack.home import Home

EXAMPLES = """examples:
  streamgage demo
  streamgage demo --readings 20000 --devices 50 --clicks 5000 --seed 7
  streamgage demo --keep                         runs on afterwards and sends, until Ctrl-C: its page moves
  streamgage demo --dynamodb local               AWS's own engine; in memory, for on disk it takes some 55 writes a second

It uses ports and a folder (.streamgage/demo) of its own, and leaves no process behind."""


def add_parser(verbs: Verbs) -> None:
    """Add ``demo``."""
    parser = add_verb(
        verbs,
        "demo",
        "run the whole pipeline on simulated events, and compare every total",
        epilog=EXAMPLES,
    )
    parser.add_argument("--readings", type=int, default=200_000)
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--clicks", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--pipeline", metavar="PATH", default=PIPELINE_FILE)
    parser.add_argument("--keep", action="store_true", help="run on, and send on, until it is stopped")
    add_dynamodb(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 only where every total is what was sent."""
    from infra.commands.code import CODE
    from infra.local.demonstration import DemoOptions, demonstrate
    from infra.local.stack.tables import Engine

    return demonstrate(
        DemoOptions(
            home=Home(Home.of(os.environ).root / "demo"),
            pipeline=Path(arguments.pipeline),
            code=CODE,
            dynamodb=Engine(arguments.dynamodb),
            readings=arguments.readings,
            devices=arguments.devices,
            clicks=arguments.clicks,
            seed=arguments.seed,
            keep=arguments.keep,
        )
    )
