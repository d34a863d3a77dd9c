"""The connections of a server by what they wait for, and which of them goes first when there are too many.

What a connection costs must not grow with how many there are: a flood that has each newcomer compared with all others
is slow by itself. So each kind is kept in the order in which its members came to it, and the oldest is at hand.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar


class Phase(IntEnum):
    """What a connection is at."""

    IDLE = 0  # nothing of a request is here
    HEAD = 1
    BODY = 2
    UNREAD = 3  # it has not taken all of its answer yet
    BUSY = 4  # a request is being answered


Member = TypeVar("Member")


class Crowd(Generic[Member]):
    """Members, each in one phase since some time. Each call costs the same, however many there are."""

    def __init__(self) -> None:
        self._phases: tuple[dict[Member, float], ...] = tuple({} for _ in Phase)
        self._phase_of: dict[Member, Phase] = {}

    def __len__(self) -> int:
        return len(self._phase_of)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._phase_of)

    def count(self, phase: Phase) -> int:
        """Return how many are in *phase*."""
        return len(self._phases[phase])

    def put(self, member: Member, phase: Phase, now_s: float) -> None:
        """Have *member* in *phase*, from now on where it was not already. *now_s* never runs backwards."""
        before = self._phase_of.get(member)
        if before is phase:
            return
        if before is not None:
            del self._phases[before][member]
        self._phase_of[member] = phase
        self._phases[phase][member] = now_s

    def drop(self, member: Member) -> None:
        """Have it no more, if it was there."""
        phase = self._phase_of.pop(member, None)
        if phase is not None:
            del self._phases[phase][member]

    def oldest(self, *phases: Phase) -> Member | None:
        """Return who has been longest in its phase, of those in one of *phases*; None where nobody is."""
        first = [next(iter(self._phases[each].items()), None) for each in phases]
        return min((each for each in first if each is not None), key=lambda each: each[1], default=(None,))[0]
