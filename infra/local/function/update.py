"""A new version of the function for a process that runs it: what changes in its configuration file is taken over.

The file is the truth: whoever updates the function replaces it, and a process that was killed meanwhile starts with it.
Only the function may change; all else is the process's own as long as it runs.
"""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, cast

from infra.local.function.sandbox import FunctionConfig
from streamgage.errors import ConfigError


class Configured(Protocol):
    """A dataclass of all that a process runs with."""

    @property
    def function(self) -> FunctionConfig:
        """The function that it runs."""


class ConfigWatch:
    """Tells a process, which calls ``changed`` a few times a second, that its file holds another function.

    *config* is what the process was started with, *load* reads another from the file. *path* None: there is no file, and
    nothing ever changes.
    """

    def __init__(self, path: Path | None, config: Configured, load: Callable[[Path], Configured]) -> None:
        self._path, self._config, self._load = path, config, load
        self._seen = self._stamp()

    def changed(self) -> FunctionConfig | None:
        """Return the function's configuration where the file was written anew, once; None where it was not.

        It may be the one that runs, or one that was refused: both are the pool's to know.

        Raises:
            ConfigError: the new file is not valid, or changes more than the function. It is not told again.
        """
        stamp = self._stamp()
        if self._path is None or stamp is None or stamp == self._seen:
            return None
        self._seen = stamp
        config = self._load(self._path)
        if _rest(config) != _rest(self._config):
            raise ConfigError(
                "only the function of a running process can be updated; restart the stack for more"
            )
        return config.function

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path else None
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns) if found else None


def _rest(config: Configured) -> dict[str, object]:
    names = [each.name for each in fields(cast("Any", config)) if each.name != "function"]
    return {name: getattr(config, name) for name in names}
