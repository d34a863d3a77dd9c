"""``streamgage update``: another version of the function, while the local stack runs and its mapping is kept."""

import argparse
import os
import sys
from pathlib import Path

from infra.commands.arguments import Verbs, add_verb
from infra.local.stack.home import Home

EXAMPLES = """examples:
  streamgage update                              what this checkout holds now, with the definition that runs
  streamgage update --pipeline next/pipeline.toml   as long as it counts the same
  streamgage update --back                       the version that ran before

Stream, mapping and checkpoints are kept. Batches that begin run in the new version, those under way end in the old one. A
version that cannot be initialised is refused. The next `up` builds from this checkout again."""


def add_parser(verbs: Verbs) -> None:
    """Add ``update``."""
    parser = add_verb(verbs, "update", "run another version of the function, under load", epilog=EXAMPLES)
    parser.add_argument("--pipeline", metavar="PATH", help="default: the one the stack was started with")
    parser.add_argument("--back", action="store_true", help="to the version that ran before")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Publish a version and shift the function to it, or back to the one before."""
    from infra.local.stack.lock import hold

    home = Home.of(os.environ)
    home.info()
    with hold(home.update_lock_file, "update"):  # one at a time, and of one stack: none starts meanwhile
        return _update(home, arguments)


def _update(home: Home, arguments: argparse.Namespace) -> int:
    from infra.local.stack.versions import publish, shift, version_before

    def say(text: str) -> None:
        print(f"streamgage: {text}", file=sys.stderr)

    info = home.info()
    if arguments.back:
        shift(home, version_before(home), say=say)
        return 0
    from infra.commands.code import CODE  # a rollback has no use for it
    from infra.local.stack.definition import check_definition, noted_before
    from processors.pipeline_files import load_pipeline

    path = Path(arguments.pipeline or info.pipeline)
    pipeline = load_pipeline(path)
    check_definition(home, pipeline, info.consumer)
    version = publish(home, path, CODE.bundle, build_api=CODE.api, build_other=CODE.of_handler)
    with noted_before(home, pipeline, info.consumer):
        shift(home, version, say=say)
    return 0
