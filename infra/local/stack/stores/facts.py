"""What is known of the three stores of a home, and what is found of it: values.

Each store carries the same *mark*, which every ``up`` renews. Sequence numbers are ints of the shard's own space; a number
below a shard's first is of an earlier stream of that name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from infra.local.mapping.stream import ShardCheckpoint

StoreName = Literal["stream", "tables", "checkpoints"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose a store is: the home's random identity, and the epoch, a count of starts, in which it was last there."""

    home: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Records beyond a point that have expired: how many still lie on the disk, and when they arrived.

    *certain*: these are all there were. Otherwise there may have been more, deleted by now.
    """

    records: int = 0
    certain: bool = True
    first_ms: int | None = None
    last_ms: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether surely nothing is missing."""
        return self.certain and not self.records


@dataclass(frozen=True, slots=True)
class LogFacts:
    """One shard as the log has it. ``tip`` is the last record ever put, None before there was one.

    ``first`` is below every record; ``next`` is the lowest number that a record put now would get. ``uncounted`` expired
    beyond the progress, or from the first record on where there is none; ``unread`` beyond checkpoint and progress.
    """

    first: int
    next: int
    tip: int | None = None
    uncounted: Gap = Gap()
    unread: Gap = Gap()


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """The stream. A shard that is not in ``logs`` has expired; from ``next_index`` on, there never was one."""

    mark: Mark | None
    logs: Mapping[str, LogFacts]
    next_index: int


@dataclass(frozen=True, slots=True)
class TableFacts:
    """The tables: the fence of each shard's progress. *by_key*: lanes are partition keys; the highest of them.

    Not *comparable*: the function is not ours, and notes no progress.
    """

    mark: Mark | None = None
    progress: Mapping[str, int] = field(default_factory=dict)
    by_key: bool = False
    comparable: bool = True


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """The checkpoints of the mapping; none where there is no file."""

    mark: Mark | None = None
    shards: Mapping[str, ShardCheckpoint] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """All three. ``stream`` is None where there is none; ``new_stream`` is the lowest number in one that is made now.

    ``noted`` is the home's own note of its mark; *settled*: all three carry it, false while they are being marked. ``accepted`` is up to where
    a person has accepted, of a shard, that the log is shorter than what was counted of it.
    """

    stream: StreamFacts | None
    tables: TableFacts
    checkpoints: CheckpointFacts
    settled: bool
    new_stream: int
    accepted: Mapping[str, int] = field(default_factory=dict)
    noted: Mark | None = None


class Verdict(Enum):
    """What a finding means for a start."""

    FINE = "fine"
    REWIND = "rewind"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to be said. ``checkpoint`` is what its shard's becomes; None: it stays.

    *forget*: the checkpoint of the shard goes, without a shard all of them. Of a refusal both hold once a person accepts
    it; a *final* one cannot be accepted. ``lost`` is what cannot be recovered. ``accepts`` goes to ``Facts.accepted``.
    """

    verdict: Verdict
    store: StoreName
    text: str
    shard_id: str | None = None
    checkpoint: ShardCheckpoint | None = None
    forget: bool = False
    final: bool = False
    lost: Gap | None = None
    accepts: int | None = None
