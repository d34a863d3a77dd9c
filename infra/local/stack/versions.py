"""Versions of the function of a local stack: published beside the running one, and taken over under load.

A version is a bundle of its own, ``.streamgage/versions/N``, that nothing changes any more; ``up`` builds ``$LATEST``. The
functions of the HTTP API, of the collector, of WebSockets and of changes, where there are any, have their bundles of each
version beside it, ``N-api``, ``N-collector``, ``N-socket``, ``N-changes``. The configuration files of mapping, gateway and changes say which one runs (``infra.local.function.update``).
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.function.pool import LATEST, VERSION_VARIABLE
from infra.local.stack.home import Home, read_json, write_json
from streamgage.errors import ConfigError, RetryableError

_FIRST_MARK = "before"  # a file in the home: the version that ran before this one
_API, _SOCKET, _CHANGES, _COLLECTOR = "-api", "-socket", "-changes", "-collector"
_OTHERS = (_SOCKET, _CHANGES, _COLLECTOR)
_POLL_S = 0.05
_EXTRA_S = 30  # for the mapping to look, and for a cold start

Build = Callable[[Path, Path], None]
BuildOther = Callable[[Path, Path, str], None]
Say = Callable[[str], None]


class RefusedVersion(ConfigError):
    """A version that cannot run: nothing was counted by it, and the one before runs on."""


@dataclass(frozen=True, slots=True)
class _Runner:
    """A process that runs functions: its file, what of it is theirs, and what it says of itself.

    ``functions``: by the name in the file, where the latest bundle of each is, and what another's name ends with.
    """

    role: str
    config_file: Path
    functions: Mapping[str, tuple[Path, str]]
    status: Callable[[], dict[str, Any]]
    refused: Callable[[dict[str, Any]], tuple[str | None, int]]  # why, and at which ms


def publish(
    home: Home,
    pipeline: Path,
    build: Build,
    *,
    build_api: Build | None = None,
    build_other: BuildOther | None = None,
) -> str:
    """Build a bundle beside the running one, and return its version. Each *build* takes (folder, definition).

    *build_other* builds what a third argument, the handler, says: the functions of the collector, of WebSockets and of changes.

    Raises:
        ConfigError: the definition has problems; no version was made.
    """
    folder = _versions(home)
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(each.name) for each in folder.iterdir() if each.name.isdecimal()), default=0)
    try:
        for runner in _runners(home):
            config = read_json(runner.config_file)
            for name, (_, suffix) in runner.functions.items():
                if suffix == _API and build_api is not None:
                    build_api(folder / f"{number}{suffix}", pipeline)
                elif suffix in _OTHERS and build_other is not None and name in config:
                    build_other(folder / f"{number}{suffix}", pipeline, config[name]["handler"])
        build(folder / str(number), pipeline)
    except BaseException:
        for suffix in ("", _API, *_OTHERS):
            shutil.rmtree(folder / f"{number}{suffix}", ignore_errors=True)
        raise
    return str(number)


def version_before(home: Home) -> str:
    """Return the version that ran before this one. Raises: ConfigError where there was none."""
    try:
        return (_versions(home) / _FIRST_MARK).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError("no update was made, so there is no version to go back to") from error


def shift(home: Home, version: str, *, say: Say) -> None:
    """Have all that begins from now on run in *version*; return when the last sandbox of another version has ended.

    Raises:
        RefusedVersion: the version cannot be initialised; the one before runs on.
        ConfigError: the stack was stopped meanwhile.
        RetryableError: the mapping or gateway did not take it over in time, or an old invocation does not end.
    """
    runners = _runners(home)
    running = read_json(home.mapping_config_file)["function"]["env"].get(VERSION_VARIABLE, LATEST)
    if running == version:
        say(f"version {version} runs already")
        return
    before: list[tuple[Path, dict[str, Any]]] = []
    try:
        for each in runners:
            before.append((each.config_file, read_json(each.config_file)))
            _take_over(home, each, version)
    except ConfigError:
        for path, config in before:
            write_json(path, config)
        raise
    (_versions(home) / _FIRST_MARK).write_text(running, encoding="utf-8")
    say(f"version {version} runs; version {running} finishes what it has begun")
    for each in runners:
        seconds = _EXTRA_S + float(read_json(each.config_file)["function"]["timeout_s"])
        _await(
            home,
            each,
            lambda status: not status["draining"],
            what=f"version {running} to end",
            seconds=seconds,
        )
    say(f"version {running} has ended. Back to it: streamgage update --back")


def _runners(home: Home) -> list[_Runner]:
    """Return whom a version is given to: the gateway first, which holds nothing, where one runs."""
    mapping = _Runner(
        "mapping",
        home.mapping_config_file,
        {"function": (home.task_dir, "")},
        home.status,
        lambda status: (status["update_refused"], (status["last_error"] or {}).get("at_ms", 0)),
    )
    gateway = _Runner(
        "gateway",
        home.gateway_config_file,
        {
            "function": (home.api_task_dir, _API),
            "socket_function": (home.socket_task_dir, _SOCKET),
            "collector_function": (home.collector_task_dir, _COLLECTOR),
        },
        home.gateway_status,
        lambda status: (status["update_refused"], status["refused_at_ms"]),
    )
    changes = _Runner(
        "changes",
        home.changes_config_file,
        {"function": (home.changes_task_dir, _CHANGES)},
        home.changes_status,
        lambda status: (status["update_refused"], status["refused_at_ms"]),
    )
    published = home.raw_info() or {"endpoints": {}}
    # Not who runs just now: one may be about to come again.
    runners = [gateway] if "http" in published["endpoints"] else []
    return [*runners, *([changes] if home.changes_status_file.exists() else []), mapping]


def _take_over(home: Home, runner: _Runner, version: str) -> None:
    """Write *version* into the configuration of *runner*, and wait until it runs there."""
    config = read_json(runner.config_file)
    for name, (latest, suffix) in runner.functions.items():
        if name not in config:
            continue
        place = _versions(home) / f"{version}{suffix}"
        if version != LATEST and not place.exists():
            raise RefusedVersion(
                f"version {version} has no bundle for the {runner.role}: it was made when none ran. "
                "Make another: streamgage update"
            )
        config[name]["task_dir"] = str(latest if version == LATEST else place)
        config[name]["env"][VERSION_VARIABLE] = version
    asked_ms = time.time_ns() // 1_000_000
    write_json(runner.config_file, config)

    def runs(status: dict[str, Any]) -> bool:
        if status["version"] == version:
            return True
        why, at_ms = runner.refused(status)
        if why and at_ms >= asked_ms:
            raise RefusedVersion(
                f"version {version} is refused by the {runner.role}, the one before runs on: {why}"
            )
        return False

    _await(home, runner, runs, what=f"version {version} to run")


def _versions(home: Home) -> Path:
    return home.root / "versions"


def _await(
    home: Home,
    runner: _Runner,
    condition: Callable[[dict[str, Any]], bool],
    *,
    what: str,
    seconds: float = _EXTRA_S,
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        status = runner.status()
        if status and condition(status):
            return
        home.info()  # it may have been stopped meanwhile
        if time.monotonic() > deadline:
            raise RetryableError(
                f"waited {seconds:.0f} s for {what}; see {runner.role}.log and the function's in {home.logs}"
            )
        time.sleep(_POLL_S)
