"""Document paths: ``a.b[0].#n``, read out of an item, and projections made of them.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.Attributes.html (checked 2026-11-28).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import combinations
from typing import Any

from infra.local.dynamodb.errors import DynamoError, invalid
from infra.local.dynamodb.lexer import Tokens
from infra.local.dynamodb.reserved import RESERVED
from infra.local.dynamodb.values import DEPTH, Item, Value

Path = tuple[str | int, ...]
"""Names of attributes, and places in lists."""


_KEYWORDS = ("ADD", "AND", "BETWEEN", "DELETE", "IN", "NOT", "OR", "SET", "SIZE")


class Names:
    """What ``#names`` stand for; ``used`` are those that an expression asked for."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self.used: set[str] = set()

    def resolve(self, placeholder: str, tokens: Tokens) -> str:
        """Return the name that *placeholder* stands for."""
        name = self._names.get(placeholder)
        if name is None:
            tokens.note(
                "An expression attribute name used in the document path is not defined; "
                f"attribute name: {placeholder}"
            )
            return placeholder
        self.used.add(placeholder)
        return name


def parse_path(tokens: Tokens, names: Names) -> Path:
    """Take a document path."""
    path: list[str | int] = [_name(tokens, names)]
    while tokens.next.is_operator(".", "["):
        if tokens.take().text == ".":
            path.append(_name(tokens, names))
            continue
        if tokens.next.kind != "number":
            raise tokens.unexpected()
        path.append(int(tokens.take().text[:18]))
        tokens.take_operator("]")
    if len(path) > DEPTH:
        tokens.note("The document path has too many nesting elements")
    return tuple(path)


def _name(tokens: Tokens, names: Names) -> str:
    if tokens.next.kind == "name":
        return names.resolve(tokens.take().text, tokens)
    if tokens.next.kind != "word":
        raise tokens.unexpected()
    if tokens.next.is_word(*_KEYWORDS):
        raise tokens.unexpected()
    word = tokens.take().text
    if word.upper() in RESERVED:
        tokens.note(f"Attribute name is a reserved keyword; reserved keyword: {word}")
    return word


def shown(path: Path) -> str:
    """Return *path* as messages show it."""
    return "[" + ", ".join(f"[{each}]" if isinstance(each, int) else each for each in path) + "]"


def check_apart(paths: Sequence[Path]) -> DynamoError | None:
    """Return what is wrong where one of *paths* lies within another; without the expression's name."""
    if len(paths) == 1 or (all(len(each) == 1 for each in paths) and len(set(paths)) == len(paths)):
        return None
    for one, other in combinations(paths, 2):
        length = min(len(one), len(other))
        overlap = one[:length] == other[:length]
        if overlap or _conflict(one, other):
            return invalid(
                f"Two document paths {'overlap' if overlap else 'conflict'} with each other; "
                "must remove or rewrite one of these paths; "
                f"path one: {shown(one)}, path two: {shown(other)}"
            )
    return None


def _conflict(one: Path, other: Path) -> bool:
    """Tell whether two paths take the same place for a map and for a list."""
    steps = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), ("", ""))
    return type(steps[0]) is not type(steps[1])


def found_at(item: Mapping[str, Value], path: Path) -> Value | None:
    """Return the value at *path*, or None where there is none."""
    value = item.get(path[0]) if isinstance(path[0], str) else None
    for step in path[1:]:
        if value is None:
            return None
        if isinstance(step, str):
            value = value["M"].get(step) if "M" in value else None
        else:
            content = value.get("L")
            value = content[step] if content is not None and step < len(content) else None
    return value


def paths_in(node: object) -> frozenset[Path]:
    """Return the paths of a parsed expression: every field that is called ``path``."""
    if isinstance(node, tuple):
        return frozenset().union(*map(paths_in, node))
    if not is_dataclass(node):
        return frozenset()
    found: frozenset[Path] = frozenset()
    for each in fields(node):
        value = getattr(node, each.name)
        found |= {value} if each.name == "path" else paths_in(value)
    return found


def parse_projection(tokens: Tokens, names: Names) -> tuple[Path, ...]:
    """Take all of a ProjectionExpression."""
    paths = [parse_path(tokens, names)]
    while tokens.next.is_operator(","):
        tokens.take()
        paths.append(parse_path(tokens, names))
    tokens.finish()
    overlap = check_apart(paths)
    if overlap is not None:
        raise tokens.error(overlap.message)
    return tuple(paths)


def project(item: Item, paths: Iterable[Path]) -> Item:
    """Return what of *item* stands at *paths*: elements of lists close up, in their order."""
    wanted: dict[str | int, Any] = {}
    for path in paths:
        node = wanted
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = None
    return _picked(item, wanted)


def _picked(content: Item, wanted: Mapping[Any, Any]) -> Item:
    picked: Item = {}
    for name, inner in wanted.items():
        value = content.get(name)
        if value is not None and (part := _part(value, inner)) is not None:
            picked[name] = part
    return picked


def _part(value: Value, wanted: Mapping[Any, Any] | None) -> Value | None:
    if wanted is None:
        return value
    if "M" in value:
        content = _picked(value["M"], {each: wanted[each] for each in wanted if isinstance(each, str)})
        return {"M": content} if content else None
    if "L" in value:
        found = [
            _part(value["L"][place], wanted[place])
            for place in sorted(each for each in wanted if isinstance(each, int))
            if place < len(value["L"])
        ]
        kept = [each for each in found if each is not None]
        return {"L": kept} if kept else None
    return None
