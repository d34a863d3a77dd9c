"""Who a producer is: a mark on each aggregated record, so that one that was stored twice counts once."""

import random
from collections.abc import Mapping
from typing import NamedTuple

from producers.client.forks import renew_in_children
from producers.client.gather import GroupKey
from streamgage.formats.mark import Mark, encode_mark


class Identity:
    """Counts the aggregated records of one producer, group by group, without gaps. Its id is drawn once.

    A group is a shard, or with one key a Kinesis record a partition key: what comes to one lane in order. Beyond *most*
    groups it forgets and numbers them anew: no mark is ever used twice. A forked child is another producer, with an id of
    its own.
    """

    def __init__(self, rng: random.Random, *, most: int = 100_000) -> None:
        self._id = f"{rng.getrandbits(64):016x}"
        self._groups: dict[GroupKey, list[int]] = {}
        self._numbered = 0
        self._most = most
        renew_in_children(self)

    def renew_in_child(self) -> None:
        """Draw another id, in a forked child: dice that came with it would give each child the same."""
        self._id = f"{random.SystemRandom().getrandbits(64):016x}"
        self._groups, self._numbered = {}, 0

    def tags_for(self, group: GroupKey) -> Mapping[str, str]:
        """Return the tags of the next aggregated record of *group*."""
        counted = self._groups.get(group)
        if counted is None:
            if len(self._groups) >= self._most:
                self._groups.clear()
            counted = self._groups[group] = [self._numbered, 0]
            self._numbered += 1
        counted[1] += 1
        return encode_mark(Mark(f"{self._id}.{counted[0]}", counted[1]))

    def drawn(self) -> "Drawn":
        """Return what was drawn so far, to put back what is drawn from now on."""
        return Drawn(
            self._id, {group: list(counted) for group, counted in self._groups.items()}, self._numbered
        )

    def put_back(self, drawn: "Drawn") -> None:
        """Take back all marks since *drawn*, none of which was used: who used one would have another's events dropped.

        A forked child, whose id is another since, keeps what it has.
        """
        if drawn.id == self._id:
            self._groups, self._numbered = drawn.groups, drawn.numbered


class Drawn(NamedTuple):
    """How far an identity has counted."""

    id: str
    groups: dict[GroupKey, list[int]]
    numbered: int
