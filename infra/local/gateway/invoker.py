"""Runs a function for whoever waits for an answer, for as long as an integration may take."""

import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from infra.local.function.outcome import NotInvoked, Outcome
from infra.local.function.pool import Invoked


class Pool(Protocol):
    """Sandboxes of one function."""

    def invoke(self, request_id: str, payload: bytes) -> Invoked:
        """Run the function once."""


class Invoker:
    """Runs the function of *pool*, *concurrency* at once. Thread-safe. ``close`` it: what is under way ends by itself."""

    def __init__(self, pool: Pool, *, concurrency: int) -> None:
        self._pool = pool
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="invoker")

    def close(self) -> None:
        """Begin nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def outcome(self, payload: bytes, timeout_ms: int) -> Outcome:
        """Run the function; what takes longer than the integration may is left to itself, or never begun."""
        try:
            future: Future[Invoked] = self._threads.submit(self._pool.invoke, str(uuid.uuid4()), payload)
        except RuntimeError:  # closed
            return NotInvoked("the gateway is stopping")
        with suppress(TimeoutError):
            return future.result(timeout=timeout_ms / 1000).outcome
        begun = not future.cancel()
        state = "the function works on" if begun else "every sandbox was at work"
        return NotInvoked(f"no answer within the integration's {timeout_ms} ms; {state}")
