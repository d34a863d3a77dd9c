"""What it costs that keys stand together, beside the same where each stands by itself, and what a question then reads."""

from collections.abc import Iterator
from dataclasses import dataclass

from infra.aws.cost.chunks import read_for_group, touched
from infra.aws.cost.flow import Flow, cells_of, first_batch, rollup_flow
from infra.aws.cost.load import Load, RollupLoad


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollup whose keys stand together, or the same apart: what it writes and holds in all, what one question reads.

    ``read_items`` are those of a lane, and of a window of the largest size, that are read for the keys of one group.
    """

    write_units_per_s: float
    stored_bytes: float
    item_bytes: float
    read_items: float


@dataclass(frozen=True, slots=True)
class Beside:
    """A rollup as it is defined, and as it would be without ``together``; *keys* of a group stand in one cell."""

    rollup: str
    fields: tuple[str, ...]
    keys: float
    together: Kept
    apart: Kept


def beside(load: Load, flow: Flow) -> Iterator[Beside]:
    """Yield each rollup of *load* whose keys stand together, at the shards and batches of *flow*."""
    for rollup in load.rollups:
        if rollup.together is not None:
            _, _, keys = cells_of(load, rollup, lanes=flow.lanes)
            kept = (_kept(load, each, flow) for each in (rollup, rollup.apart()))
            yield Beside(rollup.name, rollup.together.fields, keys, *kept)


def _kept(load: Load, rollup: RollupLoad, flow: Flow) -> Kept:
    written = rollup_flow(load, rollup, lanes=flow.lanes, batch_s=flow.batch_s)
    return Kept(
        written.units * (1 + load.conflicts) * flow.lanes / flow.batch_s,
        written.stored_bytes,
        written.stored_bytes / written.stored_items,
        _read_items(load, rollup, flow),
    )


def _read_items(load: Load, rollup: RollupLoad, flow: Flow) -> float:
    """Return the items that a question about one group reads of a cell at the end of its window."""
    cells, keys, together = cells_of(load, rollup, lanes=flow.lanes)
    key_events_per_s = load.events_per_s / flow.lanes / cells / keys
    window_s = max(rollup.windows_ms) / 1000
    first, first_events = first_batch(keys, key_events_per_s, batch_s=flow.batch_s, window_s=window_s)
    share = min(1.0, key_events_per_s * window_s)  # of the keys that were heard
    heard = max(first, keys * share)
    if rollup.together is None:
        return touched(
            heard, rollup.bytes, first=first, first_events=first_events, by_batch=1.0, events=1.0
        ).standing
    return read_for_group(
        heard, rollup.bytes, first=first, first_events=first_events, together=max(1.0, together * share)
    )
