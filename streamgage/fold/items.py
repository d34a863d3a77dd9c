"""How an aggregate stands in DynamoDB: one single-writer item a (rollup, key, window, lane).

======== ==========================================================================
pk       ``device_metrics.1|1h|machine-1|temperature``: rollup.generation|window|key…
sk       ``001385942400000|shardId-000000000000``: window start in ms, and the lane
fence    the sequence number of the last Kinesis record folded in, as decimal text:
         it has 56 digits, a DynamoDB number holds 38
counts   what is counted, and stands where in the body
body     the mergeable state, in binary
expires  when DynamoDB may delete the item (TTL), in s since the epoch
======== ==========================================================================

All windows of one key and size are one partition: a query reads a time range of it in order, and never scans.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from streamgage.definition.pipeline import Rollup
from streamgage.errors import PoisonRecord
from streamgage.limits import DYNAMODB_PARTITION_KEY_BYTES
from streamgage.measures.monoids import State
from streamgage.measures.windows import TumblingWindows

_START_DIGITS = 15
_LANE_KEY_BYTES = 512


class ItemKey(NamedTuple):
    """The primary key of an item."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it is stored: *body* holds the fold of every contribution up to *fence*. No store looks into it."""

    fence: int
    counts: str
    body: bytes
    expires_s: int


def partition_of(rollup: Rollup, windows: TumblingWindows, key: Iterable[object]) -> str:
    """Return the pk of *key* (values in the order of ``rollup.key``). Raises: PoisonRecord ``bad_key``."""
    return partition_prefix(rollup, windows) + partition_suffix(rollup, key)


def partition_prefix(rollup: Rollup, windows: TumblingWindows) -> str:
    """Return what each pk of *rollup* for *windows* begins with."""
    return f"{rollup.name}.{rollup.generation}|{windows.label}|"


def partition_suffix(rollup: Rollup, key: Iterable[object]) -> str:
    """Return what each pk of *key* ends with.

    Raises:
        PoisonRecord: ``bad_key``, longer than DynamoDB takes with the longest prefix, or not valid Unicode.
    """
    suffix = "|".join(map(_escape, key))
    try:
        size = len(suffix.encode()) + max(len(partition_prefix(rollup, each)) for each in rollup.windows)
    except UnicodeEncodeError as error:
        raise PoisonRecord("bad_key", f"a key of {rollup.name} is not valid Unicode: {error}") from error
    if size > DYNAMODB_PARTITION_KEY_BYTES:
        raise PoisonRecord(
            "bad_key",
            f"a key of {rollup.name} takes {size} bytes; at most {DYNAMODB_PARTITION_KEY_BYTES} fit",
        )
    return suffix


def window_prefix(start_ms: int) -> str:
    """Return what the sk of each item of the window that begins at *start_ms* begins with."""
    return f"{start_ms:0{_START_DIGITS}d}"


def window_start_ms(sk: str) -> int:
    """Return the window start that *sk* names: the inverse of window_prefix."""
    return int(sk[:_START_DIGITS])


def lane_of(sk: str) -> str:
    """Return the lane that the *sk* of an aggregate names."""
    return sk[_START_DIGITS + 1 :]


def lane_of_shard(shard_id: str, partition_key: str) -> str:  # noqa: ARG001 - one signature for both kinds of lane
    """Return the lane of a record where Lambda reads each shard in order (ParallelizationFactor 1)."""
    return shard_id


def lane_of_key(shard_id: str, partition_key: str) -> str:
    """Return the lane of a record where Lambda keeps order per partition key only (ParallelizationFactor > 1).

    A long key stands by its SHA-256: a sort key holds 1 kB. It is never a bucket: two keys in one lane lose events.
    """
    key = _escape(partition_key)
    if len(key.encode()) > _LANE_KEY_BYTES:
        key = "%sha256:" + hashlib.sha256(partition_key.encode()).hexdigest()  # "%s" is in no escaped key
    return f"{shard_id}|{key}"


def encode_state(state: State) -> bytes:
    """Return *state* as the body of an item: JSON text."""
    return json.dumps(state, separators=(",", ":")).encode()


def decode_state(body: bytes) -> State:
    """Return the state in *body*."""
    state: State = json.loads(body)
    return state


def _escape(part: object) -> str:
    text = part if type(part) is str else json.dumps(part) if isinstance(part, bool) else str(part)
    return text.replace("%", "%25").replace("|", "%7C") if "%" in text or "|" in text else text
