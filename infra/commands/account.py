"""What ``deploy``, ``diff`` and ``destroy`` share: their options, the machine they run on, and the deployment."""

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from infra.commands.arguments import DEFAULT_STACK, add_parameter, add_pipeline, pairs
from producers.clock import Clock, MonotonicClock
from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from infra.aws.bundle.functions import Function
    from infra.aws.deploy.cloudformation import BotoStacks
    from infra.aws.deploy.deployment import Deployment, Wanted
    from streamgage.definition.pipeline import Pipeline

WAYS = """
Credentials are boto3's own: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, `aws sso login`, or the
role of this machine. The region is --region, else boto3's own (AWS_DEFAULT_REGION, ~/.aws/config). The bundles go to the
bucket streamgage-artifacts-<account>-<region>, which is made where there is none: private, encrypted, TLS only."""


class Terminal(Protocol):
    """The person at the terminal."""

    def say(self, text: str, style: str = "") -> None:
        """Show a line."""

    def confirms(self, question: str) -> bool:
        """Ask, and return whether the answer is yes. Raises: ConfigError where nobody can answer."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the commands need of the machine; tests bring their own.

    ``package`` makes the bundle of a function with a definition, for an architecture, in a folder, and returns the path of
    its zip.
    """

    client: Callable[[str, str | None], Any]
    package: "Callable[[Function, Path, str, Path], Path]"
    clock: Clock
    terminal: Terminal


def add_account_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--stack`` and ``--region``, of a stack that is on AWS and nowhere else."""
    parser.add_argument("--stack", metavar="NAME", default=DEFAULT_STACK, help=f"({DEFAULT_STACK})")
    parser.add_argument("--region", metavar="NAME", help="of AWS; boto3's own without it")


def add_change_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``deploy`` and ``diff`` take beside them: what is wanted of the stack."""
    add_account_options(parser)
    add_parameter(parser)
    add_pipeline(parser)
    parser.add_argument(
        "--beside", metavar="NAME", help="the stack whose stream and table a new stack reads and writes"
    )
    parser.add_argument(
        "--from",
        dest="start_at_s",
        metavar="TIME",
        type=_seconds,
        help="from when on a new stack reads its stream, such as 2026-11-28T00:00Z; default: all that there is",
    )
    parser.add_argument(
        "--template", metavar="PATH", help="a SAM template; default: infra/template/template.yaml"
    )
    parser.add_argument(
        "--bundle",
        metavar="PATH",
        action="append",
        default=[],
        help="a zip that `streamgage package` made, or the folder with them; again for each; default: make them",
    )
    parser.add_argument(
        "--bucket", metavar="NAME", help="for bundles; default: found or made, one an account and region"
    )
    parser.add_argument(
        "--allow-replacement",
        action="store_true",
        help="let a stream, table, bucket, queue or user pool be replaced or removed, or the kind of lanes change",
    )


