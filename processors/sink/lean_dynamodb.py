"""Items in DynamoDB, up to 25 conditional writes a request: PartiQL statements through the lean client.

BatchWriteItem takes no conditions, and a transaction costs twice; BatchExecuteStatement runs each statement on its own,
at the price of its own write. An item that must be absent is an INSERT, one whose fence is known an UPDATE. What the
engines answer, and what follows from it: docs/adr/0013-batched-statements.md.
"""

import json
import re
from binascii import b2a_base64
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.retry import Retries, may_pass
from processors.deadline import Deadline
from processors.sink.attributes import stored_item
from processors.sink.writes import WRITTEN, Moved, Outcome, Unsure, Write
from streamgage.errors import RetryableError
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.limits import DYNAMODB_BATCH_GET_KEYS

TARGET = "DynamoDB_20120810"
STATEMENTS = 25
"""The most statements a request takes.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html
"""
_REQUEST_BYTES = 1024 * 1024  # no limit is documented; far below 16 MB, BatchWriteItem's

# Every name is quoted: no word of DynamoDB's is taken for one of ours, nor the other way round. Only the table's name enters a statement, all else is a parameter:
# parameters do not count towards the 8,192 bytes of a statement, and need no quoting.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.update.html
_TABLE = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_INSERT = "INSERT INTO \"{}\" VALUE {{'pk':?,'sk':?,'fence':?,'counts':?,'body':?,'expires':?}}"
_UPDATE = 'UPDATE "{}" SET "fence"=? SET "counts"=? SET "body"=? SET "expires"=? WHERE "pk"=? AND "sk"=? AND "fence"=?'

_text = json.JSONEncoder().encode  # json.dumps of a text costs twice as much
_MOVED = frozenset({"ConditionalCheckFailed", "DuplicateItem"})


