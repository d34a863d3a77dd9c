"""``streamgage destroy``: delete the stack from the AWS account; its data only if told so."""

import argparse

from infra.commands.account import Surroundings, add_account_options, deployment_of, real_surroundings
from infra.commands.arguments import Verbs, add_verb
from streamgage.errors import ConfigError

EXAMPLES = """examples:
  streamgage destroy --stack plant-7                          the function, its mapping, roles and alarms; data stays
  streamgage destroy --stack plant-7 --delete-data plant-7    the stream, table, buckets and queue too, with all data

Without --delete-data no data is deleted: what stays is listed, and may be deleted later by the same command (CloudFormation
remembers a deleted stack for 90 days). Deletion protection is taken off with --delete-data only. Of a table with
point-in-time recovery DynamoDB keeps a backup of its own for 35 days. The bucket of bundles stays, for other stacks use it.

Credentials are boto3's own: see `streamgage deploy --help`."""


def add_parser(verbs: Verbs, *, surroundings: Surroundings | None = None) -> None:
    """Add ``destroy``. *surroundings* are this process's own unless a test brings others."""
    parser = add_verb(
        verbs,
        "destroy",
        "delete the stack from the AWS account; its data only if told so",
        epilog=EXAMPLES,
        allow_abbrev=False,
    )
    add_account_options(parser)
    parser.add_argument(
        "--delete-data", metavar="STACKNAME", help="delete its data too; type the stack's name again"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=lambda arguments: run(arguments, surroundings or real_surroundings()))


def run(arguments: argparse.Namespace, around: Surroundings) -> int:
    """Delete the stack, and the data only where the stack's name was typed again."""
    from infra.aws.collector_keys import OUTPUT, ParameterKeys
    from infra.aws.deploy import consumer
    from infra.aws.deploy import destroy as destroying
    from infra.aws.deploy.cloudformation import BotoStacks
    from infra.aws.deploy.destroy_data import BotoDataStores
    from infra.aws.deploy.follow import how_to_look

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
            deployment=deployment_of(stacks, arguments, around),
            stores=BotoDataStores(lambda service: around.client(service, arguments.region)),
            say=say,
        )
    except KeyboardInterrupt:
        say(f"{how_to_look(name)}. To go on: the same command again", "yellow")
        raise
    outputs = {} if remains.stack is None else remains.stack.outputs
    if (parameter := outputs.get(OUTPUT)) and ParameterKeys(
        around.client("ssm", arguments.region), parameter
    ).delete():
        say(f"deleted   the collector's keys  {parameter}", "green")
    return 0
