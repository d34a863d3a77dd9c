"""Questions that a start asks of a stream, and does not depend on: an answer that is long in coming is done without."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from streamgage.errors import RetryableError

START_S = 5.0
"""So long a start waits for each: some round trips to the far side of the earth, and some tries."""

T = TypeVar("T")


def within(ask: Callable[[], T], wait_s: float = START_S) -> T:
    """Return what *ask* does. It is called on a thread of its own, which is left to itself when *wait_s* are over.

    Raises:
        RetryableError: it has neither returned nor failed in time.
        Exception: it failed so.
    """
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def asked() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            answers.put((None, error))

    threading.Thread(target=asked, name="streamgage-asks", daemon=True).start()
    try:
        answer, error = answers.get(timeout=wait_s)
    except queue.Empty:
        raise RetryableError(f"no answer within {wait_s:g} s") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # what ask returned, None too
