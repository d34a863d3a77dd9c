"""Evaluate a tree: by columns, each series over all instants at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from processors.promql import functions, operators
from processors.promql.aggregation import aggregate, sum_histograms
from processors.promql.budget import Budget
from processors.promql.calls import Calls
from processors.promql.errors import bad_data, execution
from processors.promql.folds import total
from processors.promql.over_time import OVER_TIME, cost, over_time, quantile_over_time, slices
from processors.promql.reading import Reader
from processors.promql.selection import Selection
from processors.promql.series import (
    Column,
    HistogramVector,
    Labels,
    Samples,
    Scalar,
    Series,
    Value,
    Vector,
    Words,
    as_scalar,
    as_text,
    as_vector,
    mapped,
    merged,
    there,
    without_name,
)
from processors.promql.syntax import (
    Aggregate,
    Binary,
    Call,
    Negative,
    Node,
    Number,
    Range,
    Selector,
    Subquery,
    Text,
)

_SUBQUERY_STEP_MS = 60_000  # where it says none, as Prometheus' own default
_MOST_INSTANTS = 50_000  # of a subquery
_OF_RANGES = frozenset({*OVER_TIME, "absent_over_time", "increase", "quantile_over_time", "rate"})


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Evaluates at *instants*, ms since the epoch, which ascend; *span* is what ``@ start()`` and ``@ end()`` mean.

    *step_ms* is how far the instants are apart, 0 where there is one.
    """

    reader: Reader
    budget: Budget
    instants: Sequence[int]
    step_ms: int
    span: tuple[int, int]

    @property
    def _selection(self) -> Selection:
        return Selection(self.reader, self.budget, self.instants, self.step_ms, self.span)

    @property
    def _calls(self) -> Calls:
        return Calls(self.instants, self.budget, self.reader.notes.inform)

    def evaluate(self, node: Node) -> Value:
        """Return what *node* comes to. Raises: QueryError."""
        self.budget.take(len(self.instants))
        match node:
            case Number():
                value: Value = self._calls.constant(node.value)
            case Text():
                value = Words(node.value)
            case Selector():
                value = self._selection.vector(node)
            case Negative():
                value = self._negative(self.evaluate(node.inner))
            case Binary():
                value = self._binary(node, self.evaluate(node.left), self.evaluate(node.right))
            case Aggregate():
                value = self._aggregated(node)
            case Call():
                value = self._called(node)
            case Range() | Subquery():
                raise execution(
                    "a range of samples is no value: put a function such as sum_over_time around it"
                )
        return value

    def samples(self, node: Range | Subquery) -> tuple[list[Samples], list[int]]:
        """Return what lies in the ranges of *node*, and the instants up to which these go."""
        if isinstance(node, Range):
            return self._selection.samples(node)
        instants = self._selection.shifted(node.shift)
        step_ms = node.step_ms or _SUBQUERY_STEP_MS
        first_ms = (instants[0] - node.range_ms) // step_ms * step_ms + step_ms
        inner = range(first_ms, instants[-1] + 1, step_ms)
        if len(inner) > _MOST_INSTANTS:
            raise execution(
                f"a subquery evaluates at {len(inner):,} instants; at most {_MOST_INSTANTS:,} are: a larger step, or a shorter range"
            )
        if not inner:
            return [], instants
        vector = as_vector(replace(self, instants=inner, step_ms=step_ms).evaluate(node.inner))
        return [Samples(inner, inner, vector.series)], instants

    def _paid(self, vector: Vector) -> Vector:
        self.budget.take(len(vector.series) * len(self.instants))
        return vector

    def _negative(self, value: Value) -> Value:
        if isinstance(value, Scalar):
            return Scalar([-each for each in value.values])
        return mapped(self._paid(as_vector(value)), lambda each: -each)

    def _binary(self, node: Binary, left: Value, right: Value) -> Value:
        if isinstance(left, Scalar) and isinstance(right, Scalar):
            return operators.scalars(node, left, right)
        if isinstance(left, Scalar):
            found = operators.with_scalar(node, self._paid(as_vector(right)), left, is_swapped=True)
        elif isinstance(right, Scalar):
            found = operators.with_scalar(node, self._paid(as_vector(left)), right, is_swapped=False)
        elif node.name in operators.SETS:
            sides = self._paid(as_vector(left)), self._paid(as_vector(right))
            found = operators.sets(node, *sides, len(self.instants))
        else:
            found = operators.vectors(node, as_vector(left), as_vector(right), self.budget)
        return Vector(there(found.series))

    def _aggregated(self, node: Aggregate) -> Vector | HistogramVector:
        value = self.evaluate(node.inner)
        if isinstance(value, HistogramVector):
            self.budget.take(16 * len(value.series) * len(self.instants))  # each has buckets
            return sum_histograms(node, value)
        parameter: Scalar | str | None = None
        if node.parameter is not None:
            given = self.evaluate(node.parameter)
            parameter = as_text(given) if node.name == "count_values" else as_scalar(given)
        return aggregate(node, self._paid(as_vector(value)), parameter, self.budget)

    def _called(self, node: Call) -> Value:
        name, arguments = node.name, node.arguments
        if name in _OF_RANGES:
            return self._over_time(node)
        if name == "timestamp":
            if isinstance(arguments[0], Selector):
                return self._selection.timestamps(arguments[0])
            return self._calls.times(self._paid(as_vector(self.evaluate(arguments[0]))))
        if name == "absent":
            vector = self._paid(as_vector(self.evaluate(arguments[0])))
            return self._absent(arguments[0], [each.values for each in vector.series])
        if name in ("sort", "sort_desc") and self.step_ms:
            self.reader.notes.inform(
                f"{name} has no effect on a range: its series are in the order of their labels"
            )
        return self._calls.call(name, [self.evaluate(each) for each in arguments])

    def _absent(self, node: Node, columns: Sequence[Column]) -> Vector:
        selector = node.selector if isinstance(node, Range) else node
        matchers = selector.matchers if isinstance(selector, Selector) else ()
        return self._calls.absent(functions.absent_labels(matchers), columns)

    def _over_time(self, node: Call) -> Vector | HistogramVector:
        name, ranged = node.name, node.arguments[-1]
        if not isinstance(ranged, Range | Subquery):
            raise bad_data(f"{name} is of a range: {name}(…[5m])")
        if isinstance(ranged, Range):
            histograms = self._selection.histograms(name, ranged)
            if histograms is not None:
                return histograms
        if name in ("rate", "increase"):
            if isinstance(ranged, Subquery):
                raise execution(
                    f"{name} is of windows, not of a subquery: use sum_over_time, or {name} within it"
                )
            return self._selection.increase(ranged, is_rate=name == "rate")
        found, instants = self.samples(ranged)
        labels: list[Labels] = []
        columns: list[Column] = []
        for samples in found:
            ranges = slices(samples.ends, instants, ranged.range_ms)
            self.budget.take(len(samples.series) * cost(ranges))
            labels += [each.labels for each in samples.series]
            if name == "quantile_over_time":
                fractions = as_scalar(self.evaluate(node.arguments[0]))
                columns += [quantile_over_time(fractions, each.values, ranges) for each in samples.series]
            else:
                function = OVER_TIME.get(name, total)
                columns += [over_time(function, each.values, ranges) for each in samples.series]
        if name == "absent_over_time":
            return self._absent(ranged, columns)
        kept = labels if name == "last_over_time" else map(without_name, labels)
        return merged(there(map(Series, kept, columns)))
