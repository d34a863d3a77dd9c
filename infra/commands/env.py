"""``streamgage env``: what a shell needs so that AWS's own tools speak to the stack on this machine."""

import argparse
import os
import shlex
import sys

from infra.commands.arguments import Verbs, add_verb
from infra.local.stack.home import Home, StackInfo
from producers.terminal import data_out

EXAMPLES = """examples:
  eval "$(streamgage env)"                       this shell speaks to the stack that runs here
  aws kinesis list-streams
  aws sqs list-queues
  curl "$HTTP/v1/rollups"

The keys are the home's own, made at random by its first `up`. The stack obeys nobody without them: other users of this
machine and web pages do not have them. HTTP is the address of page and API, which holds a secret of its own; LIVE is the
WebSocket under it."""


def add_parser(verbs: Verbs) -> None:
    """Add ``env``."""
    parser = add_verb(verbs, "env", "print what a shell needs to speak to the stack", epilog=EXAMPLES)
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print the exports."""
    lines = exports(Home.of(os.environ).info())
    print("\n".join(lines), file=data_out())
    if sys.stdout.isatty():
        print('streamgage: for this shell: eval "$(streamgage env)"', file=sys.stderr)
    return 0


def exports(info: StackInfo) -> list[str]:
    """Return the lines that a shell evaluates."""
    variables = {
        **info.credentials.variables(),
        "AWS_REGION": info.region,
        "AWS_DEFAULT_REGION": info.region,
        "AWS_ENDPOINT_URL": info.endpoints["aws"],
        "AWS_ENDPOINT_URL_KINESIS": info.endpoints["kinesis"],
        "AWS_ENDPOINT_URL_DYNAMODB": info.endpoints["dynamodb"],
    }
    if (base := info.endpoints.get("http")) is not None:
        variables |= {"HTTP": base, "STREAMGAGE_HTTP": base}
    if (live := info.endpoints.get("live")) is not None:
        variables |= {"LIVE": live, "STREAMGAGE_LIVE": live}
    return [
        "unset AWS_SESSION_TOKEN AWS_PROFILE",  # of another account: they would go along with these keys
        *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
    ]
