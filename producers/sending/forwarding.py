"""A producer's spool: what is sealed goes to the disk, and from there to the stream, by a core of its own."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from producers.client.core import ProducerCore
from producers.client.patience import within
from producers.client.ports import KinesisPort
from producers.client.settings import CoreConfig
from producers.clock import Clock
from producers.spool import Forwarder, Spool
from streamgage.errors import RetryableError
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.shards import Shard, ShardMap

_LOOK_MS = 20
_UNKNOWN = ShardMap([Shard("shardId-unknown", 0, KINESIS_HASH_KEYS - 1)])


def shards_or_unknown(port: KinesisPort, *, waits: bool) -> ShardMap:
    """Return the shards of the stream; where it does not answer, one for all: what is stored tells, and they are listed.

    Unless it *waits*, one that is silent is given START_S: who has a spool accepts meanwhile.

    Until then records gather keys of several shards. streamgage counts them where they come to lie.

    Raises: ConfigError, no such stream, or no right to it.
    """
    try:
        return ShardMap(port.list_shards() if waits else within(port.list_shards))
    except RetryableError:
        return _UNKNOWN


class Forwarding:
    """Carries a spool to the stream, once ``start`` was called. A spool that is given as a file is closed by ``stop``."""

    def __init__(
        self,
        spool: Spool | str | os.PathLike[str],
        port: KinesisPort,
        *,
        config: CoreConfig,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """Open the spool. Raises: ConfigError, as ``Spool.open`` does, or as ``shards_or_unknown``."""
        self.shards = shards_or_unknown(port, waits=not config.in_background)
        self._is_mine = not isinstance(spool, Spool)
        self.spool = spool if isinstance(spool, Spool) else Spool.open(Path(spool))
        self._clock, self._in_background = clock, config.in_background
        self.core = ProducerCore(port, clock=clock, rng=rng, config=config, shards=self.shards)
        self.forwarder = Forwarder(self.spool, self.core, clock=clock, rng=rng)

    @property
    def waiting_for(self) -> str | None:
        """Why nothing is forwarded just now; None where something is."""
        return self.forwarder.waiting_for

    def start(self, on_shards: Callable[[ShardMap], None]) -> None:
        """Forward, on a thread of its own where that is wanted; *on_shards* is told there of shards that changed."""
        self.core.on_shards(on_shards)
        if self._in_background:
            self.forwarder.start()

    def is_done(self, timeout_s: float | None) -> bool:
        """Return True once the spool is empty; False where it is not in time.

        Raises: SpoolError; what ended the forwarder before its time: waiting longer is of no use.
        """
        until_ms = None if timeout_s is None else self._clock.now_ms() + int(timeout_s * 1000)
        while self.spool.stats.records:
            self.forwarder.check()
            if until_ms is not None and self._clock.now_ms() >= until_ms:
                return False
            self._clock.sleep_ms(_LOOK_MS)
        return True

    def stop(self) -> None:
        """Forward no more: what is in the spool stays there for the next."""
        self.forwarder.stop()
        self.core.close()
        if self._is_mine:
            self.spool.close()
