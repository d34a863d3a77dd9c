"""The quarantine in an SQS queue: a message for each user record, or one that says in which object of S3 they are."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from processors.awsjson.client import AwsJsonClient
from processors.deadline import Deadline
from streamgage.errors import RetryableError, StreamgageError
from streamgage.limits import SQS_BATCH_BYTES, SQS_BATCH_ENTRIES
from streamgage.reading.poison import Poison

TARGET = "AmazonSQS"
MAX_MESSAGES = 200  # of one batch: 20 calls, a few at a time; beyond them, all of it is one object
_CALLS_AT_A_TIME = 8


class ObjectStore(Protocol):
    """Where objects go."""

    @property
    def bucket(self) -> str:
        """The bucket they are in."""

    def put(self, key: str, body: bytes, *, content_type: str, deadline: Deadline) -> None:
        """Write the object *key* by *deadline*, over the one that stands there.

        Raises:
            RetryableError: it may or may not have been written.
        """


class LeanQuarantine:
    """A quarantine in an SQS queue and a bucket. *client* is one of SQS; *objects* gives the bucket, once it is needed.

    What is larger than a message, and all of it where it is more than MAX_MESSAGES, is one object, written before the
    message that points to it. A message whose answer was lost may be there twice.
    """

    def __init__(self, client: AwsJsonClient, queue_url: str, *, objects: Callable[[], ObjectStore]) -> None:
        self._client, self._queue_url = client, queue_url
        self._make_objects = objects
        self._objects: ObjectStore | None = None

    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:
        """Keep each of *poison*, of one shard and in the order of the log, by *deadline*.

        Raises:
            RetryableError: some of it may not be kept.
            ServiceError, ConfigError: the queue or the bucket refuses for good: a mistake in the wiring.
        """
        if not poison:
            return
        try:
            _check(deadline)
            messages = self._messages(poison, deadline)
            self._send_all(list(message_batches(messages)), deadline)
        except RetryableError as error:
            raise RetryableError(
                f"{len(poison)} poison records are not all in the quarantine: {error}"
            ) from error

    def _messages(self, poison: Sequence[Poison], deadline: Deadline) -> list[str]:
        # Here and not above: nearly no batch has poison, and each cold start would load it.
        from processors.quarantine.message import MESSAGE_BYTES, encode_poison  # noqa: PLC0415 - docs/adr/0011

        if len(poison) > MAX_MESSAGES:
            return [self._keep_in_bulk(poison, deadline)]
        encoded = [(each, encode_poison(each, deflate=True)) for each in poison]
        messages = [message for _, message in encoded if len(message) <= MESSAGE_BYTES]
        large = [each for each, message in encoded if len(message) > MESSAGE_BYTES]
        return [*messages, self._keep_in_bulk(large, deadline)] if large else messages

    def _keep_in_bulk(self, poison: Sequence[Poison], deadline: Deadline) -> str:
        """Write *poison* as one object, and return the message that points to it."""
        from processors.quarantine.bulk import CONTENT_TYPE, encode_bulk  # noqa: PLC0415 - docs/adr/0011
        from processors.quarantine.message import encode_reference  # noqa: PLC0415 - docs/adr/0011

        if self._objects is None:
            self._objects = self._make_objects()
        bulk = encode_bulk(poison)
        _check(deadline)
        self._objects.put(bulk.key, bulk.body, content_type=CONTENT_TYPE, deadline=deadline)
        return encode_reference(self._objects.bucket, bulk.key, poison)

    def _send_all(self, batches: Sequence[list[str]], deadline: Deadline) -> None:
        """Send *batches*, a few at a time; after the first failure begin no other. All threads have ended on return."""
        if len(batches) == 1:
            self._send_batch(batches[0], deadline)
            return
        failures: list[StreamgageError] = []

        def send(batch: list[str]) -> None:
            if not failures:
                try:
                    self._send_batch(batch, deadline)
                except StreamgageError as error:
                    failures.append(error)

        with ThreadPoolExecutor(min(len(batches), _CALLS_AT_A_TIME)) as pool:
            list(pool.map(send, batches))  # what is not an error of ours is raised by it
        if failures:
            raise next((each for each in failures if not isinstance(each, RetryableError)), failures[0])

    def _send_batch(self, messages: list[str], deadline: Deadline) -> None:
        left = {str(number): message for number, message in enumerate(messages)}
        retries = self._client.retries(deadline)
        while True:
            entries = [{"Id": number, "MessageBody": message} for number, message in left.items()]
            body = json.dumps({"QueueUrl": self._queue_url, "Entries": entries})
            failed = json.loads(self._client.call("SendMessageBatch", body, retries)).get("Failed")
            if not failed:
                return
            left = {each["Id"]: left[each["Id"]] for each in failed}
            reason = failed[0].get("Message") or failed[0].get("Code", "")
            retries.pause(f"the queue did not take {len(left)} messages: {reason}")


def _check(deadline: Deadline) -> None:
    if deadline.has_passed:
        raise RetryableError("no time left in this invocation")


def message_batches(messages: Iterable[str]) -> Iterator[list[str]]:
    """Yield *messages*, each of ASCII, in batches that SendMessageBatch takes."""
    batch: list[str] = []
    size_bytes = 0
    for message in messages:
        if batch and (len(batch) == SQS_BATCH_ENTRIES or size_bytes + len(message) > SQS_BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(message)
        size_bytes += len(message)
    if batch:
        yield batch
