"""Series out of items: a selector's rows are read once, over all that an expression looks at, and are columns from there on.

Values are exact integers and decimals until here; here they become doubles, as Prometheus has them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from processors.promql.columns import Part, joined
from processors.promql.errors import execution
from processors.promql.matchers import NAME, Matcher, match_labels, tester
from processors.promql.names import WINDOW, Metric, Names, key_labels
from processors.promql.series import HistogramSamples, HistogramSeries, Labels, Samples, Series
from processors.promql.states import bound_of, histogram_of, number_of
from processors.promql.syntax import Selector
from processors.query.answer import bound_text, time_text
from processors.query.blocks import Block
from processors.query.buckets import Buckets
from processors.query.cells import CellReader, PartialStore
from processors.query.key_states import KeyStates
from processors.query.question import Known, Question
from processors.query.regroup import Regroup
from processors.query.shape import Column
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.errors import ConfigError, PoisonRecord
from streamgage.fold.items import key_text, key_values
from streamgage.measures.layout import StateLayout, plan_of
from streamgage.measures.named import measure_named
from streamgage.measures.windows import MAX_EVENT_TIME_MS, Window

MOST_ROWS = 300_000  # with all measures some 200 MB of states
_FROM_THE_FIRST = frozenset((0,))  # record on: nothing lacks
_MOST_KEYS = 1_000  # that are named one by one
_CHECKED_MS = (
    2 * 366 * 86_400_000
)  # of a place's days and months is looked at, for which kept windows they are made of


@dataclass(slots=True)
class Notes:
    """What an answer says beside its data, each once, in the order of its finding."""

    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        """Say what may be wrong with the values."""
        self.warnings[text] = None

    def inform(self, text: str) -> None:
        """Say what was chosen, or may change."""
        self.infos[text] = None


@dataclass(frozen=True, slots=True)
class Sized:
    """Windows of one size of a rollup: those that are kept, or coarser ones that are merged from them."""

    rollup: Rollup
    label: str
    question: Question

    def window_of(self, instant_ms: int) -> Window:
        """Return the window that holds *instant_ms*; an instant beyond what is counted is taken to its end."""
        return self.question.window_of(min(max(instant_ms, 0), MAX_EVENT_TIME_MS - 1))

    def covered_ms(self, after_ms: int, until_ms: int) -> int:
        """Return how long those windows are together that end after *after_ms* and not after *until_ms*."""
        return self.window_of(until_ms).start_ms - self.window_of(after_ms).start_ms


@dataclass(slots=True)
class Reader:
    """Reads the series of one request. ``applied_ms`` as ``ask`` takes it; nothing is read twice."""

    pipeline: Pipeline
    names: Names
    store: PartialStore
    applied_ms: int
    now_ms: int
    notes: Notes = field(default_factory=Notes)
    rows: int = 0
    _expected: dict[str, set[Column]] = field(default_factory=dict)
    _held: dict[tuple[object, ...], list[Part]] = field(default_factory=dict)

    def expect(self, selectors: Iterable[Selector]) -> None:
        """Decode from now on what *selectors* ask for, of each rollup together: so one reading of its items is enough."""
        for selector in selectors:
            for metric in self._named(selector.matchers):
                self._expected.setdefault(metric.rollup.name, set()).add(metric.column)

    def metrics(self, matchers: tuple[Matcher, ...]) -> list[Metric]:
        """Return the series' names that are asked for; histograms only by their full names."""
        exact = exact_name(matchers)
        if exact is not None:
            self._explain(exact)
        return self._named(matchers)

    def _named(self, matchers: tuple[Matcher, ...]) -> list[Metric]:
        named = [each for each in matchers if each.label == NAME]
        exact = exact_name(matchers)
        return [
            metric
            for name, metric in self.names.metrics.items()
            if all(each.test(name) for each in named) and (exact is not None or not metric.is_histogram)
        ]

    def _explain(self, name: str) -> None:
        """Say why there are no series of *name*. Raises: QueryError ``execution``, there are two kinds of them."""
        if name in self.names.refused:
            raise execution(
                f"{name} would be {self.names.refused[name]}: rename one of the fields or rollups"
            )
        if name in self.names.elsewhere and name not in self.names.metrics:
            self.notes.warn(
                f"{name} is counted by consumer {self.names.elsewhere[name]}, whose tables these are not: ask the stack of it"
            )
        elif name not in self.names.metrics:
            self.notes.inform(f"there are no series of the name {name}")

    def sizes(
        self, rollup: Rollup, matchers: tuple[Matcher, ...], fits_ms: int | None, *, name: str | None
    ) -> list[Sized]:
        """Return the windows that are asked for: of each size that is kept, or of one that ``window=`` names.

        Where nothing is asked of the label, these are the largest that are no longer than *fits_ms*, or the smallest there are;
        *fits_ms* None: all that are kept. It is said of *name*, where one is given.
        """
        asked = [each for each in matchers if each.label == WINDOW]
        kept = [windows.label for windows in rollup.windows]
        if not asked and fits_ms is not None:
            fitting = [each for each in rollup.windows if each.size_ms <= fits_ms]
            chosen = (
                max(fitting, key=lambda each: each.size_ms)
                if fitting
                else min(rollup.windows, key=lambda each: each.size_ms)
            )
            if name is not None:
                self.notes.inform(
                    f'{name}: no window is named, so these are of window="{chosen.label}"; there are: {", ".join(kept)}'
                )
            return [self._sized(rollup, chosen.label)]
        passes = tester(matchers, WINDOW)
        exact = next((each.value for each in asked if each.op == "="), None)
        if exact and exact not in kept:
            try:
                return [self._sized(rollup, exact)] if passes(exact) else []
            except ConfigError as error:
                self.notes.warn(f"{name}: {error}")
                return []
        return [self._sized(rollup, label) for label in kept if passes(label)]

    def _sized(self, rollup: Rollup, label: str) -> Sized:
        recently_ms = max(self.now_ms - _CHECKED_MS, 0)
        question = Question.parse(
            self.pipeline,
            rollup=rollup.name,
            key=None,
            window=label,
            from_ms=recently_ms,
            to_ms=max(self.now_ms, 1),
        )
        return Sized(rollup, label, question)

    def samples(
        self, metric: Metric, sized: Sized, matchers: tuple[Matcher, ...], first_ms: int, last_ms: int
    ) -> Samples:
        """Return the series of *metric* with what ends from *first_ms* to *last_ms*, in the order of their keys.

        Raises:
            QueryError: ``execution``, they are too many.
        """
        layout = self._layout(metric)
        parts = self._parts(sized, matchers, first_ms, last_ms, layout)
        found = joined(parts, metric.column, number_of(layout, metric.column))
        self._tell_bound(metric, layout, parts)
        series = [Series(labels_of(metric, sized.label, key), found[key]) for key in sorted(found)]
        return Samples(*_instants(parts, sized), series)

    def histograms(
        self, metric: Metric, sized: Sized, matchers: tuple[Matcher, ...], first_ms: int, last_ms: int
    ) -> HistogramSamples:
        """Return the same of a metric of histograms."""
        layout = self._layout(metric)
        parts = self._parts(sized, matchers, first_ms, last_ms, layout)
        found = joined(parts, ("histogram", metric.column), histogram_of(layout, metric.column))
        series = [HistogramSeries(labels_of(metric, sized.label, key), found[key]) for key in sorted(found)]
        return HistogramSamples(*_instants(parts, sized), series)

    def keys(
        self, sized: Sized, matchers: tuple[Matcher, ...], from_ms: int, to_ms: int
    ) -> list[tuple[str, ...]]:
        """Return the keys that have events in the windows that overlap ``[from_ms, to_ms)``, in order."""
        bare = sized.rollup.layout.of_measures({})
        parts = self._read(sized, matchers, from_ms, to_ms, bare)
        return sorted({key for part in parts for group in part.groups for key in group.keys})

    def _layout(self, metric: Metric) -> StateLayout:
        """Return what is decoded for *metric*: what it needs, and whatever else of its rollup is expected."""
        measures: dict[str, list[str]] = {}
        for column in {metric.column, *self._expected.get(metric.rollup.name, ())}:
            if column.field is not None:
                measures.setdefault(column.field, []).append(column.measure)
        return metric.rollup.layout.of_measures(measures)

    def _parts(
        self, sized: Sized, matchers: tuple[Matcher, ...], first_ms: int, last_ms: int, layout: StateLayout
    ) -> list[Part]:
        """Return the windows that end from *first_ms* to *last_ms*."""
        from_ms = sized.window_of(first_ms - 1).start_ms
        to_ms = sized.window_of(last_ms).start_ms
        parts = self._read(sized, matchers, from_ms, to_ms, layout)
        if from_ms < to_ms and to_ms > self.applied_ms:
            self.notes.inform(
                f'{sized.rollup.name}, window="{sized.label}": {self._changing()} may still change, or appear'
            )
        return parts

    def _changing(self) -> str:
        if not self.applied_ms:
            return "it is not known up to when everything is applied: all windows"
        return f"windows that end after {time_text(self.applied_ms)}, up to when everything is applied,"

    def _read(
        self, sized: Sized, matchers: tuple[Matcher, ...], from_ms: int, to_ms: int, layout: StateLayout
    ) -> list[Part]:
        if from_ms >= to_ms:
            return []
        rollup, question = sized.rollup, sized.question
        labels = key_labels(rollup)
        of_key = tuple(sorted((each for each in matchers if each.label in labels), key=str))
        place = (rollup.name, sized.label, tuple(map(str, of_key)), from_ms, to_ms, layout)
        if place in self._held:
            return self._held[place]
        others = tuple(each for each in matchers if each.label not in (*labels, NAME, WINDOW))
        held: list[Part] = []
        if match_labels(others, {}):
            wants = _passing([tester(of_key, label) for label in labels]) if of_key else None
            keys = named_keys(rollup, labels, of_key)
            if keys is not None and wants is not None:
                keys = list(filter(wants, keys))
            regroup = Regroup(plan_of(layout), lambda key: key)
            cells = CellReader(
                self.store,
                rollup,
                question.windows,
                question.counts,
                layout=layout,
                wants=wants,
                wanted=place[2] or None,
            )
            blocks = cells.blocks(from_ms, to_ms, keys, now_ms=self.now_ms)
            buckets: Buckets | None = question.buckets
            if buckets is None:
                held = [self._part(block, regroup, question.windows.assign) for block in blocks]
            else:
                states = self._bounded(each for block in blocks for each in block.states)
                groups = regroup.by_window(states, question.windows.assign)
                held = [Part(list(regroup.by_bucket(groups, buckets)))]
        self._held[place] = held
        self._tell(sized, from_ms, held)
        return held

    def _part(self, block: Block, regroup: Regroup, window_of: Callable[[int], Window]) -> Part:
        """Return *block* as a part, which is remembered with it."""
        part: Part | None = block.made.get(Part)
        if part is None:
            part = Part(list(regroup.by_window(self._bounded(block.states), window_of)))
            block.made[Part] = part
        else:
            self._bound(sum(len(group.keys) for group in part.groups))
        return part

    def _bounded(self, states: Iterable[KeyStates]) -> Iterator[KeyStates]:
        for each in states:
            self._bound(len(each.keys))
            yield each

    def _bound(self, rows: int) -> None:
        self.rows += rows
        if self.rows > MOST_ROWS:
            raise execution(
                f"this reads more than {MOST_ROWS:,} windows of keys: name every label of the key by =, ask for a shorter range, "
                "or for larger windows"
            )

    def _tell_bound(self, metric: Metric, layout: StateLayout, parts: Sequence[Part]) -> None:
        """Say by how much values may be off, where they are not exact; of histograms who reads a value of them says it."""
        of_table = bound_of(layout, metric.column)
        if of_table is not None and any(part.groups for part in parts):
            bound = max(part.bound(metric.column, of_table) for part in parts)
            self.notes.inform(f"{metric.name}: {bound_text(measure_named(metric.column.measure), bound)}")

    def _tell(self, sized: Sized, from_ms: int, parts: Sequence[Part]) -> None:
        """Say of which windows a part is not counted, or not kept any more, and which are gone."""
        what = f'{sized.rollup.name}, window="{sized.label}": '
        partial = [
            group.window.end_ms
            for part in parts
            if sized.rollup.keep_ms is not None or part.begins() != _FROM_THE_FIRST
            for group in part.groups
            if any(
                sized.question.is_partial(group.window, begin_ms, self.now_ms)
                for begin_ms in set(group.begin_ms)
            )
        ]
        if partial:
            self.notes.warn(
                f"{what}a part of the windows that end up to {time_text(max(partial))} is not counted here, or not kept any more"
            )
        keep_ms = sized.rollup.keep_ms
        if keep_ms is not None and sized.window_of(from_ms).end_ms + keep_ms <= self.now_ms:
            gone_ms = self.now_ms - keep_ms
            self.notes.inform(f"{what}those that ended up to {time_text(gone_ms)} are not kept any more")


