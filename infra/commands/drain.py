"""``streamgage drain``: wait until everything that was sent is applied."""

import argparse
import os

from infra.commands.arguments import Verbs, add_verb
from infra.local.stack.drain import wait_drained
from infra.local.stack.home import Home

EXAMPLES = """examples:
  streamgage send ndjson events.ndjson --source click && streamgage drain && streamgage query page_views page=/"""


def add_parser(verbs: Verbs) -> None:
    """Add ``drain``."""
    parser = add_verb(verbs, "drain", "wait until everything that was sent is applied", epilog=EXAMPLES)
    parser.add_argument("--seconds", type=float, default=300, help="give up after so long; default: 300")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Wait; 0 once nothing is left to apply."""
    home = Home.of(os.environ)
    home.info()
    wait_drained(home, seconds=arguments.seconds)
    return 0
