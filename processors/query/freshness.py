"""How fresh the local stack's answers are: up to which arrival time everything is applied, on the slowest shard.

Two witnesses a shard: its progress item, written with each batch; and the mapping, which knows of a shard that is read to
its end, so that a stream that fell silent is not called stale. The mapping is believed only where the tables have what it
has seen applied: they may have been exchanged under it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from processors.query.progress import ShardProgress
from streamgage.visible import visible


@dataclass(frozen=True, slots=True)
class Freshness:
    """``applied_ms`` of each open shard; ``repeated`` records dropped, and marks ``forgotten``, of all shards.

    ``lacking`` are the shards of which the tables lack what was applied: nothing of them may be called applied.
    """

    shards: Mapping[str, int]
    repeated: int
    forgotten: int
    lacking: tuple[str, ...] = ()

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
        if self.lacking:
            return (
                f"freshness: the tables lack what was applied of {', '.join(self.lacking)}: they were changed while the stack "
                "ran. Stop it and start it: what is missing is then read again, or named"
            )
        if not self.applied_ms:
            return "freshness: unknown; nothing is applied yet, or the mapping is starting"
        return (
            f"freshness: everything that arrived until {max(now_ms - self.applied_ms, 0) / 1000:.1f} s ago is applied "
            f"(slowest: {visible(self.slowest or '-')})"
        )


def freshness(
    progress: Iterable[ShardProgress], status: Mapping[str, Any], *, by_key: bool = False
) -> Freshness:
    """Return the freshness of the shards that the mapping's *status*, read before *progress*, calls open.

    Of none is more said than ``known_to_ms``: what arrived later may be in a shard that it does not know, a child of one that
    has ended. With lanes *by_key* no item tells of a shard, and the mapping's word stands alone.
    """
    known = {each.shard_id: each for each in progress}
    every = status.get("shards", {})
    lacking = () if by_key else tuple(each for each in sorted(every) if _lacks(known.get(each), every[each]))
    known_to_ms = status.get("known_to_ms")
    shards = {
        shard_id: _at_most(
            known_to_ms,
            max(
                known[shard_id].applied_ms if shard_id in known else 0,
                shard["read_started_ms"] if shard["caught_up"] and shard_id not in lacking else 0,
            ),
        )
        for shard_id, shard in every.items()
        if not shard["finished"]
    }
    return Freshness(
        shards,
        sum(each.repeated for each in known.values()),
        sum(each.forgotten for each in known.values()),
        lacking,
    )


def _at_most(bound_ms: int | None, applied_ms: int) -> int:
    return applied_ms if bound_ms is None else min(applied_ms, bound_ms)


def _lacks(progress: ShardProgress | None, shard: Mapping[str, Any]) -> bool:
    applied = shard.get("applied")
    return applied is not None and (progress is None or progress.sequence_number < int(applied))
