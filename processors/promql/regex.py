r"""Regular expressions as Prometheus has them, in time linear in the text: whatever the pattern, nothing backtracks.

The syntax is RE2's, of which is refused, with a message: ``\b``, ``\p``, ``\Q`` and ``(?m)``. A dot is any character, and a
pattern has to match a whole text. Python's own ``re`` goes back and forth over hostile patterns for years; this walks all ways
through the pattern at once (Thompson), and remembers where a character leads to.

Source: https://github.com/google/re2/wiki/Syntax, https://swtch.com/~rsc/regexp/regexp2.html (checked 2026-11-29)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from processors.promql.budget import Budget
from processors.promql.errors import execution
from processors.promql.regex_syntax import Alternatives, Char, Edge, Group, Node, Repeat, Row, parse

_COST = 8  # points a step that is not remembered
_MOST_STATES = 5_000
_MOST_PROGRAM = 20_000
_MOST_KNOWN = 10_000  # texts of which the answer is remembered


@dataclass(frozen=True, slots=True)
class _Split:
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class _Save:
    slot: int
    to: int


@dataclass(frozen=True, slots=True)
class _Take:
    char: Char
    to: int


@dataclass(frozen=True, slots=True)
class _At:
    edge: Edge
    to: int


_Step = _Split | _Save | _Take | _At | None
"""None is the end: the text matches if it is over."""


@dataclass(slots=True)
class Regex:
    """A pattern. What it takes is taken from *budget*: QueryError ``execution``, where that is used up."""

    pattern: str
    root: Node
    names: Mapping[str, int]
    groups: int
    budget: Budget
    _program: list[_Step] = field(default_factory=list)
    _start: int = 0
    _states: dict[tuple[int, ...], dict[str, tuple[int, ...]]] = field(default_factory=dict)
    _known: dict[str, bool] = field(default_factory=dict)

    @property
    def texts(self) -> frozenset[str] | None:
        """All texts that match, where the pattern says each of them in full: ``a|b``; None where it does not."""
        branches = self.root.branches if isinstance(self.root, Alternatives) else (self.root,)
        found = [_literal(each) for each in branches]
        return None if None in found else frozenset(each for each in found if each is not None)

    def matches(self, text: str) -> bool:
        """Tell whether the whole of *text* matches."""
        if text not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[text] = self._walk(text)
        return self._known[text]

    def _walk(self, text: str) -> bool:
        self.budget.take(1 + len(text))
        state = self._closure((self._compiled(),), is_first=True, is_last=not text)
        for number, char in enumerate(text, 1):
            is_last = number == len(text)
            leads = self._states.setdefault(state, {})
            label = char + "$" if is_last else char
            following = leads.get(label)
            if following is None:
                self.budget.take(_COST * len(state))
                taken = [to for each in state if (to := _onward(self._program[each], char)) is not None]
                following = leads[label] = self._closure(taken, is_first=False, is_last=is_last)
                if len(self._states) > _MOST_STATES:
                    self._states.clear()
            state = following
            if not state:
                return False
        return any(self._program[each] is None for each in state)

    def captured(self, text: str) -> list[str | None] | None:
        """Return what each group matched, the whole first; None where *text* does not match. The first way wins, as in RE2."""
        slots = (None,) * (2 * self.groups + 2)
        threads = list(self._threads(self._compiled(), slots, 0, len(text), set()))
        for at, char in enumerate(text):
            self.budget.take(_COST * len(threads))
            seen: set[int] = set()
            threads = [
                thread
                for number, saved in threads
                if isinstance(step := self._program[number], _Take) and step.char.test(char)
                for thread in self._threads(step.to, saved, at + 1, len(text), seen)
            ]
        for number, saved in threads:
            if self._program[number] is None:
                ends = ((0, len(text)), *list(pairwise(saved))[2::2])
                return [None if a is None or b is None else text[a:b] for a, b in ends]
        return None

    def _threads(
        self, start: int, saved: tuple[int | None, ...], at: int, length: int, seen: set[int]
    ) -> Iterator[tuple[int, tuple[int | None, ...]]]:
        """Yield where one comes to from *start* without a character, the preferred way first."""
        pending = [(start, saved)]
        while pending:
            number, slots = pending.pop()
            if number in seen:
                continue
            seen.add(number)
            self.budget.take(_COST)
            step = self._program[number]
            if isinstance(step, _Split):
                pending += [(step.second, slots), (step.first, slots)]
            elif isinstance(step, _Save):
                pending.append((step.to, (*slots[: step.slot], at, *slots[step.slot + 1 :])))
            elif isinstance(step, _At):
                if at == (0 if step.edge.is_begin else length):
                    pending.append((step.to, slots))
            else:
                yield number, slots

    def _closure(self, starts: Sequence[int], *, is_first: bool, is_last: bool) -> tuple[int, ...]:
        """Return the steps that take a character, or end, to which one comes from *starts* without one."""
        seen: set[int] = set()
        pending = list(starts)
        while pending:
            number = pending.pop()
            if number in seen:
                continue
            seen.add(number)
            step = self._program[number]
            if isinstance(step, _Split):
                pending += (step.first, step.second)
            elif isinstance(step, _Save) or (
                isinstance(step, _At) and (is_first if step.edge.is_begin else is_last)
            ):
                pending.append(step.to)
        self.budget.take(_COST * len(seen))
        return tuple(sorted(each for each in seen if isinstance(self._program[each], _Take | None)))

    def _compiled(self) -> int:
        if not self._program:
            self._program.append(None)
            self._start = self._emit(self.root, 0)
        return self._start

    def _emit(self, node: Node, to: int) -> int:
        """Append what matches *node* and goes on at *to*; return where it begins."""
        if isinstance(node, Row):
            for part in reversed(node.parts):
                to = self._emit(part, to)
            return to
        if isinstance(node, Alternatives):
            *others, last = node.branches
            start = self._emit(last, to)
            for each in reversed(others):
                start = self._add(_Split(self._emit(each, to), start))
            return start
        if isinstance(node, Group):
            inner = self._emit(node.node, self._add(_Save(2 * node.number + 1, to)))
            return self._add(_Save(2 * node.number, inner))
        if isinstance(node, Repeat):
            return self._repeat(node, to)
        return self._add(_At(node, to) if isinstance(node, Edge) else _Take(node, to))

    def _repeat(self, node: Repeat, to: int) -> int:
        start = to
        if node.most is None:
            start = self._add(None)  # where the loop decides; written below
            self._program[start] = self._choice(self._emit(node.node, start), to, node)
        else:
            for _ in range(node.most - node.least):
                start = self._add(self._choice(self._emit(node.node, start), to, node))
        for _ in range(node.least):
            start = self._emit(node.node, start)
        return start

    def _choice(self, inner: int, onward: int, node: Repeat) -> _Split:
        return _Split(inner, onward) if node.is_greedy else _Split(onward, inner)

    def _add(self, step: _Step) -> int:
        if len(self._program) >= _MOST_PROGRAM:
            raise execution(f"the regular expression {self.pattern[:100]!r} is too large: repeat less")
        self._program.append(step)
        return len(self._program) - 1


def _onward(step: _Step, char: str) -> int | None:
    """Return where *char* leads to from *step*; None where it does not."""
    return step.to if isinstance(step, _Take) and step.char.test(char) else None


def _literal(node: Node) -> str | None:
    if isinstance(node, Group):
        return _literal(node.node)
    parts = node.parts if isinstance(node, Row) else (node,)
    found = [each.literal if isinstance(each, Char) else None for each in parts]
    return None if None in found else "".join(each for each in found if each is not None)


@lru_cache(maxsize=64)
def compiled(pattern: str) -> tuple[Node, Mapping[str, int], int]:
    """Return *pattern*, parsed. Raises: QueryError ``bad_data``, it is none."""
    return parse(pattern)


def regex(pattern: str, budget: Budget | None = None) -> Regex:
    """Return *pattern*, whose steps are taken from *budget*. Raises: QueryError ``bad_data``, it is none."""
    return Regex(pattern, *compiled(pattern), Budget() if budget is None else budget)
