"""The garbage collector, and answers."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Let the garbage collector rest, of all threads: an answer is many rows and no cycle.

    As processors/aggregate/batch.py has it, whose cold start shares no file with answers for six lines. To walk them again and again takes a quarter of an answer of 14,400 rows, and of a short one, now and then, half.
    """
    collects = gc.isenabled()
    try:
        gc.disable()  # within: a signal that ends the question may come right behind it
        yield
    finally:
        if collects:
            gc.enable()