def prepare(arguments: argparse.Namespace, around: Surroundings) -> tuple["Deployment", "Wanted"]:
    """Return the deployment, and what is wanted of it: bundle and template are where CloudFormation finds them."""
    from infra.aws.bundle.functions import of_code
    from infra.aws.deploy.artifacts import TEMPLATE_BODY_BYTES, Artifacts, account_of
    from infra.aws.deploy.cloudformation import BotoStacks
    from infra.aws.deploy.deployment import Wanted
    from infra.commands.bundles import zips_given
    from infra.template.lint.resolve import broken_rules
    from infra.template.read import (
        TEMPLATE,
        body_of,
        local_code,
        parameters_for,
        read_template,
        with_code,
    )
    from processors.pipeline_files import load_pipeline

    pipeline_path = Path(arguments.pipeline)
    pipeline = load_pipeline(pipeline_path)
    template = read_template(Path(arguments.template) if arguments.template else TEMPLATE)
    stacks = BotoStacks(around.client("cloudformation", arguments.region))
    given = pairs(arguments.parameter, option="--parameter")
    # What is misspelt is told before anything is asked.
    parameters_for(template, deploy=pipeline.deploy, given=given)
    given |= _of_consumer(template, pipeline, stacks, arguments, around.terminal)
    parameters = parameters_for(template, deploy=pipeline.deploy, given=given)
    if broken := [told for _, told in broken_rules(template, parameters=parameters)]:
        raise ConfigError(*(f"the template refuses these parameters: {each}" for each in broken))
    code = local_code(template)
    zips = zips_given([Path(each) for each in arguments.bundle], code)
    functions = of_code({place: handler for place, handler in code.items() if place not in zips})
    account = account_of(around.client("sts", arguments.region))
    around.terminal.say(f"account {account.number}, region {account.region}, stack {arguments.stack}")
    artifacts = Artifacts(
        around.client("s3", arguments.region),
        account=account,
        bucket=arguments.bucket,
        say=around.terminal.say,
    )
    with tempfile.TemporaryDirectory(prefix="streamgage-") as folder:
        architecture = parameters.get("Architecture", "arm64")
        for place, function in functions.items():
            zips[place] = around.package(function, pipeline_path, architecture, Path(folder))
        places = {place: artifacts.put_file(each, kind="bundle") for place, each in zips.items()}
    body = body_of(with_code(template, places))
    short = len(body.encode()) <= TEMPLATE_BODY_BYTES
    wanted = Wanted(
        stack=arguments.stack,
        change_set=f"streamgage-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}",
        parameters=parameters,
        body=body if short else None,
        url=None if short else artifacts.put_template(body),
    )
    return deployment_of(stacks, arguments, around), wanted


def _of_consumer(
    template: Mapping[str, Any],
    pipeline: "Pipeline",
    stacks: "BotoStacks",
    arguments: argparse.Namespace,
    terminal: "Terminal",
) -> dict[str, str]:
    """Return the parameters that say who counts what. Raises: ConfigError, what the stack counts would change."""
    from infra.aws.deploy import consumer

    if consumer.DEFINITION not in template.get("Parameters", {}):
        if arguments.beside or arguments.start_at_s is not None:
            raise ConfigError("this template has no parameter Definition: --beside and --from are for ours")
        terminal.say(
            "this template records no definition: whether what is counted changes is not checked", "yellow"
        )
        return {}
    beside = stacks.read(arguments.beside) if arguments.beside else None
    if arguments.beside and beside is None:
        raise ConfigError(f"there is no stack {arguments.beside} to stand beside")
    return consumer.parameters_of_consumer(
        pipeline,
        {**pipeline.deploy, **pairs(arguments.parameter, option="--parameter")},
        consumer.Surrounding(arguments.stack, stacks.read(arguments.stack), beside, stacks.all()),
        start_at_s=arguments.start_at_s,
    )


def _seconds(text: str) -> int:
    """Return the seconds since the epoch that an ISO time means; UTC, where it does not say. Raises: ValueError."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def deployment_of(stacks: "BotoStacks", arguments: argparse.Namespace, around: Surroundings) -> "Deployment":
    """Return the way to CloudFormation."""
    from infra.aws.deploy.cloudformation import BotoChangeSets
    from infra.aws.deploy.deployment import Deployment

    return Deployment(
        change_sets=BotoChangeSets(around.client("cloudformation", arguments.region)),
        stacks=stacks,
        work=stacks,
        clock=around.clock,
        say=around.terminal.say,
    )


class RichTerminal:
    """The real terminal; colours where it is one."""

    def __init__(self) -> None:
        from producers.screen import Screen

        self._console = Screen(soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """Show a line."""
        self._console.print(text, style=style or None)

    def confirms(self, question: str) -> bool:
        """Ask on the terminal."""
        if not sys.stdin.isatty():
            raise ConfigError(f"{question} Nobody is there to answer: say --yes")
        return self._console.input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _package(function: "Function", pipeline: Path, architecture: str, folder: Path) -> Path:
    """Make the bundle of *function* for *architecture* in *folder*; return the path of its zip. The one seam to it."""
    from infra.aws.bundle.package import package

    made = package(folder / f"{function.name}.zip", pipeline, architecture=architecture, function=function)
    return made.path


def real_surroundings() -> Surroundings:
    """Return this process's surroundings. boto3 takes a tenth of a second, so --help does without it."""
    from infra.aws.stacks import aws_client

    return Surroundings(aws_client, _package, MonotonicClock(), RichTerminal())
