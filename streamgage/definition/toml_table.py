"""One TOML table, read key by key: what is wrong with it is gathered, with its path, its value and what would be right."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from streamgage.definition.pipeline import branches
from streamgage.durations import parse_duration

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MISSING = object()


class Table:
    """One TOML table, read key by key; what is wrong with it goes to ``problems``."""

    def __init__(self, raw: Mapping[str, Any], path: str, problems: list[str]) -> None:
        self._raw, self._path, self.problems = raw, path, problems
        self._seen: set[str] = set()

    def problem(self, key: str, what: str) -> None:
        """Note *what* is wrong with *key*."""
        self.problems.append(f"{self._path}.{key}: {what}" if self._path else f"{key}: {what}")

    def take(self, key: str, default: Any = _MISSING) -> Any:
        """Return what stands under *key*, whatever it is."""
        self._seen.add(key)
        return self._raw.get(key, default)

    def tables(self, key: str) -> list["Table"]:
        """Return the tables of the array ``[[key]]``; there has to be one."""
        value = self.take(key)
        if value is _MISSING:
            self.problem(key, f"missing; a pipeline has at least one [[{key}]]")
            return []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self.problem(key, f"not an array of tables; write [[{key}]]")
            return []
        path = f"{self._path}.{key}" if self._path else key
        return [Table(each, f"{path}[{number}]", self.problems) for number, each in enumerate(value)]

    def name(self, key: str = "name", *, default: str = "") -> str:
        """Return a name; one that was read before is not judged twice."""
        if key in self._seen:
            value = self._raw.get(key)
            return value if isinstance(value, str) else default
        if default and key not in self._raw:
            self._seen.add(key)
            return default
        value = self.text(key)
        if value and not _NAME.fullmatch(value):
            self.problem(key, f"{shown(value)} is not a name: lower-case letters, digits and _, at most 63")
        return value

    def text(self, key: str) -> str:
        """Return a text that has to be there; "" where it is not, or is wrong."""
        value = self.take(key)
        if value is _MISSING:
            self.problem(key, "missing; a text is needed")
        elif not isinstance(value, str) or not value:
            self.problem(key, f"{shown(value)} is not a text")
        else:
            return value
        return ""

    def texts(self, key: str) -> list[str]:
        """Return a list of texts that has to be there; an empty one where it is not, or is wrong."""
        value = self.take(key)
        if value is _MISSING:
            self.problem(key, "missing; a list of texts is needed")
        elif not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            self.problem(key, f"{shown(value)} is not a list of texts")
        else:
            return value
        return []

    def mapping(self, key: str) -> dict[str, Any]:
        """Return a table inside this one, as it is."""
        value = self.take(key, {})
        if isinstance(value, dict):
            return value
        self.problem(key, f"{shown(value)} is not a table")
        return {}

    def duration(self, key: str) -> int | None:
        """Return a duration in ms; None where there is none, or it is wrong."""
        value = self.take(key)
        return None if value is _MISSING else self.parsed_duration(key, value)

    def parsed_duration(self, key: str, value: Any) -> int | None:
        """Return the duration in ms that *value* names."""
        try:
            duration_ms = parse_duration(value)
        except (ValueError, TypeError):
            self.problem(
                key,
                f'{shown(value)} is not a duration: a whole number and a unit, such as "30s", "5m", "1h", "7d"',
            )
            return None
        if duration_ms == 0:
            self.problem(key, f"{shown(value)} is nothing at all")
        return duration_ms

    def field(
        self,
        key: str,
        name: str,
        fields: Mapping[str, Any],
        types: frozenset[str],
        role: str,
        *,
        nullable: bool = False,
    ) -> str:
        """Check that *name* is a field whose type may serve as *role*; where the schema is unknown, say nothing."""
        if not name or not fields:
            return name
        if name not in fields:
            self.problem(key, f"the schema has no field {name!r}{nearest(name, fields)}")
            return name
        found = branches(fields[name])
        if found - types - ({"null"} if nullable else set()) or (not nullable and len(found) > 1):
            self.problem(
                key, f"{name!r} is {joined(sorted(found), ' or ')}; {role} is {joined(sorted(types), ' or ')}"
            )
        return name

    def no_other_keys(self) -> None:
        """Note every key that nobody asked for. Called when all were."""
        for key in sorted(self._raw.keys() - self._seen):
            self.problem(key, f"unknown key{nearest(key, self._seen)}")


def shown(value: object) -> str:
    """Return *value* as a message shows it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python shows (of hex), or dotted keys without end
        return "the value"
    return text if len(text) <= 200 else text[:199] + "…"


def joined(names: Iterable[str], joiner: str = ", ") -> str:
    """Return *names* as a message lists them."""
    return joiner.join(names)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown *name*: which was meant, or what there is."""
    import difflib  # noqa: PLC0415 - only a definition with problems needs it

    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {joined(sorted(known))}"
