"""What a text says, as a tree that is checked while it is read, and how each part of it is computed.

::

    or      = and {"or" and}
    and     = not {"and" not}
    not     = "not" not | test
    test    = sum [("=" | "<>" | "<" | …) sum | "is" ["not"] "null" | ["not"] ("in" "(" literals ")"
              | "like" text | "between" sum "and" sum)]
    sum     = product {("+" | "-" | "||") product}
    product = sign {("*" | "/" | "%") sign}
    sign    = "-" sign | value
    value   = literal | name {"." name | "[" text "]"} | function "(" [or {"," or}] ")" | "(" or ")"
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamgage.expressions.computing import (
    Columns,
    Run,
    both,
    each_of,
    either,
    like_pattern,
    modulo,
    null_of_null,
    pairwise,
)
from streamgage.expressions.functions import FUNCTIONS, Function
from streamgage.expressions.kinds import ExpressionError, Kind
from streamgage.expressions.lexer import Token, tokens

_DEEPEST = 60
_MOST_NODES = 500
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONSTANTS: dict[str, tuple[Kind, Any]] = {
    "null": (Kind.NULL, None),
    "true": (Kind.BOOLEAN, True),
    "false": (Kind.BOOLEAN, False),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A part of an expression. ``literal`` is its value where it is one, as the only entry."""

    kind: Kind
    run: Run
    at: int
    literal: tuple[Any, ...] = ()


