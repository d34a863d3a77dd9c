"""``streamgage deploy``, ``diff`` and ``destroy``: the stack on AWS, as a person handles it."""

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from infra.aws.deploy import consumer
from infra.aws.deploy import destroy as destroying
from infra.aws.deploy.deployment import Deployment, Wanted
from infra.aws.deploy.follow import how_to_look
from infra.aws.deploy.ports import Clock
from infra.commands.places import DEFAULT_STACK
from infra.template.read import TEMPLATE, body_of, parameters_for, read_template, with_code
from processors.pipeline_files import load_pipeline
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from infra.aws.deploy.cloudformation import BotoStacks

_EXECUTED_OR_EMPTY, _DIFFERS = 0, 3  # exit codes; --exit-code asks for the second

_WAYS = """
Credentials are boto3's own: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws, `aws sso login`, or the
role of this machine. The region is --region, else boto3's own (AWS_DEFAULT_REGION, ~/.aws/config). The bundle goes to the
bucket streamgage-artifacts-<account>-<region>, which is made where there is none: private, encrypted, TLS only."""
_DEPLOY = f"""examples:
  streamgage deploy                                       show what would change, ask, do it
  streamgage deploy --stack plant-7 --region eu-central-1 --parameter ShardCount=4
  streamgage deploy --yes                                 do not ask (in CI)
  streamgage deploy --stack plant-7-v2 --beside plant-7   another definition, beside the one that runs

Parameters of the template come from [deploy] of pipeline.toml, and from --parameter, which wins; what neither names has
the template's default. A change that would replace or remove a stream, a table, a bucket or a queue is refused, unless
--allow-replacement says that it is meant. What a stack counts (consumer, rollups, windows, measures) is fixed for its life:
another definition is another stack beside it, on the same stream and table, with another consumer and the next generation
of what changes; it begins with the oldest record that the stream still has, or --from a time. Ctrl-C while it is executed stops only the watching: CloudFormation goes on.

exit code: 0 it stands, or nothing differs; 1 it failed; 2 something is to be mended first; 130 interrupted
{_WAYS}"""
_DIFF = f"""examples:
  streamgage diff
  streamgage diff --stack plant-7 --parameter ShardCount=4 --exit-code

It does all that deploy does but the last step: it uploads the bundle, and deletes its change set when it has shown it.

exit code: 0, and with --exit-code 3 where something differs
{_WAYS}"""
_DESTROY = """examples:
  streamgage destroy --stack plant-7                          the function, its mapping, roles and alarms; data stays
  streamgage destroy --stack plant-7 --delete-data plant-7    the stream, table, buckets and queue too, with all data

Without --delete-data no data is deleted: what stays is listed, and may be deleted later by the same command (CloudFormation
remembers a deleted stack for 90 days). Deletion protection is taken off with --delete-data only. Of a table with
point-in-time recovery DynamoDB keeps a backup of its own for 35 days. The bucket of bundles stays, for other stacks use it.

Credentials are boto3's own: see `streamgage deploy --help`."""


