"""Which keys have fallen silent: when each was last heard of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from processors.query.cells import PartialStore
from processors.query.question import Question, groups_of
from streamgage.measures.windows import TumblingWindows


@dataclass(frozen=True, slots=True)
class Seen:
    """When a key was last heard of: the time of its last event where some `last` is kept, else the end of its last window.

    ``is_exact`` says which. A field that is null in an event has no `last` of it: then the later of what is known stands.
    """

    key: tuple[str, ...]
    last_ms: int
    is_exact: bool


def instant_of(question: Question, as_of_ms: int, *, now_ms: int) -> int:
    """Return the last instant up to *as_of_ms* of which it is known what came before: a boundary of windows, if past."""
    if as_of_ms >= now_ms:
        return as_of_ms
    size_ms = min(each.size_ms for each in _kept(question))
    return as_of_ms - as_of_ms % size_ms


def silent(store: PartialStore, question: Question, *, for_ms: int, as_of_ms: int, now_ms: int) -> list[Seen]:
    """Return the keys of *question* that were not heard of for *for_ms* by *as_of_ms*, the longest silent first.

    What came later is not looked at, so *as_of_ms* is an ``instant_of``. A key that was never heard of in the range is not
    known here.
    """
    found: dict[tuple[str, ...], Seen] = {}
    for part in _parts(question, as_of_ms, now_ms=now_ms):
        for each in _seen(store, part, now_ms=now_ms):
            known = found.get(each.key)
            if known is None or known.last_ms < each.last_ms:
                found[each.key] = each
    return sorted(
        (each for each in found.values() if each.last_ms <= as_of_ms - for_ms),
        key=lambda each: (each.last_ms, each.key),
    )


def _kept(question: Question) -> list[TumblingWindows]:
    """Return the windows that tell: the time of a last event is the same in all sizes, the end of a window is not."""
    return sorted(
        question.rollup.windows if _timed_columns(question) else [question.windows],
        key=lambda each: -each.size_ms,
    )


def _parts(question: Question, as_of_ms: int, *, now_ms: int) -> Iterator[Question]:
    """Yield the range up to *as_of_ms* by windows as large as fit: days cost a thousandth of what minutes do."""
    from_ms = question.from_ms
    for windows in _kept(question):
        to_ms = question.to_ms if as_of_ms >= now_ms else as_of_ms - as_of_ms % windows.size_ms
        if to_ms > from_ms:
            yield replace(question, windows=windows, buckets=None, moving=1, from_ms=from_ms, to_ms=to_ms)
            from_ms = to_ms


def _seen(store: PartialStore, question: Question, *, now_ms: int) -> Iterator[Seen]:
    """Yield what each window says of its keys."""
    timed = _timed_columns(question)
    for group in groups_of(store, question, now_ms=now_ms):
        for row, key in enumerate(group.keys):
            times = [column[row][0] for at in timed if (column := group.table[at])[row] is not None]
            yield Seen(key, max(times), True) if times else Seen(key, group.window.end_ms, False)


def _timed_columns(question: Question) -> list[int]:
    """Return where in a table of states times of last events stand."""
    parts = [name for field in question.layout.fields for name in field.parts]
    return [at for at, name in enumerate(parts, start=1) if name == "last"]
