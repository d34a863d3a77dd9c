"""Ask for aggregates: the windows of one key, or of all keys, in a range of time. Never a scan."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from processors.query.cells import CellReader, PartialStore
from streamgage.definition.fingerprint import counts_of
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.errors import ConfigError
from streamgage.fold.items import key_text, key_values
from streamgage.measures.layout import plan_of
from streamgage.measures.windows import TumblingWindows, Window


@dataclass(frozen=True, slots=True)
class Row:
    """One window of one key. ``values`` is ``{field: {measure: value}}``.

    ``may_change`` tells that the window was not over, or not all that arrived before its end was applied, when it was
    read; or that it was read where that cannot be told. A late event corrects its window even after that. ``partial``: what arrived before the consumer that counted it
    began is not in it, and may belong to it, for the window had begun then, or would soon: clocks may be ahead.
    """

    window: Window
    events: int
    values: dict[str, dict[str, int | Decimal | None]]
    may_change: bool
    partial: bool
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the windows that overlap ``[from_ms, to_ms)`` of one key of one rollup, or of all (``key`` None).

    ``counts`` is the fingerprint of what the rollup counts; an event may be ``max_future_ms`` ahead of its arrival.
    """

    rollup: Rollup
    counts: str
    key: tuple[str, ...] | None
    windows: TumblingWindows
    from_ms: int
    to_ms: int
    max_future_ms: int = 0

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
    ) -> "Question":
        """Return the question, checked against the definition; *key* None: of all keys. Raises: ConfigError, every problem."""
        found = pipeline.rollups.get(rollup)
        if found is None:
            raise ConfigError(f"no rollup is named {rollup!r}; there are: {', '.join(pipeline.rollups)}")
        problems = [
            f"{name} is not given; the key of {rollup} is {' '.join(f'{each}=…' for each in found.key)}"
            for name in found.key
            if key is not None and name not in key
        ]
        problems += [
            f"{name!r} is not part of the key of {rollup}" for name in key or () if name not in found.key
        ]
        labels = ", ".join(each.label for each in found.windows)
        windows = found.window_named(window) if window else found.windows[0]
        if windows is None:
            problems.append(f"{rollup} has no windows of {window!r}; it has: {labels}")
        if to_ms <= from_ms:
            problems.append("--to is not after --from")
        if problems or windows is None:
            raise ConfigError(*problems)
        values = None if key is None else tuple(key[name] for name in found.key)
        future_ms = (
            pipeline.sources[found.source].max_future_ms or 0
        )  # unbounded: clocks are taken to be right
        return cls(found, counts_of(pipeline, found), values, windows, from_ms, to_ms, future_ms)


def ask(
    store: PartialStore,
    question: Question,
    *,
    applied_ms: int,
    now_ms: int,
    eventual: PartialStore | None = None,
) -> Iterator[Row]:
    """Yield a row a window and key that has events, in the order of time.

    *applied_ms* is the arrival time up to which all events are applied, as it was read before this: a window that ends
    later may still change. The others are read from *eventual*, where it is given. What is read there may be older than
    what is applied, for nobody knows how much; so a window of it is never said to be complete, and keys may be missing.
    """
    if eventual is None:
        yield from _ask(store, question, applied_ms, now_ms)
        return
    open_from_ms = question.windows.assign(max(applied_ms, 0)).start_ms
    bound_ms = min(max(open_from_ms, question.from_ms), question.to_ms)
    if question.from_ms < bound_ms:
        yield from _ask(
            eventual, replace(question, to_ms=bound_ms), 0, now_ms
        )  # 0: nothing is known to be applied
    if bound_ms < question.to_ms:
        yield from _ask(store, replace(question, from_ms=bound_ms), applied_ms, now_ms)


def _ask(store: PartialStore, question: Question, applied_ms: int, now_ms: int) -> Iterator[Row]:
    rollup, windows = question.rollup, question.windows
    keys = None if question.key is None else [key_text(rollup, question.key)]
    reader, plan = CellReader(store, rollup, windows, question.counts), plan_of(rollup.layout)
    for states in reader.read(question.from_ms, question.to_ms, keys, now_ms=now_ms):
        window = windows.assign(states.start_ms)
        for row, key in enumerate(states.keys):
            begin_ms = states.begin_ms[row]
            yield Row(
                window,
                states.table[0][row],
                plan.read(states.table, row, rollup.measures),
                may_change=window.end_ms > applied_ms,
                partial=begin_ms > 0 and begin_ms + question.max_future_ms > window.start_ms,
                key=key_values(key),
            )
