"""A function's way to keep batches: into the stream itself, under marks that were noted beforehand where the batch has a key.

A key's item holds the content's hash and the marks, written before anything is sent, and by nobody twice (a conditional put, one
write unit). Whoever sends the batch again, after a crash or beside us, seals it by those marks to the same records, and
the consumer drops the copy: docs/adr/0046.
"""

import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.ports import KinesisPort, PutFailed
from producers.clock import Clock
from producers.collector.durable import Batch, KeyReused, Once
from producers.collector.message import Refused
from producers.collector.sealing import Note, seal, seal_again, seal_first
from streamgage.errors import RetryableError, StreamgageError
from streamgage.limits import PUT_RECORDS_BYTES, PUT_RECORDS_ENTRIES
from streamgage.shards import Shard, ShardMap

KEPT_S = 48 * 3600
_REQUEST_BYTES = PUT_RECORDS_BYTES // 2
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 50, 2_000
_SHARDS_MS = 60_000
_LARGEST_NOTE_BYTES = 390_000  # in an item of 400 KB
_GAPS = 16  # runs of marks that may never be stored; a lane remembers 32 ranges of an identity, and forgets the lowest


class Noted(NamedTuple):
    """What stands under a key: the content's hash, in hex, and the note of how it was sealed."""

    content: str
    note: str


class Notes(Protocol):
    """Where keys are remembered."""

    def put_first(self, key: str, noted: Noted, *, expires_s: int) -> Noted | None:
        """Write *noted* under *key* and return None; or return what stands there already, and write nothing.

        Raises: RetryableError: it may have been written all the same.
        """


class NotStored(RetryableError):
    """Records that were not stored in time, or nobody knows: send the batch again. ``gaps`` is how many runs of marks they are."""

    def __init__(self, message: str, gaps: int) -> None:
        self.gaps = gaps
        super().__init__(message)


