"""How much a template may ask of who reads it. One from a stranger may be made to cost: in bytes, nodes or time."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from streamgage.errors import ConfigError

MAX_NODES = 100_000  # aliases followed: ours has 2,000
MAX_DEPTH = 100
READ_S = 60.0  # a megabyte of YAML takes PyYAML 20
LINT_S = 120.0  # of all rules, cfn-lint's too; ours takes 5 s

_AROUND = 3  # events that a value stands in: the stream, the document, and its own
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} deep"


class _OutOfTime(BaseException):
    """Not an Exception: cfn-lint and the translator catch those, and would go on."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raise ConfigError where the block takes longer: a pattern that backtracks has no end in sight.

    It holds in the main thread only, which is where commands work; elsewhere nothing is bounded.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_: int, __: FrameType | None) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _OutOfTime as error:
        raise ConfigError(
            f"{what} takes longer than {seconds:g} s: it is made to, or far too large"
        ) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, left_s)
        signal.signal(signal.SIGALRM, before)


def check_depth(events: Iterable[Any]) -> None:
    """Refuse YAML whose parsing *events* nest deeper than a template is: libyaml composes nodes on C's stack, which may end.

    Raises:
        ValueError: saying so.
    """
    depth = 0
    for each in events:
        kind = type(each).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > MAX_DEPTH + _AROUND:
            raise ValueError(_TOO_DEEP)


def check_size(root: Any) -> None:
    """Refuse a YAML node graph that unfolds to more than a template is, or never ends.

    An alias is one node in memory; whoever walks, prints or translates the document meets all that it stands for.

    Raises:
        ValueError: with what it is too much of.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: Any, depth: int) -> int:
        mark = id(node)
        if mark in open_nodes:
            raise ValueError("an alias refers to what it stands in")
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        if mark in sizes:
            return sizes[mark]
        open_nodes.add(mark)
        inner = node.value if node.id == "sequence" else []
        if node.id == "mapping":
            inner = [each for pair in node.value for each in pair]
        total = 1 + sum(size_of(each, depth + 1) for each in inner)
        if total > MAX_NODES:
            raise ValueError(f"it unfolds to more than {MAX_NODES:,} values")
        open_nodes.discard(mark)
        sizes[mark] = total
        return total

    if root is not None:
        size_of(root, 0)
