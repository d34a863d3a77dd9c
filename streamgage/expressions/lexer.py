"""From the text of an expression to its tokens."""

import re
from typing import NamedTuple

from streamgage.expressions.kinds import ExpressionError

MOST_CHARACTERS = 4_000
_TOKEN = re.compile(
    r"\s+"
    r"|(?P<number>[0-9]{1,38}(?:\.[0-9]{1,38})?(?:[eE][+-]?[0-9]{1,3})?(?![A-Za-z0-9_.]))"
    r"|(?P<text>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")+")'
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign><=|>=|<>|!=|==|\|\||[-+*/%()<>=,.\[\]])"
)
KEYWORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "true", "false", "between"})


class Token(NamedTuple):
    """A token: its *kind* (number, text, quoted, name, keyword, sign, end), what it says, and where it stands."""

    kind: str
    value: str
    at: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of *text*, and the end. Raises: ExpressionError, it is too long, or something else stands in it."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(
            f"an expression has at most {MOST_CHARACTERS:,} characters, and this {len(text):,}", text, 0
        )
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "a text that does not end" if text[at] in "'\"" else f"{text[at]!r} means nothing here"
            raise ExpressionError(what, text, at)
        kind, value = match.lastgroup, match.group()
        if kind == "name" and value.lower() in KEYWORDS:
            found.append(Token("keyword", value.lower(), at))
        elif kind in ("text", "quoted"):
            mark = value[0]
            found.append(Token(kind, value[1:-1].replace(mark * 2, mark), at))
        elif kind is not None:
            found.append(Token(kind, value, at))
        at = match.end()
    return [*found, Token("end", "", len(text))]
