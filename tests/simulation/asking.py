"""Questions to the table of a world when all is over: the real reader finds what its items hold, and no more."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from processors.query.question import Question, ask
from simulation.schedule import SimulationError
from simulation.table import Row
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.fold.items import ItemKey, StoredItem, key_values

Held = Mapping[tuple[str, str, int, str], int]
"""Events by rollup, window size, start of the window and key, of all lanes."""


class ReadRows:
    """A PartialStore over the rows of a table."""

    def __init__(self, rows: Mapping[ItemKey, Row]) -> None:
        self._rows = rows

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield the items of *pk* between two sort keys, in the order of these."""
        found = sorted(key for key in self._rows if key.pk == pk and first_sk <= key.sk <= last_sk)
        return ((key.sk, self._rows[key].item()) for key in found)

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist."""
        return {key: self._rows[key].item() for key in keys if key in self._rows}


def check_answers(pipeline: Pipeline, rows: Mapping[ItemKey, Row], held: Held) -> int:
    """Ask for all keys of each rollup, and for those that stand together; return how many answers came from chunks.

    Raises:
        SimulationError: an answer is not what *held* says.
    """
    store, below = ReadRows(rows), 0
    for rollup in pipeline.rollups.values():
        for windows in rollup.windows:
            of_window = {
                (start_ms, key): events
                for (name, label, start_ms, key), events in held.items()
                if (name, label) == (rollup.name, windows.label)
            }
            for wanted in _questions(rollup, of_window):
                question = Question.parse(
                    pipeline, rollup=rollup.name, key=wanted, window=windows.label, from_ms=0, to_ms=2**47
                )
                found = Counter(
                    {
                        (row.window.start_ms, row.key): row.events
                        for row in ask(store, question, applied_ms=0, now_ms=0)
                    }
                )
                expected = {
                    (start_ms, values): events
                    for (start_ms, key), events in of_window.items()
                    if _matches(rollup, values := key_values(key), wanted)
                }
                if found != expected:
                    raise SimulationError(
                        f"{rollup.name} {windows.label} {wanted} is answered by {dict(found)}; its items hold {expected}"
                    )
                below += bool(wanted) and any(
                    key.pk.startswith(f"{rollup.name}.1|{windows.label}|") and not key.pk.endswith("|0")
                    for key in rows
                )
    return below


def _questions(rollup: Rollup, held: Mapping[tuple[int, str], int]) -> Iterator[dict[str, str]]:
    yield {}
    if rollup.together:
        keys = {key_values(key) for _, key in held}
        at = [rollup.key.index(name) for name in rollup.together]
        for values in sorted({tuple(key[each] for each in at) for key in keys}):
            yield dict(zip(rollup.together, values, strict=True))


def _matches(rollup: Rollup, values: Sequence[str], wanted: Mapping[str, str]) -> bool:
    return all(wanted.get(name, value) == value for name, value in zip(rollup.key, values, strict=True))
