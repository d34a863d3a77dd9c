"""PromQL as a tree of our own: what the library promql-parser understood, checked against what is evaluated here.

The library is written in Rust and recurses: ten thousand parentheses end the process by a signal that no handler sees. So a
text is measured before it is handed over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import promql_parser as library

from processors.promql.budget import Budget
from processors.promql.errors import bad_data, execution
from processors.promql.matchers import NAME, Matcher

_MOST_CHARACTERS = 50_000
_MOST_DEPTH = 50  # of brackets
_MOST_OPERATORS = 100  # they nest in the tree too
_MOST_NAMES = 2_000  # of functions, series and labels
_MILLISECOND = timedelta(milliseconds=1)
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|\#[^\n\r]*""", re.DOTALL)
_MATCHERS = re.compile(r"\{[^{}]*\}")
_OPERATOR = re.compile(r"[-+*/%^<>=!]+|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_BEFORE_1970 = re.compile(r"@\s*-")

OPERATORS: frozenset[str] = frozenset(
    {"+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "and", "or", "unless"}
)
AGGREGATES: Mapping[str, str] = {
    "sum": "", "avg": "", "min": "", "max": "", "count": "", "group": "", "stddev": "", "stdvar": "",
    "topk": "number", "bottomk": "number", "quantile": "number", "count_values": "text",
}  # fmt: skip
"""The aggregations there are, and of what kind their parameter is."""
FUNCTIONS: frozenset[str] = frozenset(
    {
        "abs", "absent", "absent_over_time", "avg_over_time", "ceil", "clamp", "clamp_max", "clamp_min", "count_over_time",
        "exp", "floor", "histogram_count", "histogram_quantile", "increase", "label_join", "label_replace", "last_over_time",
        "ln", "log10", "log2", "max_over_time", "min_over_time", "pi", "present_over_time", "quantile_over_time", "rate",
        "round", "scalar", "sgn", "sort", "sort_desc", "sqrt", "stddev_over_time", "stdvar_over_time", "sum_over_time", "time",
        "timestamp", "vector",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A text."""

    value: str


@dataclass(frozen=True, slots=True)
class Shift:
    """At which instant is looked instead: ``@``, in ms since the epoch, or the range's start or end; then so much earlier."""

    at: int | Literal["start", "end"] | None = None
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class Selector:
    """Series, by their labels, of which the name is one."""

    matchers: tuple[Matcher, ...]
    shift: Shift

    @property
    def name(self) -> str | None:
        """The name that is asked for; None where there may be several."""
        return next((each.value for each in self.matchers if each.label == NAME and each.op == "="), None)

    def __str__(self) -> str:
        """Return it as PromQL writes it."""
        return f"{{{', '.join(map(str, self.matchers))}}}"


@dataclass(frozen=True, slots=True)
class Range:
    """What *selector* has within *range_ms* up to an instant."""

    selector: Selector
    range_ms: int


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression, evaluated each *step_ms* within *range_ms*."""

    inner: "Node"
    range_ms: int
    step_ms: int | None
    shift: Shift


@dataclass(frozen=True, slots=True)
class Call:
    """A function of FUNCTIONS."""

    name: str
    arguments: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregation of AGGREGATES, over series that agree in *labels*, or in all but those."""

    name: str
    inner: "Node"
    parameter: "Node | None"
    labels: tuple[str, ...]
    is_without: bool


@dataclass(frozen=True, slots=True)
class Negative:
    """The value with its sign changed."""

    inner: "Node"


@dataclass(frozen=True, slots=True)
class Matching:
    """Which series belong together: by *labels* (``on``), or by all others. *many*: the side of which several may."""

    labels: tuple[str, ...] = ()
    is_on: bool = False
    many: Literal["left", "right"] | None = None
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator of OPERATORS. *is_bool*: a comparison answers 0 or 1 instead of leaving out."""

    name: str
    left: "Node"
    right: "Node"
    matching: Matching
    is_bool: bool


Node = Number | Text | Selector | Range | Subquery | Call | Aggregate | Negative | Binary


def selectors_of(node: Node) -> Iterator[Selector]:
    """Yield the selectors that stand anywhere in *node*."""
    match node:
        case Selector():
            yield node
        case Range():
            yield node.selector
        case Subquery() | Negative():
            yield from selectors_of(node.inner)
        case Binary():
            yield from selectors_of(node.left)
            yield from selectors_of(node.right)
        case Aggregate():
            yield from selectors_of(node.inner)
            if node.parameter is not None:
                yield from selectors_of(node.parameter)
        case Call():
            for each in node.arguments:
                yield from selectors_of(each)
        case Number() | Text():
            pass


def parse(text: str, budget: Budget) -> Node:
    """Return the tree of *text*, whose regular expressions take their steps from *budget*.

    Raises:
        QueryError: ``bad_data``, it is no PromQL, or too large; ``execution``, it names what is not evaluated here.
    """
    _measure(text)
    try:
        return _Tree(budget).node(library.parse(text))
    except (ValueError, OverflowError) as error:  # of a number that no instant or duration has, too
        raise bad_data(f'invalid parameter "query": parse error: {error}') from error


def parse_selector(text: str, budget: Budget) -> Selector:
    """Return the selector that *text* is, as ``match[]`` has it. Raises: QueryError, it is none."""
    node = parse(text, budget)
    if not isinstance(node, Selector) or node.shift != Shift():
        raise bad_data(f'invalid parameter "match[]": {text[:100]!r} is not a selector of series')
    return node


def _measure(text: str) -> None:
    """Refuse what the library might not survive. Raises: QueryError ``bad_data``."""
    if len(text) > _MOST_CHARACTERS:
        raise bad_data(f"the query has {len(text):,} characters; at most {_MOST_CHARACTERS:,} are taken")
    bare = _QUOTED.sub(" ", text)
    depth = deepest = 0
    for char in bare:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if deepest > _MOST_DEPTH:
        raise bad_data(f"the query nests {deepest:,} brackets; at most {_MOST_DEPTH} are taken")
    if len(re.findall(r"\w+", bare)) > _MOST_NAMES:
        raise bad_data(f"the query has more than {_MOST_NAMES:,} names and numbers: ask for less at once")
    operators = sum(
        len(each) if "-" in each or "+" in each else 1 for each in _OPERATOR.findall(_MATCHERS.sub(" ", bare))
    )
    if operators > _MOST_OPERATORS:
        raise bad_data(f"the query has {operators:,} operators; at most {_MOST_OPERATORS} are taken")
    if _BEFORE_1970.search(bare):
        raise bad_data("the query asks for @ an instant before 1970, of which nothing is counted")


@dataclass(frozen=True, slots=True)
class _Tree:
    """Makes our tree of the library's."""

    budget: Budget

    def node(self, found: Any) -> Node:
        match found:
            case library.ParenExpr():
                return self.node(found.expr)
            case library.VectorSelector():
                node: Node = self._selector(found)
            case library.MatrixSelector():
                node = Range(self._selector(found.vector_selector), _ms(found.range))
            case library.SubqueryExpr():
                step_ms = None if found.step is None else _ms(found.step)
                node = Subquery(self.node(found.expr), _ms(found.range), step_ms, _shift(found))
            case library.BinaryExpr():
                node = self._binary(found)
            case library.AggregateExpr():
                node = self._aggregate(found)
            case library.Call():
                node = self._call(found)
            case library.UnaryExpr():
                node = Negative(self.node(found.expr))
            case library.NumberLiteral():
                node = Number(found.val)
            case _:
                node = Text(found.val)
        return node

    def _call(self, found: Any) -> Call:
        name = found.func.name
        if name not in FUNCTIONS:
            raise execution(
                f"the function {name} is not evaluated here; there are: {', '.join(sorted(FUNCTIONS))}"
            )
        return Call(name, tuple(map(self.node, found.args)))

    def _aggregate(self, found: Any) -> Aggregate:
        name = str(found.op)
        if name not in AGGREGATES:
            raise execution(
                f"the aggregation {name} is not evaluated here; there are: {', '.join(sorted(AGGREGATES))}"
            )
        modifier = found.modifier
        return Aggregate(
            name,
            self.node(found.expr),
            None if found.param is None else self.node(found.param),
            tuple(modifier.labels) if modifier else (),
            bool(modifier) and modifier.type == library.AggModifierType.Without,
        )

    def _binary(self, found: Any) -> Binary:
        name = str(found.op).strip()
        if name not in OPERATORS:
            raise execution(f"the operator {name} is not evaluated here")
        matching, is_bool, modifier = Matching(), False, found.modifier
        if modifier is not None:
            if modifier.fill_values is not None and (modifier.fill_values.lhs, modifier.fill_values.rhs) != (
                None,
                None,
            ):
                raise execution("the modifier fill is not evaluated here")
            is_bool = modifier.return_bool
            labels = modifier.matching
            cards = library.VectorMatchCardinality
            many: Literal["left", "right"] | None = None
            if modifier.card == cards.ManyToOne:
                many = "left"
            elif modifier.card == cards.OneToMany:
                many = "right"
            matching = Matching(
                tuple(labels.labels) if labels else (),
                labels is not None and labels.type == library.LabelModifierType.Include,
                many,
                tuple(modifier.group_labels or ()),
            )
        return Binary(name, self.node(found.lhs), self.node(found.rhs), matching, is_bool)

    def _selector(self, found: Any) -> Selector:
        if found.matchers.or_matchers:
            raise execution(
                "or between the matchers of a selector is not evaluated here: use =~, or the operator or"
            )
        named = () if found.name is None else (Matcher.of(NAME, "=", found.name, self.budget),)
        return Selector((*named, *map(self._matcher, found.matchers.matchers)), _shift(found))

    def _matcher(self, found: Any) -> Matcher:
        ops: Sequence[tuple[Any, str]] = (
            (library.MatchOp.Equal, "="),
            (library.MatchOp.NotEqual, "!="),
            (library.MatchOp.Re, "=~"),
        )
        return Matcher.of(
            found.name, next((op for kind, op in ops if kind == found.op), "!~"), found.value, self.budget
        )


def _shift(found: Any) -> Shift:
    at: int | Literal["start", "end"] | None = None
    if found.at is not None:
        if found.at.type == library.AtModifierType.Start:
            at = "start"
        elif found.at.type == library.AtModifierType.End:
            at = "end"
        else:
            at = round(found.at.at.timestamp() * 1000)
    return Shift(at, _ms(found.offset))


def _ms(duration: timedelta | None) -> int:
    return 0 if duration is None else duration // _MILLISECOND
