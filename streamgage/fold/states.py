"""What one rollup gets of the events of a slice: groups by key, window and lane, folded to states, column by column.

Events are folded into windows of the greatest size that divides all of the rollup's; larger windows are joined from
those that nest in them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

from streamgage.definition.pipeline import Rollup
from streamgage.errors import PoisonRecord
from streamgage.fold.items import key_hash, key_text
from streamgage.measures.layout import EventColumns, Table, plan_of
from streamgage.measures.windows import TumblingWindows
from streamgage.reading.places import Places

_REMEMBERED_BYTES = 32 * 1024 * 1024
_ENTRY_BYTES = 400  # of a remembered key, besides its text


class Key(NamedTuple):
    """A key as a chunk holds it, and the hash that says in which."""

    text: str
    hash: int


Group = tuple[Key, int, int]
"""Key, start of the window in ms, number of the lane."""


@dataclass(slots=True)
class States:
    """The states of groups, one entry each; ``firsts`` holds the sequence number of each group's first record."""

    groups: list[Group] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    table: Table = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """The columns by which events are grouped, without those that are refused; ``lanes`` is None where all are of one."""

    ordinals: Sequence[int]
    times: Sequence[int]
    fields: dict[str, Sequence[Any]]
    lanes: Sequence[int] | None

    def without(self, refused: set[int]) -> "KeyColumns":
        """Return the columns without the events at the ordinals *refused*."""
        if not refused:
            return self
        kept = [at for at, ordinal in enumerate(self.ordinals) if ordinal not in refused]

        def pick(column: Sequence[Any]) -> list[Any]:
            return [column[at] for at in kept]

        return KeyColumns(
            pick(self.ordinals),
            pick(self.times),
            {name: pick(column) for name, column in self.fields.items()},
            None if self.lanes is None else pick(self.lanes),
        )


class KeyMemory:
    """The keys that the rollups of a sandbox remember: bounded in bytes together, and forgotten together."""

    def __init__(self, most_bytes: int = _REMEMBERED_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._memories: list[dict[tuple[Any, ...], Key]] = []

    def of_rollup(self) -> dict[tuple[Any, ...], Key]:
        """Return the memory of one more rollup."""
        self._memories.append({})
        return self._memories[-1]

    def make_room(self, text: str) -> None:
        """Take note that a key of *text* is remembered; first forget all of them, where they take too much."""
        if self._bytes > self._most_bytes:
            for each in self._memories:
                each.clear()
            self._bytes = 0
        self._bytes += _ENTRY_BYTES + 2 * len(text)


class RollupFold:
    """How the events of a source become states of one rollup. It remembers keys, within *memory*."""

    def __init__(self, rollup: Rollup, memory: KeyMemory) -> None:
        self.rollup = rollup
        self.plan = plan_of(rollup.layout)
        self._base_ms = math.gcd(*(each.size_ms for each in rollup.windows))
        self._memory, self._keys = memory, memory.of_rollup()

    def group(self, columns: KeyColumns, bad: list[int]) -> dict[Group, list[int]]:
        """Return the ordinals in each group; add to *bad* those whose key cannot be stored."""
        if not columns.ordinals:
            return {}
        base_ms, times = self._base_ms, columns.times
        first_ms, last_ms = min(times), max(times)
        first_ms -= first_ms % base_ms
        starts: Iterable[int] = (
            repeat(first_ms) if last_ms < first_ms + base_ms else [time - time % base_ms for time in times]
        )
        lanes = repeat(0) if columns.lanes is None else columns.lanes
        by_values: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
        fields = [columns.fields[name] for name in self.rollup.key]
        for values, ordinal in zip(zip(*fields, starts, lanes), columns.ordinals):  # noqa: B905 - repeat() has no end
            by_values[values].append(ordinal)
        groups: dict[Group, list[int]] = {}
        for (*key_values, start_ms, lane), ordinals in by_values.items():
            try:
                key = self._key_of(tuple(key_values))
            except PoisonRecord:
                bad += ordinals
                continue
            groups[key, start_ms, lane] = ordinals
        return groups

    def fold(
        self, events: EventColumns, groups: Mapping[Group, list[int]], places: Places
    ) -> dict[TumblingWindows, States]:
        """Return the states of each window size."""
        base = States(
            list(groups),
            [places.record_of(ordinals[0]).sequence_number for ordinals in groups.values()],
            self.plan.fold(events, list(groups.values())),
        )
        found: dict[TumblingWindows, States] = {}
        smaller_ms, states = self._base_ms, base
        for windows in self.rollup.windows:
            if windows.size_ms % smaller_ms:  # they do not nest: begin again from the groups
                smaller_ms, states = self._base_ms, base
            if windows.size_ms != smaller_ms:
                smaller_ms, states = windows.size_ms, self._nest(states, windows)
            found[windows] = states
        return found

    def _nest(self, smaller: States, windows: TumblingWindows) -> States:
        """Return the states of *windows*, joined from those that nest in them."""
        size_ms = windows.size_ms
        picks: dict[Group, list[int]] = {}
        for at, (key, start_ms, lane) in enumerate(smaller.groups):
            group = key, start_ms - start_ms % size_ms, lane
            pick = picks.get(group)
            if pick is None:
                picks[group] = [at]
            else:
                pick.append(at)
        if len(picks) == len(smaller.groups):  # states are values: they are shared
            return States(list(picks), smaller.firsts, smaller.table)
        nesting = list(picks.values())
        firsts = [min([smaller.firsts[at] for at in pick]) for pick in nesting]
        return States(list(picks), firsts, self.plan.join(smaller.table, nesting))

    def _key_of(self, values: tuple[Any, ...]) -> Key:
        key = self._keys.get(values)
        if key is None:
            text = key_text(self.rollup, values)
            self._memory.make_room(text)
            key = self._keys[values] = Key(text, key_hash(self.rollup, text))
        return key
