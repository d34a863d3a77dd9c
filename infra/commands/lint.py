"""``streamgage lint``: read a template over before it is deployed."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_parameter, add_pipeline, add_verb, pairs
from producers.terminal import data_out
from streamgage.visible import visible

if TYPE_CHECKING:
    from infra.template.lint.rule import Finding

_CLEAN, _BROKEN = 0, 1
EXAMPLES = """examples:
  streamgage lint                                              our template under [deploy] of pipeline.toml
  streamgage lint --parameter ParallelizationFactor=4          and if it were so?
  streamgage lint plant/template.yaml --pipeline plant/pipeline.toml --format json
  streamgage lint --rules                                      what is looked at, why, and how it is mended

A finding tells file, line, rule, what is wrong, why it matters and how it is mended. cfn-lint is asked too, where it is
installed. A resource may keep what a rule refuses, if it says why:

  Metadata: {streamgage: {accept: {SG007: "a batch is one record"}}}

exit code: 0 no error (there may be warnings), 1 errors, 2 it cannot be read"""


def add_parser(verbs: Verbs) -> None:
    """Add ``lint``."""
    parser = add_verb(
        verbs,
        "lint",
        "read a template over before it is deployed",
        description="Report what a template would do to the data: lose it, count it twice, show it, or stand still.",
        epilog=EXAMPLES,
        allow_abbrev=False,
    )
    parser.add_argument(
        "template", nargs="?", metavar="TEMPLATE", help="default: infra/template/template.yaml"
    )
    add_pipeline(parser)
    add_parameter(parser)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument(
        "--rules", action="store_true", help="print our rules as a table, and look at nothing"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 where it must not be deployed so."""
    # Imported here: the translator takes half a second, and --help does without it.
    from infra.aws.bundle.vouched import vouched_pipeline
    from infra.template.bounds import LINT_S, within
    from infra.template.lint import cloudformation, rules
    from infra.template.lint.run import findings
    from infra.template.read import TEMPLATE

    if arguments.rules:
        print(rules.table())
        return _CLEAN
    template = _short(Path(arguments.template) if arguments.template else TEMPLATE)
    pipeline = vouched_pipeline(Path(arguments.pipeline))
    given = pairs(arguments.parameter, option="--parameter")
    with within(LINT_S, f"{template}: looking at it"):
        found = findings(template, pipeline, given)
        if cloudformation.is_installed():
            found += cloudformation.ask(template)
        else:
            print(cloudformation.HOW_TO_GET, file=sys.stderr)
    if arguments.format == "json":
        print(json.dumps([asdict(each) for each in found], indent=2), file=data_out())
    else:
        _tell(found, template)
    return _BROKEN if any(each.severity == "error" and not each.accepted for each in found) else _CLEAN


def _tell(found: "Sequence[Finding]", template: Path) -> None:
    for each in found:
        if each.accepted:
            print(visible(f"{each.file}:{each.line}: accepted {each.rule} {each.what}: {each.accepted}"))
            continue
        print(visible(f"{each.file}:{each.line}: {each.severity} {each.rule} {each.what}"))
        print(visible(f"    why:  {each.why}"))
        print(visible(f"    mend: {each.mend}"))
    left = [each for each in found if not each.accepted]
    errors = sum(each.severity == "error" for each in left)
    print(
        f"{visible(str(template))}: {errors} errors, {len(left) - errors} warnings, {len(found) - len(left)} accepted"
    )


def _short(path: Path) -> Path:
    """Return *path* from here, where it is below: that is how a person knows it, and what an editor can open."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
