"""Columns of series, by parts of a range: a part is what was read of some windows at once, and is remembered as that is."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from processors.promql.errors import execution
from processors.query.regroup import Group
from streamgage.measures.layout import Table
from streamgage.measures.windows import Window

_MOST_CELLS = 10_000_000  # some 80 MB, most of them empty
_Value = TypeVar("_Value")
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Windows that follow each other, with their keys' states. ``made`` is as a Block's: what is made of them, by name."""

    groups: Sequence[Group]
    made: dict[Hashable, Any] = field(default_factory=dict)

    def columns(
        self, name: Hashable, read: Callable[[Table], Sequence[_Value | None]]
    ) -> Mapping[Key, Sequence[_Value | None]]:
        """Return what *read* reads, by key: a value a window. *name* tells it from what else may be read of the part."""
        found: Mapping[Key, Sequence[_Value | None]] | None = self.made.get(name)
        if found is None:
            found = self.made[name] = _columns(self.groups, read)
        return found

    def instants(self, window_of: Callable[[int], Window]) -> tuple[list[int], list[int]]:
        """Return where the windows end, and until when each is seen: until the next one of *window_of* ends."""
        found: tuple[list[int], list[int]] | None = self.made.get("instants")
        if found is None:
            ends = [group.window.end_ms for group in self.groups]
            found = self.made["instants"] = ends, [window_of(end_ms).end_ms for end_ms in ends]
        return found

    def bound(self, name: Hashable, bound_of: Callable[[Table], float]) -> float:
        """Return the greatest that *bound_of* tells of a window; *name* as that of columns."""
        found: float | None = self.made.get(("bound", name))
        if found is None:
            found = max((bound_of(group.table) for group in self.groups), default=0.0)
            self.made["bound", name] = found
        return found

    def begins(self) -> frozenset[int]:
        """Return from which arrival times on its states are counted."""
        found: frozenset[int] | None = self.made.get("begins")
        if found is None:
            found = self.made["begins"] = frozenset().union(*(group.begin_ms for group in self.groups))
        return found


def joined(
    parts: Sequence[Part], name: Hashable, read: Callable[[Table], Sequence[_Value | None]]
) -> dict[Key, list[_Value | None]]:
    """Return the columns of *parts*, one behind the other: of each key a value a window.

    Raises:
        QueryError: ``execution``, they are too many.
    """
    windows = sum(len(part.groups) for part in parts)
    found: dict[Key, list[_Value | None]] = {}
    at = 0
    for part in parts:
        for key, more in part.columns(name, read).items():
            column = found.get(key)
            if column is None:
                _bound(len(found) + 1, windows)
                column = found[key] = []
            if len(column) < at:
                column += [None] * (at - len(column))
            column += more
        at += len(part.groups)
    for values in found.values():
        values.extend([None] * (windows - len(values)))
    return found


def _columns(
    groups: Sequence[Group], read: Callable[[Table], Sequence[_Value | None]]
) -> dict[Key, list[_Value | None]]:
    found: dict[Key, list[_Value | None]] = {}
    for at, group in enumerate(groups):
        for key, value in zip(group.keys, read(group.table), strict=True):
            if value is None:
                continue
            column = found.get(key)
            if column is None:
                _bound(len(found) + 1, len(groups))
                column = found[key] = [None] * len(groups)
            column[at] = value
    return found


def _bound(series: int, windows: int) -> None:
    if series * windows > _MOST_CELLS:
        raise execution(
            f"{series - 1:,} series over {windows:,} windows are more than {_MOST_CELLS:,} values: name more labels, or ask for "
            "a shorter range, or for larger windows"
        )
