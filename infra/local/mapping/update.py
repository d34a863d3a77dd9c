"""A new version of the function for a running mapping: what changes in its configuration file is taken over.

The file is the truth: whoever updates the function replaces it, and a mapping that was killed meanwhile starts with it.
Only the function may change; stream, mapping and checkpoint are the mapping's own as long as it runs.
"""

from dataclasses import replace
from pathlib import Path

from infra.local.function.sandbox import FunctionConfig
from infra.local.mapping.process_config import ProcessConfig, load
from streamgage.errors import ConfigError


class ConfigWatch:
    """Tells a mapping process, which calls ``changed`` a few times a second, that its file holds another function.

    *path* None: there is no file, and nothing ever changes.
    """

    def __init__(self, path: Path | None, config: ProcessConfig) -> None:
        self._path, self._config = path, config
        self._seen = self._stamp()

    def changed(self) -> FunctionConfig | None:
        """Return the function's new configuration, once; None where it is as before.

        Raises:
            ConfigError: the new file is not valid, or changes more than the function. It is not told again.
        """
        stamp = self._stamp()
        if self._path is None or stamp is None or stamp == self._seen:
            return None
        self._seen = stamp
        config = load(self._path)
        if replace(config, function=self._config.function) != self._config:
            raise ConfigError(
                "only the function of a running mapping can be updated; restart the stack for more"
            )
        before, self._config = self._config.function, config
        return None if config.function == before else config.function

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat() if self._path else None
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns) if found else None
