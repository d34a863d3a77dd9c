"""What makes a batch durable, and remembers it: the port of the collector, and what goes through it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from streamgage.definition.pipeline import Source
from streamgage.errors import StreamgageError
from streamgage.formats.avro import Event


class Once(NamedTuple):
    """By what a batch is known when it comes again: 16 bytes of its caller and key, and 16 of its content."""

    key: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request, by source: each of them fits its schema, and a Kinesis record.

    ``once`` is None where the client said no key: sent again, it counts again. ``bytes`` is what the request took.
    """

    events: Mapping[Source, Sequence[Event]]
    once: Once | None
    bytes: int

    @property
    def count(self) -> int:
        """How many events it has."""
        return sum(map(len, self.events.values()))


class KeyReused(StreamgageError):
    """A batch of this key is known, and has other content: nothing of this one was taken."""

    code = "key_reused"


class Durable(Protocol):
    """Where events are kept. Called from several threads at once, where its owner has several."""

    def keep(self, batch: Batch) -> bool:
        """Return once *batch* is durable: True where it was before, under its key, and this one counts nothing.

        Raises:
            KeyReused: see there.
            Refused: it is more than can be remembered under a key; nothing was taken.
            RetryableError: it is not known to be durable; the client is to send it again. What of it was stored all the
                same counts once, if it had a key.
        """

    def check(self) -> None:
        """Return if a batch could be kept now. Raises: RetryableError, and says why not."""
