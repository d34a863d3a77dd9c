"""``streamgage down``: stop the pipeline on this machine."""

import argparse
import os
import signal
import sys
import time
from contextlib import suppress

from infra.commands.arguments import Verbs, add_verb
from infra.local.stack.home import Home, is_alive
from streamgage.errors import ConfigError

EXAMPLES = """examples:
  streamgage down"""
_WAIT_S = 60


def add_parser(verbs: Verbs) -> None:
    """Add ``down``."""
    parser = add_verb(verbs, "down", "stop the pipeline on this machine; its data is kept", epilog=EXAMPLES)
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Stop the stack, and wait until none of its processes is left."""
    home = Home.of(os.environ)
    raw = home.raw_info()
    if raw is None:
        print(f"no stack is running in {home.root}", file=sys.stderr)
        return 0
    supervisor = raw["pids"].get("supervisor", 0)
    if is_alive(supervisor):
        with suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + _WAIT_S
        while is_alive(supervisor):
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"the supervisor (pid {supervisor}) does not stop; end it: kill -9 {supervisor}, "
                    "then say again: streamgage down"
                )
            time.sleep(0.05)
    from infra.local.stack.supervisor import end_leftovers

    end_leftovers(home)
    print("streamgage: down; stream, tables and checkpoints are kept", file=sys.stderr)
    return 0
