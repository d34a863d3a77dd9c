"""What the aggregate function asks of a quarantine."""

from collections.abc import Sequence
from typing import Protocol

from processors.deadline import Deadline
from streamgage.reading.poison import Poison


class Quarantine(Protocol):
    """Where poison goes."""

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        """Keep each of *poison* by *deadline*; a redelivered batch sends it again.

        Raises:
            RetryableError: some of it may not be kept.
        """
