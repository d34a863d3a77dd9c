"""What happened in a world, in order, as lines that a person can read."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from streamgage.records import StreamRecord


class Step(NamedTuple):
    """One thing that happened. *depth* says how many pauses it happened in: it overtook whatever is less deep."""

    at_ms: int
    depth: int
    what: str
    details: tuple[object, ...]


class Trace:
    """Everything that happened, kept as values and rendered only where somebody reads it."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.clock: Callable[[], tuple[int, int]] = lambda: (0, 0)

    def note(self, what: str, *details: object) -> None:
        """Take note of one thing."""
        self.steps.append(Step(*self.clock(), what, details))

    def lines(self, *, most: int = 400) -> list[str]:
        """Return the last *most* steps: time since the first, indented by depth. ``s2#5`` is shard 2's fifth record."""
        names: dict[object, str] = {}
        counts: dict[str, int] = {}
        lines = []
        begin_ms = self.steps[0].at_ms if self.steps else 0
        for at_ms, depth, what, details in self.steps:
            for each in details:
                if isinstance(each, StreamRecord) and each.sequence_number not in names:
                    shard = f"s{int(each.shard_id[-12:])}"
                    counts[shard] = counts.get(shard, 0) + 1
                    names[each.sequence_number] = f"{shard}#{counts[shard]}"
            text = " ".join(_shown(each, names) for each in details)
            lines.append(f"{at_ms - begin_ms:>7} ms {'|  ' * depth}{what} {text}".rstrip())
        return lines[-most:]


def _shown(value: object, names: dict[object, str]) -> str:
    if isinstance(value, StreamRecord):
        return names[value.sequence_number]
    if isinstance(value, tuple) and value and isinstance(value[0], StreamRecord):
        return _run_of(value, names)
    return names.get(value, str(value)) if isinstance(value, int) else str(value)


def _run_of(records: Sequence[StreamRecord], names: dict[object, str]) -> str:
    shown = [names.get(each.sequence_number, str(each.sequence_number)) for each in records]
    return "[" + " ".join(shown) + "]"
