"""``streamgage package``: make the bundles that Lambda runs."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_pipeline, add_verb
from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from infra.aws.bundle.package import Package

EXAMPLES = """examples:
  streamgage package                                for the Architecture of [deploy] in pipeline.toml, else arm64
  streamgage package --architecture x86_64 --to build/x86_64
  streamgage package --function api --to api.zip    one of them: aggregate counts, api answers HTTP
  streamgage package --check                        make them, compare them with their budgets, and leave nothing

A function's init is run first, here and without a service: what fails there would fail in every invocation.
Libraries are wheels for Lambda's machine, from the index that pip is configured with, by the hashes of the lock file; no
Docker. They are kept in ~/.cache/streamgage/wheels. The same inputs make the same bytes."""


def add_parser(verbs: Verbs) -> None:
    """Add ``package``."""
    parser = add_verb(
        verbs,
        "package",
        "make the bundles that Lambda runs",
        description="Make each function's bundle: a zip with what it imports, for Lambda's machine and Python.",
        epilog=EXAMPLES,
    )
    add_pipeline(parser)
    parser.add_argument("--architecture", metavar="NAME", help="arm64 or x86_64")
    parser.add_argument("--python", metavar="VERSION", help="the template's runtime is the default")
    parser.add_argument(
        "--function", metavar="NAME", help="aggregate, api, collector, socket or push; default: all"
    )
    parser.add_argument(
        "--to", metavar="FOLDER", default="build", help="or a .zip, with --function; default: %(default)s"
    )
    parser.add_argument(
        "--lock", metavar="PATH", help="with --function; default: the one that ships with streamgage"
    )
    parser.add_argument(
        "--check", action="store_true", help="fail where one is over its budget; leave nothing"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Try each init, make the bundles and say what is in them; with --check, 1 where one is over its budget."""
    from infra.aws.bundle.functions import FUNCTIONS, named
    from infra.aws.bundle.package import PYTHON, package
    from infra.commands.bundles import zip_paths
    from processors.pipeline_files import load_pipeline

    if arguments.lock and not arguments.function:
        raise ConfigError("--lock is of one function: name it with --function")
    functions = (named(arguments.function),) if arguments.function else FUNCTIONS
    pipeline = Path(arguments.pipeline)
    architecture = arguments.architecture or load_pipeline(pipeline).deploy.get("Architecture", "arm64")
    over = False
    with tempfile.TemporaryDirectory(prefix="streamgage-") as folder:
        to = Path(folder) if arguments.check else Path(arguments.to)
        paths = zip_paths([each.name for each in functions], to)
        for number, function in enumerate(functions):
            made = package(
                paths[function.name],
                pipeline,
                architecture=architecture,
                function=function,
                python=arguments.python or PYTHON,
                lock=Path(arguments.lock) if arguments.lock else None,
            )
            if number:
                print()
            print(described(made))
            for each in made.over_budget():
                print(f"over budget: {each}")
                over = True
    return 1 if over and arguments.check else 0


def described(made: "Package") -> str:
    """Return what a person is told of a bundle."""
    from infra.aws.bundle.package import LIMIT_DIRECT_UPLOAD_BYTES, LIMIT_UNZIPPED_BYTES, zlib_version

    budget = made.function.budget
    width = max(len(part.name) for part in made.parts)
    rows = [(part.name, part.files, part.unzipped_bytes, part.size_bytes) for part in made.parts]
    rows.append(("all", sum(part.files for part in made.parts), made.unzipped_bytes, made.size_bytes))
    later = ", ".join(made.modules_later)
    modules = (
        f"modules of ours: {len(made.modules)} in a cold start (budget {budget.modules_at_init}), "
        f"{len(made.modules_later)} on slow paths ({later})"
    )
    bytecode = (
        f"bytecode: by Python {made.bytecode}"
        if made.bytecode
        else f"no bytecode: Python {made.target.python} is not installed here, so each cold start compiles"
    )
    lines = [
        f"{made.path.name}: {made.target}",
        f"sha256 {made.sha256}",
        "",
        f"{'':{width}}  {'files':>6}  {'unzipped':>12}  {'zipped':>12}",
        *(
            f"{name:{width}}  {files:6,}  {unzipped:12,}  {zipped:12,}"
            for name, files, unzipped, zipped in rows
        ),
        f"{'budget':{width}}  {'':6}  {budget.unzipped_bytes:12,}  {budget.size_bytes:12,}",
        f"{'limit of Lambda':{width}}  {'':6}  {LIMIT_UNZIPPED_BYTES:12,}  {LIMIT_DIRECT_UPLOAD_BYTES:12,}",
        "",
        modules,
        bytecode,
        f"compressed by zlib {zlib_version()}",
    ]
    return "\n".join(lines)
