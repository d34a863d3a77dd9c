"""When a child that ended is started again, and when that is given up. Pure: it is told how each life went.

=============================================  ==========================================================
it ended                                       then
=============================================  ==========================================================
after it was ready for 10 s                    again at once; what was before is forgotten
by itself, sooner                              again after 1 s; the second such end in a row is the last
from outside (SIGKILL, SIGTERM), sooner        again: at once, after 0.2 s, 0.4 s, … 5 s; the tenth is the last
=============================================  ==========================================================

A child that ends by itself so early does so for a reason that starting it again does not change. One that somebody kills, or
the kernel for want of memory, may well live on.
"""

import signal
from dataclasses import dataclass

STEADY_S = 10.0
OWN_ENDS = 2
OUTSIDE_ENDS = 10
_PAUSE_S = 1.0
_FIRST_S = 0.2
_LONGEST_S = 5.0
_FROM_OUTSIDE = (0, -signal.SIGKILL, -signal.SIGTERM)  # a child of ours ends with 0 only when it is told to


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a child: its exit status (a signal is negative), and for how long it was ready (None: never)."""

    status: int
    ready_s: float | None

    @property
    def was_steady(self) -> bool:
        """Tell whether it lived long enough to be trusted."""
        return self.ready_s is not None and self.ready_s >= STEADY_S


@dataclass(frozen=True, slots=True)
class Past:
    """The ends in a row since the child was last steady."""

    own: int = 0
    outside: int = 0


@dataclass(frozen=True, slots=True)
class Again:
    """Start it again after so long."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Enough:
    """Do not start it again; ``why`` ends a sentence about it."""

    why: str


def after(past: Past, life: Life) -> tuple[Past, Again | Enough]:
    """Return what to do after *life*, which followed *past*, and the past that the next life will have."""
    if life.was_steady:
        return Past(), Again(0.0)
    if life.status in _FROM_OUTSIDE:
        past = Past(past.own, past.outside + 1)
        if past.outside >= OUTSIDE_ENDS:
            return past, Enough(f"was ended {past.outside} times in a row")
        return past, Again(min(_FIRST_S * 2.0 ** (past.outside - 2), _LONGEST_S) if past.outside > 1 else 0.0)
    past = Past(past.own + 1, past.outside)
    if past.own >= OWN_ENDS:
        return past, Enough(f"ended by itself {past.own} times in a row")
    return past, Again(_PAUSE_S)
