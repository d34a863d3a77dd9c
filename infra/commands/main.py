"""The ``streamgage`` command: one module a verb, each with ``add_parser`` and ``run``.

A verb imports at its top only what is light and in every installation. What is not (boto3, rich, the translator, the local
stack) it imports in ``run``: ``--help`` is fast, and a device has only the extra that sends.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from infra.commands import (
    check,
    demo,
    deploy,
    destroy,
    diff,
    doctor,
    down,
    drain,
    env,
    items,
    lint,
    package,
    plan,
    query,
    send,
    simulate,
    status,
    up,
    update,
)
from producers.terminal import watched
from streamgage.errors import ConfigError, StreamgageError
from streamgage.visible import sentence

_USAGE_ERROR = 2
_INTERRUPTED = 130
_PROBLEMS = 40  # told at once: a file can be wrong a thousand times

EPILOG = """the whole pipeline on this machine:
  streamgage up                                        start it (Ctrl-C stops it)
  streamgage send csv readings.csv --source reading    send recorded events
  streamgage query device_metrics device_id=d1 metric=temperature --window 1h
  streamgage status                                    what it is doing
  streamgage down                                      stop it; stream and tables are kept

`streamgage COMMAND --help` shows the options of a command, with examples."""


VERBS = (
    up,
    down,
    status,
    doctor,
    env,
    update,
    drain,
    demo,
    send,
    simulate,
    query,
    items,
    check,
    plan,
    lint,
    package,
    deploy,
    diff,
    destroy,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="streamgage",
        description="Exact aggregates of telemetry: Kinesis, Lambda, DynamoDB; on AWS and on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for verb in VERBS:
        verb.add_parser(verbs)
    for command in entry_points(group="streamgage.commands"):  # of rooms that this one must not import
        command.load()(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what a person can mend is told without a traceback, and no text of a stranger raw."""
    with watched():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except ConfigError as error:
        for problem in error.problems[:_PROBLEMS]:
            print(f"streamgage: {sentence(problem)}", file=sys.stderr)
        if len(error.problems) > _PROBLEMS:
            print(f"streamgage: … and {len(error.problems) - _PROBLEMS:,} more problems", file=sys.stderr)
        return _USAGE_ERROR
    except StreamgageError as error:
        print(f"streamgage: {sentence(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("streamgage: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except UnicodeEncodeError as error:  # data only: what a person reads is escaped
        lacks = f"{error.encoding} has no {error.object[error.start]!r}"
        print(
            f"streamgage: the output cannot be written: {lacks}. Say: PYTHONIOENCODING=utf-8", file=sys.stderr
        )
        return 1
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
