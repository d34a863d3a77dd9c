"""A table in a dict: contributions applied without a sink, and what its items hold, read by another decoder."""

from collections.abc import Mapping, Sequence
from typing import Any

from streamgage.definition.pipeline import Pipeline
from streamgage.fold.batch import BatchFold, Folded
from streamgage.fold.cells import Contribution
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.records import StreamRecord
from support.fakes import LANES, counting_of
from support.read_body import read_body

Items = dict[ItemKey, StoredItem]
Place = tuple[str, str, str]
"""``device_metrics.1|1h``, ``001385942400000|telemetry/shardId-000000000000``, and a key as a chunk holds it."""
States = dict[Place, list[Any]]
"""Of each key of each cell the number of events, and its parts."""


def apply(items: Mapping[ItemKey, Contribution], table: Items) -> None:
    """Apply *items* to *table*, and what goes on from there: no write ever fails."""
    pending = dict(items)
    while pending:
        key, contribution = pending.popitem()
        joined = contribution.joined(table.get(key))
        if joined.item is not None:
            table[key] = joined.item
        pending.update(joined.onward)


def states_of(table: Items, pipeline: Pipeline) -> States:
    """Return what *table* holds; of each cell a key stands in one item."""
    layouts = {f"{each.name}.{each.generation}": each.layout.text for each in pipeline.rollups.values()}
    found: States = {}
    for key, item in table.items():
        cell, _, _ = key.pk.rpartition("|")
        body = read_body(item.body, layouts[cell.partition("|")[0]], int(key.sk[:15]))
        for name, state in body.states.items():
            place = cell, key.sk, name
            assert place not in found, f"{place} stands in two items"
            found[place] = state
    return found


def fold(
    batch_fold: BatchFold, pipeline: Pipeline, records: Sequence[StreamRecord], *, room_bytes: int = 800
) -> Folded:
    """Return the fold of *records*, none of them a repeat."""
    return batch_fold.fold(records, lambda _, __: False, counting_of(pipeline, room_bytes=room_bytes))


def fold_plainly(pipeline: Pipeline, records: Sequence[StreamRecord]) -> Folded:
    """Return the fold of *records* by a fold of its own, as a function's that counts all of *pipeline*."""
    return fold(BatchFold(pipeline, LANES), pipeline, records)


def states_folded(folded: Folded, pipeline: Pipeline) -> States:
    """Return what *folded* alone makes of an empty table."""
    table: Items = {}
    apply(folded.items, table)
    return states_of(table, pipeline)
