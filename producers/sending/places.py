"""Where a stack's stream is: offered by entry points, for producers know nothing of homes and stacks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamgage.errors import ConfigError

_GROUP = "streamgage.streams"


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """A stack's stream, and how it wants to be written to. ``pipeline`` is the definition that it counts by, if that is known."""

    stream: str
    region: str | None
    endpoint_url: str | None = None
    credentials: tuple[str, ...] | None = field(default=None, repr=False)
    one_key_per_record: bool = False
    pipeline: str | None = None


def find_place(kind: str, *arguments: Any) -> StreamPlace:
    """Return the stream of the "local" or "aws" stack that *arguments* name. Raises: ConfigError, RetryableError."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 10 ms, which most producers need not spend

    for found in entry_points(group=_GROUP, name=kind):
        find: Callable[..., StreamPlace] = found.load()
        return find(*arguments)
    raise ConfigError(
        f"this installation knows no {kind} stacks: install the streamgage wheel, or name the stream: Producer(stream, region=…)"
    )
