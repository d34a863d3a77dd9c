"""Keep children running: start them, wait until they are ready, start again what ended, stop them all in bounded time.

A child is a value (`ChildSpec`); when it is started again is `restarts`' to say; how a process is started is *spawn*'s, and
time is *clock_s*'s, so that all of this runs without a process in tests.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from infra.local.stack.children import Child
from infra.local.stack.restarts import Again, Enough, Life, Past, after
from streamgage.errors import ConfigError, RetryableError

_POLL_S = 0.02
_NOT_STARTED_S = 1.0  # until a process is tried again that the machine did not start
_NO_ANSWER = 1  # the status of a life that was ended because it never became ready

Say = Callable[[str], None]
IsReady = Callable[[], bool]


class OnEnd(Enum):
    """What it means to the stack that a child ended."""

    AGAIN = auto()
    """It kept what it acknowledged, and is started again; where that does not help, the stack ends."""
    WITHOUT = auto()
    """The same, but the stack goes on without it."""
    END = auto()
    """What it held is gone with it: the stack ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A child: its command, how it is seen to be ready, and what its end means.

    ``probe`` is called before each start, and returns what is asked again and again afterwards. ``held`` is what is lost
    with it, in words.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    probe: Callable[[], IsReady]
    environment: Mapping[str, str] = field(default_factory=dict)
    on_end: OnEnd = OnEnd.AGAIN
    held: str = ""
    ready_within_s: float = 60.0
    stop_s: float = 10.0


class Process(Protocol):
    """A process that was started, as `infra.local.stack.children` has it."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def status(self) -> int:
        """How it ended; a signal is negative."""

    def has_ended(self) -> bool:
        """Tell whether it ended."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it at once."""


def spawn(spec: ChildSpec) -> Process:
    """Start a process of *spec*. Raises: OSError."""
    return Child.start(spec.name, spec.arguments, log=spec.log, environment=spec.environment)


@dataclass(slots=True)
class _Kept:
    spec: ChildSpec
    process: Process | None = None  # None: it waits until ``again_s``, or is given up
    is_ready: IsReady = bool
    started_s: float = 0.0
    ready_s: float | None = None
    again_s: float | None = None
    past: Past = field(default_factory=Past)


class Keeper:
    """The children of one stack. ``start`` each, ``await_ready``, ``look`` again and again, ``stop``. Not thread-safe.

    *changed* is told the pids by name whenever they are others.
    """

    def __init__(
        self,
        *,
        say: Say,
        changed: Callable[[Mapping[str, int]], None],
        spawn: Callable[[ChildSpec], Process] = spawn,
        clock_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._say, self._changed, self._spawn = say, changed, spawn
        self._clock_s, self._pause = clock_s, pause
        self._kept: dict[str, _Kept] = {}

    def pids(self) -> dict[str, int]:
        """Return the processes that were started, by name."""
        return {name: kept.process.pid for name, kept in self._kept.items() if kept.process is not None}

    def start(self, spec: ChildSpec) -> None:
        """Start a child. Raises: OSError."""
        kept = self._kept[spec.name] = _Kept(spec)
        self._start(kept)

    def await_ready(self, name: str) -> None:
        """Wait until a child is ready.

        Raises:
            ConfigError: it ended; its last words are in the message.
            RetryableError: it takes too long.
        """
        kept = self._kept[name]
        while not self._is_ready(kept):
            if kept.process is None or kept.process.has_ended():
                raise ConfigError(
                    f"{name} did not start; the end of its log, {kept.spec.log}:\n{last_words(kept.spec.log)}"
                )
            if self._is_overdue(kept):
                raise RetryableError(
                    f"{name} was not ready within {kept.spec.ready_within_s:.0f} s: the machine may be too busy, try again. "
                    f"Its log is {kept.spec.log}"
                )
            self._pause(_POLL_S)

    def look(self) -> None:
        """Look after all of them once: what ended is started again, now or when it is time.

        Raises:
            ConfigError: one has ended for good; the message has its last words.
        """
        for kept in self._kept.values():
            if kept.process is None:
                if kept.again_s is not None and self._clock_s() >= kept.again_s:
                    self._start_again(kept)
            elif kept.process.has_ended():
                self._ended(kept, kept.process.status)
            elif not self._is_ready(kept) and self._is_overdue(kept):
                self._say(
                    f"{kept.spec.name} was not ready within {kept.spec.ready_within_s:.0f} s; ending it"
                )
                kept.process.kill()
                self._ended(kept, _NO_ANSWER)

    def stop(self, *waves: Iterable[str]) -> None:
        """Stop what *waves* name, each wave together, one after the other; then whatever else there is."""
        for names in (*waves, tuple(self._kept)):
            wave = [self._kept.pop(name) for name in names if name in self._kept]
            processes = [(kept.process, kept.spec.stop_s) for kept in wave if kept.process is not None]
            if processes:
                self._say(
                    f"stopping {', '.join(kept.spec.name for kept in wave if kept.process is not None)}"
                )
            for process, _ in processes:
                process.terminate()
            began_s = self._clock_s()
            for process, stop_s in processes:
                while not process.has_ended() and self._clock_s() < began_s + stop_s:
                    self._pause(_POLL_S)
                process.kill()

    def _start(self, kept: _Kept) -> None:
        kept.is_ready, kept.ready_s, kept.again_s = kept.spec.probe(), None, None
        kept.process = self._spawn(kept.spec)
        kept.started_s = self._clock_s()
        self._changed(self.pids())

    def _start_again(self, kept: _Kept) -> None:
        try:
            self._start(kept)
        except OSError as error:  # the machine's trouble, not the child's: a full disk, no memory
            self._say(f"{kept.spec.name} cannot be started: {error}; trying again")
            kept.again_s = self._clock_s() + _NOT_STARTED_S

    def _is_ready(self, kept: _Kept) -> bool:
        if kept.ready_s is None and kept.process is not None and kept.is_ready():
            kept.ready_s = self._clock_s()
        return kept.ready_s is not None

    def _is_overdue(self, kept: _Kept) -> bool:
        return self._clock_s() - kept.started_s > kept.spec.ready_within_s

    def _ended(self, kept: _Kept, status: int) -> None:
        name, log = kept.spec.name, kept.spec.log
        kept.process = None
        if kept.spec.on_end is OnEnd.END:
            raise ConfigError(
                f"{name} ended by itself ({_how(status)}), and its {kept.spec.held} with it; the end of its log, {log}:\n"
                f"{last_words(log)}"
            )
        lived_s = None if kept.ready_s is None else self._clock_s() - kept.ready_s
        kept.past, then = after(kept.past, Life(status, lived_s))
        match then:
            case Again(after_s):
                self._say(
                    f"{name} ended with {_how(status)}; starting it again"
                    + (f" in {after_s:.1f} s" if after_s else "")
                )
                kept.again_s = self._clock_s() + after_s
                if not after_s:
                    self._start_again(kept)
            case Enough(why) if kept.spec.on_end is OnEnd.WITHOUT:
                self._say(f"{name} {why} ({_how(status)}); going on without it. Its log is {log}")
                self._changed(self.pids())
            case Enough(why):
                raise ConfigError(
                    f"{name} {why} ({_how(status)}), so the stack ends; the end of its log, {log}:\n{last_words(log)}"
                )


def last_words(log: Path, lines: int = 8) -> str:
    """Return the end of a *log*."""
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no log at {log})"


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
