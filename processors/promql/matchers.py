"""What a selector asks of a label."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from processors.promql.budget import Budget
from processors.promql.regex import Regex, regex

NAME = "__name__"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label's value has to be, or not to be, *value*, or to match it. A label that is not there is the empty text."""

    label: str
    op: str
    value: str
    _regex: Regex | None = field(default=None, compare=False)

    @classmethod
    def of(cls, label: str, op: str, value: str, budget: Budget) -> "Matcher":
        """Return the matcher, whose steps are taken from *budget*. Raises: QueryError ``bad_data``, *value* is no regular expression."""
        return cls(label, op, value, regex(value, budget) if op in ("=~", "!~") else None)

    def test(self, text: str) -> bool:
        """Tell whether a label of the value *text* is asked for."""
        found = text == self.value if self._regex is None else self._regex.matches(text)
        return found == (self.op in ("=", "=~"))

    @property
    def texts(self) -> frozenset[str] | None:
        """The only values that are asked for, where they are named one by one; else None."""
        if self.op == "=":
            return frozenset((self.value,))
        return self._regex.texts if self.op == "=~" and self._regex is not None else None

    def __str__(self) -> str:
        """Return it as PromQL writes it."""
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.op}"{escaped}"'


def tester(matchers: tuple[Matcher, ...], label: str) -> Callable[[str], bool]:
    """Return what tells whether a value of *label* is asked for by all *matchers* of it."""
    of_label = [each for each in matchers if each.label == label]
    return lambda text: all(each.test(text) for each in of_label)


def match_labels(matchers: tuple[Matcher, ...], labels: Mapping[str, str]) -> bool:
    """Tell whether *labels* are what all *matchers* ask for."""
    return all(each.test(labels.get(each.label, "")) for each in matchers)
