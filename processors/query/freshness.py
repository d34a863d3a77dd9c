"""How fresh the local stack's answers are: up to which arrival time everything is applied, on the slowest shard.

Two witnesses a shard: its progress item, written with each batch; and the mapping, which knows of a shard that is read to
its end, so that a stream that fell silent is not called stale.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from processors.query.progress import ShardProgress
from streamgage.visible import visible


@dataclass(frozen=True, slots=True)
class Freshness:
    """``applied_ms`` of each open shard; ``repeated`` records dropped, and marks ``forgotten``, of all shards."""

    shards: Mapping[str, int]
    repeated: int
    forgotten: int

    @property
    def applied_ms(self) -> int:
        """The arrival time up to which everything is applied; 0 where nothing is known."""
        return min(self.shards.values(), default=0)

    @property
    def slowest(self) -> str | None:
        """The shard that is furthest behind."""
        return min(self.shards, key=lambda each: self.shards[each], default=None)

    def describe(self, now_ms: int) -> str:
        """Say it in a line."""
        if not self.applied_ms:
            return "freshness: unknown; nothing is applied yet, or the mapping is starting"
        return (
            f"freshness: everything that arrived until {max(now_ms - self.applied_ms, 0) / 1000:.1f} s ago is applied "
            f"(slowest: {visible(self.slowest or '-')})"
        )


def freshness(progress: Iterable[ShardProgress], status: Mapping[str, Any]) -> Freshness:
    """Return the freshness of the shards that the mapping's *status* calls open."""
    known = {each.shard_id: each for each in progress}
    shards = {
        shard_id: max(
            known[shard_id].applied_ms if shard_id in known else 0,
            shard["read_started_ms"] if shard["caught_up"] else 0,
        )
        for shard_id, shard in status.get("shards", {}).items()
        if not shard["finished"]
    }
    return Freshness(
        shards, sum(each.repeated for each in known.values()), sum(each.forgotten for each in known.values())
    )