class StreamDurable:
    """Keeps batches in the stream of *port*, one at a time, as a sandbox gets them.

    The identity is drawn with the first batch, never before: a sandbox of SnapStart begins as a copy of others, and two that
    used the same marks would each have the other's events dropped. ``left_ms`` says how long a batch may take.
    """

    def __init__(
        self,
        port: KinesisPort,
        notes: Notes,
        *,
        clock: Clock,
        left_ms: Callable[[], int],
        rng: random.Random,
        one_key_per_record: bool = False,
    ) -> None:
        self._port, self._notes, self._clock, self._left_ms = port, notes, clock, left_ms
        self._rng, self._one_key = rng, one_key_per_record
        self._identity: Identity | None = None
        self._gaps = 0
        self._shards: tuple[Sequence[Shard], int] | None = None

    def keep(self, batch: Batch) -> bool:
        """See ``Durable.keep``."""
        try:
            return self._keep(batch)
        except (KeyReused, Refused):
            raise  # its marks were put back
        except (
            StreamgageError
        ) as error:  # the stream may not have taken all of its marks, whatever went wrong
            self._gaps += error.gaps if isinstance(error, NotStored) else 1
            if self._gaps >= _GAPS:
                self._identity, self._gaps = None, 0
            raise

    def _keep(self, batch: Batch) -> bool:
        identity = self._identity = self._identity or Identity(self._rng)
        groups = list(batch.events.items())
        shards = self._open_shards()
        if batch.once is None:
            self._send(seal(groups, ShardMap(shards), identity.tags_for, one_key_per_record=self._one_key))
            return False
        drawn = identity.drawn()
        entries, note = seal_first(groups, shards, identity.tags_for, one_key_per_record=self._one_key)
        try:
            found = self._note(batch.once, note)
        except (KeyReused, Refused):
            identity.put_back(drawn)  # not used, and nobody noted it: a gap among marks costs a lane a range
            raise
        if found is not None:
            identity.put_back(drawn)
            entries = seal_again(groups, found, one_key_per_record=self._one_key)
        self._send(entries)
        return found is not None

    def check(self) -> None:
        """See ``Durable.check``."""
        self._shards = None
        self._open_shards()

    def _note(self, once: Once, note: Note) -> Note | None:
        """Note how the batch was sealed; return the note that was there before. Raises: KeyReused, Refused, RetryableError."""
        key, mine = urlsafe_b64encode(once.key).decode(), Noted(once.content.hex(), note.encode())
        if (
            len(mine.note) > _LARGEST_NOTE_BYTES
        ):  # DynamoDB would refuse it for ever, and the client send it as long
            raise Refused(
                413, "the batch has too many partition keys to be known by its key: send smaller ones"
            )
        found = self._notes.put_first(key, mine, expires_s=self._clock.now_ms() // 1000 + KEPT_S)
        if found is None or found == mine:  # mine: an answer that was lost, and the call made again
            return None
        if found.content != mine.content:
            raise KeyReused(
                "the key is that of another batch, with other content: use a new one for each batch"
            )
        return Note.decode(found.note)

    def _open_shards(self) -> Sequence[Shard]:
        now_ms = self._clock.now_ms()
        if self._shards is None or now_ms >= self._shards[1]:
            self._shards = self._port.list_shards(), now_ms + _SHARDS_MS
        return self._shards[0]

    def _send(self, entries: Sequence[PutEntry]) -> None:
        """Return once all are stored. Raises: NotStored, by the deadline they were not, or nobody knows."""
        until_ms = self._clock.now_ms() + self._left_ms()
        pause_ms, waiting, why = _FIRST_PAUSE_MS, list(entries), "there was no time"
        while self._clock.now_ms() < until_ms:
            request = _request(waiting)
            try:
                results = self._port.put_records(request)
            except RetryableError as error:
                left, why = request, str(error)
            else:
                left = [
                    each
                    for each, result in zip(request, results, strict=True)
                    if isinstance(result, PutFailed)
                ]
                why = next(
                    (f"{each.code}: {each.message}" for each in results if isinstance(each, PutFailed)), why
                )
            waiting = left + waiting[len(request) :]
            if not waiting:
                return
            if left:
                self._shards = None  # it may have been resharded: the next batch lists them
                self._clock.sleep_ms(
                    min(int(pause_ms * (0.5 + self._rng.random())), max(until_ms - self._clock.now_ms(), 0))
                )
                pause_ms = min(2 * pause_ms, _LONGEST_PAUSE_MS)
        left_out = {id(each) for each in waiting}
        gaps = sum(is_out for is_out, _ in groupby(entries, lambda each: id(each) in left_out))
        raise NotStored(f"{len(waiting)} records were not stored in time: {why}", gaps)


def _request(entries: Sequence[PutEntry]) -> list[PutEntry]:
    """Return the first of *entries*, at least one, that one PutRecords takes."""
    size_bytes, taken = 0, list[PutEntry]()
    for each in entries[:PUT_RECORDS_ENTRIES]:
        size_bytes += each.size_bytes
        if taken and size_bytes > _REQUEST_BYTES:
            break
        taken.append(each)
    return taken


class DynamoDbNotes:
    """Notes in a DynamoDB table with the key ``id``, and TTL by ``expires``: a conditional put is its one write.

    *call* sends an operation with its request, as JSON, and returns the answer; a ServiceError has ``error`` and ``answer``.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html,
    ReturnValuesOnConditionCheckFailure: what stands there comes with the refusal, and no read is paid (checked 2026-11-29).
    """

    def __init__(self, call: Callable[[str, str], Any], table: str) -> None:
        self._call, self._table = call, table

    def put_first(self, key: str, noted: Noted, *, expires_s: int) -> Noted | None:
        """See ``Notes.put_first``."""
        from processors.awsjson.client import ServiceError  # noqa: PLC0415 - of whoever has a table

        item = {
            "id": {"S": key},
            "content": {"S": noted.content},
            "note": {"S": noted.note},
            "expires": {"N": str(expires_s)},
        }
        request = {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(id)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        try:
            self._call("PutItem", json.dumps(request))
        except ServiceError as error:
            if error.error != "ConditionalCheckFailedException":
                raise RetryableError(f"the table of keys: {error}") from error
            there = error.answer.get("Item")
            if not there:
                raise RetryableError(
                    "the table of keys refused a key, and did not say what stands there"
                ) from error
            return Noted(there["content"]["S"], there["note"]["S"])
        return None
