"""Virtual time: actions in the order of their time, ties by the dice. No thread and no real clock."""

import random
from collections.abc import Callable
from heapq import heappop, heappush

from simulation.trace import Trace

Action = Callable[[], None]

_DEPTH = 3  # pauses within pauses: three invocations of one shard overlap, and the stack stays small


class SimulationError(AssertionError):
    """What was promised does not hold. The message says what; the seed and the plan repeat it."""


class Scheduler:
    """The clock, and the actions to come.

    An action that waits (a slow call, a producer's pause) calls ``pause``: everything due in the meantime runs inside
    it, and may wait as well. So the real, synchronous code is interrupted at any of its calls, by anything, and the
    same seed interrupts it at the same place.
    """

    def __init__(self, *, start_ms: int, rng: random.Random, trace: Trace) -> None:
        self.now_ms = start_ms
        trace.clock = lambda: (self.now_ms, self._depth)
        self.steps = 0
        self._random = rng.random
        self._heap: list[tuple[int, float, int, Action]] = []
        self._pushed = 0
        self._depth = 0

    def after(self, delay_ms: int, action: Action) -> None:
        """Run *action* after *delay_ms*."""
        self._pushed += 1
        heappush(self._heap, (self.now_ms + delay_ms, self._random(), self._pushed, action))

    @property
    def may_pause(self) -> bool:
        """Whether a pause would let anything run."""
        return self._depth < _DEPTH

    def pause(self, duration_ms: int) -> None:
        """Let *duration_ms* pass, and everything that is due in it happen. Deeper than three it only passes."""
        until_ms = self.now_ms + duration_ms
        if self._depth < _DEPTH:
            self._depth += 1
            try:
                self._run(until_ms)
            finally:
                self._depth -= 1
        self.now_ms = max(self.now_ms, until_ms)

    def run(self, *, until_ms: int) -> None:
        """Run what is due until then."""
        self._run(until_ms)
        self.now_ms = max(self.now_ms, until_ms)

    def drain(self, *, most_steps: int) -> None:
        """Run until nothing is to come.

        Raises:
            SimulationError: it goes on and on.
        """
        last = self.steps + most_steps
        while self._heap:
            self._run(self._heap[0][0])
            if self.steps > last:
                raise SimulationError(
                    f"it does not end: {most_steps} steps after the last fault it still goes on"
                )

    def _run(self, until_ms: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until_ms:
            time_ms, _, _, action = heappop(heap)
            self.now_ms = max(self.now_ms, time_ms)
            self.steps += 1
            action()
