"""A Kinesis record of user records as it grows."""

from producers.client.entry import PutEntry
from producers.client.outcomes import OnDelivery
from streamgage.formats.kpl_builder import AggregateBuilder


class OpenRecord:
    """The open Kinesis record of a shard, or of a partition key in a shard. ``entry`` is what was made of it."""

    __slots__ = ("builder", "entry", "events", "limit_bytes", "numbers", "opened_ms", "outcomes", "shard_id")

    def __init__(self, shard_id: str, builder: AggregateBuilder, *, limit_bytes: int, opened_ms: int) -> None:
        self.shard_id = shard_id
        self.builder = builder
        self.limit_bytes = limit_bytes
        self.opened_ms = opened_ms
        self.events = builder.records[0].events
        self.numbers: list[int] = []
        self.outcomes: list[OnDelivery] = []
        self.entry: PutEntry | None = None
