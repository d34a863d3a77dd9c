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
    collect,
    demo,
    deploy,
    destroy,
    diff,
    doctor,
    down,
    drain,
    env,
    init,
    items,
    keys,
    lint,
    load,
    mqtt,
    package,
    plan,
    query,
    send,
    simulate,
    spool,
    sql,
    status,
    up,
    update,
)
from infra.commands.signals import Ended, ending_by_signals
from infra.commands.streams import complain, flush_stdout, leave, mend_streams
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
    init,
    up,
    down,
    status,
    doctor,
    env,
    update,
    drain,
    demo,
    send,
    collect,
    spool,
    keys,
    mqtt,
    simulate,
    load,
    query,
    sql,
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
    mend_streams()
    with watched():
        return _ended(arguments)


def _ended(arguments: Sequence[str] | None) -> int:
    code = _USAGE_ERROR
    try:
        with ending_by_signals(is_last=arguments is None):
            code = _run(arguments)
    except Ended as ended:
        complain("streamgage: interrupted")
        code = 128 + ended.number
    except KeyboardInterrupt:
        complain("streamgage: interrupted")
        code = _INTERRUPTED
    except SystemExit as leaving:  # argparse, which has said why
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        if not flush_stdout() and not code:
            raise SystemExit(1) from leaving
        raise
    if not flush_stdout() and not code:
        code = 1
    if arguments is None:
        leave(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        for each in sys.argv[1:] if arguments is None else arguments:
            if each.startswith("--") and each.endswith("=--"):  # argparse would make an empty list of it
                raise ConfigError(f"{each}: -- is no value")
        parsed = build_parser().parse_args(arguments)
        code: int = parsed.run(parsed)
    except (StreamgageError, OSError, UnicodeEncodeError) as error:
        return _tell(error)
    return code


def _tell(error: StreamgageError | OSError | UnicodeEncodeError) -> int:
    """Say what a person can mend, and return the exit code."""
    if isinstance(error, BrokenPipeError):  # the reader of our output went away, as `| head` does
        return 0
    code = 1
    if isinstance(error, ConfigError):
        problems, code = error.problems, _USAGE_ERROR
    elif isinstance(error, UnicodeEncodeError):  # an argument of bytes that are no text, where text is needed
        problems, code = _unwritable(error)
    elif isinstance(error, OSError):  # a disk that is full, a folder that may not be written
        where = f"{error.filename!s}: " if error.filename is not None else ""
        problems = (f"{where}{error.strerror or error}",)
    else:
        problems = (str(error),)
    for problem in problems[:_PROBLEMS]:
        complain(f"streamgage: {sentence(problem)}")
    if len(problems) > _PROBLEMS:
        complain(f"streamgage: … and {len(problems) - _PROBLEMS:,} more problems")
    return code


def _unwritable(error: UnicodeEncodeError) -> tuple[tuple[str, ...], int]:
    lacking = error.object[error.start]
    if "\ud800" <= lacking <= "\udfff":  # an argument of bytes that are no text, where text is needed
        return (f"{error.object!r:.80}: holds what UTF-8 cannot encode",), _USAGE_ERROR
    # Data only: what a person reads is escaped.
    return (
        f"the output cannot be written: {error.encoding} has no {lacking!r}. Say: PYTHONIOENCODING=utf-8",
    ), 1


if __name__ == "__main__":
    sys.exit(main())