def exact_name(matchers: tuple[Matcher, ...]) -> str | None:
    """Return the one name that is asked for; None where there may be several."""
    return next((each.value for each in matchers if each.label == NAME and each.op == "="), None)


def _passing(tests: Sequence[Callable[[str], bool]]) -> Callable[[str], bool]:
    """Return what tells of the text of a key whether each of its fields passes its test."""
    return Known(
        lambda text: all(test(value) for test, value in zip(tests, key_values(text), strict=True))
    ).__getitem__


def _instants(parts: Sequence[Part], sized: Sized) -> tuple[list[int], list[int]]:
    """Return where the windows end, and until when each is seen."""
    ends: list[int] = []
    untils: list[int] = []
    for part in parts:
        of_part = part.instants(sized.window_of)
        ends += of_part[0]
        untils += of_part[1]
    return ends, untils


def labels_of(metric: Metric, window: str, key: tuple[str, ...]) -> Labels:
    """Return the labels of the series of *key*; of an empty field there is none."""
    named = zip(key_labels(metric.rollup), key, strict=True)
    return {NAME: metric.name} | {label: value for label, value in named if value} | {WINDOW: window}


def named_keys(rollup: Rollup, labels: tuple[str, ...], matchers: tuple[Matcher, ...]) -> list[str] | None:
    """Return the keys that alone may be asked for, where each field's values are named one by one; else None."""
    choices: list[list[str]] = []
    for label in labels:
        texts = [each.texts for each in matchers if each.label == label]
        known = [each for each in texts if each is not None]
        if not known:
            return None
        choices.append(sorted(frozenset.intersection(*known)))
    if math.prod(map(len, choices)) > _MOST_KEYS:
        return None
    keys = []
    for key in product(*choices):
        try:
            keys.append(key_text(rollup, key))
        except PoisonRecord:  # longer than a key that is stored
            continue
    return keys
