"""What a selector selects: the values that are seen at each instant, or the samples in the range up to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from processors.promql.budget import Budget
from processors.promql.errors import execution
from processors.promql.folds import total
from processors.promql.names import Metric
from processors.promql.over_time import (
    HISTOGRAMS_OVER_TIME,
    cost,
    over_time,
    picked,
    rate,
    seen,
    slices,
)
from processors.promql.reading import Reader, Sized
from processors.promql.series import (
    HistogramSeries,
    HistogramVector,
    Samples,
    Series,
    Vector,
    merged,
    there,
    without_name,
)
from processors.promql.syntax import Range, Selector, Shift


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects at *instants*, ms since the epoch, which ascend; *span* is what ``@ start()`` and ``@ end()`` mean.

    *step_ms* is how far the instants are apart, 0 where there is one.
    """

    reader: Reader
    budget: Budget
    instants: Sequence[int]
    step_ms: int
    span: tuple[int, int]

    def shifted(self, shift: Shift) -> list[int]:
        """Return the instants at which is looked instead."""
        at = shift.at
        if isinstance(at, str):
            at = self.span[0] if at == "start" else self.span[1]
        instants = self.instants if at is None else [at] * len(self.instants)
        return [each - shift.offset_ms for each in instants]

    def _sources(self, selector: Selector, fits_ms: int) -> list[tuple[Metric, Sized]]:
        return [
            (metric, sized)
            for metric in self.reader.metrics(selector.matchers)
            for sized in self.reader.sizes(metric.rollup, selector.matchers, fits_ms, name=metric.name)
        ]

    def _ranged(self, node: Range) -> list[tuple[Metric, Sized]]:
        return self._sources(node.selector, min(node.range_ms, self.step_ms))

    def vector(self, selector: Selector) -> Vector | HistogramVector:
        """Return the values that are seen at each instant: each from the end of its window on, until the next one ends."""
        instants = self.shifted(selector.shift)
        series: list[Series] = []
        for metric, sized in self._sources(selector, self.step_ms):
            first_ms = sized.window_of(instants[0]).start_ms  # where the window ends that is seen then
            span = first_ms, instants[-1]
            if metric.is_histogram:
                histograms = self.reader.histograms(metric, sized, selector.matchers, *span)
                self.budget.take(len(histograms.series) * len(instants))
                places = seen(histograms.ends, histograms.untils, instants)
                return HistogramVector(
                    [HistogramSeries(each.labels, picked(each.values, places)) for each in histograms.series]
                )
            samples = self.reader.samples(metric, sized, selector.matchers, *span)
            self.budget.take(len(samples.series) * len(instants))
            places = seen(samples.ends, samples.untils, instants)
            series += [Series(each.labels, picked(each.values, places)) for each in samples.series]
        return Vector(there(series))

    def timestamps(self, selector: Selector) -> Vector:
        """Return where the value stands that is seen at each instant, in seconds."""
        instants = self.shifted(selector.shift)
        found: list[Series] = []
        for metric, sized in self._sources(selector, self.step_ms):
            first_ms = sized.window_of(instants[0]).start_ms
            samples = self.reader.samples(metric, sized, selector.matchers, first_ms, instants[-1])
            self.budget.take(len(samples.series) * len(instants))
            places = seen(samples.ends, samples.untils, instants)
            for each in samples.series:
                stands = [
                    None if value is None else end_ms / 1000
                    for end_ms, value in zip(samples.ends, each.values, strict=True)
                ]
                found.append(Series(without_name(each.labels), picked(stands, places)))
        return merged(there(found))

    def samples(self, node: Range) -> tuple[list[Samples], list[int]]:
        """Return what lies in the ranges of *node*, of each name and window, and the instants up to which these go."""
        instants = self.shifted(node.selector.shift)
        found: list[Samples] = []
        for metric, sized in self._ranged(node):
            if metric.is_histogram:
                raise execution(
                    f"{metric.name} are histograms: put sum_over_time and histogram_quantile around them"
                )
            found.append(self.reader.samples(metric, sized, node.selector.matchers, *_bounds(node, instants)))
        return found, instants

    def increase(self, node: Range, *, is_rate: bool) -> Vector:
        """Return the sum over the windows that end in the range up to each instant; of a rate ÷ how long they are together.

        Raises:
            QueryError: ``execution``, the values of windows do not add up.
        """
        name = "rate" if is_rate else "increase"
        instants = self.shifted(node.selector.shift)
        found: list[Series] = []
        for metric, sized in self._ranged(node):
            if not metric.is_added_up:
                raise execution(
                    f"{name} of {metric.name}: only counts and sums add up over windows; use avg_over_time or max_over_time"
                )
            covered = [sized.covered_ms(each - node.range_ms, each) for each in instants]
            if not all(covered):
                self.reader.notes.warn(
                    f'{name} over {node.range_ms / 1000:g} s of window="{sized.label}": no window ends in some of these ranges; '
                    "name a smaller window, or a longer range"
                )
            samples = self.reader.samples(metric, sized, node.selector.matchers, *_bounds(node, instants))
            ranges = slices(samples.ends, instants, node.range_ms)
            self.budget.take(len(samples.series) * cost(ranges))
            for each in samples.series:
                column = over_time(total, each.values, ranges)
                found.append(Series(without_name(each.labels), rate(column, covered) if is_rate else column))
        return merged(there(found))

    def histograms(self, name: str, node: Range) -> HistogramVector | None:
        """Return what the function *name* makes of histograms; None where these are none.

        Raises:
            QueryError: ``execution``, it is not evaluated of histograms.
        """
        sources = [each for each in self._ranged(node) if each[0].is_histogram]
        if not sources:
            return None
        function = HISTOGRAMS_OVER_TIME.get(name)
        if function is None:
            raise execution(
                f"{name} of histograms is not evaluated here: {', '.join(HISTOGRAMS_OVER_TIME)} are"
            )
        instants = self.shifted(node.selector.shift)
        found: list[HistogramSeries] = []
        for metric, sized in sources:
            samples = self.reader.histograms(metric, sized, node.selector.matchers, *_bounds(node, instants))
            ranges = slices(samples.ends, instants, node.range_ms)
            held = sum(stop - first for first, stop in ranges)
            self.budget.take(len(samples.series) * (len(ranges) + 8 * held))  # each has buckets
            for each in samples.series:
                labels = each.labels if name == "last_over_time" else without_name(each.labels)
                found.append(HistogramSeries(labels, over_time(function, each.values, ranges)))
        return HistogramVector(found)


def _bounds(node: Range, instants: Sequence[int]) -> tuple[int, int]:
    """Return between which instants windows end that a range looks at."""
    return instants[0] - node.range_ms + 1, instants[-1]
