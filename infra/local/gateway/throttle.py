"""Throttling: a bucket of tokens, each of which is a request.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html (checked 2026-11-29).
"""

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """What a route may be asked: ``per_s`` requests a second in the long run, ``burst`` at once."""

    per_s: float
    burst: int


class TokenBucket:
    """A bucket of *rate*, full at first. Thread-safe. It is told the time, in seconds of a clock that never goes back."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_s: float | None = None
        self._alone = threading.Lock()

    def take(self, now_s: float) -> bool:
        """Take a token; tell whether there was one. After t seconds there are ``min(burst, tokens + t * per_s)``."""
        with self._alone:
            if self._at_s is not None:
                gained = max(now_s - self._at_s, 0.0) * self._rate.per_s
                self._tokens = min(float(self._rate.burst), self._tokens + gained)
            self._at_s = now_s
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
