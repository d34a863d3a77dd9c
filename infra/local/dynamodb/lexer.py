"""Tokens of DynamoDB's expressions, and errors that point at one.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html (checked 2026-11-28).
"""

import re
from typing import NamedTuple

from infra.local.dynamodb.errors import DynamoError, invalid

EXPRESSION_BYTES = 4096
_TOKEN = re.compile(
    r"(?P<word>[A-Za-z][A-Za-z0-9_]*)|(?P<name>\#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)|(?P<number>[0-9]+)"
    r"|(?P<operator><>|<=|>=|[=<>()\[\],.+-])|(?P<other>\S)"
)
END = "end"


class Token(NamedTuple):
    """A piece of an expression. ``kind`` is word, name (``#n``), value (``:v``), number, operator, other or end."""

    kind: str
    text: str
    start: int
    stop: int

    def is_word(self, *words: str) -> bool:
        """Tell whether it is one of the keywords *words*, which are in upper case."""
        return self.kind == "word" and self.text.upper() in words

    def is_operator(self, *operators: str) -> bool:
        """Tell whether it is one of *operators*."""
        return self.kind == "operator" and self.text in operators


class Tokens:
    """The tokens of an expression, one after another. ``what`` is the parameter that it came in."""

    def __init__(self, text: object, what: str) -> None:
        self.what = what
        if not isinstance(text, str):
            raise DynamoError("SerializationException", f"{what} is not a text")
        self._text = text
        if len(text) > EXPRESSION_BYTES or len(text.encode(errors="replace")) > EXPRESSION_BYTES:
            raise self.error("Expression size has exceeded the maximum allowed size")
        self._tokens = [
            Token(match.lastgroup or "other", match[0], match.start(), match.end())
            for match in _TOKEN.finditer(text)
        ]
        if not self._tokens:
            raise self.error("The expression can not be empty;")
        self._tokens.append(Token(END, "<EOF>", len(text), len(text)))
        self._at = 0
        self._noted: DynamoError | None = None

    @property
    def next(self) -> Token:
        """The next token, which stays where it is."""
        return self._tokens[self._at]

    @property
    def place(self) -> int:
        """How many tokens were taken."""
        return self._at

    @property
    def after_next(self) -> Token:
        """The token behind the next one."""
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token and go on."""
        token = self._tokens[self._at]
        if token.kind != END:
            self._at += 1
        return token

    def take_operator(self, *operators: str) -> Token:
        """Take one of *operators*. Raises: DynamoError where the next token is another."""
        if not self.next.is_operator(*operators):
            raise self.unexpected()
        return self.take()

    def note(self, message: str) -> None:
        """Note an error of what is well formed: it counts only where all of it is."""
        self._noted = self._noted or self.error(message)

    def finish(self) -> None:
        """Refuse what is left, and what was noted. Raises: DynamoError."""
        if self.next.kind != END:
            raise self.unexpected()
        if self._noted is not None:
            raise self._noted

    def unexpected(self) -> DynamoError:
        """Return the error of a next token that cannot stand there."""
        token = self.next
        first = self._tokens[max(self._at - 1, 0)]
        last = token if token.kind == END else self._tokens[self._at + 1]
        stop = token.stop if last.kind == END else last.stop
        near = self._text[first.start : stop].rstrip()
        return self.error(f'Syntax error; token: "{token.text}", near: "{near}"')

    def error(self, message: str) -> DynamoError:
        """Return an error of this expression."""
        return invalid(f"Invalid {self.what}: {message}")
