"""Texts of conditions to conditions. OR binds least, then AND, then NOT."""

from infra.local.dynamodb.conditions import (
    At,
    BeginsWith,
    Between,
    Both,
    Comparison,
    Condition,
    Contains,
    Either,
    Exists,
    Given,
    HasType,
    In,
    Not,
    Operand,
    SizeOf,
)
from infra.local.dynamodb.lexer import Tokens
from infra.local.dynamodb.paths import Names, Path, parse_path

_SYMBOLS = ("=", "<>", "<", "<=", ">", ">=")
_FUNCTIONS = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}
_ONLY_FOR_PATHS = "Operator or function requires a document path; operator or function: "
_NOWHERE: Path = ("",)  # stands where an error was noted
_OPERATORS = 300
_DEPTH = 60  # of parentheses and NOTs: far more than anyone writes, far less than Python's stack


class ConditionParser:
    """A parser of one expression; ``used`` are the ``:values`` that it met."""

    def __init__(self, tokens: Tokens, names: Names) -> None:
        self._tokens, self._names = tokens, names
        self.used: set[str] = set()
        self._operators = 0
        self._depth = 0
        self._last_group = (-1, -1)  # the places of its first token, and behind its last

    def parse(self) -> Condition:
        """Return the condition that all tokens make. Raises: DynamoError naming the token that cannot stand there."""
        condition = self._either()
        self._tokens.finish()
        return condition

    def _either(self) -> Condition:
        self._count()
        condition = self._both()
        while self._tokens.next.is_word("OR"):
            self._tokens.take()
            self._count()
            condition = Either(condition, self._both())
        return condition

    def _both(self) -> Condition:
        condition = self._not()
        while self._tokens.next.is_word("AND"):
            self._tokens.take()
            self._count()
            condition = Both(condition, self._not())
        return condition

    def _count(self) -> None:
        self._operators += 1
        if self._operators > _OPERATORS:
            raise self._tokens.error(
                "The expression contains too many operators; maximum operators allowed: 300"
            )

    def _not(self) -> Condition:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._tokens.error(f"The expression is nested deeper than {_DEPTH} levels")
        try:
            if self._tokens.next.is_word("NOT"):
                self._tokens.take()
                return Not(self._not())
            return self._single()
        finally:
            self._depth -= 1

    def _single(self) -> Condition:
        tokens = self._tokens
        if tokens.next.is_operator("("):
            return self._group()
        if tokens.next.kind == "word" and tokens.after_next.is_operator("("):
            found = self._function()
            if not isinstance(found, SizeOf):
                return found
            if tokens.next.is_operator(*_SYMBOLS) or tokens.next.is_word("BETWEEN", "IN"):
                return self._compared(found)
            tokens.note("The function is not allowed to be used this way in an expression; function: size")
            return Exists(_NOWHERE, wanted=True)
        return self._compared(self._operand())

    def _group(self) -> Condition:
        tokens, first = self._tokens, self._tokens.place
        tokens.take()
        condition = self._either()
        if self._last_group == (first + 1, tokens.place):
            tokens.note("The expression has redundant parentheses;")
        tokens.take_operator(")")
        self._last_group = (first, tokens.place)
        return condition

    def _compared(self, left: Operand) -> Condition:
        tokens = self._tokens
        if tokens.next.is_operator(*_SYMBOLS):
            symbol = tokens.take().text
            return Comparison(symbol, left, self._operand())
        if tokens.next.is_word("BETWEEN"):
            tokens.take()
            low = self._operand()
            if not tokens.next.is_word("AND"):
                raise tokens.unexpected()
            tokens.take()
            return Between(left, low, self._operand())
        if tokens.next.is_word("IN"):
            tokens.take()
            tokens.take_operator("(")
            return In(left, self._operands())
        raise tokens.unexpected()

    def _operands(self) -> tuple[Operand, ...]:
        """Take operands up to the closing parenthesis, which is taken too."""
        operands = [self._operand()]
        while self._tokens.take_operator(",", ")").text == ",":
            operands.append(self._operand())
        return tuple(operands)

    def _operand(self) -> Operand:
        tokens = self._tokens
        if tokens.next.kind == "value":
            name = tokens.take().text
            self.used.add(name)
            return Given(name)
        if tokens.next.kind == "word" and tokens.after_next.is_operator("("):
            found = self._function()
            if isinstance(found, SizeOf):
                return found
            tokens.note("The function is not allowed to be used this way in an expression")
            return At(_NOWHERE)
        return At(parse_path(tokens, self._names))

    def _function(self) -> Condition | SizeOf:
        tokens = self._tokens
        if tokens.next.is_word("AND", "BETWEEN", "IN", "NOT", "OR"):
            raise tokens.unexpected()
        function = tokens.take().text
        tokens.take_operator("(")
        operands = self._operands()
        arity = _FUNCTIONS.get(function)
        if arity is None:
            tokens.note(f"Invalid function name; function: {function}")
            return Exists(_NOWHERE, wanted=True)
        if len(operands) != arity:
            tokens.note(
                "Incorrect number of operands for operator or function; "
                f"operator or function: {function}, number of operands: {len(operands)}"
            )
            return Exists(_NOWHERE, wanted=True)
        return self._call(function, operands)

    def _call(self, function: str, operands: tuple[Operand, ...]) -> Condition | SizeOf:
        first = operands[0]
        if function.startswith("attribute_"):
            if not isinstance(first, At):
                self._tokens.note(_ONLY_FOR_PATHS + function)
                first = At(_NOWHERE)
            if function == "attribute_type":
                return HasType(first.path, operands[1])
            return Exists(first.path, wanted=function == "attribute_exists")
        if function == "size":
            return SizeOf(first)
        return BeginsWith(*operands) if function == "begins_with" else Contains(*operands)
