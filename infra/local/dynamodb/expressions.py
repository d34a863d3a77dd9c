"""The expressions of a request, with what their placeholders stand for. Each text is parsed once and kept."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import Any, Generic, Protocol, TypeVar

from infra.local.dynamodb.conditions import Condition, Values
from infra.local.dynamodb.errors import DynamoError, invalid, malformed
from infra.local.dynamodb.lexer import Tokens
from infra.local.dynamodb.parser import ConditionParser
from infra.local.dynamodb.paths import Names, Path, parse_projection, paths_in
from infra.local.dynamodb.update_parser import UpdateParser
from infra.local.dynamodb.updates import Update
from infra.local.dynamodb.values import Item, checked

_KEPT = 1024  # parsed texts
_NAME = re.compile(r"#[A-Za-z0-9_]+").fullmatch
_VALUE = re.compile(r":[A-Za-z0-9_]+").fullmatch
_NAMES, _VALUES = "ExpressionAttributeNames", "ExpressionAttributeValues"

Parsed = TypeVar("Parsed", Condition, Update, "tuple[Path, ...]")


class Checks(Protocol):
    """What a parsed expression refuses of the values it is given."""

    def check(self, values: Values) -> None:
        """Refuse *values* that it cannot take."""


@dataclass(frozen=True, slots=True)
class Compiled(Generic[Parsed]):
    """A parsed text, and the placeholders that it uses."""

    parsed: Parsed
    names: frozenset[str]
    values: frozenset[str]
    paths: frozenset[Path]


@lru_cache(maxsize=_KEPT)
def _condition(text: str, what: str, names: tuple[tuple[str, str], ...]) -> Compiled[Condition]:
    resolver = Names(dict(names))
    parser = ConditionParser(Tokens(text, what), resolver)
    parsed = parser.parse()
    return Compiled(parsed, frozenset(resolver.used), frozenset(parser.used), paths_in(parsed))


@lru_cache(maxsize=_KEPT)
def _update(text: str, what: str, names: tuple[tuple[str, str], ...]) -> Compiled[Update]:
    resolver = Names(dict(names))
    parser = UpdateParser(Tokens(text, what), resolver)
    parsed = parser.parse()
    return Compiled(parsed, frozenset(resolver.used), frozenset(parser.used), paths_in(parsed))


@lru_cache(maxsize=_KEPT)
def _projection(text: str, what: str, names: tuple[tuple[str, str], ...]) -> Compiled[tuple[Path, ...]]:
    resolver = Names(dict(names))
    parsed = parse_projection(Tokens(text, what), resolver)
    return Compiled(parsed, frozenset(resolver.used), frozenset(), frozenset(parsed))


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition with the values of a request."""

    condition: Condition
    values: Values

    def holds(self, item: Item) -> bool:
        """Tell whether *item* (empty: there is none) fulfils it."""
        return self.condition.holds(item, self.values)


@dataclass(slots=True)
class Expressions:
    """The expressions of *request*, which may have those of *parameters*. Ask for each, then ``finish``."""

    request: Mapping[str, Any]
    parameters: tuple[str, ...]
    names: Mapping[str, str] = field(init=False)
    values: Values = field(init=False)
    _used: set[str] = field(init=False, default_factory=set)
    _paths: list[Collection[Path]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.names = _checked_names(self.request.get(_NAMES))
        self.values = _checked_values(self.request.get(_VALUES)) if self.takes_values else {}
        if all(self.request.get(each) is None for each in self.parameters):
            if self.names:
                raise invalid(f"{_NAMES} can only be specified when using expressions")
            if self.values:
                missing = [each for each in self.parameters if each != "ProjectionExpression"]
                verb = "is" if len(missing) == 1 else "are"
                raise invalid(
                    f"{_VALUES} can only be specified when using expressions: {' and '.join(missing)} {verb} null"
                )

    @property
    def takes_values(self) -> bool:
        """Tell whether its operation has values at all: those that only project do not."""
        return self.parameters != ("ProjectionExpression",)

    def condition(self, parameter: str) -> Bound | None:
        """Return the condition of *parameter*; None where the request has none."""
        found = self._compiled(_condition, parameter)
        if found is None:
            return None
        self._check(found, found.parsed, parameter)
        return Bound(found.parsed, self.values)

    def update(self) -> Update | None:
        """Return the UpdateExpression; None where the request has none."""
        found = self._compiled(_update, "UpdateExpression")
        if found is None:
            return None
        self._check(found, found.parsed, "UpdateExpression")
        return found.parsed

    def projection(self) -> tuple[Path, ...] | None:
        """Return the paths of the ProjectionExpression; None where the request has none."""
        found = self._compiled(_projection, "ProjectionExpression")
        return None if found is None else found.parsed

    def finish(self, keys: Iterable[str]) -> None:
        """Refuse placeholders that nothing used, and paths into one of the key attributes *keys*."""
        for what, given in ((_NAMES, self.names), (_VALUES, self.values)):
            unused = sorted(given.keys() - self._used)
            if unused:
                raise invalid(
                    f"Value provided in {what} unused in expressions: keys: {{{', '.join(unused)}}}"
                )
        for paths, name in product(self._paths, tuple(keys)):  # an expression after the other
            if any(path[0] == name and len(path) > 1 for path in paths):
                raise invalid(
                    "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "
                    f"Key: {name}"
                )

    def _compiled(
        self,
        compile_: Callable[[str, str, tuple[tuple[str, str], ...]], Compiled[Parsed]],
        parameter: str,
    ) -> Compiled[Parsed] | None:
        text = self.request.get(parameter)
        if text is None:
            return None
        if not isinstance(text, str):
            raise malformed(f"{parameter} is not a text")
        found = compile_(text, parameter, tuple(sorted(self.names.items())))
        self._used |= found.names
        self._used |= found.values
        self._paths.append(found.paths)
        return found

    def _check(self, found: Compiled[Parsed], parsed: Checks, parameter: str) -> None:
        for name in sorted(found.values):
            if name not in self.values:
                raise invalid(
                    f"Invalid {parameter}: An expression attribute value used in expression is not defined; "
                    f"attribute value: {name}"
                )
        try:
            parsed.check(self.values)
        except DynamoError as error:
            raise invalid(f"Invalid {parameter}: {error.message}") from error


def _checked_names(names: object) -> Mapping[str, str]:
    if names is None:
        return {}
    if not isinstance(names, dict) or not all(isinstance(each, str) for each in names.values()):
        raise malformed(f"{_NAMES} is not a map of texts")
    if not names:
        raise invalid(f"{_NAMES} must not be empty")
    for name in names:
        if not _NAME(name):
            raise invalid(f'{_NAMES} contains invalid key: Syntax error; key: "{name}"')
    return names


def _checked_values(values: object) -> Values:
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise malformed(f"{_VALUES} is not a map of values")
    if not values:
        raise invalid(f"{_VALUES} must not be empty")
    canonical = {}
    for name, value in values.items():
        if not _VALUE(name):
            raise invalid(f'{_VALUES} contains invalid key: Syntax error; key: "{name}"')
        try:
            canonical[name] = checked(value)[0]
        except DynamoError as error:
            if error.code != "ValidationException":
                raise
            raise invalid(f"{_VALUES} contains invalid value: {error.message} for key {name}") from error
    return canonical
