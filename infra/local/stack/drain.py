"""Wait until everything that was put into the local stream is applied."""

import time
from collections.abc import Callable
from typing import Any

from infra.local.stack.home import Home
from streamgage.errors import RetryableError


def wait_drained(
    home: Home, *, seconds: float, on_status: Callable[[dict[str, Any]], None] = lambda _: None
) -> None:
    """Return once all that was put before this call is done: applied, quarantined, or in the on-failure destination.

    Raises:
        RetryableError: not within *seconds*; says how far it is.
    """
    put_until_ms = time.time_ns() // 1_000_000
    deadline = time.monotonic() + seconds
    while True:
        status = home.status()
        on_status(status)
        if (status.get("drained_to_ms") or 0) > put_until_ms:
            return
        if time.monotonic() > deadline:
            undone = sum(each["undone"] for each in status.get("shards", {}).values())
            last = (status.get("last_error") or {}).get("message", "none")
            raise RetryableError(
                f"not drained within {seconds:.0f} s: {undone} Kinesis records in work; last error: {last}"
            )
        time.sleep(0.05)
