"""What to send, and how."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from producers.files.delivery import Sink
from producers.files.follow import Follow, PositionFile
from producers.files.verdict import ConsumerRules
from streamgage.definition.pipeline import Source


@dataclass(frozen=True, slots=True)
class SendJob:
    """What to send and how.

    ``speed`` is of a replay, None without one. A dry run has no ``open_sink``. ``rules`` are the consumer's; ``follow`` and
    ``position`` are set where a file is followed.
    """

    source: Source
    rejects: Path
    undelivered: Path
    limit: int | None
    shift_to_now: bool
    speed: float | None
    open_sink: Callable[[], AbstractContextManager[Sink]] | None
    warn: Callable[[str], None]
    rules: ConsumerRules | None = None
    follow: Follow | None = None
    position: PositionFile | None = None
