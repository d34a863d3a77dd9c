"""What a Producer raises, beside ConfigError, RefusedEvents and DeliveryError."""

from collections.abc import Sequence

from producers.client.many import RefusedEvent
from streamgage.errors import StreamgageError


class BufferFull(StreamgageError, TimeoutError):
    """There was no room in time. The event was not taken; of a list, the first ``done`` were taken, or are in ``refused``."""

    code = "full"

    def __init__(self, message: str, *, done: int = 0, refused: Sequence[RefusedEvent] = ()) -> None:
        self.done, self.refused = done, tuple(refused)
        super().__init__(message)


class NotYetStored(StreamgageError, TimeoutError):
    """What was put is not stored in the time that was given. Nothing is lost: it is still being sent."""

    code = "not_yet"


class ProducerClosed(StreamgageError, RuntimeError):
    """The producer was closed, and takes no more. The event was not taken."""

    code = "closed"
