"""``streamgage down``: stop the pipeline on this machine."""

import argparse
import os
import sys

from infra.commands.arguments import Verbs, add_verb
from infra.local.stack.home import Home

EXAMPLES = """examples:
  streamgage down

Each process is asked to end, and killed when it does not: the mapping after 30 s, every other one after 10 s, and the one that
watches them after 60 s. What was acknowledged is on the disk by then. Processes of others are never touched."""


def add_parser(verbs: Verbs) -> None:
    """Add ``down``."""
    parser = add_verb(verbs, "down", "stop the pipeline on this machine; its data is kept", epilog=EXAMPLES)
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Stop the stack, and wait until none of its processes is left."""
    from infra.local.stack.leftovers import take_down

    home = Home.of(os.environ)
    if take_down(home, say=lambda text: print(f"streamgage: {text}", file=sys.stderr)):
        print("streamgage: down; stream, tables and checkpoints are kept", file=sys.stderr)
    else:
        print(f"no stack is running in {home.root}", file=sys.stderr)
    return 0
