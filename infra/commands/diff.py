"""``streamgage diff``: show what ``deploy`` would change."""

import argparse

from infra.commands.account import WAYS, Surroundings, add_change_options, prepare, real_surroundings
from infra.commands.arguments import Verbs, add_verb
from infra.commands.page import PageUpload

_DIFFERS = 3  # what --exit-code asks for
EXAMPLES = f"""examples:
  streamgage diff
  streamgage diff --stack plant-7 --parameter ShardCount=4 --exit-code

It does all that deploy does but the last step: it uploads the bundles, and deletes its change set when it has shown it.

exit code: 0, and with --exit-code 3 where something differs
{WAYS}"""


def add_parser(verbs: Verbs, *, surroundings: Surroundings | None = None) -> None:
    """Add ``diff``. *surroundings* are this process's own unless a test brings others."""
    parser = add_verb(verbs, "diff", "show what deploy would change", epilog=EXAMPLES, allow_abbrev=False)
    add_change_options(parser)
    parser.add_argument("--exit-code", action="store_true", help="end with 3 where something differs")
    parser.set_defaults(run=lambda arguments: run(arguments, surroundings or real_surroundings()))


def run(arguments: argparse.Namespace, around: Surroundings) -> int:
    """Show the change, and leave nothing of it but the uploaded bundle."""
    deployment, wanted = prepare(arguments, around)
    with deployment.plan(wanted) as plan:
        for line in plan.lines():
            around.terminal.say(line.text, line.style)
        page = PageUpload.of(wanted, arguments, around)
        news = page.news() if page else ""
        if news:
            around.terminal.say(news, "cyan")
        for danger in () if arguments.allow_replacement else plan.dangers:
            around.terminal.say(f"deploy will refuse this without --allow-replacement: {danger}", "bold red")
        return _DIFFERS if arguments.exit_code and (news or not plan.empty) else 0