class Parser:
    """Reads *text*, in which *names* may stand; what it read of them is ``used``."""

    def __init__(
        self, text: str, names: Mapping[str, Kind], number: Callable[[str], Any], *, zones: bool
    ) -> None:
        self._text, self._names, self._number, self._zones = text, names, number, zones
        self._tokens = tokens(text)
        self._at = self._depth = self._nodes = 0
        self.used: set[str] = set()

    def whole(self) -> Node:
        """Return all of it. Raises: ExpressionError, with the place."""
        node = self._or()
        if self._next.kind != "end":
            raise self._error(f"{self._next.value!r} is not expected")
        if node.kind is Kind.MAP:
            raise self._error("a map is no value: name an entry, such as tags.site", node.at)
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _error(self, what: str, at: int | None = None) -> ExpressionError:
        return ExpressionError(what, self._text, self._next.at if at is None else at)

    def _take(self, *values: str) -> Token | None:
        """Return the next token, if it is one of these signs or keywords, and go on."""
        found = self._next
        if found.kind in ("sign", "keyword") and found.value in values:
            self._at += 1
            return found
        return None

    def _expect(self, value: str) -> None:
        if self._take(value) is None:
            raise self._error(
                f"{value!r} is expected" + (f", not {self._next.value!r}" if self._next.value else "")
            )

    def _made(self, kind: Kind, run: Run, at: int, literal: tuple[Any, ...] = ()) -> Node:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise self._error(f"an expression has at most {_MOST_NODES} parts", at)
        return Node(kind, run, at, literal)

    def _or(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"it is nested more than {_DEEPEST} deep")
        node = self._and()
        while (token := self._take("or")) is not None:
            node = self._logic(node, self._and(), token, either)
        self._depth -= 1
        return node

    def _and(self) -> Node:
        node = self._not()
        while (token := self._take("and")) is not None:
            node = self._logic(node, self._not(), token, both)
        return node

    def _logic(self, left: Node, right: Node, token: Token, of: Callable[[Any, Any], Any]) -> Node:
        for each in (left, right):
            self._must_be(each, Kind.BOOLEAN, f"{token.value!r} joins what is true or false")
        return self._made(Kind.BOOLEAN, pairwise(of, left.run, right.run), token.at)

    def _not(self) -> Node:
        nots = []
        while (token := self._take("not")) is not None:
            nots.append(token)
        node = self._test()
        if nots:
            self._must_be(node, Kind.BOOLEAN, "'not' is of what is true or false")
        return (
            self._made(Kind.BOOLEAN, each_of(operator.not_, node.run), nots[0].at) if len(nots) % 2 else node
        )

    def _test(self) -> Node:
        left = self._sum()
        at = self._next.at
        compared = self._take(*_COMPARISONS)
        if compared is not None:
            right = self._sum()
            self._comparable(left, right, at)
            return self._made(
                Kind.BOOLEAN, pairwise(null_of_null(_COMPARISONS[compared.value]), left.run, right.run), at
            )
        if self._take("is") is not None:
            is_not = self._take("not") is not None
            self._expect("null")
            run = left.run
            return self._made(
                Kind.BOOLEAN,
                lambda columns, count: [(each is None) is not is_not for each in run(columns, count)],
                at,
            )
        is_not = self._take("not") is not None
        node = self._in(left, at) or self._like(left, at) or self._between(left, at)
        if node is None:
            if is_not:
                raise self._error("after 'not' comes in, like or between")
            return left
        return self._made(Kind.BOOLEAN, each_of(operator.not_, node.run), at) if is_not else node

    def _in(self, left: Node, at: int) -> Node | None:
        if self._take("in") is None:
            return None
        self._expect("(")
        wanted: set[Any] = set()
        while True:
            each = self._sign()
            if not each.literal:
                raise self._error("a list of 'in' holds numbers or texts", each.at)
            self._comparable(left, each, each.at)
            wanted.add(each.literal[0])
            if self._take(",") is None:
                break
        self._expect(")")
        absent = None if None in wanted else False  # what is not known may be the value
        return self._made(Kind.BOOLEAN, each_of(lambda each: each in wanted or absent, left.run), at)

    def _like(self, left: Node, at: int) -> Node | None:
        if self._take("like") is None:
            return None
        self._must_be(left, Kind.TEXT, "'like' is of a text")
        right = self._sum()
        if right.kind is not Kind.TEXT or not right.literal:
            raise self._error("after 'like' comes a text: % stands for any characters, _ for one", right.at)
        matches = like_pattern(right.literal[0]).fullmatch
        return self._made(Kind.BOOLEAN, each_of(lambda each: matches(each) is not None, left.run), at)

    def _between(self, left: Node, at: int) -> Node | None:
        if self._take("between") is None:
            return None
        low = self._sum()
        self._expect("and")
        high = self._sum()
        for each in (low, high):
            self._comparable(left, each, each.at)
        from_low = pairwise(null_of_null(operator.ge), left.run, low.run)
        to_high = pairwise(null_of_null(operator.le), left.run, high.run)
        return self._made(Kind.BOOLEAN, pairwise(both, from_low, to_high), at)

    def _sum(self) -> Node:
        node = self._product()
        while (token := self._take("+", "-", "||")) is not None:
            right = self._product()
            kind = Kind.TEXT if token.value == "||" else Kind.NUMBER
            for each in (node, right):
                self._must_be(each, kind, f"{token.value!r} is of {kind}s")
            of = operator.sub if token.value == "-" else operator.add
            node = self._made(kind, pairwise(null_of_null(of), node.run, right.run), token.at)
        return node

    def _product(self) -> Node:
        node = self._sign()
        while (token := self._take("*", "/", "%")) is not None:
            right = self._sign()
            for each in (node, right):
                self._must_be(each, Kind.NUMBER, f"{token.value!r} is of numbers")
            of = {"*": operator.mul, "/": self._divide, "%": modulo}[token.value]
            node = self._made(Kind.NUMBER, pairwise(null_of_null(of), node.run, right.run), token.at)
        return node

    def _divide(self, dividend: Any, divisor: Any) -> Any:
        if not divisor:
            return None
        return self._number(str(dividend)) / self._number(str(divisor))

    def _sign(self) -> Node:
        minuses = []
        while (token := self._take("-")) is not None:
            minuses.append(token)
        node = self._value()
        if not minuses:
            return node
        self._must_be(node, Kind.NUMBER, "'-' is of a number")
        if len(minuses) % 2 == 0 or node.literal == (None,):
            return node
        if node.literal:
            return self._constant(Kind.NUMBER, -node.literal[0], minuses[0].at)
        return self._made(Kind.NUMBER, each_of(operator.neg, node.run), minuses[0].at)

    def _value(self) -> Node:
        token = self._next
        if self._take("(") is not None:
            node = self._or()
            self._expect(")")
            return node
        if token.kind in ("name", "quoted"):
            self._at += 1
            is_call = token.kind == "name" and self._next.kind == "sign" and self._next.value == "("
            return self._call(token) if is_call else self._named(token)
        return self._literal(token)

    def _literal(self, token: Token) -> Node:
        if token.kind == "text":
            kind, value = Kind.TEXT, token.value
        elif token.kind == "number":
            kind, value = Kind.NUMBER, _number(token.value, self._number)
        elif token.kind == "keyword" and token.value in _CONSTANTS:
            kind, value = _CONSTANTS[token.value]
        else:
            is_end = token.kind == "end"
            raise self._error("something is missing here" if is_end else f"{token.value!r} is not expected")
        self._at += 1
        return self._constant(kind, value, token.at)

    def _constant(self, kind: Kind, value: Any, at: int) -> Node:
        return self._made(kind, lambda _columns, count: [value] * count, at, (value,))

    def _named(self, first: Token) -> Node:
        """Return a name, dots and all, or an entry of a map that one names."""
        name = first.value
        while self._names.get(name) is not Kind.MAP and self._take(".") is not None:
            name = f"{name}.{self._field()}"
        kind = self._names.get(name)
        if kind is None:
            raise self._error(f"{name!r} is not known here; these are: {_listed(self._names)}", first.at)
        self.used.add(name)
        if kind is not Kind.MAP:
            return self._made(kind, lambda columns, _count: columns[name], first.at)
        if self._take(".") is not None:
            entry = self._field()
        elif self._take("[") is not None:
            if self._next.kind != "text":
                raise self._error("an entry is named by a text, such as tags['site']")
            entry = self._next.value
            self._at += 1
            self._expect("]")
        else:
            raise self._error("a map is no value: name an entry, such as tags.site", first.at)
        return self._made(
            Kind.TEXT,
            lambda columns, _count: [None if each is None else each.get(entry) for each in columns[name]],
            first.at,
        )

    def _field(self) -> str:
        token = self._next
        if token.kind not in ("name", "quoted", "keyword"):
            raise self._error("a name is expected after the dot")
        self._at += 1
        return token.value

    def _call(self, name: Token) -> Node:
        called = name.value.lower()
        self._expect("(")
        given: list[Node] = []
        if self._take(")") is None:
            given.append(self._or())
            while self._take(",") is not None:
                given.append(self._or())
            self._expect(")")
        if called == "coalesce":
            return self._coalesce(name, given)
        if called == "if":
            return self._if(name, given)
        function = FUNCTIONS.get(called)
        if function is None:
            known = ", ".join(sorted((*FUNCTIONS, "coalesce", "if")))
            raise self._error(f"there is no function {name.value!r}; there are: {known}", name.at)
        self._check_call(called, function, name, given)
        call, first, *rest = function.call, *given
        if not rest:
            return self._made(function.gives, each_of(call, first.run), name.at)
        if all(each.literal for each in rest):
            values = [each.literal[0] for each in rest]
            return self._made(function.gives, each_of(lambda each: call(each, *values), first.run), name.at)
        runs = [each.run for each in given]

        def run(columns: Columns, count: int) -> Sequence[Any]:
            return [
                None if None in values else call(*values)
                for values in zip(*(each(columns, count) for each in runs), strict=True)
            ]

        return self._made(function.gives, run, name.at)

    def _check_call(self, called: str, function: Function, name: Token, given: Sequence[Node]) -> None:
        most = len(function.takes)
        if not most - function.optional <= len(given) <= most:
            takes = ", ".join(function.takes)
            raise self._error(f"{called} takes ({takes}), and is given {len(given)}", name.at)
        for number, (each, kind) in enumerate(zip(given, function.takes, strict=False)):
            self._must_be(each, kind, f"{called} takes a {kind} here")
            if number in function.constant and (not each.literal or each.literal[0] is None):
                raise self._error(f"{called} takes a number or text as it is written here, no name", each.at)
        if function.is_zoned and len(given) == most and not self._zones:
            raise self._error(
                "what is counted is counted by UTC: leave the zone out, and ask in it", given[-1].at
            )
        problem = function.check(tuple(each.literal[0] if each.literal else None for each in given))
        if problem:
            raise self._error(f"{called}: {problem}", name.at)

    def _coalesce(self, name: Token, given: Sequence[Node]) -> Node:
        kind = self._common(name, given)
        runs = [each.run for each in given]

        def run(columns: Columns, count: int) -> Sequence[Any]:
            return [
                next((each for each in values if each is not None), None)
                for values in zip(*(each(columns, count) for each in runs), strict=True)
            ]

        return self._made(kind, run, name.at)

    def _if(self, name: Token, given: Sequence[Node]) -> Node:
        if len(given) != 3:
            raise self._error("if takes (what is true or false, what then, what else)", name.at)
        self._must_be(given[0], Kind.BOOLEAN, "if asks what is true or false")
        kind = self._common(name, given[1:])
        runs = [each.run for each in given]

        def run(columns: Columns, count: int) -> Sequence[Any]:
            return [
                then if test else other
                for test, then, other in zip(*(each(columns, count) for each in runs), strict=True)
            ]

        return self._made(kind, run, name.at)

    def _common(self, name: Token, given: Sequence[Node]) -> Kind:
        kinds = {each.kind for each in given if each.kind is not Kind.NULL}
        if not given or len(kinds) > 1 or Kind.MAP in kinds:
            raise self._error(f"{name.value} takes values of one kind", name.at)
        return kinds.pop() if kinds else Kind.NULL

    def _must_be(self, node: Node, kind: Kind, what: str) -> None:
        if node.kind not in (kind, Kind.NULL):
            raise self._error(f"{what}, and this is a {node.kind}", node.at)

    def _comparable(self, left: Node, right: Node, at: int) -> None:
        kinds = {left.kind, right.kind} - {Kind.NULL}
        if Kind.MAP in kinds or len(kinds) > 1:
            raise self._error(f"a {left.kind} and a {right.kind} cannot be compared", at)


def _number(text: str, number: Callable[[str], Any]) -> Any:
    return int(text) if text.isdecimal() else number(text)


def _listed(names: Mapping[str, Kind]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
