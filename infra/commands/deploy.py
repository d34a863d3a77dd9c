"""``streamgage deploy``: put the pipeline into an AWS account, or bring it up to date."""

import argparse

from infra.commands.account import WAYS, Surroundings, add_change_options, prepare, real_surroundings
from infra.commands.arguments import Verbs, add_verb
from infra.commands.page import PageUpload

EXAMPLES = f"""examples:
  streamgage deploy                                       show what would change, ask, do it
  streamgage deploy --stack plant-7 --region eu-central-1 --parameter ShardCount=4
  streamgage deploy --yes                                 do not ask (in CI)
  streamgage deploy --stack plant-7-v2 --beside plant-7   another definition, beside the one that runs

Parameters of the template come from [deploy] of pipeline.toml, and from --parameter, which wins; what neither names has
the template's default. A change that would replace or remove a stream, a table, a bucket or a queue is refused, unless
--allow-replacement says that it is meant. What a stack counts (consumer, rollups, windows, measures) is fixed for its life:
another definition is another stack beside it, on the same stream and table, with another consumer and the next generation
of what changes; it begins with the oldest record that the stream still has, or --from a time. Ctrl-C while it is executed stops only the watching: CloudFormation goes on.
With Page=true the page's files go into its bucket after the stack stands, and its address is the last line.

exit code: 0 it stands, or nothing differs; 1 it failed; 2 something is to be mended first; 130 interrupted
{WAYS}"""


def add_parser(verbs: Verbs, *, surroundings: Surroundings | None = None) -> None:
    """Add ``deploy``. *surroundings* are this process's own unless a test brings others."""
    parser = add_verb(
        verbs,
        "deploy",
        "put the pipeline into an AWS account, or bring it up to date",
        epilog=EXAMPLES,
        allow_abbrev=False,
    )
    add_change_options(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(run=lambda arguments: run(arguments, surroundings or real_surroundings()))


def run(arguments: argparse.Namespace, around: Surroundings) -> int:
    """Show the change, ask, execute it and follow it."""
    from infra.aws.deploy.follow import how_to_look

    deployment, wanted = prepare(arguments, around)
    say, name = around.terminal.say, arguments.stack
    page = PageUpload.of(wanted, arguments, around)
    with deployment.plan(wanted, clear_failed=arguments.yes) as plan:
        for line in plan.lines():
            say(line.text, line.style)
        news = page.news() if page else ""
        if news:
            say(news, "cyan")
        if plan.empty and not news:
            return 0
        if plan.dangers and not arguments.allow_replacement:
            deployment.execute(plan, allow_replacement=False)  # raises, and says why
        if not arguments.yes and not around.terminal.confirms(f"execute this on stack {name}?"):
            say("nothing was changed")
            return 0
        if not plan.empty:
            try:
                outcome = deployment.execute(plan, allow_replacement=arguments.allow_replacement)
            except KeyboardInterrupt:
                say(how_to_look(name), "yellow")
                raise
            say(
                f"stack {name}: {outcome.status}. See it: streamgage status --target aws --stack {name}",
                "bold green",
            )
    if page:
        say(f"page: {page.put()}", "bold green")
    return 0
