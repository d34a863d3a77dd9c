"""What a rule is, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from infra.template.lint.resolve import Node, Path
from infra.template.lint.subject import Subject

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Where a rule is broken, in the translated template, and by what."""

    path: Path
    what: str

    @classmethod
    def at(cls, node: Node, what: str, *keys: str | int) -> "Problem":
        """Return a problem of what stands under *keys* of *node*."""
        return cls((*node.path, *keys), what)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: what it refuses, why, and how it is mended. An *error* loses or shows data, or does not run."""

    id: str
    severity: Severity
    what: str
    why: str
    mend: str
    check: Callable[[Subject], Iterator[Problem]]


@dataclass(slots=True)
class Rules:
    """The rules of a module, in their order."""

    all: list[Rule] = field(default_factory=list)

    def add(
        self, rule_id: str, severity: Severity, *, what: str, why: str, mend: str
    ) -> Callable[[Callable[[Subject], Iterator[Problem]]], Callable[[Subject], Iterator[Problem]]]:
        """Return a decorator that makes a rule of its check."""

        def added(check: Callable[[Subject], Iterator[Problem]]) -> Callable[[Subject], Iterator[Problem]]:
            self.all.append(Rule(rule_id, severity, what, why, mend, check))
            return check

        return added


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a person is told. ``accepted`` is the template's reason to keep it so; else it is empty."""

    rule: str
    severity: str
    file: str
    line: int
    what: str
    why: str
    mend: str
    accepted: str = ""
