"""The one place where a pipeline definition is read from disk: ``load_pipeline``, for the function and every command.

The core opens no file (docs/adr/0024). Paths are texts here: pathlib would be 2 ms of every cold start.
"""

import errno
import os
import posixpath
import stat

from streamgage.definition.build_index import INDEX_NAME, BuildIndex
from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.errors import ConfigError

MAX_FILE_BYTES = 1024 * 1024
"""Of a definition, a schema or a template: CloudFormation takes no larger one either."""
_MAX_INDEX_BYTES = 16 * MAX_FILE_BYTES  # parsed schemas, written out


class FilesIn:
    """The files of a definition, in the folder *root*: see DefinitionFiles."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)

    def read(self, path: str) -> str:
        """Return the text of *path*."""
        return read_text(posixpath.join(self._root, path))

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
        text = read_text(place)
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
        return BuildIndex.of_text(read_text(posixpath.join(folder, INDEX_NAME), most_bytes=_MAX_INDEX_BYTES))
    except (OSError, UnicodeDecodeError):  # a bundle has one, a checkout has none
        return BuildIndex()


def read_text(path: str, *, most_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the text of the file *path*, whoever wrote it.

    Raises:
        OSError: it is not there, or no plain file: a pipe never ends, ``/dev/zero`` neither; or larger than *most_bytes*.
        UnicodeDecodeError: it is not UTF-8.
    """
    descriptor = os.open(
        path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    )  # a pipe that nobody writes would block
    with open(descriptor, "rb") as file:  # noqa: PTH123 - see the module
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes", path)
    return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
