"""Pages that were parsed before: the answer of a table that is the same to the byte holds the same items."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple

from streamgage.fold.items import StoredItem

_ITEM_BYTES = 400  # beside its body, which is shorter than it is in the answer


class Page(NamedTuple):
    """What a Query answered: items by their sort keys, what they cost, and where the next page begins; None: there is none."""

    items: Sequence[tuple[str, StoredItem]]
    read_units: float
    last_key: Any


class PageMemory:
    """The last answer to each request, and what was parsed of it; bounded in bytes. Thread-safe.

    Nothing is answered from it: the table is asked each time, and what it answers is compared.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._alone = Lock()
        self._pages: dict[str, tuple[bytes, Page]] = {}

    def parsed(self, request: str, answer: bytes, parse: Callable[[bytes], Page]) -> Page:
        """Return what *parse* makes of *answer* to *request*, which it did before where it is the same."""
        with self._alone:
            known = self._pages.pop(request, None)
            if known is not None and known[0] == answer:
                self._pages[request] = known
                return known[1]
        page = parse(answer)
        with self._alone:
            if _size_bytes(answer, page) > self._most_bytes // 4:
                return page
            self._pages[request] = answer, page
            # Counted anew each time: the timer that ends a request may come between any two instructions.
            held_bytes = sum(_size_bytes(*each) for each in self._pages.values())
            while held_bytes > self._most_bytes:
                held_bytes -= _size_bytes(*self._pages.pop(next(iter(self._pages))))
        return page


def _size_bytes(answer: bytes, page: Page) -> int:
    return 2 * len(answer) + len(page.items) * _ITEM_BYTES
