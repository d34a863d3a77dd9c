"""Which keys have fallen silent: when each was last heard of."""

from collections.abc import Iterator
from dataclasses import dataclass

from processors.query.cells import PartialStore
from processors.query.question import Question, groups_of


@dataclass(frozen=True, slots=True)
class Seen:
    """When a key was last heard of: the time of its last event where some `last` is kept, else the end of its last window.

    ``is_exact`` says which. A field that is null in an event has no `last` of it: then the later of what is known stands.
    """

    key: tuple[str, ...]
    last_ms: int
    is_exact: bool


def silent(store: PartialStore, question: Question, *, since_ms: int, now_ms: int) -> list[Seen]:
    """Return the keys of *question* that were not heard of from *since_ms* on, the longest silent first.

    A key that was never heard of in the range is not known here.
    """
    found = {each.key: each for each in _seen(store, question, now_ms=now_ms)}
    return sorted(
        (each for each in found.values() if each.last_ms < since_ms),
        key=lambda each: (each.last_ms, each.key),
    )


def _seen(store: PartialStore, question: Question, *, now_ms: int) -> Iterator[Seen]:
    """Yield what each window says of its keys, in the order of time: what comes later is later."""
    timed = _timed_columns(question)
    for group in groups_of(store, question, now_ms=now_ms):
        for row, key in enumerate(group.keys):
            times = [column[row][0] for at in timed if (column := group.table[at])[row] is not None]
            yield Seen(key, max(times), True) if times else Seen(key, group.window.end_ms, False)


def _timed_columns(question: Question) -> list[int]:
    """Return where in a table of states times of last events stand."""
    parts = [name for field in question.rollup.layout.fields for name in field.parts]
    return [at for at, name in enumerate(parts, start=1) if name == "last"]
