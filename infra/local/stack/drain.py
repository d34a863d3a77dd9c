"""Wait until everything that was put into the local stream is applied."""

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.mapping.readers import steady_now_ms
from infra.local.mapping.standing import lines
from infra.local.stack.clients import watching_client
from infra.local.stack.home import Home, StackInfo
from processors.query.cells import DynamoPartialStore
from processors.query.freshness import Freshness, freshness
from processors.query.progress import read_progress
from streamgage.errors import RetryableError

_LOOK_S = 1.0  # how often it is asked whether the stack is there at all


def wait_drained(
    home: Home, *, seconds: float, on_status: Callable[[dict[str, Any]], None] = lambda _: None
) -> None:
    """Return once all that was put before this call is done: applied, quarantined, or in the on-failure destination.

    The mapping says so, and the tables are asked whether they have it.

    Raises:
        ConfigError: no stack runs, or it ended meanwhile.
        RetryableError: not within *seconds*, with what stands still; or the tables lack what was applied.
    """
    info, put_until_ms = home.info(), time.time_ns() // 1_000_000
    put_until_steady_ms = steady_now_ms()
    now_s = time.monotonic()
    deadline, look_s = now_s + seconds, now_s + _LOOK_S
    while True:
        status = home.status()
        on_status(status)
        if (status.get("drained_to_steady_ms") or 0) > put_until_steady_ms:
            found = applied(info, status)
            if found.lacking:
                raise RetryableError(found.describe(put_until_ms).partition(": ")[2])
            return
        now_s = time.monotonic()
        if now_s > look_s:
            home.info()
            look_s = now_s + _LOOK_S
        if now_s > deadline:
            raise RetryableError(_not_drained(status, seconds))
        time.sleep(0.05)


def applied(info: StackInfo, status: dict[str, Any]) -> Freshness:
    """Return how fresh the tables of a running stack are, beside its mapping's *status*, which was read before.

    Raises:
        RetryableError: the tables do not answer, so nobody can say.
    """
    client = watching_client("dynamodb", info.endpoints["dynamodb"], info.credentials)
    try:
        progress = read_progress(DynamoPartialStore(client, info.table), info.consumer, info.stream)
    except (BotoCoreError, ClientError) as error:
        raise RetryableError(
            f"what is applied is not known, for the tables do not answer: {error}"
        ) from error
    return freshness(progress, status, by_key=info.one_key_per_record)


def _not_drained(status: dict[str, Any], seconds: float) -> str:
    if not status:
        return f"not drained within {seconds:.0f} s: the mapping has not said anything yet"
    undone = sum(each["undone"] for each in status.get("shards", {}).values())
    standing = list(lines(status, time.time_ns() // 1_000_000))
    last = (status.get("last_error") or {}).get("message", "none")
    why = "; ".join(standing) if standing else f"nothing stands still; last error: {last}"
    return f"not drained within {seconds:.0f} s: {undone} Kinesis records in work; {why}"
