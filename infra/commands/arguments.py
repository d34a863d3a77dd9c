"""What several verbs take: a parser with examples, the definition, the template, a stack on AWS, a stream, pairs."""

import argparse
import os
from collections.abc import Iterable
from typing import Any

from streamgage.errors import ConfigError

DEFAULT_STACK = "streamgage"
PIPELINE_VARIABLE = "STREAMGAGE_PIPELINE"
PIPELINE_FILE = "pipeline.toml"

Verbs = Any  # argparse's type of subparsers is private


def add_verb(
    verbs: Verbs,
    name: str,
    summary: str,
    *,
    epilog: str,
    description: str | None = None,
    allow_abbrev: bool = True,
) -> argparse.ArgumentParser:
    """Add a verb, or a kind of one, and return its parser. *summary* is its line in the list above it."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=description or f"{summary[:1].upper()}{summary[1:]}.",
        epilog=epilog.lstrip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=allow_abbrev,
    )
    return parser


def add_pipeline(parser: argparse.ArgumentParser, *, help: str | None = None) -> None:  # noqa: A002 - argparse's word
    """Add ``--pipeline``, whose default is the definition in this folder or the one that the environment names."""
    parser.add_argument("--pipeline", metavar="PATH", default=usual_pipeline(), help=help)


def usual_pipeline() -> str:
    """Return the definition to use where no ``--pipeline`` says."""
    return os.environ.get(PIPELINE_VARIABLE, PIPELINE_FILE)


def add_parameter(parser: argparse.ArgumentParser) -> None:
    """Add ``--parameter``, as ``deploy``, ``diff`` and ``lint`` take it."""
    parser.add_argument(
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="of the template; wins over [deploy] of pipeline.toml",
    )


def add_dynamodb(parser: argparse.ArgumentParser) -> None:
    """Add ``--dynamodb``: which engine holds the tables of a local stack."""
    from infra.local.stack.tables import Engine

    parser.add_argument(
        "--dynamodb",
        choices=[each.value for each in Engine],
        default=Engine.EMBEDDED.value,
        help="the engine of the tables: ours over SQLite, AWS's own DynamoDB Local, or MiniStack, which keeps them only "
        "over a graceful down; default: embedded",
    )


def add_stack_options(parser: Any) -> None:
    """Add ``--target``, ``--stack`` and ``--region`` to a parser or a group of one."""
    parser.add_argument(
        "--target",
        choices=("local", "aws"),
        help="the stack that runs here, or one that `streamgage deploy` made",
    )
    parser.add_argument("--stack", metavar="NAME", help=f"of AWS, with --target aws ({DEFAULT_STACK})")
    parser.add_argument("--region", metavar="NAME", help="of AWS; boto3's own without it, as credentials are")


def aws_stack(arguments: argparse.Namespace) -> str | None:
    """Return the name of the stack on AWS that was asked for, or None for the one that runs here. Raises: ConfigError."""
    if arguments.target == "aws":
        return arguments.stack or DEFAULT_STACK
    if arguments.stack is not None:
        raise ConfigError(f"--stack {arguments.stack} is of AWS: say --target aws --stack {arguments.stack}")
    return None


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add the definition, and where to send, as ``send`` and ``simulate`` take them."""
    parser.add_argument(
        "--pipeline", metavar="PATH", help=f"the definition ({PIPELINE_FILE}, or ${PIPELINE_VARIABLE})"
    )
    add_target_options(parser)


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """Add which stream to send to."""
    group = parser.add_argument_group("stream", "without any of these: the stack that runs here")
    add_stack_options(group)
    group.add_argument("--stream", metavar="NAME", help="of the Kinesis stream")
    group.add_argument("--endpoint-url", metavar="URL", help="of Kinesis, where it is not AWS's own")
    group.add_argument(
        "--one-key-per-record",
        action="store_true",
        help="give each Kinesis record one partition key; needed where the mapping's ParallelizationFactor is above 1",
    )


def pairs(texts: Iterable[str], form: str = "NAME=VALUE", *, option: str = "") -> dict[str, str]:
    """Return what ``NAME=VALUE``, given again and again, says. *option* names it in messages, *form* shows how.

    Raises:
        ConfigError: every text that is no pair, or whose name is given twice: neither value is surely meant.
    """
    problems: list[str] = []
    found = collect_pairs(texts, form, option=option, problems=problems)
    if problems:
        raise ConfigError(*problems)
    return found


def collect_pairs(
    texts: Iterable[str], form: str, *, option: str, problems: list[str], may_be_empty: bool = True
) -> dict[str, str]:
    """Return the pairs as `pairs` does, and add what is wrong with them to *problems*."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not (value or may_be_empty):
            problems.append(f"{option} {text!r} is not {form}".lstrip())
        elif name in found:
            problems.append(f"{option} {text!r}: {name} is given twice".lstrip())
        found[name] = value
    return found
