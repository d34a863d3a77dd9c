"""When to try again, and when to stop: full jitter within a budget of time and tries."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from processors.deadline import Deadline
from streamgage.errors import RetryableError

# Errors that a later try may not meet again, by their names without "Exception" or "Error": an answer's code is
# ThrottlingException where a statement's is ThrottlingError, and each service has names of its own for the rest.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html
# and https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
_PASSING = frozenset(
    {
        "InternalFailure",
        "InternalServer",
        "ItemCollectionSizeLimitExceeded",
        "LimitExceeded",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "Throttling",
        "TransactionConflict",
    }
)


def may_pass(code: str) -> bool:
    """Tell whether a later try may not meet the error *code* again, an answer's or a statement's."""
    return code.removesuffix("Exception").removesuffix("Error") in _PASSING


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The n-th pause is random in ``[0, min(cap_s, base_s * 2**(n-1)))``.

    No pause ends, and no wait lasts, beyond ``budget_s`` after the first try began, nor beyond the deadline of the work.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    budget_s: float = 1.8
    tries: int = 6
    base_s: float = 0.05
    cap_s: float = 0.5
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def start(self, deadline: Deadline) -> "Retries":
        """Return the retries of a piece of work that begins now, and ends by *deadline*."""
        return Retries(self, deadline.sooner(self.budget_s))


class Retries:
    """The retries of one piece of work, which may be several calls. Nothing of it waits beyond ``deadline``."""

    __slots__ = ("_policy", "_tried", "deadline")

    def __init__(self, policy: RetryPolicy, deadline: Deadline) -> None:
        self._policy, self._tried, self.deadline = policy, 0, deadline

    def pause(self, failure: str, cause: Exception | None = None) -> None:
        """Wait before the next try.

        Raises:
            RetryableError: with *failure*, when no try is left.
        """
        policy = self._policy
        self._tried += 1
        pause_s = policy.random() * min(policy.cap_s, policy.base_s * 2 ** (self._tried - 1))
        if self._tried >= policy.tries or pause_s >= self.deadline.left_s():
            raise RetryableError(f"{failure} (tried {self._tried} times)") from cause
        policy.sleep(pause_s)
