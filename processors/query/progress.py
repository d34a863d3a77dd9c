"""How far each shard is applied, as its progress item says."""

from dataclasses import dataclass

from processors.query.cells import PartialStore
from streamgage.errors import ConfigError
from streamgage.fold.items import progress_pk
from streamgage.fold.lane_log import LaneLog


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """What a shard's progress item says. ``applied_ms`` is the arrival time of the last record that is applied.

    ``begin_ms`` is the arrival time from which on the consumer counts; 0: from the shard's first record on.
    """

    shard_id: str
    sequence_number: int
    applied_ms: int
    begin_ms: int
    repeated: int
    forgotten: int


def read_progress(store: PartialStore, consumer: str, stream: str) -> list[ShardProgress]:
    """Return the progress of every shard of *stream*, open or closed: one Query. With lanes by partition key there is none.

    A table may hold that of other streams too, whose shards have the same names.
    """
    found = []
    for lane, item in store.range(progress_pk(consumer), f"{stream}/", f"{stream}/~"):
        try:
            log = LaneLog.of_body(item.body)
        except ValueError as error:
            raise ConfigError(f"the progress of {lane} is damaged: {error}") from error
        shard_id = lane.partition("/")[2]
        found.append(
            ShardProgress(shard_id, item.fence, log.applied_ms, log.begin_ms, log.dropped, log.forgotten)
        )
    return found