class Terminal(Protocol):
    """The person at the terminal."""

    def say(self, text: str, style: str = "") -> None:
        """Show a line."""

    def confirms(self, question: str) -> bool:
        """Ask, and return whether the answer is yes. Raises: ConfigError where nobody can answer."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the commands need of the machine; tests bring their own.

    ``package`` makes the bundle of a definition in a folder, and returns the path of its zip.
    """

    client: Callable[[str, str | None], Any]
    package: Callable[[Path, str, Path], Path]
    clock: Clock
    terminal: Terminal


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    *,
    surroundings: Surroundings | None = None,
) -> None:
    """Add ``deploy``, ``diff`` and ``destroy``."""
    for name, what, epilog, run in (
        ("deploy", "put the pipeline into an AWS account, or bring it up to date", _DEPLOY, deploy),
        ("diff", "show what deploy would change", _DIFF, diff),
        ("destroy", "delete the stack from the AWS account; its data only if told so", _DESTROY, destroy),
    ):
        parser = commands.add_parser(
            name,
            help=what,
            description=what[:1].upper() + what[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        parser.add_argument("--stack", metavar="NAME", default=DEFAULT_STACK, help=f"({DEFAULT_STACK})")
        parser.add_argument("--region", metavar="NAME", help="of AWS; boto3's own without it")
        if name == "destroy":
            parser.add_argument(
                "--delete-data", metavar="STACKNAME", help="delete its data too; type the stack's name again"
            )
        else:
            _add_deploy_options(parser)
        if name == "diff":
            parser.add_argument("--exit-code", action="store_true", help="end with 3 where something differs")
        else:
            parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.set_defaults(run=lambda arguments, run=run: run(arguments, surroundings or _real()))


def _add_deploy_options(parser: argparse.ArgumentParser) -> None:
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
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="of the template; wins over [deploy] of pipeline.toml",
    )
    parser.add_argument(
        "--pipeline", metavar="PATH", default=os.environ.get("STREAMGAGE_PIPELINE", "pipeline.toml")
    )
    parser.add_argument(
        "--template", metavar="PATH", help="a SAM template; default: infra/template/template.yaml"
    )
    parser.add_argument(
        "--bundle", metavar="ZIP", help="a bundle that `streamgage package` made; default: make it"
    )
    parser.add_argument(
        "--bucket", metavar="NAME", help="for bundles; default: found or made, one an account and region"
    )
    parser.add_argument(
        "--allow-replacement",
        action="store_true",
        help="let a stream, table, bucket or queue be replaced or removed, or the kind of lanes change",
    )


def deploy(arguments: argparse.Namespace, around: Surroundings) -> int:
    """Show the change, ask, execute it and follow it."""
    deployment, wanted = _prepare(arguments, around)
    say, name = around.terminal.say, arguments.stack
    with deployment.plan(wanted, clear_failed=arguments.yes) as plan:
        for line in plan.lines():
            say(line.text, line.style)
        if plan.empty:
            return _EXECUTED_OR_EMPTY
        if plan.dangers and not arguments.allow_replacement:
            deployment.execute(plan, allow_replacement=False)  # raises, and says why
        if not arguments.yes and not around.terminal.confirms(f"execute this on stack {name}?"):
            say("nothing was changed")
            return _EXECUTED_OR_EMPTY
        try:
            outcome = deployment.execute(plan, allow_replacement=arguments.allow_replacement)
        except KeyboardInterrupt:
            say(how_to_look(name), "yellow")
            raise
    say(
        f"stack {name}: {outcome.status}. See it: streamgage status --target aws --stack {name}", "bold green"
    )
    return _EXECUTED_OR_EMPTY


def diff(arguments: argparse.Namespace, around: Surroundings) -> int:
    """Show the change, and leave nothing of it but the uploaded bundle."""
    deployment, wanted = _prepare(arguments, around)
    with deployment.plan(wanted) as plan:
        for line in plan.lines():
            around.terminal.say(line.text, line.style)
        for danger in () if arguments.allow_replacement else plan.dangers:
            around.terminal.say(f"deploy will refuse this without --allow-replacement: {danger}", "bold red")
        return _DIFFERS if arguments.exit_code and not plan.empty else _EXECUTED_OR_EMPTY


def destroy(arguments: argparse.Namespace, around: Surroundings) -> int:
    """Delete the stack, and the data only where the stack's name was typed again."""
    from infra.aws.deploy.cloudformation import BotoStacks  # noqa: PLC0415 - see _real
    from infra.aws.deploy.destroy_data import BotoDataStores  # noqa: PLC0415 - see _real

    say, name = around.terminal.say, arguments.stack
    stacks = BotoStacks(around.client("cloudformation", arguments.region))
    remains = destroying.survey(stacks, stacks, name)
    destroying.check(remains, delete_data=arguments.delete_data)
    delete_data = arguments.delete_data is not None
    if delete_data:
        readers = consumer.readers_of((each.physical_id for each in remains.data), stacks.all())
        if readers:
            raise ConfigError(
                f"its data is also that of: {', '.join(readers)}, which stand beside it. Destroy them first, or this stack "
                "without --delete-data. Nothing was deleted"
            )
    say(f"stack {name}" + (" will be deleted" if remains.stack else " is deleted already"), "bold")
    for each in remains.data:
        fate = "will be DELETED with all its data" if delete_data else "stays"
        say(
            f"  {each.logical_id}  {each.type}  {each.physical_id}  {fate}",
            "bold red" if delete_data else "cyan",
        )
    if not arguments.yes and not around.terminal.confirms(f"destroy stack {name}?"):
        say("nothing was deleted")
        return 0
    try:
        destroying.destroy(
            remains,
            delete_data=delete_data,
            deployment=_deployment(stacks, arguments, around),
            stores=BotoDataStores(lambda service: around.client(service, arguments.region)),
            say=say,
        )
    except KeyboardInterrupt:
        say(f"{how_to_look(name)}. To go on: the same command again", "yellow")
        raise
    return 0


def _prepare(arguments: argparse.Namespace, around: Surroundings) -> tuple[Deployment, Wanted]:
    """Return the deployment, and what is wanted of it: bundle and template are where CloudFormation finds them."""
    from infra.aws.deploy.artifacts import TEMPLATE_BODY_BYTES, Artifacts, account_of  # noqa: PLC0415 - see _real
    from infra.aws.deploy.cloudformation import BotoStacks  # noqa: PLC0415 - see _real

    pipeline_path = Path(arguments.pipeline)
    pipeline = load_pipeline(pipeline_path)
    template = read_template(Path(arguments.template) if arguments.template else TEMPLATE)
    stacks = BotoStacks(around.client("cloudformation", arguments.region))
    given = _pairs(arguments.parameter)
    parameters_for(
        template, deploy=pipeline.deploy, given=given
    )  # what is misspelt is told before anything is asked
    given |= _of_consumer(template, pipeline, stacks, arguments, around.terminal)
    parameters = parameters_for(template, deploy=pipeline.deploy, given=given)
    account = account_of(around.client("sts", arguments.region))
    around.terminal.say(f"account {account.number}, region {account.region}, stack {arguments.stack}")
    artifacts = Artifacts(
        around.client("s3", arguments.region),
        account=account,
        bucket=arguments.bucket,
        say=around.terminal.say,
    )
    with tempfile.TemporaryDirectory(prefix="streamgage-") as folder:
        bundle = (
            Path(arguments.bundle)
            if arguments.bundle
            else around.package(pipeline_path, parameters.get("Architecture", "arm64"), Path(folder))
        )
        code_uri = artifacts.put_file(bundle, kind="bundle")
    body = body_of(with_code(template, code_uri))
    short = len(body.encode()) <= TEMPLATE_BODY_BYTES
    wanted = Wanted(
        stack=arguments.stack,
        change_set=f"streamgage-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}",
        parameters=parameters,
        body=body if short else None,
        url=None if short else artifacts.put_template(body),
    )
    return _deployment(stacks, arguments, around), wanted


def _of_consumer(
    template: Mapping[str, Any],
    pipeline: Pipeline,
    stacks: "BotoStacks",
    arguments: argparse.Namespace,
    terminal: Terminal,
) -> dict[str, str]:
    """Return the parameters that say who counts what. Raises: ConfigError, what the stack counts would change."""
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
        {**pipeline.deploy, **_pairs(arguments.parameter)},
        consumer.Surrounding(arguments.stack, stacks.read(arguments.stack), beside, stacks.all()),
        start_at_s=arguments.start_at_s,
    )


