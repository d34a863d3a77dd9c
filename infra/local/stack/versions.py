"""Versions of the function of a local stack: published beside the running one, and taken over under load.

A version is a bundle of its own, ``.streamgage/versions/N``, that nothing changes any more; ``up`` builds ``$LATEST``.
The mapping's configuration file says which one runs (``infra.local.mapping.update``).
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.local.function.pool import LATEST, VERSION_VARIABLE
from infra.local.stack.home import Home, read_json, write_json
from streamgage.errors import ConfigError, RetryableError

_FIRST_MARK = "before"  # a file in the home: the version that ran before this one
_POLL_S = 0.05
_EXTRA_S = 30  # for the mapping to look, and for a cold start

Build = Callable[[Path, Path], None]
Say = Callable[[str], None]


def publish(home: Home, pipeline: Path, build: Build) -> str:
    """Build a bundle beside the running one, and return its version. *build* takes (folder, definition).

    Raises:
        ConfigError: the definition has problems; no version was made.
    """
    folder = _versions(home)
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(each.name) for each in folder.iterdir() if each.name.isdecimal()), default=0)
    try:
        build(folder / str(number), pipeline)
    except BaseException:
        shutil.rmtree(folder / str(number), ignore_errors=True)
        raise
    return str(number)


def version_before(home: Home) -> str:
    """Return the version that ran before this one. Raises: ConfigError where there was none."""
    try:
        return (_versions(home) / _FIRST_MARK).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError("no update was made, so there is no version to go back to") from error


def shift(home: Home, version: str, *, say: Say) -> None:
    """Have every batch from now on run in *version*; return when the last sandbox of another version has ended.

    Raises:
        ConfigError: the version cannot be initialised; the one before runs on.
        RetryableError: the mapping did not take it over in time, or an old invocation does not end.
    """
    config = read_json(home.mapping_config_file)
    function = config["function"]
    before, running = json.dumps(config), function["env"].get(VERSION_VARIABLE, LATEST)
    if running == version:
        say(f"version {version} runs already")
        return
    function["task_dir"] = str(home.task_dir if version == LATEST else _versions(home) / version)
    function["env"][VERSION_VARIABLE] = version
    asked_ms = time.time_ns() // 1_000_000
    write_json(home.mapping_config_file, config)
    try:
        _await(home, lambda status: _runs(status, version, asked_ms), what=f"version {version} to run")
    except ConfigError:
        write_json(home.mapping_config_file, json.loads(before))
        raise
    (_versions(home) / _FIRST_MARK).write_text(running, encoding="utf-8")
    say(f"version {version} runs; version {running} finishes what it has begun")
    seconds = _EXTRA_S + float(function["timeout_s"])
    _await(home, lambda status: not status["draining"], what=f"version {running} to end", seconds=seconds)
    say(f"version {running} has ended. Back to it: streamgage update --back")


def _versions(home: Home) -> Path:
    return home.root / "versions"


def _runs(status: dict[str, Any], version: str, asked_ms: int) -> bool:
    if status["version"] == version:
        return True
    if status["update_refused"] and status["last_error"]["at_ms"] >= asked_ms:
        raise ConfigError(f"version {version} is refused, the one before runs on: {status['update_refused']}")
    return False


def _await(
    home: Home, condition: Callable[[dict[str, Any]], bool], *, what: str, seconds: float = _EXTRA_S
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        status = home.status()
        if status and condition(status):
            return
        home.info()  # it may have been stopped meanwhile
        if time.monotonic() > deadline:
            raise RetryableError(
                f"waited {seconds:.0f} s for {what}; see {home.logs / 'mapping.log'} and function.log"
            )
        time.sleep(_POLL_S)
