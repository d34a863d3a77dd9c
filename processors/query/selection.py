"""Which keys are asked for: one, or all whose fields match patterns."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streamgage.definition.pipeline import Rollup
from streamgage.errors import ConfigError

_WILD = re.compile(r"(?<!\\)[*?]")
_MOST_PATTERN = 1_000  # characters


@dataclass(frozen=True, slots=True)
class Selection:
    r"""A text for each field of a key that has to be as told; the others may be anything.

    In a text ``*`` stands for any characters, ``?`` for one, and ``\*`` for a star; all else means itself.
    """

    names: tuple[str, ...]
    wanted: Mapping[str, str]

    @classmethod
    def of(cls, rollup: Rollup, wanted: Mapping[str, str]) -> "Selection":
        """Return the selection among the keys of *rollup*. Raises: ConfigError with every problem."""
        problems = [
            f"{name!r} is not part of the key of {rollup.name}, which is {', '.join(rollup.key)}"
            for name in wanted
            if name not in rollup.key
        ]
        problems += [
            f"the pattern of {name} has {len(text):,} characters; at most {_MOST_PATTERN:,} are taken"
            for name, text in wanted.items()
            if len(text) > _MOST_PATTERN and _WILD.search(text)
        ]
        if problems:
            raise ConfigError(*problems)
        return cls(rollup.key, wanted)

    @property
    def key(self) -> tuple[str, ...] | None:
        """The one key that is meant; None where there may be several."""
        return self.values_of(self.names)

    def values_of(self, names: Sequence[str]) -> tuple[str, ...] | None:
        """Return the one value that each field of *names* has to have; None where there may be several."""
        if any(name not in self.wanted or _WILD.search(self.wanted[name]) for name in names):
            return None
        return tuple(_literal(self.wanted[name]) for name in names)

    @property
    def takes_all(self) -> bool:
        """Whether every key matches."""
        return all(text == "*" for text in self.wanted.values())

    def matcher(self) -> Callable[[tuple[str, ...]], bool]:
        """Return what tells whether the values of a key match."""
        tests = [(at, _test(self.wanted[name])) for at, name in enumerate(self.names) if name in self.wanted]
        tests = [(at, test) for at, test in tests if test is not None]
        return lambda values: all(test(values[at]) for at, test in tests if test is not None)


def _test(text: str) -> Callable[[str], object] | None:
    """Return the test of one field; None where anything matches.

    Between stars stand atomic groups: a text is looked through once a star, whatever the pattern.
    """
    if text == "*":
        return None
    if not _WILD.search(text):
        return _literal(text).__eq__
    first, *rest = (_piece(each) for each in re.split(r"(?<!\\)\*+", text))
    if not rest:
        return re.compile(first, re.DOTALL).fullmatch
    *middle, last = rest
    pattern = first + "".join(f"(?>.*?{each})" for each in middle) + f".*{last}"
    return re.compile(pattern, re.DOTALL).fullmatch


def _piece(text: str) -> str:
    return ".".join(re.escape(_literal(each)) for each in re.split(r"(?<!\\)\?", text))


def _literal(text: str) -> str:
    return text.replace("\\*", "*").replace("\\?", "?")
