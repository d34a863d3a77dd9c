"""States merged further: over keys that share a part, over windows that lie in one bucket, over windows that move on.

What is merged are states, not values: a mean of a day is the mean of its events, not of its hours.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from processors.query.buckets import Buckets
from processors.query.key_states import KeyStates
from streamgage.errors import ConfigError, TooMuchError
from streamgage.fold.items import key_values
from streamgage.measures.layout import StatePlan, Table
from streamgage.measures.windows import Window

MOST_KEYS = 1_500_000  # of a window or bucket: with all measures about 1 GB of states
_MOST_KNOWN = 100_000  # keys of which is remembered what they are merged into


class LiesAcrossError(ConfigError):
    """A window that is kept lies across two of those that are asked for: it can be merged into neither."""


class _Keys(dict[str, tuple[str, ...] | None]):
    """What *key_of* gives for the texts of keys, each of which is asked again in every window."""

    def __init__(self, key_of: Callable[[tuple[str, ...]], tuple[str, ...] | None]) -> None:
        self._key_of = key_of

    def __missing__(self, text: str) -> tuple[str, ...] | None:
        """Ask, and remember."""
        key = self._key_of(key_values(text))
        if len(self) < _MOST_KNOWN:
            self[text] = key
        return key


@dataclass(slots=True)
class Group:
    """The states of some keys in one window, merged; the n-th key's are the n-th entries of the table's columns."""

    window: Window
    keys: list[tuple[str, ...]]
    table: Table
    begin_ms: list[int]


@dataclass(frozen=True, slots=True)
class Regroup:
    """How to merge: *key_of* gives the key that one is merged into, or None where it is not wanted.

    *unites_keys*: several may become one.
    """

    plan: StatePlan
    key_of: Callable[[tuple[str, ...]], tuple[str, ...] | None]
    unites_keys: bool = False

    def by_window(self, states: Iterable[KeyStates], window_of: Callable[[int], Window]) -> Iterator[Group]:
        """Yield each window, its keys merged, in the order of *states*; what was read of it is let go of by then."""
        known = _Keys(self.key_of)
        for group in map(lambda each: self._group(each, window_of, known), states):  # noqa: C417 - a loop would hold *each*
            if group.keys:
                yield group

    def _group(
        self,
        states: KeyStates,
        window_of: Callable[[int], Window],
        known: "_Keys",
    ) -> Group:
        _bound(len(states.keys))
        found = [known[text] for text in states.keys]
        keys = [key for key in found if key is not None]
        window = window_of(states.start_ms)
        if not self.unites_keys and len(keys) == len(found) and len(set(keys)) == len(keys):
            return Group(window, keys, states.table, list(states.begin_ms))
        return self._united(window, found, states.table, states.begin_ms)

    def over_keys(self, groups: Iterable[Group]) -> Iterator[Group]:
        """Yield *groups* of whole keys, merged over windows already, with their keys merged."""
        for each in groups:
            yield self._united(each.window, list(map(self.key_of, each.keys)), each.table, each.begin_ms)

    def _united(
        self,
        window: Window,
        keys: Sequence[tuple[str, ...] | None],
        table: Table,
        begin_ms: Sequence[int],
    ) -> Group:
        """Return the entries of *table* that have one of *keys*, those of the same merged."""
        picks: dict[tuple[str, ...], list[int]] = {}
        for row, key in enumerate(keys):
            if key is not None:
                picks.setdefault(key, []).append(row)
        return Group(
            window,
            list(picks),
            self._joined(table, list(picks.values())),
            [max(begin_ms[row] for row in of_key) for of_key in picks.values()],
        )

    def _joined(self, table: Table, picks: Sequence[Sequence[int]]) -> Table:
        if self.unites_keys:
            return self.plan.across(table, picks)
        if all(len(each) == 1 for each in picks):
            rows = [row for (row,) in picks]
            return [[column[row] for row in rows] for column in table]
        return self.plan.join(table, picks)

    def by_bucket(self, groups: Iterable[Group], buckets: Buckets) -> Iterator[Group]:
        """Yield each of *buckets* that has events, its windows merged. Raises: LiesAcrossError, a window lies across two."""
        merged: Group | None = None
        places: dict[tuple[str, ...], int] = {}
        for each in groups:
            bucket = buckets.window_of(each.window.start_ms)
            if each.window.end_ms > bucket.end_ms and bucket.end_ms > each.window.start_ms:
                raise LiesAcrossError(
                    f"a window of {each.window.end_ms - each.window.start_ms} ms lies across two of {buckets.label}"
                )
            if merged is None or bucket != merged.window:
                if merged is not None:
                    yield merged
                merged, places = _own(each, bucket), {}
            else:
                self._add(merged, places, each)
        if merged is not None:
            yield merged

    def whole(self, groups: Iterable[Group]) -> Iterator[Group]:
        """Yield one window, from the first that has events to the end of the last: all of them merged."""
        merged: Group | None = None
        places: dict[tuple[str, ...], int] = {}
        for each in groups:
            if merged is None:
                merged = _own(each, each.window)
            else:
                merged.window = Window(merged.window.start_ms, each.window.end_ms)
                self._add(merged, places, each)
        if merged is not None:
            yield merged

    def moving(
        self, groups: Iterable[Group], count: int, window_of: Callable[[int], Window], to_ms: int
    ) -> Iterator[Group]:
        """Yield for each window the merge of it and those before it, *count* windows long, where any of them has events.

        Windows that begin from *to_ms* on are told only where they have events themselves.
        """
        recent: deque[Group] = deque()
        next_ms = 0
        for each in chain(groups, (None,)):
            until_ms = to_ms if each is None else each.window.start_ms
            while recent and next_ms < until_ms:
                window = window_of(next_ms)
                next_ms = window.end_ms
                yield from self._merged(recent, window, count, window_of)
            if each is not None:
                next_ms = each.window.end_ms
                recent.append(each)
                yield from self._merged(recent, each.window, count, window_of)

    def _merged(
        self, recent: deque[Group], window: Window, count: int, window_of: Callable[[int], Window]
    ) -> Iterator[Group]:
        """Yield the merge of those of *recent* that are among the *count* windows up to *window*, and forget the others."""
        first_ms = before(window_of, window.start_ms, count - 1)
        while recent and recent[0].window.start_ms < first_ms:
            recent.popleft()
        if recent:
            merged = Group(Window(first_ms, window.end_ms), [], self.plan.empty(), [])
            places: dict[tuple[str, ...], int] = {}
            for one in recent:
                self._add(merged, places, one)
            yield merged

    def _add(self, merged: Group, places: dict[tuple[str, ...], int], group: Group) -> None:
        if len(places) < len(merged.keys):  # it is a first window so far, taken as it is
            places.update(zip(merged.keys, range(len(merged.keys)), strict=True))
        new = [key for key in group.keys if key not in places]
        _bound(len(places) + len(new))
        self.plan.add_keys(merged.table, len(new))
        for key in new:
            places[key] = len(places)
        merged.keys += new
        merged.begin_ms += [0] * len(new)
        at = [places[key] for key in group.keys]
        for place, begin_ms in zip(at, group.begin_ms, strict=True):
            merged.begin_ms[place] = max(merged.begin_ms[place], begin_ms)
        self.plan.merge(merged.table, at, group.table, range(len(group.keys)))


def before(window_of: Callable[[int], Window], instant_ms: int, count: int) -> int:
    """Return where the window begins that lies *count* windows before the one of *instant_ms*; of none: *instant_ms*."""
    start_ms = instant_ms
    for _ in range(count):
        start_ms = window_of(max(window_of(start_ms).start_ms - 1, 0)).start_ms
    return start_ms


def _own(group: Group, window: Window) -> Group:
    """Return *group* as that of *window*, to be added to: its states may be remembered, and are not changed."""
    return Group(window, group.keys, [list(column) for column in group.table], group.begin_ms)


def _bound(keys: int) -> None:
    if keys > MOST_KEYS:
        raise TooMuchError(
            f"more than {MOST_KEYS:,} keys: narrow the question by name=pattern, by --group-by, or by a shorter range"
        )
