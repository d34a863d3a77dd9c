"""Take a list of events: in runs where they are plain, one by one where one of them needs a closer look."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamgage.errors import StreamgageError
from streamgage.formats.avro import Event

_MOST, _LEAST = 1_024, 16  # events of a run
_REFUSALS_SHOWN = 3


def untold(_taken: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """One event of a list that was not taken: its place, from 0, and why."""

    at: int
    error: ValueError


class RefusedEvents(StreamgageError, ValueError):
    """Some events of a list were refused, in the order of ``refused``. All others were taken: do not put them again."""

    code = "refused"

    def __init__(self, refused: Sequence[RefusedEvent], events: int) -> None:
        self.refused = tuple(refused)
        shown = "; ".join(f"event {each.at}: {each.error}" for each in self.refused[:_REFUSALS_SHOWN])
        more = len(self.refused) - _REFUSALS_SHOWN
        tail = f"; and {more:,} more" if more > 0 else ""
        super().__init__(f"{len(self.refused):,} of {events:,} events were refused: {shown}{tail}")


def take_many(
    events: Sequence[Event],
    take_run: Callable[[Sequence[Event]], int],
    take_one: Callable[[Event], None],
    taken_so_far: Callable[[int], None],
) -> list[RefusedEvent]:
    """Have *events* taken in their order; return those that *take_one* refused by a ValueError.

    *taken_so_far* is told how many were taken, after each run and each single one: who is interrupted knows.

    *take_run* takes the first events of what it is given, perhaps none, and tells how many. It is asked for fewer where it
    took none, so that one that does not fit has few others go its slow way.
    """
    refused: list[RefusedEvent] = []
    at, most = 0, _MOST
    while at < len(events):
        run = events[at : at + most]
        taken = take_run(run)
        at += taken
        if taken:
            taken_so_far(at - len(refused))
        if taken == len(run):
            most = min(2 * most, _MOST)
            continue
        if not taken and most > _LEAST:
            most = max(most // 4, _LEAST)
            continue
        if taken:  # what follows fills a block
            most = min(max(4 * taken, _LEAST), _MOST)
        for place in range(at, min(at + _LEAST, len(events))):
            try:
                take_one(events[place])
            except ValueError as error:
                refused.append(RefusedEvent(place, error))
            else:
                taken_so_far(place + 1 - len(refused))
        at += _LEAST
    return refused


def put_one_by_one(
    events: Sequence[Event], put: Callable[[Event], None], taken_so_far: Callable[[int], None]
) -> None:
    """Have *put* take each of *events*. Raises: RefusedEvents, those it refused by a ValueError; all others were taken."""
    refused = take_many(events, lambda _: 0, put, taken_so_far)
    if refused:
        raise RefusedEvents(refused, len(events))
