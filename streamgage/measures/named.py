"""Measures and parts by their names: those of integers at hand, the others imported by who names them."""

from collections.abc import Iterable

from streamgage.measures.catalogue import MEASURES, Measure
from streamgage.measures.parts import PARTS, Part

_SKETCHES = ("histogram", "distinct", "signal")
_BY_GAP = ("sessions", "entry", "exit")


def find_measure(name: str) -> Measure | None:
    """Return the measure *name*; None where there is none."""
    found = MEASURES.get(name)
    if found is None:
        from streamgage.measures.sketch_measures import find  # noqa: PLC0415 - a cold start does without

        found = find(name)
    return found


def measure_named(name: str) -> Measure:
    """Return the measure *name*. Raises: KeyError, there is none."""
    found = find_measure(name)
    if found is None:
        raise KeyError(name)
    return found


def is_sketch(name: str) -> bool:
    """Tell whether the part *name* is in ``sketch_parts``, which a cold start does without where no rollup has one."""
    return name in _SKETCHES or name.startswith(_BY_GAP)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of parts in the order in which a layout holds them."""
    known = (*PARTS, *_SKETCHES)
    return tuple(sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name)))


def part_named(name: str) -> Part:
    """Return the part *name*."""
    if not is_sketch(name):
        return PARTS[name]
    from streamgage.measures.sketch_parts import sketch_named  # noqa: PLC0415 - see is_sketch

    return sketch_named(name)
