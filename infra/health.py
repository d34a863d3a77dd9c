"""What a doctor of a pipeline says: findings; and the record that it sends through, which counts nowhere."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from producers.clock import Clock
from streamgage.formats.kpl import MAGIC, PARTITION_KEY

PROBE_KEY = "~probe"
_LOOK_MS = 250


class Health(Enum):
    """How something is. UNKNOWN: it could not be found out, which is no fault by itself."""

    GOOD = "ok"
    BAD = "BAD"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, how it is, what was seen, and what a person can do."""

    subject: str
    health: Health
    seen: str
    todo: str = ""


def probe() -> bytes:
    """Return the data of a Kinesis record that goes the whole way and counts nowhere.

    It is an aggregated record, whole and with its digest, of no user records: the function reads it, finds nothing to count
    and nothing to quarantine, and moves the progress of its shard past it. One of no message at all would be plain to every
    deaggregator, and poison here: so it has a table of partition keys, with one that nothing uses.
    """
    key = PROBE_KEY.encode()
    message = bytes((PARTITION_KEY, len(key))) + key
    return MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest()


def round_trip(
    put: Callable[[], tuple[str, int]],
    fences: Callable[[], Mapping[str, int]] | None,
    *,
    clock: Clock,
    wait_s: float,
    todo: str,
) -> Finding:
    """Return whether a record that *put* stores, and says where, is applied within *wait_s*; *todo* where it is not.

    *fences* returns up to which sequence number each shard is applied; None: with lanes by partition key nothing says so.
    """
    began_ms = clock.now_ms()
    shard_id, number = put()
    stored = f"a record that counts nowhere was stored on {shard_id} after {clock.now_ms() - began_ms:,} ms"
    if fences is None:
        seen = f"{stored}; with lanes by partition key nothing shows that it was applied"
        return Finding("round trip", Health.UNKNOWN, seen)
    while fences().get(shard_id, 0) < number:
        if clock.now_ms() - began_ms > wait_s * 1000:
            return Finding("round trip", Health.BAD, f"{stored}, and not applied within {wait_s:g} s", todo)
        clock.sleep_ms(_LOOK_MS)
    took_s = (clock.now_ms() - began_ms) / 1000
    return Finding("round trip", Health.GOOD, f"{stored}, and applied after {took_s:.1f} s")


def lines_of(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield a line a finding, and one for what to do about it."""
    for each in findings:
        yield f"{each.health.value:3} {each.subject}: {each.seen}"
        if each.todo:
            yield f"    {each.todo}"
