"""``streamgage status``: what the stack is doing, the one that runs here or one on AWS, in one format."""

import argparse
import json
import os
from dataclasses import asdict

from infra.commands.arguments import Verbs, add_stack_options, add_verb, aws_stack
from infra.local.stack.home import Home, read_json
from producers.terminal import data_out
from streamgage.errors import ConfigError, RetryableError

EXAMPLES = """examples:
  streamgage status
  streamgage status --format json
  streamgage status --watch                           of the local stack, drawn anew every second; q ends it
  streamgage status --target aws --stack plant-7 --region eu-central-1

Of a stack on AWS it asks CloudFormation, Kinesis (one record at most is read of each shard), DynamoDB, Lambda, SQS, S3 and
CloudWatch (sums of the last hour). Credentials are boto3's own: AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws, `aws sso login`."""


def add_parser(verbs: Verbs) -> None:
    """Add ``status``."""
    parser = add_verb(verbs, "status", "show what the pipeline on this machine is doing", epilog=EXAMPLES)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--watch", action="store_true", help="draw it anew every second, until q or Ctrl-C")
    parser.add_argument("--once", action="store_true", help="with --watch: draw it once")
    add_stack_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the status; 0 whatever it is."""
    name = aws_stack(arguments)
    if arguments.watch and name is not None:
        raise ConfigError(
            "--watch is of the local stack; of one on AWS there is its dashboard, in CloudWatch"
        )
    if arguments.watch:
        from infra.commands.watch import watch

        return watch(Home.of(os.environ), once=arguments.once)
    if name is None:
        return _run_local(arguments)
    return _run_aws(name, arguments)


def _run_local(arguments: argparse.Namespace) -> int:
    from infra.commands.status_tables import console, named, print_mapping
    from infra.local.stack.drain import applied
    from infra.local.stack.stores.marks import read_note
    from processors.query.freshness import Freshness

    home = Home.of(os.environ)
    info, mapping, found = home.info(), home.status(), read_note(home).told
    unknown = None
    try:
        fresh = applied(info, mapping)
    except RetryableError as error:
        fresh, unknown = Freshness({}, 0, 0), error
    if arguments.format == "json":
        document = {
            "stack": read_json(home.info_file),
            "endpoints": info.endpoints,
            "mapping": mapping,
            "freshness": asdict(fresh),
            "found_at_start": found,
        }
        print(json.dumps(document, indent=1), file=data_out())
        return 0
    screen = console()
    screen.print(named({"stream": info.stream, "table": info.table}))
    shown = {name: url for name, url in info.endpoints.items() if name not in ("http", "live")}
    screen.print("endpoints: " + ", ".join(f"{name} {url}" for name, url in shown.items()))
    if (base := info.endpoints.get("http")) is not None:
        screen.print(f"page: {base}/", soft_wrap=True)
    if (live := info.endpoints.get("live")) is not None:
        screen.print(f"live updates: {live}", soft_wrap=True)
    screen.print("processes: " + ", ".join(f"{name} {pid}" for name, pid in info.pids.items()))
    if unknown is not None:
        screen.print(str(unknown), markup=False)
    for line in found:
        screen.print(f"found at the start: {line}", markup=False)
    print_mapping(screen, mapping, fresh, since="since the mapping started")
    return 0


def _run_aws(name: str, arguments: argparse.Namespace) -> int:
    from infra.aws.stacks import find_stack
    from infra.aws.status import METRICS_S, read_status
    from infra.commands.status_tables import console, named, print_mapping

    stack = find_stack(name, arguments.region)
    status, http = read_status(stack), stack.outputs.get("HttpApiUrl")
    if arguments.format == "json":
        document = {
            "stack": asdict(stack),
            "endpoints": {"http": http} if http else {},
            "mapping": status.mapping,
            "freshness": asdict(status.freshness),
            "iterator_age_ms": status.iterator_age_ms,
            "quarantined": status.quarantined,
            "failed_batches": status.failed_batches,
        }
        print(json.dumps(document, indent=1), file=data_out())
        return 0
    screen = console()
    screen.print(named({"stack": stack.name}), f"in {stack.region}: {stack.status}")
    screen.print(named({"stream": stack.output("StreamName"), "table": stack.output("TableName")}))
    screen.print(named({"consumer": stack.consumer}))
    if http:
        screen.print(f"HTTP API: {http}", soft_wrap=True)
    age = "no records lately" if status.iterator_age_ms is None else f"{status.iterator_age_ms:,} ms"
    screen.print(f"mapping: {status.mapping['state']}; iterator age: {age}")
    print_mapping(screen, status.mapping, status.freshness, since=f"last {METRICS_S // 60} minutes")
    screen.print(f"quarantined: {status.quarantined:,}; failed batches in S3: {status.failed_batches:,}")
    return 0
