"""The ``streamgage`` command. Each subcommand loads only what it needs: a device has only the extra that sends."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from streamgage.errors import ConfigError, StreamgageError

_USAGE_ERROR = 2
_INTERRUPTED = 130

EPILOG = """the whole pipeline on this machine:
  streamgage up                                        start it (Ctrl-C stops it)
  streamgage send csv readings.csv --source reading    send recorded events
  streamgage query device_metrics device_id=d1 metric=temperature --window 1h
  streamgage status                                    what it is doing
  streamgage down                                      stop it; stream and tables are kept

`streamgage COMMAND --help` shows the options of a command, with examples."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    import infra.commands.check
    import infra.commands.deploy
    import infra.commands.lint
    import infra.commands.package
    import infra.commands.plan
    import infra.commands.query
    import infra.commands.send
    import infra.commands.stack

    parser = argparse.ArgumentParser(
        prog="streamgage",
        description="Exact aggregates of telemetry: Kinesis, Lambda, DynamoDB; on AWS and on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    infra.commands.stack.add_commands(commands)
    infra.commands.send.add_commands(commands)
    infra.commands.query.add_commands(commands)
    infra.commands.check.add_commands(commands)
    infra.commands.plan.add_commands(commands)
    infra.commands.lint.add_commands(commands)
    infra.commands.package.add_commands(commands)
    infra.commands.deploy.add_commands(commands)
    for command in entry_points(group="streamgage.commands"):  # of rooms that this one must not import
        command.load()(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; what a person can mend is told without a traceback."""
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
    except ConfigError as error:
        for problem in error.problems:
            print(f"streamgage: {problem}", file=sys.stderr)
        return _USAGE_ERROR
    except StreamgageError as error:
        print(f"streamgage: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("streamgage: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
