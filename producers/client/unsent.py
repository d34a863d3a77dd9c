"""What a producer holds when it is gone, or when its process ends: nobody sends it any more, and somebody must know."""

import logging
import weakref

from producers.client.engine import Engine

_LOG = logging.getLogger("streamgage.producer")  # without a handler of anybody's it is on stderr


class Unsent:
    """Tells, once its producer is collected or the interpreter ends, of the events that were put and never sent.

    It knows what the producer holds, and not the producer, which it would keep alive.
    """

    def __init__(self, producer: object, engine: Engine) -> None:
        self._engine = engine
        weakref.finalize(producer, self._tell)

    def _tell(self) -> None:
        events = self._engine.events
        if events:
            _LOG.error(
                "%d events were put into a producer that was never closed, and are lost: call close(), or use `with`",
                events,
            )
