"""What a running stack writes down of itself: whom to find (``stack.json``) and whom to end (``processes.json``).

A disk that is full, or can no longer be written to, is told and survived: the stack works on, and what could not be written
is tried again at every look.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from infra.local.stack.home import Home, StackInfo, read_json, write_json
from infra.local.stack.processes import Identity, identify
from streamgage.errors import ConfigError

Say = Callable[[str], None]


class Books:
    """The bookkeeping of the stack in *home*."""

    def __init__(self, home: Home, *, say: Say) -> None:
        self._home, self._say = home, say
        self._children: dict[str, Identity] = {}
        self._own = identify(os.getpid())
        self._info: StackInfo | None = None
        self._pending = False
        self._told = ""

    @property
    def info(self) -> StackInfo | None:
        """The stack, as it is told to every command; None until it is published."""
        return self._info

    def note(self, pids: Mapping[str, int]) -> None:
        """Note who the children are now, by role."""
        known = self._children
        found = {
            role: known[role] if role in known and known[role].pid == pid else identify(pid)
            for role, pid in pids.items()
        }
        self._children = {role: each for role, each in found.items() if each is not None}
        self._pending = True
        self.settle()

    def publish(self, info: StackInfo) -> None:
        """Tell every command that the stack is there. Raises: OSError: nobody would find it."""
        self._info = self._with_processes(info)
        write_json(self._home.info_file, asdict(self._info))

    def settle(self) -> None:
        """Write down what is not written yet; what cannot be is said once."""
        if not self._pending:
            return
        try:
            write_json(
                self._home.processes_file, {role: asdict(each) for role, each in self._children.items()}
            )
            if self._info is not None:
                self._info = self._with_processes(self._info)
                write_json(self._home.info_file, asdict(self._info))
        except (OSError, ConfigError) as error:
            self._tell(error)
        else:
            self._pending, self._told = False, ""

    def close(self) -> None:
        """Say that nothing runs any more."""
        try:
            clear(self._home)
        except OSError as error:
            self._tell(error)

    def _with_processes(self, info: StackInfo) -> StackInfo:
        own = {"supervisor": self._own} if self._own is not None else {}
        everybody = {**own, **self._children}
        return replace(
            info,
            pids={role: each.pid for role, each in everybody.items()},
            started={role: each.started for role, each in everybody.items()},
        )

    def _tell(self, error: Exception) -> None:
        text = f"cannot write down which processes run: {error}. The stack works on, and tries again"
        if text != self._told:
            self._told = text
            self._say(text)


def noted_children(home: Home) -> list[Identity]:
    """Return the children that a supervisor has noted in *home*, whether they run or not."""
    try:
        raw: Any = read_json(home.processes_file)
    except ConfigError:
        return []
    if not isinstance(raw, dict):
        return []
    return [
        Identity(each["pid"], each["started"])
        for each in raw.values()
        if isinstance(each, dict)
        and isinstance(each.get("pid"), int)
        and isinstance(each.get("started"), str)
    ]


def clear(home: Home) -> None:
    """Remove what says that a stack runs in *home*. Raises: OSError."""
    for path in (
        home.info_file,
        home.status_file,
        home.gateway_status_file,
        home.changes_status_file,
        home.processes_file,
    ):
        path.unlink(missing_ok=True)
