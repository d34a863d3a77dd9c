"""End a stack, or what a supervisor that was killed has left of one; nobody else is touched."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from infra.local.stack.books import clear, noted_children
from infra.local.stack.home import Home
from infra.local.stack.lock import Held, Holder, hold
from infra.local.stack.processes import end, runs
from streamgage.errors import ConfigError

_CHILDREN_S = (
    10.0  # from SIGTERM to SIGKILL: their supervisor is gone, and what they acknowledged is on the disk
)
_SUPERVISOR_S = 60.0  # longer than it gives its own children, one wave after the other
_KILLED_S = 5.0
_GONE_S = 5.0
_POLL_S = 0.02

Say = Callable[[str], None]


def end_leftovers(home: Home, *, say: Say = lambda _: None, wait_s: float = _CHILDREN_S) -> bool:
    """End what a killed supervisor left running; return whether it had left anything. The caller holds *home*.

    Raises:
        ConfigError: a process does not end.
    """
    left = [each for each in noted_children(home) if runs(each)]
    if left:
        say(f"ending what another supervisor left: {', '.join(str(each.pid) for each in left)}")
    stubborn = end(left, wait_s=wait_s)
    if stubborn:
        pids = " ".join(str(each.pid) for each in stubborn)
        raise ConfigError(
            f"of the last stack in {home.root} these processes do not end, not even by SIGKILL: {pids}"
        )
    had_info = home.info_file.exists()
    clear(home)
    return had_info or bool(left)


def take_down(home: Home, *, say: Say, wait_s: float = _SUPERVISOR_S) -> bool:
    """Stop the stack in *home*, also one that is starting; return whether there was one.

    Whoever holds the home is asked to end, and killed when that takes longer than *wait_s*.

    Raises:
        ConfigError: it does not end.
    """
    if not home.root.exists():
        return False
    deadline_s, asked, killed = time.monotonic() + wait_s, None, False
    while True:
        try:
            with hold(home.lock_file, "down"):
                was_left = end_leftovers(home, say=say)
                if asked is not None:
                    _wait(asked)
                return was_left or asked is not None
        except Held as held:
            holder = held.holder
            if holder is None or (killed and time.monotonic() > deadline_s):
                raise
            if holder != asked:
                _ask(holder)
                asked = holder
            if time.monotonic() > deadline_s:
                say(f"pid {holder.process.pid} did not stop within {wait_s:.0f} s; killing it")
                _signal(holder, signal.SIGKILL)
                killed, deadline_s = True, time.monotonic() + _KILLED_S
        time.sleep(_POLL_S)


def _wait(holder: Holder) -> None:
    """Wait for the end of one that has let go of the home; it may have other things to do."""
    deadline_s = time.monotonic() + _GONE_S
    while runs(holder.process) and holder.process.pid != os.getpid() and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)


def _ask(holder: Holder) -> None:
    if holder.doing != "down":  # another one is waited for
        _signal(holder, signal.SIGTERM)
        _signal(holder, signal.SIGCONT)  # one that was stopped (Ctrl-Z) hears nothing else


def _signal(holder: Holder, number: signal.Signals) -> None:
    if holder.process.pid != os.getpid() and runs(holder.process):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(holder.process.pid, number)
