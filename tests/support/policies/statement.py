"""What a role's policies say, statement by statement, and whether they allow an action on a resource.

Identity policies of one account: an explicit Deny wins, without an Allow there is none. Resource policies, boundaries and
session policies are not looked at; the template has none that allows.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from streamgage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Call:
    """An action on a resource, by IAM's name and its ARN, with what conditions may ask of it."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: ``conditions`` are (operator, key, allowed values)."""

    sid: str
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def is_about(self, call: Call) -> bool:
        """Whether *call* is among its actions, resources and conditions. Actions know no case, resources do."""
        return (
            any(matches(each.lower(), call.action.lower()) for each in self.actions)
            and any(matches(each, call.resource) for each in self.resources)
            and all(self._holds(condition, call.context) for condition in self.conditions)
        )

    def _holds(self, condition: tuple[str, str, tuple[str, ...]], context: Mapping[str, str]) -> bool:
        operator, key, values = condition
        asked = context.get(key)
        if asked is None:
            return False  # a key that a call does not have matches none of these operators
        if operator in (
            "StringEquals",
            "Bool",
        ):  # each call here has one value of a key, so all of them are that one
            return asked in values
        return any(matches(each, asked) for each in values)


def allows(statements: Sequence[Statement], call: Call) -> bool:
    """Return whether *statements* together allow *call*."""
    about = [each for each in statements if each.is_about(call)]
    return bool(about) and all(each.allows for each in about)


def statements_of(documents: Sequence[Any]) -> Iterator[Statement]:
    """Yield the statements of policy *documents*, whose expressions are evaluated.

    Raises:
        ConfigError: a statement says what is not understood here; it must not pass for harmless.
    """
    for document in documents:
        for number, raw in enumerate(_listed(document.get("Statement"))):
            sid = str(raw.get("Sid", number))
            unknown = set(raw) - {"Sid", "Effect", "Action", "Resource", "Condition"}
            if unknown:
                raise ConfigError(f"statement {sid}: {', '.join(sorted(unknown))} is not understood")
            texts = [*_listed(raw.get("Action")), *_listed(raw.get("Resource"))]
            open_ones = [each for each in texts if not isinstance(each, str)]
            if open_ones:
                raise ConfigError(f"statement {sid}: {open_ones[0]} is not known")
            yield Statement(
                sid,
                raw.get("Effect") == "Allow",
                tuple(_listed(raw.get("Action"))),
                tuple(_listed(raw.get("Resource"))),
                tuple(_conditions(sid, raw.get("Condition", {}))),
            )


def _conditions(sid: str, raw: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for name, tests in raw.items():
        operator = name.removeprefix("ForAllValues:")
        if operator not in ("StringEquals", "StringLike", "ArnLike", "Bool"):
            raise ConfigError(f"statement {sid}: condition {operator} is not understood")
        for key, values in tests.items():
            yield operator, key, tuple(map(str, _listed(values)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def matches(pattern: str, text: str) -> bool:
    """Return whether *text* is one of *pattern*: ``*`` is any text, ``?`` any character, all else itself."""
    return _pattern(pattern).fullmatch(text) is not None


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in pattern)
    return re.compile("".join(parts), re.DOTALL)
