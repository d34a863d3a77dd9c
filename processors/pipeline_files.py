"""The one place where a pipeline definition is read from disk: ``load_pipeline``, for the function and every command.

The core opens no file (docs/adr/0024). Paths are texts here: pathlib would be 2 ms of every cold start.
"""

import os
import posixpath

from streamgage.definition.build_index import INDEX_NAME, BuildIndex
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError


class FilesIn:
    """The files of a definition, in the folder *root*: see DefinitionFiles."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        return _text(posixpath.join(self._root, path))

    def versions(self, path: str) -> list[str]:
        """Return the older schemas beside *path*, in the order of their names."""
        folder, name = posixpath.split(path)
        first, last = posixpath.splitext(name)[0] + ".", ".avsc"
        names = os.listdir(posixpath.join(self._root, folder) or ".")  # noqa: PTH208 - see the module
        return [
            posixpath.join(folder, each)
            for each in sorted(names)
            if each.startswith(first) and each.endswith(last) and len(each) >= len(first) + len(last)
        ]


def load_pipeline(path: str | os.PathLike[str]) -> Pipeline:
    """Return the definition in the file *path*; schemas are found relative to it.

    Raises:
        ConfigError: with every problem; nothing was loaded.
    """
    place = os.fspath(path)
    try:
        text = _text(place)
    except OSError as error:
        raise ConfigError(
            f"{place}: cannot be read ({error.strerror}). Run in the folder of your pipeline.toml, or name it: "
            "--pipeline PATH"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place}: not UTF-8 text ({error})") from error
    folder = posixpath.dirname(place)
    try:
        return parse_pipeline(text, FilesIn(folder), _index_in(folder))
    except ConfigError as error:
        raise ConfigError(*(f"{place}: {problem}" for problem in error.problems)) from error


def _index_in(folder: str) -> BuildIndex:
    try:
        return BuildIndex.of_text(_text(posixpath.join(folder, INDEX_NAME)))
    except (OSError, UnicodeDecodeError):  # a bundle has one, a checkout has none
        return BuildIndex()


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - see the module
        return file.read()
