"""Ask for aggregates: the windows of one key, or of many, in a range of time, merged as far as is asked. Never a scan."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import chain

from processors.query.buckets import Buckets, RangeBucket, parse_buckets, windows_for
from processors.query.cells import CellReader, PartialStore
from processors.query.key_states import KeyStates
from processors.query.regroup import Group, Regroup, before
from processors.query.selection import Selection
from streamgage.definition.fingerprint import counts_of
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.fold.items import hashes_together, key_text, key_values
from streamgage.measures.layout import StateLayout, plan_of
from streamgage.measures.windows import TumblingWindows, Window

_MOST_MOVING = 1_000
_MOST_KNOWN = 100_000  # keys of which is remembered whether they are asked for


@dataclass(frozen=True, slots=True)
class Row:
    """One window of one key, or of what was merged. ``values`` is ``{field: {measure: value}}``.

    ``may_change`` tells that the window was not over, or not all that arrived before its end was applied, when it was
    read; or that it was read where that cannot be told (see ``ask``). A late event corrects its window even after that.
    ``partial``: some of it is not counted here, or not kept any more: see ``Question.is_partial``. ``begin_ms`` is the arrival
    time from which on its key is counted, 0: from the first record on. ``errors`` says by how much those values may be off
    that are not exact, relatively: ``{"bytes.p95": 0.011}``.
    """

    window: Window
    events: int
    values: dict[str, dict[str, int | Decimal | None]]
    may_change: bool
    partial: bool
    key: tuple[str, ...]
    begin_ms: int = 0
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the windows that overlap ``[from_ms, to_ms)`` of one key of one rollup, or of all (``key`` None).

    ``counts`` is the fingerprint of what the rollup counts; an event may be ``max_future_ms`` ahead of its arrival.
    ``selection`` narrows all keys. ``group_by`` are the fields of the key that are told apart, None: all of them.
    ``buckets`` are coarser windows than those that are read, and ``moving`` how many of them a row is of. What lies before
    ``asked_from_ms`` is read to be compared with.
    """

    rollup: Rollup
    counts: str
    key: tuple[str, ...] | None
    windows: TumblingWindows
    from_ms: int
    to_ms: int
    max_future_ms: int = 0
    selection: Selection | None = None
    group_by: tuple[str, ...] | None = None
    buckets: Buckets | None = None
    moving: int = 1
    asked_from_ms: int = 0

    @classmethod
    def parse(
        cls,
        pipeline: Pipeline,
        *,
        rollup: str,
        key: Mapping[str, str] | None,
        window: str | None,
        from_ms: int,
        to_ms: int,
        group_by: Iterable[str] | None = None,
        moving: int = 1,
        total: bool = False,
    ) -> "Question":
        """Return the question, checked against the definition.

        *key* names the values of some of the key's fields, or patterns of them (see Selection); None: of all keys. A
        *window* that the rollup does not keep is merged from those that it does. *total*: one row a key, over all windows.

        Raises:
            ConfigError: every problem.
        """
        found = pipeline.rollups.get(rollup)
        if found is None:
            raise ConfigError(f"no rollup is named {rollup!r}; there are: {', '.join(pipeline.rollups)}")
        problems: list[str] = []
        selection = Selection(found.key, {})
        try:
            selection = Selection.of(found, key or {})
        except ConfigError as error:
            problems += error.problems
        names = None if group_by is None else tuple(dict.fromkeys(group_by))
        problems += [
            f"--group-by {name!r} is not part of the key of {rollup}, which is {', '.join(found.key)}"
            for name in names or ()
            if name not in found.key
        ]
        if not 1 <= moving <= _MOST_MOVING:
            problems.append(f"{moving} windows cannot move on together: 1 to {_MOST_MOVING}")
        if to_ms <= from_ms:
            problems.append("--to is not after --from")
        windows, buckets = found.windows[0], None
        try:
            windows, buckets = _windows(found, window, from_ms, to_ms)
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(*problems)
        if total:
            buckets = RangeBucket(Window(from_ms, to_ms))
        elif buckets is not None:  # whole ones
            from_ms = max(buckets.window_of(max(from_ms, 0)).start_ms, 0)
            to_ms = buckets.window_of(to_ms - 1).end_ms
        return cls(
            found,
            counts_of(pipeline, found),
            selection.key,
            windows,
            from_ms,
            to_ms,
            pipeline.sources[found.source].max_future_ms
            or 0,  # clocks that are unbounded are taken to be right
            selection,
            names,
            buckets,
            moving,
            from_ms,
        )

    def compared_with(self, earlier: str) -> "tuple[Question, Callable[[Window], Window]]":
        """Return the question that reads the windows to compare with too, and what gives the one of each.

        *earlier* is "previous", or how long before: "7d".

        Raises:
            ConfigError: it is neither, or there is one window only.
        """
        if isinstance(self.buckets, RangeBucket):
            raise ConfigError(
                "--compare is of windows, and the whole range is one: leave --total out, or say --each-window"
            )
        if earlier == "previous":
            return replace(
                self, from_ms=before(self.window_of, self.from_ms, 1)
            ), lambda window: self.window_of(max(window.start_ms - 1, 0))
        try:
            back_ms = parse_duration(earlier)
        except ValueError as error:
            raise ConfigError(f"--compare {earlier!r}: previous, or {error}") from error
        first_ms = self.window_of(max(self.from_ms - back_ms, 0)).start_ms
        return replace(self, from_ms=first_ms), lambda window: self.window_of(
            max(window.start_ms - back_ms, 0)
        )

    @property
    def layout(self) -> StateLayout:
        """What stands where in the states that answer it: of all that is kept, what its measures need."""
        return self.rollup.layout.of_measures(self.rollup.measures)

    @property
    def hashes(self) -> range | None:
        """The hashes that the keys have which are asked for, where they stand together; None: any."""
        together = self.rollup.together
        values = self.selection.values_of(together) if self.selection and together else None
        return None if values is None else hashes_together(values)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The fields of the key that an answer tells apart."""
        return self.rollup.key if self.group_by is None else self.group_by

    def window_of(self, instant_ms: int) -> Window:
        """Return the window of an answer that holds *instant_ms*."""
        return (self.windows.assign if self.buckets is None else self.buckets.window_of)(instant_ms)

    def row_window(self, window: Window) -> Window:
        """Return what a row tells of whose last window is *window*: all of those that it moves over."""
        return Window(before(self.window_of, window.start_ms, self.moving - 1), window.end_ms)

    def is_partial(self, window: Window, begin_ms: int, now_ms: int) -> bool:
        """Return whether a part of *window* of a key that is counted from *begin_ms* on is not counted, or not kept any more.

        What arrived before *begin_ms*, when the consumer that counts it began, is not in a window that had begun then, or
        would soon: clocks may be ahead. Of a whole range the range is asked about, not where its first events lie.
        """
        is_range = isinstance(self.buckets, RangeBucket)
        first_ms = (is_range and self.from_ms) or window.start_ms  # a range from 0 on is whatever there is
        if begin_ms > 0 and first_ms < begin_ms + self.max_future_ms:
            return True
        keep_ms = self.rollup.keep_ms
        return keep_ms is not None and self.windows.assign(first_ms).end_ms + keep_ms <= now_ms


def _windows(
    rollup: Rollup, window: str | None, from_ms: int, to_ms: int
) -> tuple[TumblingWindows, Buckets | None]:
    """Return which windows are read, and what they are merged into, where they are."""
    if window is None:
        return rollup.windows[0], None
    kept = rollup.window_named(window)
    if kept is not None:
        return kept, None
    buckets = parse_buckets(window)
    windows = windows_for(buckets, rollup.windows, from_ms, to_ms)
    if windows is None:
        labels = ", ".join(each.label for each in rollup.windows)
        raise ConfigError(
            f"windows of {window!r} cannot be merged from those that {rollup.name} keeps ({labels}): each must lie in one"
        )
    return windows, buckets


def ask(
    store: PartialStore,
    question: Question,
    *,
    applied_ms: int,
    now_ms: int,
    eventual: PartialStore | None = None,
    pick: Callable[[Group], Iterable[int]] | None = None,
) -> Iterator[Row]:
    """Yield a row a window and key that has events, in the order of time and of keys.

    *applied_ms* is the arrival time up to which all events are applied, as it was read before this: a window that ends
    later may still change. The others are read from *eventual*, where it is given. What is read there may be older than
    what is applied, for nobody knows how much; so a window of it is never said to be complete, and keys may be missing.
    *pick* tells which entries of a window are wanted as rows: a row takes ten times the memory of a state.
    """
    plan, measures = plan_of(question.layout), question.rollup.measures
    read, bounds = plan.reader(measures), plan.bounds(measures)
    settled_ms = 0 if eventual is None else question.windows.assign(max(applied_ms, 0)).start_ms
    for group in groups_of(store, question, now_ms=now_ms, eventual=eventual, settled_ms=settled_ms):
        window = group.window
        may_change = window.end_ms > applied_ms or window.start_ms < settled_ms
        wanted = range(len(group.keys)) if pick is None else pick(group)
        partial_from = {
            begin_ms: question.is_partial(window, begin_ms, now_ms) for begin_ms in set(group.begin_ms)
        }
        for row in sorted(wanted, key=group.keys.__getitem__):
            begin_ms = group.begin_ms[row]
            yield Row(
                window,
                group.table[0][row],
                read(group.table, row),
                may_change=may_change,
                partial=partial_from[begin_ms],
                key=group.keys[row],
                begin_ms=begin_ms,
                errors={}
                if bounds is None
                else {f"{of}.{name}": bound for (of, name), bound in bounds(group.table, row).items()},
            )


def groups_of(
    store: PartialStore,
    question: Question,
    *,
    now_ms: int,
    eventual: PartialStore | None = None,
    settled_ms: int = 0,
) -> Iterator[Group]:
    """Yield the states that *question* asks for, merged, in the order of time.

    Windows that begin before *settled_ms* are read from *eventual*, where it is given.
    """
    windows, moving = question.windows, question.moving
    first_ms = before(question.window_of, question.from_ms, moving - 1)
    plan, unites_keys = plan_of(question.layout), question.group_by is not None
    # A session goes on from a visitor's window to his next one, and not from one visitor to another.
    unites_late = unites_keys and plan.tells_keys and (question.buckets is not None or moving > 1)
    of_keys = Regroup(plan, _key_of(question), unites_keys)
    regroup = Regroup(plan, lambda key: key) if unites_late else of_keys
    bound_ms = first_ms if eventual is None else min(max(settled_ms, first_ms), question.to_ms)
    parts = [(eventual, first_ms, bound_ms), (store, bound_ms, question.to_ms)]
    states = chain.from_iterable(
        _states(each, question, from_ms, to_ms, now_ms)
        for each, from_ms, to_ms in parts
        if each is not None and from_ms < to_ms
    )
    groups = regroup.by_window(states, windows.assign)
    if isinstance(question.buckets, RangeBucket):
        groups = regroup.whole(groups)
    elif question.buckets is not None:
        groups = regroup.by_bucket(groups, question.buckets)
    if moving > 1:
        groups = (
            each
            for each in regroup.moving(groups, moving, question.window_of, min(question.to_ms, now_ms))
            if each.window.end_ms > question.from_ms
        )
    return of_keys.over_keys(groups) if unites_late else groups


def _states(
    store: PartialStore, question: Question, from_ms: int, to_ms: int, now_ms: int
) -> Iterator[KeyStates]:
    rollup = question.rollup
    keys = None if question.key is None else [key_text(rollup, question.key)]
    reader = CellReader(
        store,
        rollup,
        question.windows,
        question.counts,
        hashes=question.hashes,
        layout=question.layout,
        wants=_wants(question),
        wanted=None if question.selection is None else tuple(sorted(question.selection.wanted.items())),
    )
    return reader.read(from_ms, to_ms, keys, now_ms=now_ms)


def _wants(question: Question) -> Callable[[str], bool] | None:
    """Return what tells whether the key of a text is asked for; None where all are."""
    selection = question.selection
    if selection is None or selection.takes_all:
        return None
    matches = selection.matcher()
    return Known(lambda text: matches(key_values(text))).__getitem__


class Known(dict[str, bool]):
    """What *tell* says of the texts of keys, each of which is asked again in every window."""

    def __init__(self, tell: Callable[[str], bool]) -> None:
        self._tell = tell

    def __missing__(self, text: str) -> bool:
        """Ask, and remember."""
        told = self._tell(text)
        if len(self) < _MOST_KNOWN:
            self[text] = told
        return told


def _key_of(question: Question) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Return what a key is merged into."""
    if question.group_by is None:
        return lambda key: key
    at = [question.rollup.key.index(name) for name in question.group_by]
    return lambda key: tuple(key[each] for each in at)
