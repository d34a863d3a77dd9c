"""When to try again, and when to stop: full jitter within a budget of time and tries."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamgage.errors import RetryableError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The n-th pause is random in ``[0, min(cap_s, base_s * 2**(n-1)))``.

    No pause ends, and no wait for an answer lasts, beyond ``budget_s`` after the first try began: a call that begins
    with more than that left of an invocation ends within it.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    budget_s: float = 1.8
    tries: int = 6
    base_s: float = 0.05
    cap_s: float = 0.5
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def start(self) -> "Retries":
        """Return the retries of a piece of work that begins now."""
        return Retries(self)


class Retries:
    """The retries of one piece of work, which may be several calls."""

    __slots__ = ("_policy", "_tried", "deadline")

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy, self._tried = policy, 0
        self.deadline = policy.clock() + policy.budget_s

    def pause(self, failure: str, cause: Exception | None = None) -> None:
        """Wait before the next try.

        Raises:
            RetryableError: with *failure*, when no try is left.
        """
        policy = self._policy
        self._tried += 1
        pause_s = policy.random() * min(policy.cap_s, policy.base_s * 2 ** (self._tried - 1))
        if self._tried >= policy.tries or policy.clock() + pause_s >= self.deadline:
            raise RetryableError(f"{failure} (tried {self._tried} times)") from cause
        policy.sleep(pause_s)
