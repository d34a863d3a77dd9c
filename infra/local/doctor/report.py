"""What a doctor looked at, and what it found. A check adds to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from infra.local.stack.home import Home


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was read: how many files, bytes, and records or items."""

    subject: str
    files: int
    size_bytes: int
    entries: str = ""
    damages: int = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """What is lost or not to be trusted, in one sentence, and what to do. *give_up* goes on without it.

    ``give_up`` is called once a home, whatever the number of damages that share it; None: there is no such way.
    """

    what: str
    todo: str
    give_up: Callable[[], None] | None = None


@dataclass(slots=True)
class Report:
    """All that was read and found. Call ``on_bytes`` with what was read just now."""

    on_bytes: Callable[[int], None] = lambda _: None
    is_running: bool = False
    looks: list[Look] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Check(Protocol):
    """One thing that a doctor looks at. It changes nothing, and raises nothing for what is damaged."""

    def __call__(self, home: Home, report: Report) -> None:
        """Look at *home*, and add to *report*."""
