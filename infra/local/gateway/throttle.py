"""Throttling: a bucket of tokens, each of which is a request.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html (checked 2026-11-29).
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Times(NamedTuple):
    """The clocks: ms since the epoch, and seconds that never go back."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    steady_s: Callable[[], float] = time.monotonic


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


class Throttle:
    """The buckets of one stage: each route has its own, also of the rate that the stage gives to all. Thread-safe.

    *rates* are by route key; under ``""`` is what every other route has.
    """

    def __init__(self, rates: Mapping[str, Rate]) -> None:
        self._rates = rates
        self._buckets: dict[str, TokenBucket] = {}
        self._alone = threading.Lock()

    def takes(self, key: str, now_s: float) -> bool:
        """Tell whether the route *key* takes one more request now."""
        rate = self._rates.get(key) or self._rates.get("")
        if rate is None:
            return True
        with self._alone:
            bucket = self._buckets.setdefault(key, TokenBucket(rate))
        return bucket.take(now_s)
