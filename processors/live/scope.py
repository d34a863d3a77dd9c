"""Who may see which keys: a caller is shown a table in which the others do not stand.

The limit lies beneath everything that asks: what reads the table gets items without the other keys, so that no total, top,
comparison, bound or series can count them, whoever computes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from processors.live.problems import Refused
from processors.query.cells import CountingStore
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.fold.chunk import Chunk, decode_chunk, encode_chunk
from streamgage.fold.items import ItemKey, StoredItem, key_values, window_start_ms

ALL = "*"


@dataclass(frozen=True, slots=True)
class Scope:
    """What one caller may see: keys whose fields have one of these values each. None: everything."""

    allowed: Mapping[str, frozenset[str]] | None = None

    @classmethod
    def of(cls, claims: Mapping[str, Any] | None, claim: str) -> "Scope":
        r"""Return what *claims* let their caller see, by the *claim* of that name; "": everything, whoever asks.

        The claim says ``site=a,b;metric=temperature``: of each field the values, exactly; ``;``, ``,`` and ``%`` of a value
        are percent-encoded. ``*`` alone is everything.

        Raises:
            Refused: 403, there is no such claim, or it says nothing: who cannot be judged sees nothing.
        """
        if not claim:
            return cls()
        text = (claims or {}).get(claim)
        if not isinstance(text, str) or not text:
            raise Refused(403, f"the token has no claim {claim!r}: it says which keys a caller may see")
        if text == ALL:
            return cls()
        allowed: dict[str, frozenset[str]] = {}
        for part in text.split(";"):
            field, equals, values = part.partition("=")
            if not field or not equals or field in allowed:
                raise Refused(
                    403, f"the claim {claim!r} is not field=value,value;field=value, each field once"
                )
            allowed[field] = frozenset(map(unquote, values.split(",")))
        return cls(allowed)

    @property
    def is_limited(self) -> bool:
        """Whether there may be keys that the caller does not see."""
        return self.allowed is not None

    def pipeline(self, pipeline: Pipeline) -> Pipeline:
        """Return *pipeline* with the rollups that can be limited so: those whose key has every field that is limited."""
        if self.allowed is None:
            return pipeline
        fields = self.allowed.keys()
        rollups = {name: each for name, each in pipeline.rollups.items() if fields <= set(each.key)}
        return replace(pipeline, rollups=rollups)

    def store(self, store: CountingStore, pipeline: Pipeline) -> CountingStore:
        """Return *store* without the keys that the caller may not see, and with nothing but rollups of *pipeline*."""
        return store if self.allowed is None else ScopedStore(store, self.pipeline(pipeline), self.allowed)


class ScopedStore:
    """A CountingStore of some rollups, and of some of their keys. It costs what the whole one does, and does not tell."""

    read_units = 0.0

    def __init__(
        self, store: CountingStore, pipeline: Pipeline, allowed: Mapping[str, frozenset[str]]
    ) -> None:
        self._store, self._pipeline, self._allowed = store, pipeline, allowed
        self._rollups = {f"{each.name}.{each.generation}": each for each in pipeline.rollups.values()}

    def eventually(self) -> "ScopedStore":
        """Return the same, read with eventual consistency."""
        return ScopedStore(self._store.eventually(), self._pipeline, self._allowed)

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield those items of the range in which something is left."""
        rollup = self._rollup_of(pk)
        if rollup is None:
            return
        for sk, item in self._store.range(pk, first_sk, last_sk):
            left = self._narrowed(rollup, sk, item)
            if left is not None:
                yield sk, left

    def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist and in which something is left."""
        rollups = {key: rollup for key in keys if (rollup := self._rollup_of(key.pk)) is not None}
        found = self._store.get(list(rollups)) if rollups else {}
        narrowed = {key: self._narrowed(rollups[key], key.sk, item) for key, item in found.items()}
        return {key: item for key, item in narrowed.items() if item is not None}

    def _rollup_of(self, pk: str) -> Rollup | None:
        return self._rollups.get(pk.partition("|")[0])

    def _narrowed(self, rollup: Rollup, sk: str, item: StoredItem) -> StoredItem | None:
        """Return *item* with the keys that may be seen; None where it has none, and leads to no other."""
        start_ms = window_start_ms(sk)
        try:
            chunk = decode_chunk(item.body, rollup.layout, start_ms=start_ms)
        except ValueError:
            return replace(item, body=b"")  # who reads it says that it is damaged, or another definition's
        tests = [(rollup.key.index(field), values) for field, values in self._allowed.items()]
        rows = [
            row
            for row, key in enumerate(chunk.keys)
            if all(
                at < len(found) and found[at] in values
                for found in (key_values(key),)
                for at, values in tests
            )
        ]
        if len(rows) == len(chunk.keys):
            return item
        if not rows and not chunk.onward:
            return None
        left = Chunk(
            chunk.begin_ms,
            [[column[row] for row in rows] for column in chunk.table],
            [chunk.keys[row] for row in rows],
            chunk.onward,
        )
        return replace(item, body=encode_chunk(left, rollup.layout, start_ms=start_ms))
