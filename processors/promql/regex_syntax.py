"""The syntax of regular expressions: text to a tree."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from processors.promql.errors import QueryError, bad_data

_MOST_CHARACTERS = 20_000
_MOST_DEPTH = 50
_MOST_REPEATS = 1_000  # as RE2 and Go
_ESCAPED = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PERL = {"d": (("0", "9"),), "s": (("\t", "\n"), ("\f", "\r"), (" ", " ")), "w": (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))}  # fmt: skip
_POSIX = {
    "alnum": (("0", "9"), ("A", "Z"), ("a", "z")),
    "alpha": (("A", "Z"), ("a", "z")),
    "ascii": (("\0", "\x7f"),),
    "blank": (("\t", "\t"), (" ", " ")),
    "cntrl": (("\0", "\x1f"), ("\x7f", "\x7f")),
    "digit": _PERL["d"],
    "graph": (("!", "~"),),
    "lower": (("a", "z"),),
    "print": ((" ", "~"),),
    "punct": (("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": (("\t", "\r"), (" ", " ")),
    "upper": (("A", "Z"),),
    "word": _PERL["w"],
    "xdigit": (("0", "9"), ("A", "F"), ("a", "f")),
}
_ANY = (("\0", "\U0010ffff"),)
_COUNTED = re.compile(r"\{([0-9]{1,4})(,([0-9]{0,4}))?\}")
_GROUP = re.compile(r"\?(?:P?<([A-Za-z_][A-Za-z0-9_]*)>|([isU]*(?:-[isU]+)?)([:)]))")
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")

Ranges = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Char:
    """One character: any within *ranges*, or any without; *folds*: in either case."""

    ranges: Ranges
    is_without: bool = False
    folds: bool = False

    @property
    def literal(self) -> str | None:
        """The one character that it is, where it is one."""
        if self.is_without or len(self.ranges) != 1:
            return None
        ((low, high),) = self.ranges
        is_one = low == high and not (self.folds and low.lower() != low.upper())
        return low if is_one else None

    def test(self, char: str) -> bool:
        """Tell whether *char* is one of them."""
        forms = {char, char.lower(), char.upper()} if self.folds else {char}
        return any(low <= each <= high for each in forms for low, high in self.ranges) != self.is_without


@dataclass(frozen=True, slots=True)
class Edge:
    """The begin or the end of the text."""

    is_begin: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One after the other."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Alternatives:
    """One of them, the first that leads to a match preferred."""

    branches: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """From *least* to *most* times; None: any number."""

    node: "Node"
    least: int
    most: int | None
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Group:
    """What is captured, the *number*-th, from 1."""

    number: int
    node: "Node"


Node = Char | Edge | Row | Alternatives | Repeat | Group


def parse(pattern: str) -> tuple[Node, Mapping[str, int], int]:
    """Return the tree of *pattern*, the groups that have a name, and how many groups there are.

    Raises:
        QueryError: ``bad_data``, it is none, or uses what is not there.
    """
    if len(pattern) > _MOST_CHARACTERS:
        raise bad_data(
            f"a regular expression has {len(pattern):,} characters; at most {_MOST_CHARACTERS:,} are taken"
        )
    reader = _Reader(pattern)
    node = reader.alternatives(0)
    if reader.at < len(pattern):
        raise reader.wrong("a ) without its (")
    return node, reader.names, reader.groups


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    groups: int = 0
    names: dict[str, int] = field(default_factory=dict)
    folds: bool = False
    is_lazy: bool = False

    def wrong(self, what: str) -> QueryError:
        return bad_data(f"regular expression {self.text[:100]!r}, character {self.at + 1}: {what}")

    def _takes(self, text: str) -> bool:
        if not self.text.startswith(text, self.at):
            return False
        self.at += len(text)
        return True

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise self.wrong("it ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def alternatives(self, depth: int) -> Node:
        if depth > _MOST_DEPTH:
            raise self.wrong(f"more than {_MOST_DEPTH} ( within each other")
        branches = [self._row(depth)]
        while self._takes("|"):
            branches.append(self._row(depth))
        return branches[0] if len(branches) == 1 else Alternatives(tuple(branches))

    def _row(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            found = self._atom(depth)
            if found is not None:
                parts.append(self._repeated(found))
        return parts[0] if len(parts) == 1 else Row(tuple(parts))

    def _repeated(self, node: Node) -> Node:
        is_repeated = False
        while self.at < len(self.text):
            counted = _COUNTED.match(self.text, self.at)
            if self.text[self.at] in "*+?":
                least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[self._next()]
            elif counted:
                least = int(counted[1])
                most = least if counted[2] is None else int(counted[3]) if counted[3] else None
                if max(least, most or 0) > _MOST_REPEATS or (most is not None and most < least):
                    raise self.wrong(f"{counted[0]} is no number of times, of at most {_MOST_REPEATS:,}")
                self.at = counted.end()
            else:
                break
            if is_repeated:
                raise self.wrong("what is repeated already is repeated again: put it in ( )")
            is_repeated = True
            node = Repeat(node, least, most, self._takes("?") == self.is_lazy)
        return node

    def _atom(self, depth: int) -> Node | None:
        char = self._next()
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._set()
        if char == ".":
            return Char(_ANY)
        if char in "^$":
            return Edge(char == "^")
        if char in "*+?":
            raise self.wrong(f"nothing stands before {char}")
        if char == "\\":
            return self._escape()
        return Char(((char, char),), folds=self.folds)

    def _group(self, depth: int) -> Node | None:
        before = self.folds, self.is_lazy
        number = 0
        if self.text.startswith("?", self.at):
            match = _GROUP.match(self.text, self.at)
            if match is None:
                raise self.wrong("of (? there are (?:…), (?i), (?s), (?U) and (?P<name>…)")
            self.at = match.end()
            if match[1] is not None:
                number = self._numbered(match[1])
            else:
                self._set_flags(match[2])
                if match[3] == ")":
                    return None  # from here on
        else:
            number = self._numbered(None)
        inner = self.alternatives(depth + 1)
        if not self._takes(")"):
            raise self.wrong("a ( without its )")
        self.folds, self.is_lazy = before
        return Group(number, inner) if number else inner

    def _numbered(self, name: str | None) -> int:
        self.groups += 1
        if name is not None:
            if name in self.names:
                raise self.wrong(f"two groups are named {name}")
            self.names[name] = self.groups
        return self.groups

    def _set_flags(self, flags: str) -> None:
        on, _, off = flags.partition("-")
        self.folds = (self.folds or "i" in on) and "i" not in off
        self.is_lazy = (self.is_lazy or "U" in on) and "U" not in off

    def _escape(self) -> Node:
        char = self._next()
        if char.lower() in _PERL:
            return Char(_PERL[char.lower()], is_without=char.isupper())
        if char in "Az":
            return Edge(char == "A")
        one = self._escaped(char)
        return Char(((one, one),), folds=self.folds)

    def _escaped(self, char: str) -> str:
        """Return the one character that a backslash and *char* mean."""
        if char in _ESCAPED:
            return _ESCAPED[char]
        match = _HEX.match(self.text, self.at - 1)
        if match:
            self.at = match.end()
            code = int(match[1] or match[2], 16)
            if code > 0x10FFFF:
                raise self.wrong(f"there is no character {code:#x}")
            return chr(code)
        if char.isascii() and char.isalnum():
            raise self.wrong(f"\\{char} is not there; of classes there are \\d, \\w, \\s and [[:alpha:]]")
        return char

    def _set(self) -> Node:
        is_without = self._takes("^")
        ranges: list[tuple[str, str]] = []
        is_first = True
        while is_first or not self._takes("]"):
            is_first = False
            ranges += self._members()
        return Char(tuple(ranges), is_without, self.folds)

    def _members(self) -> Sequence[tuple[str, str]]:
        named = _CLASS.match(self.text, self.at)
        if named:
            if named[2] not in _POSIX:
                raise self.wrong(f"there is no class {named[0]}")
            self.at = named.end()
            return _others(_POSIX[named[2]]) if named[1] else _POSIX[named[2]]
        low = self._next()
        if low == "\\":
            char = self._next()
            if char.lower() in _PERL:
                return _others(_PERL[char.lower()]) if char.isupper() else _PERL[char.lower()]
            low = self._escaped(char)
        if not self.text.startswith("-", self.at) or self.text.startswith("-]", self.at):
            return ((low, low),)
        self.at += 1
        high = self._next()
        high = self._escaped(self._next()) if high == "\\" else high
        if high < low:
            raise self.wrong(f"{low}-{high} runs backwards")
        return ((low, high),)


def _others(ranges: Ranges) -> Ranges:
    """Return what lies between *ranges*, which are in order."""
    found = []
    first = 0
    for low, high in ranges:
        if first < ord(low):
            found.append((chr(first), chr(ord(low) - 1)))
        first = ord(high) + 1
    return (*found, (chr(first), "\U0010ffff"))
