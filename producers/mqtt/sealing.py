"""Events into sealed records: as the producer gathers and marks them, and handed out, not sent."""

import random
from collections.abc import Sequence

from producers.client.batching import BatcherConfig
from producers.client.engine import Engine
from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.ports import PutResult
from producers.client.settings import CoreConfig
from producers.clock import Clock, MonotonicClock
from producers.files.verdict import ConsumerRules
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.errors import RetryableError
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord
from streamgage.shards import Shard, ShardMap


class Sealer:
    """Gathers the events of one batch, and seals them. One thread at a time, but for ``take_shards``."""

    def __init__(
        self,
        pipeline: Pipeline,
        shards: ShardMap,
        identity: Identity,
        *,
        one_key_per_record: bool = False,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._records: list[SealedRecord] = []
        self._new_shards: ShardMap | None = None
        self._rules = {each.name: ConsumerRules(pipeline, each) for each in pipeline.sources.values()}
        self._engine = Engine(
            _Nowhere(),
            clock=clock or MonotonicClock(),
            rng=rng or random.SystemRandom(),
            config=CoreConfig(batching=BatcherConfig(one_key_per_record=one_key_per_record)),
            tags_for=identity.tags_for,
            shards=shards,
        )
        self._engine.divert(self._records.extend)

    def put(self, source: Source, event: Event, now_ms: int) -> None:
        """Take *event*, which arrives at *now_ms* since the epoch. Raises: ValueError, it would be quarantined; says why."""
        self._rules[source.name].check(event, now_ms)
        self._engine.take_event(source, event)

    def seal(self) -> list[SealedRecord]:
        """Return all that was put since, sealed."""
        if self._new_shards is not None:
            shards, self._new_shards = self._new_shards, None
            self._engine.batcher.set_shards(shards)
        self._engine.seal()
        self._engine.send_due()
        records = self._records.copy()
        self._records.clear()
        return records

    def take_shards(self, shards: ShardMap) -> None:
        """Predict with *shards* from the next batch on. Any thread may tell."""
        self._new_shards = shards


class _Nowhere:
    """A KinesisPort that is never asked: what is sealed is diverted."""

    def list_shards(self) -> Sequence[Shard]:
        raise RetryableError("nothing is sent from here")

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        raise RetryableError(f"nothing is sent from here: {len(entries)} records")