def _seconds(text: str) -> int:
    """Return the seconds since the epoch that an ISO time means; UTC, where it does not say. Raises: ValueError."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _deployment(stacks: "BotoStacks", arguments: argparse.Namespace, around: Surroundings) -> Deployment:
    from infra.aws.deploy.cloudformation import BotoChangeSets  # noqa: PLC0415 - see _real

    return Deployment(
        change_sets=BotoChangeSets(around.client("cloudformation", arguments.region)),
        stacks=stacks,
        work=stacks,
        clock=around.clock,
        say=around.terminal.say,
    )


def _pairs(texts: list[str]) -> dict[str, str]:
    wrong = [f"--parameter {each!r} is not NAME=VALUE" for each in texts if "=" not in each]
    if wrong:
        raise ConfigError(*wrong)
    return dict(each.split("=", 1) for each in texts)


class RichTerminal:
    """The real terminal; colours where it is one."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - see _real

        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """Show a line."""
        self._console.print(text, style=style or None, markup=False)

    def confirms(self, question: str) -> bool:
        """Ask on the terminal."""
        if not sys.stdin.isatty():
            raise ConfigError(f"{question} Nobody is there to answer: say --yes")
        return self._console.input(f"{question} [y/N] ", markup=False).strip().lower() in ("y", "yes")


def _package(pipeline: Path, architecture: str, folder: Path) -> Path:
    """Make the bundle of *pipeline* for *architecture* in *folder*; return the path of its zip. The one seam to it."""
    from infra.aws.bundle.package import package  # noqa: PLC0415 - resolves wheels; only a deployment needs it

    return package(folder / "bundle.zip", pipeline, architecture=architecture).path


def _real() -> Surroundings:
    """Return this process's surroundings. boto3 takes a tenth of a second, so --help does without it."""
    from infra.aws.stacks import aws_client  # noqa: PLC0415 - see above
    from producers.client.kinesis import SystemClock  # noqa: PLC0415 - see above

    return Surroundings(aws_client, _package, SystemClock(), RichTerminal())
