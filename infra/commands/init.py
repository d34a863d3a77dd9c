"""``streamgage init``: write a pipeline to start from into an empty folder."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import Verbs, add_verb
from streamgage.errors import ConfigError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

EXAMPLES = """examples:
  streamgage init my-pipeline && cd my-pipeline && streamgage check && streamgage up --detach
  streamgage init .                              this folder, if it is empty

It writes a definition (pipeline.toml), the schema of its events (schemas/), a device in a few lines (device.py) and what
to do with them (README.md). It overwrites nothing: the folder is new, or empty."""
_STARTER = "infra.commands.starter"
_CODE = ("__init__.py", "__pycache__")


def add_parser(verbs: Verbs) -> None:
    """Add ``init``."""
    parser = add_verb(verbs, "init", "write a pipeline to start from into an empty folder", epilog=EXAMPLES)
    parser.add_argument("folder", metavar="DIR", help="new, or empty")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files and say which. Raises: ConfigError, the folder holds something, or is none."""
    from importlib.resources import files

    folder = Path(arguments.folder)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder")
    there = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if there not in ([], [".git"]):
        raise ConfigError(
            f"{folder} is not empty: there is {there[-1]!r}. Name a new folder, or an empty one"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _files(files(_STARTER), Path()):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:  # what came there meanwhile is not overwritten
            file.write(content)
        print(path)
    return 0


def _files(folder: "Traversable", at: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file of the starter, and what is in it."""
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.name in _CODE:
            continue
        if each.is_dir():
            yield from _files(each, at / each.name)
        else:
            yield at / each.name, each.read_bytes()
