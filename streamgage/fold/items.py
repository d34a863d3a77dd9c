"""How aggregates stand in DynamoDB: one single-writer item a (rollup, window, chunk of keys, lane).

======== ==========================================================================
pk       ``device_metrics.1|1h|1190.417``: rollup.generation|window|chunk
sk       ``001385942400000|telemetry/shardId-000000000000``: window start in ms, and
         the lane
fence    the sequence number of the last Kinesis record folded in, as decimal text:
         it has 56 digits, a DynamoDB number holds 38
counts   a fingerprint of what is counted (definition/fingerprint.py)
body     the keys of the chunk and their states, binary (fold/chunk.py)
expires  when DynamoDB may delete the item (TTL), in s since the epoch
======== ==========================================================================

A key's chunk is found by its hash: see fold/cells.py. Keys that stand together (``Rollup.together``) share the first bits.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from streamgage.definition.pipeline import Rollup
from streamgage.errors import PoisonRecord
from streamgage.limits import DYNAMODB_PARTITION_KEY_BYTES
from streamgage.measures.windows import TumblingWindows

ROOT = "0"  # the chunk where each key is looked for first
HASH_BITS = 64
TOGETHER_BITS = 20  # of a hash, by the fields that keep keys together: so many tell a million devices apart
_PROGRESS = "~progress"  # no rollup's name begins so
_START_DIGITS = 15
_LANE_KEY_BYTES = 512


class ItemKey(NamedTuple):
    """The primary key of an item."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it is stored: *body* holds the fold of every contribution up to *fence*."""

    fence: int
    counts: str
    body: bytes
    expires_s: int


def chunk_key(rollup: Rollup, windows: TumblingWindows, chunk: str, sk: str) -> ItemKey:
    """Return the key of the item of *chunk* at *sk*."""
    return ItemKey(f"{rollup.name}.{rollup.generation}|{windows.label}|{chunk}", sk)


def chunk_name(among: int, number: int) -> str:
    """Return what the chunk of that *number* (from 0) is called, of as many as there are *among*; 0 is the root."""
    return f"{among}.{number}" if among else ROOT


def chunk_number(key_hash: int, among: int) -> int:
    """Return in which of *among* chunks a key stands: each takes an equal share of the hashes, in their order."""
    return key_hash * among >> HASH_BITS


def progress_pk(consumer: str) -> str:
    """Return the pk of the progress of each shard that *consumer* reads in order."""
    return f"{_PROGRESS}|{consumer}"


def key_text(rollup: Rollup, key: Iterable[object]) -> str:
    """Return *key* (values in the order of ``rollup.key``) as a chunk holds it: one line.

    Raises:
        PoisonRecord: ``bad_key``, longer than is stored, or not valid Unicode.
    """
    text = "|".join(map(_escape, key))
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise PoisonRecord("bad_key", f"a key of {rollup.name} is not valid Unicode: {error}") from error
    if size > DYNAMODB_PARTITION_KEY_BYTES:
        raise PoisonRecord(
            "bad_key",
            f"a key of {rollup.name} takes {size} bytes; at most {DYNAMODB_PARTITION_KEY_BYTES} fit",
        )
    return text


def key_values(text: str) -> tuple[str, ...]:
    """Return the values, as texts, of the key that ``key_text`` made *text* of."""
    return tuple(
        part.replace("%0A", "\n").replace("%7C", "|").replace("%25", "%") if "%" in part else part
        for part in text.split("|")
    )


def hash_of(key: str) -> int:
    """Return 64 bits that decide where a key stands: the same everywhere, and nobody can choose them cheaply."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=HASH_BITS // 8).digest(), "big")


def key_hash(rollup: Rollup, key: str) -> int:
    """Return the 64 bits that decide in which chunk *key*, a text of ``key_text``, stands.

    Where *rollup* keeps keys together, the first bits are those of the fields that do; the others are of the whole key, so
    that keys which fill many chunks spread over them after all.
    """
    if not rollup.together:
        return hash_of(key)
    parts = key.split("|")
    own_bits = HASH_BITS - TOGETHER_BITS
    shared = _together_hash(parts[rollup.key.index(name)] for name in rollup.together)
    return shared << own_bits | hash_of(key) >> TOGETHER_BITS


def hashes_together(values: Iterable[object]) -> range:
    """Return the hashes that keys have whose fields ``Rollup.together`` are *values*, in that order; few others have them."""
    own_bits = HASH_BITS - TOGETHER_BITS
    shared = _together_hash(map(_escape, values))
    return range(shared << own_bits, (shared + 1) << own_bits)


def _together_hash(parts: Iterable[str]) -> int:
    return hash_of("|".join(parts)) >> (HASH_BITS - TOGETHER_BITS)


def sort_key(start_ms: int, lane: str) -> str:
    """Return the sk of the items of a window and lane."""
    return f"{window_prefix(start_ms)}|{lane}"


def window_prefix(start_ms: int) -> str:
    """Return what the sk of each item of the window that begins at *start_ms* begins with."""
    return f"{start_ms:0{_START_DIGITS}d}"


def window_start_ms(sk: str) -> int:
    """Return the window start that *sk* names: the inverse of window_prefix."""
    return int(sk[:_START_DIGITS])


def lane_of(sk: str) -> str:
    """Return the lane that the *sk* of an aggregate names."""
    return sk[_START_DIGITS + 1 :]


@dataclass(frozen=True, slots=True)
class Lanes:
    """Which lane a record of *stream* belongs to: a sequence of records that Lambda delivers in order.

    A lane is a shard where Lambda reads each in order (ParallelizationFactor 1). ``by_key``: it keeps order per
    partition key only (ParallelizationFactor > 1), so a lane is a key of a shard. A long key stands by its SHA-256: a
    sort key holds 1 kB. It is never a bucket: two keys in one lane lose events.
    """

    stream: str
    by_key: bool = False

    def of_shard(self, shard_id: str) -> str:
        """Return the name of a shard among those of all streams."""
        return f"{self.stream}/{shard_id}"

    def of(self, shard_id: str, partition_key: str) -> str:
        """Return the lane of a record."""
        if not self.by_key:
            return f"{self.stream}/{shard_id}"
        key = _escape(partition_key)
        if len(key.encode()) > _LANE_KEY_BYTES:
            digest = hashlib.sha256(partition_key.encode()).hexdigest()
            key = "%sha256:" + digest  # "%s" is in no escaped key
        return f"{self.stream}/{shard_id}|{key}"


def _escape(part: object) -> str:
    if type(part) is str:
        text = part
    elif part is None:  # of a derived field
        text = ""
    else:
        text = json.dumps(part) if isinstance(part, bool) else str(part)
    if "%" in text or "|" in text or "\n" in text:
        return text.replace("%", "%25").replace("|", "%7C").replace("\n", "%0A")
    return text