class LeanDynamoItemStore:
    """The ItemStore over a DynamoDB table with the key (pk, sk).

    *readers* is how many BatchGetItem it makes at a time, of one ``get``. A request whose answer was lost is sent again. Each of its writes that took effect meets its own fence then: Moved,
    with the very item that was written, in which the sink finds everything applied.
    """

    batch = STATEMENTS

    def __init__(self, client: AwsJsonClient, table: str, *, readers: int = 8) -> None:
        self._client, self._table, self._readers = client, table, readers
        self._put_head = f'{{"TableName":{json.dumps(table)},"ReturnValuesOnConditionCheckFailure":"ALL_OLD","Item":{{"pk":{{"S":'
        self._insert_head, self._update_head = (
            f'{{"Statement":{json.dumps(statement.format(table))},"ReturnValuesOnConditionCheckFailure":"ALL_OLD",'
            '"Parameters":[{"S":'
            for statement in (_INSERT, _UPDATE)
        )
        self._takes_statements = _TABLE.fullmatch(table) is not None  # an ARN is for PutItem only

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
        """Return those of *keys* that exist, read consistently; a hundred keys a request, in parallel."""
        each_once = list(dict.fromkeys(keys))
        chunks = [
            each_once[start : start + DYNAMODB_BATCH_GET_KEYS]
            for start in range(0, len(each_once), DYNAMODB_BATCH_GET_KEYS)
        ]
        if len(chunks) <= 1:
            return self._read_by(each_once, deadline) if chunks else {}
        reads = [self._pool.submit(self._read_by, chunk, deadline) for chunk in chunks]
        try:
            return {key: item for read in reads for key, item in read.result().items()}
        finally:  # what has failed is told when nothing is on its way any more, and what waits for its turn never begins
            for read in reads:
                read.cancel()
            wait(reads)

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:
        """Write each of *writes* on its own condition, and return what became of each, in their order.

        All requests and retries together end within the time of one call, and by *deadline*. Each key stands in *writes* once.

        Raises:
            ServiceError: a write was refused for good; others may have been made.
            ValueError: a key stands in *writes* twice.
        """
        if len({write.key for write in writes}) < len(writes):
            raise ValueError("two writes of one item cannot go together")
        done = _Sorted()
        try:
            self._put_many(writes, done, self._client.retries(deadline))
        except RetryableError as error:
            unsure = Unsure(str(error))
            return [done.outcomes.get(write.key, unsure) for write in writes]
        return [done.outcomes[write.key] for write in writes]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._readers, thread_name_prefix="read")

    def _put_many(self, writes: Sequence[Write], done: "_Sorted", retries: Retries) -> None:
        for request in self._requests(writes):
            left = request
            while left := self._execute(left, done, retries):
                retries.pause(f"{len(left)} of {len(request)} statements on {self._table} are throttled")
        for write in done.single:
            done.outcomes[write.key] = self._put_one(write, retries)
        if done.standing:
            found = self._read(done.standing, retries)
            done.outcomes.update({key: Moved(found.get(key)) for key in done.standing})

    def _execute(self, request: "_Request", done: "_Sorted", retries: Retries) -> "_Request":
        """Send *request*, and return what of it is to be sent again."""
        if self._takes_statements:
            body = '{"Statements":[' + ",".join([text for _, text in request]) + "]}"
            try:
                answer = json.loads(self._client.call("BatchExecuteStatement", body, retries))
            except ServiceError as error:
                if error.error not in {"UnknownOperationException", "ValidationException"}:
                    raise
                if error.error == "UnknownOperationException":
                    self._takes_statements = False  # an engine that knows no PartiQL: do not ask it again
            else:
                return done.sort(request, answer["Responses"])
        done.single += [write for write, _ in request]
        return []

    def _requests(self, writes: Sequence[Write]) -> Iterator["_Request"]:
        """Yield *writes* with their statements, cut into requests."""
        request: _Request = []
        size = 0
        for write in writes:
            text = self._statement(write)
            if request and (len(request) == STATEMENTS or size + len(text) > _REQUEST_BYTES):
                yield request
                request, size = [], 0
            request.append((write, text))
            size += len(text)
        if request:
            yield request

    def _statement(self, write: Write) -> str:
        key, item, expected_fence = write
        text = _text
        pk_sk = f'{text(key.pk)}}},{{"S":{text(key.sk)}}}'
        values = (
            f'"{item.fence}"}},{{"S":{text(item.counts)}}},{{"B":"{_base64(item.body)}"}},'
            f'{{"N":"{item.expires_s}"}}'
        )
        if expected_fence is None:
            return f'{self._insert_head}{pk_sk},{{"S":{values}]}}'
        return f'{self._update_head}{values},{{"S":{pk_sk},{{"S":"{expected_fence}"}}]}}'

    def _put_one(self, write: Write, retries: Retries) -> Outcome:
        key, item, expected_fence = write
        text = _text
        condition = (
            '"attribute_not_exists(pk)"'
            if expected_fence is None
            else f'"fence = :fence","ExpressionAttributeValues":{{":fence":{{"S":"{expected_fence}"}}}}'
        )
        body = (
            f'{self._put_head}{text(key.pk)}}},"sk":{{"S":{text(key.sk)}}},"fence":{{"S":"{item.fence}"}},'
            f'"counts":{{"S":{text(item.counts)}}},"body":{{"B":"{_base64(item.body)}"}},'
            f'"expires":{{"N":"{item.expires_s}"}}}},"ConditionExpression":{condition}}}'
        )
        try:
            self._client.call("PutItem", body, retries)
        except ServiceError as error:
            if error.error != "ConditionalCheckFailedException":
                raise
            old = error.answer.get("Item")
            return Moved(stored_item(old) if old else None)
        return WRITTEN

    def _read_by(self, keys: Sequence[ItemKey], deadline: Deadline) -> dict[ItemKey, StoredItem]:
        return self._read(keys, self._client.retries(deadline))

    def _read(self, keys: Sequence[ItemKey], retries: Retries) -> dict[ItemKey, StoredItem]:
        found: dict[ItemKey, StoredItem] = {}
        wanted: Any = {
            self._table: {
                "Keys": [{"pk": {"S": key.pk}, "sk": {"S": key.sk}} for key in keys],
                "ConsistentRead": True,
            }
        }
        while True:
            body = json.dumps({"RequestItems": wanted}, separators=(",", ":"))
            answer = json.loads(self._client.call("BatchGetItem", body, retries))
            for item in answer.get("Responses", {}).get(self._table, ()):
                found[ItemKey(item["pk"]["S"], item["sk"]["S"])] = stored_item(item)
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                return found
            retries.pause(f"BatchGetItem left keys unprocessed: table {self._table} is throttled")


_Request = list[tuple[Write, str]]
"""Writes, each with its statement."""


@dataclass(slots=True)
class _Sorted:
    """The writes of one put_many by what became of them."""

    outcomes: dict[ItemKey, Outcome] = field(default_factory=dict)
    standing: list[ItemKey] = field(default_factory=list)
    """Another fence stands there, and the answer did not tell which: an INSERT's never does."""
    single: list[Write] = field(default_factory=list)
    """What no statement could do."""

    def sort(self, request: _Request, responses: Sequence[Mapping[str, Any]]) -> _Request:
        """Take the *responses* to *request*, in its order; return what of it is to be sent again."""
        if len(responses) != len(request):
            raise RetryableError(f"{len(request)} statements got {len(responses)} answers")
        again = []
        for each, response in zip(request, responses, strict=True):
            key, error = each[0].key, response.get("Error")
            code = error["Code"] if error else ""
            if not error:
                self.outcomes[key] = WRITTEN
            elif may_pass(code):
                again.append(each)
            elif code == "ValidationError":
                self.single.append(each[0])  # PutItem tells whether it is the item or the statement
            elif code not in _MOVED:
                raise _refusal(key, error)
            elif old := error.get("Item"):
                self.outcomes[key] = Moved(stored_item(old))
            else:
                self.standing.append(key)
        return again


def _refusal(key: ItemKey, error: Mapping[str, Any]) -> ServiceError:
    call = f"{TARGET} BatchExecuteStatement of {key.pk} {key.sk}"
    return ServiceError(call, status=400, error=error["Code"], answer={"message": error.get("Message")})


def _base64(body: bytes) -> str:
    return b2a_base64(body, newline=False).decode("ascii")
