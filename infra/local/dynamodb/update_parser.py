"""Texts of update expressions to updates."""

from infra.local.dynamodb.conditions import At, Given, Operand
from infra.local.dynamodb.lexer import Token, Tokens
from infra.local.dynamodb.paths import Names, check_apart, parse_path
from infra.local.dynamodb.updates import Action, IfNotExists, ListAppend, Sum, Update

_SECTIONS = ("SET", "REMOVE", "ADD", "DELETE")
_CONDITIONS_ONLY = (
    "attribute_exists",
    "attribute_not_exists",
    "attribute_type",
    "begins_with",
    "contains",
    "size",
)
_DEPTH = 20


class UpdateParser:
    """A parser of one expression; ``used`` are the ``:values`` that it met."""

    def __init__(self, tokens: Tokens, names: Names) -> None:
        self._tokens, self._names = tokens, names
        self.used: set[str] = set()

    def parse(self) -> Update:
        """Return the update that all tokens make. Raises: DynamoError naming the token that cannot stand there."""
        tokens, seen, actions = self._tokens, set[str](), list[Action]()
        while tokens.next.kind != "end":
            if not tokens.next.is_word(*_SECTIONS):
                raise tokens.unexpected()
            section = tokens.take().text.upper()
            if section in seen:
                tokens.note(f'The "{section}" section can only be used once in an update expression;')
            seen.add(section)
            actions.append(self._action(section))
            while tokens.next.is_operator(","):
                tokens.take()
                actions.append(self._action(section))
        tokens.finish()
        overlap = check_apart([each.path for each in actions])
        if overlap is not None:
            raise tokens.error(overlap.message)
        return Update(tuple(actions))

    def _action(self, section: str) -> Action:
        path = parse_path(self._tokens, self._names)
        if section == "REMOVE":
            return Action(section, path, None)
        if section == "SET":
            self._tokens.take_operator("=")
            return Action(section, path, self._sum())
        if self._tokens.next.kind != "value":
            raise self._tokens.unexpected()
        return Action(section, path, self._given(self._tokens.take()))

    def _sum(self) -> Operand:
        left = self._operand(0)
        if not self._tokens.next.is_operator("+", "-"):
            return left
        symbol = self._tokens.take().text
        return Sum(symbol, left, self._operand(0))

    def _operand(self, depth: int) -> Operand:
        tokens = self._tokens
        if depth > _DEPTH:
            raise tokens.error(f"The expression is nested deeper than {_DEPTH} levels")
        if tokens.next.kind == "value":
            return self._given(tokens.take())
        if tokens.next.kind == "word" and tokens.after_next.is_operator("("):
            return self._function(depth)
        return At(parse_path(tokens, self._names))

    def _function(self, depth: int) -> Operand:
        tokens = self._tokens
        function = tokens.take().text
        tokens.take_operator("(")
        operands = [self._operand(depth + 1)]
        while tokens.take_operator(",", ")").text == ",":
            operands.append(self._operand(depth + 1))
        if function not in ("if_not_exists", "list_append"):
            known = function in _CONDITIONS_ONLY
            why = "The function is not allowed in an update expression" if known else "Invalid function name"
            tokens.note(f"{why}; function: {function}")
            return operands[0]
        if len(operands) != 2:
            tokens.note(
                "Incorrect number of operands for operator or function; "
                f"operator or function: {function}, number of operands: {len(operands)}"
            )
            return operands[0]
        first, second = operands
        if function == "list_append":
            return ListAppend(first, second)
        if not isinstance(first, At):
            tokens.note(f"Operator or function requires a document path; operator or function: {function}")
            return first
        return IfNotExists(first.path, second)

    def _given(self, token: Token) -> Given:
        self.used.add(token.text)
        return Given(token.text)
