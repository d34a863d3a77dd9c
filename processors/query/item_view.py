"""Items as they stand in the table, for a person who looks: what each says of itself, and the states of its keys."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from processors.query.cells import PartialStore
from processors.query.key_states import Place, below
from processors.query.question import Question
from streamgage.fold.chunk import Chunk, decode_chunk
from streamgage.fold.items import (
    ROOT,
    ItemKey,
    StoredItem,
    chunk_key,
    chunk_name,
    key_hash,
    key_text,
    window_prefix,
    window_start_ms,
)


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item: ``chunk`` is what its body says, or ``problem`` why that cannot be told."""

    key: ItemKey
    item: StoredItem
    chunk: Chunk | None
    problem: str = ""

    @property
    def start_ms(self) -> int:
        """The start of its window."""
        return window_start_ms(self.key.sk)


def view_items(store: PartialStore, question: Question) -> Iterator[ItemView]:
    """Yield the items that *question* is answered from, root by root; those that have expired too.

    An item that cannot be read is shown with the problem: here nobody counts on it.
    """
    rollup, windows = question.rollup, question.windows
    keys = None if question.key is None else [key_text(rollup, question.key)]
    hashes = None if keys is None else {key: key_hash(rollup, key) for key in keys}
    first = windows.assign(max(question.from_ms, 0)).start_ms
    last = window_prefix(max(question.to_ms - 1, 0)) + "}"
    roots = store.range(chunk_key(rollup, windows, ROOT, "").pk, window_prefix(first), last)
    for sk, root in roots:
        level = {Place(sk): root}
        while level:
            following: list[Place] = []
            for place, item in level.items():
                view = _view(question, _key(question, place), item)
                yield view
                if view.chunk and view.chunk.onward:
                    following += below(place, view.chunk, hashes, question.hashes)
            by_key = {_key(question, place): place for place in following}
            level = {by_key[key]: item for key, item in store.get(list(by_key)).items()} if by_key else {}


def states_of(view: ItemView, question: Question, keys: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Yield the states of each key of *view*: its events, and the parts of each field, integers at the field's scale."""
    chunk = view.chunk
    if chunk is None:
        return
    names = [f"{field.field}.{part}" for field in question.rollup.layout.fields for part in field.parts]
    for row, key in enumerate(chunk.keys):
        if keys is None or key in keys:
            events, *parts = (column[row] for column in chunk.table)
            yield {"key": key, "events": events, **dict(zip(names, parts, strict=True))}


def _key(question: Question, place: Place) -> ItemKey:
    chunk = chunk_name(place.among, place.number)
    return chunk_key(question.rollup, question.windows, chunk, place.sk)


def _view(question: Question, key: ItemKey, item: StoredItem) -> ItemView:
    if item.counts != question.counts:
        return ItemView(
            key,
            item,
            None,
            f"written by another definition ({item.counts}; pipeline.toml says {question.counts})",
        )
    try:
        chunk = decode_chunk(item.body, question.rollup.layout, start_ms=window_start_ms(key.sk))
    except ValueError as error:
        return ItemView(key, item, None, f"damaged: {error}")
    return ItemView(key, item, chunk)
