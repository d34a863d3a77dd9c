"""A server's way to keep batches: into a spool, those of all requests that wait together, with their keys, in one transaction.

So a key and its records are there both, or neither, whatever is killed in between: a batch that comes again is found, and
nothing of it is sent. Records gather the events of many requests: fewer and fuller ones than each would make by itself.
"""

from collections.abc import Sequence

from producers.collector.durable import Batch, KeyReused, Once
from producers.collector.sealing import seal
from producers.spool.commits import GroupCommit
from producers.spool.remembered import Remembered
from producers.spool.spool import Spool
from producers.spool.told import SpoolFull
from streamgage.errors import StreamgageError
from streamgage.shards import ShardMap

_LEAST_ROOM_BYTES = 1 << 20


class _Waiting:
    """A batch that waits to be written; ``known`` once it is found to have been taken before."""

    __slots__ = ("batch", "bytes", "done", "error", "known")

    def __init__(self, batch: Batch) -> None:
        self.batch, self.bytes = batch, batch.bytes
        self.done = self.known = False
        self.error: Exception | None = None


class SpoolDurable:
    """Keeps batches in *spool*, marked by its identity. Any thread; who comes first writes for all who wait by then.

    Records are gathered for *shards*; whoever carries the spool to the stream tells of others (``take_shards``).
    """

    def __init__(self, spool: Spool, shards: ShardMap, *, max_bytes: int, one_key_per_record: bool) -> None:
        self._shards = shards
        self._spool, self._max_bytes, self._one_key = spool, max_bytes, one_key_per_record
        self._commits = GroupCommit[_Waiting](self._write)

    def keep(self, batch: Batch) -> bool:
        """See ``Durable.keep``."""
        waiting = _Waiting(batch)
        self._commits.commit(waiting)
        return waiting.known

    def take_shards(self, shards: ShardMap) -> None:
        """Gather for *shards* from now on."""
        self._shards = shards

    def check(self) -> None:
        """See ``Durable.check``: with less room than the largest record takes, it says no."""
        stats = self._spool.stats
        if stats.bytes > self._max_bytes - _LEAST_ROOM_BYTES:
            raise SpoolFull(
                f"the spool has {stats.bytes:,} of {self._max_bytes:,} bytes: the stream takes nothing, or too little"
            )

    def _write(self, group: Sequence[_Waiting]) -> None:
        try:
            self._write_new(group)
        except StreamgageError as error:
            for each in group:
                each.error = each.error or _again(error)

    def _write_new(self, group: Sequence[_Waiting]) -> None:
        """Write those that are new. One that comes twice in *group* is written once, and the other one waits for it."""
        known = self._spool.recall([each.batch.once.key for each in group if each.batch.once is not None])
        fresh: list[_Waiting] = []
        twins: list[_Waiting] = []
        written: dict[bytes, bytes] = {}
        for each in group:
            once = each.batch.once
            if once is None:
                fresh.append(each)
            elif once.key in known:
                each.error = _unless_same(once, known[once.key])
                each.known = True
            elif once.key in written:
                each.error = _unless_same(once, written[once.key])
                twins.append(each)
            else:
                written[once.key] = once.content
                fresh.append(each)
        if fresh:
            self._append(fresh, [Remembered(*each) for each in written.items()])
        for each in twins:
            each.known = True

    def _append(self, fresh: Sequence[_Waiting], remembered: Sequence[Remembered]) -> None:
        identity = self._spool.identity
        before = identity.drawn()
        groups = [(source, events) for each in fresh for source, events in each.batch.events.items()]
        groups.sort(key=lambda each: each[0].name)  # of one source after each other: fewer turns
        try:
            entries = seal(groups, self._shards, identity.tags_for, one_key_per_record=self._one_key)
            self._spool.append([each.sealed for each in entries], remember=remembered)
        except SpoolFull:
            identity.put_back(before)  # nothing was taken: a gap among the marks would cost a range
            raise


def _unless_same(once: Once, content: bytes) -> KeyReused | None:
    if once.content == content:
        return None
    return KeyReused("the key is that of another batch, with other content: use a new one for each batch")


def _again(error: StreamgageError) -> Exception:
    """Return *error* for one of several threads: each raises one of its own."""
    return type(error)(*error.args)
