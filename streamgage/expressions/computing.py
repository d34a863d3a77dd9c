"""How an expression is computed, a column at a time.

Null is as in SQL: what is computed from it is null, and a filter takes what is true. Comparing texts compares code points.
A division by zero is null, as is a number too large to be computed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Columns = Mapping[str, Sequence[Any]]
Run = Callable[[Columns, int], Sequence[Any]]
"""``run(columns, count)``: a column of so many entries."""


def modulo(dividend: Any, divisor: Any) -> Any:
    """Return what is left, with the sign of *dividend*: as SQL, and of integers, floats and decimals alike."""
    if not divisor:
        return None
    left = abs(dividend) % abs(divisor)
    return -left if dividend < 0 else left


def null_of_null(of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return *of*, null of null, and of what has no value that its numbers can hold: an integer too large for a float."""

    def computed(left: Any, right: Any) -> Any:
        if left is None or right is None:
            return None
        try:
            return of(left, right)
        except ArithmeticError:
            return None

    return computed


def both(left: Any, right: Any) -> Any:
    """Return whether both are true; null, where one decides that is not known."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def either(left: Any, right: Any) -> Any:
    """Return whether one is true; null, where one decides that is not known."""
    if left is True or right is True:
        return True
    return None if left is None or right is None else False


def pairwise(of: Callable[[Any, Any], Any], left: Run, right: Run) -> Run:
    """Return how *of* each pair of *left* and *right* is computed."""
    return lambda columns, count: list(map(of, left(columns, count), right(columns, count)))


def each_of(of: Callable[[Any], Any], run: Run) -> Run:
    """Return how *of* each value is computed, null of null, and of what has no value that its numbers can hold."""

    def computed(value: Any) -> Any:
        if value is None:
            return None
        try:
            return of(value)
        except ArithmeticError:
            return None

    return lambda columns, count: list(map(computed, run(columns, count)))


def like_pattern(text: str) -> re.Pattern[str]:
    """Return the pattern of a SQL ``like``: a text is looked through once a %, whatever it says."""
    first, *rest = (".".join(re.escape(each) for each in piece.split("_")) for piece in re.split("%+", text))
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    return re.compile(first + "".join(f"(?>.*?{each})" for each in middle) + f".*{last}", re.DOTALL)
