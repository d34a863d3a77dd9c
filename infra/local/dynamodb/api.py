"""The operations of the API by name: from a request's body to the answer's. No HTTP and no threads here."""

import sys
import traceback
from collections.abc import Callable

from infra.local.dynamodb.batches import BatchActions
from infra.local.dynamodb.control import ControlActions
from infra.local.dynamodb.errors import DynamoError
from infra.local.dynamodb.items import ItemActions
from infra.local.dynamodb.queries import QueryActions
from infra.local.dynamodb.requests import Request, decode, encode_text
from infra.local.dynamodb.statements import StatementActions
from infra.local.dynamodb.store import Store, is_storage_error
from infra.local.dynamodb.streams import TARGET as STREAMS_TARGET
from infra.local.dynamodb.streams import StreamActions

TARGET = "DynamoDB_20120810"
REGION, ACCOUNT = "eu-central-1", "000000000000"


class DynamoApi:
    """Every operation on one store; safe to share between threads."""

    def __init__(
        self, store: Store, *, clock_ms: Callable[[], int], region: str = REGION, account: str = ACCOUNT
    ) -> None:
        self.store = store
        items, batches, queries = ItemActions(store), BatchActions(store), QueryActions(store)
        control = ControlActions(store, clock_ms=clock_ms, region=region, account=account)
        statements = StatementActions(store)
        streams = StreamActions(store, clock_ms=clock_ms, region=region, account=account)
        self._operations: dict[str, Callable[[Request], bytes]] = {
            "BatchExecuteStatement": statements.batch_execute_statement,
            "BatchGetItem": batches.batch_get_item,
            "BatchWriteItem": batches.batch_write_item,
            "CreateTable": control.create_table,
            "DeleteItem": items.delete_item,
            "DeleteTable": control.delete_table,
            "DescribeContinuousBackups": control.describe_continuous_backups,
            "DescribeTable": control.describe_table,
            "DescribeTimeToLive": control.describe_time_to_live,
            "ExecuteStatement": statements.execute_statement,
            "GetItem": items.get_item,
            "ListTables": control.list_tables,
            "PutItem": items.put_item,
            "Query": queries.query,
            "Scan": queries.scan,
            "UpdateItem": items.update_item,
            "UpdateTable": control.update_table,
            "UpdateTimeToLive": control.update_time_to_live,
        }
        self._of_streams: dict[str, Callable[[Request], bytes]] = {
            "DescribeStream": streams.describe_stream,
            "GetRecords": streams.get_records,
            "GetShardIterator": streams.get_shard_iterator,
            "ListStreams": streams.list_streams,
        }

    def handle(self, target: str, body: bytes) -> tuple[int, bytes]:
        """Answer a request: *target* is its X-Amz-Target. Returns: the HTTP status, and the answer's body."""
        try:
            return 200, self._run(target, body)
        except DynamoError as error:
            return error.status, encode_error(error)
        except Exception as error:  # noqa: BLE001 - the process outlives a bug in one request
            traceback.print_exc(file=sys.stderr)
            told = str(error) if is_storage_error(error) else f"{type(error).__name__} in {target}"
            failure = DynamoError("InternalServerError", told)
            return failure.status, encode_error(failure)

    def health(self) -> dict[str, object]:
        """Tell which store this is, and the tables in it."""
        identity = self.store.identity
        return {
            "tables": self.store.names(),
            "identity": identity.identity,
            "created_ms": identity.created_ms,
        }

    def _run(self, target: str, body: bytes) -> bytes:
        prefix, _, operation = target.rpartition(".")
        operations = {"": self._operations, TARGET: self._operations, STREAMS_TARGET: self._of_streams}
        found = operations.get(prefix, {}).get(operation)
        if found is None:
            raise DynamoError(
                "UnknownOperationException", f"{target or 'no target'} is not an operation of this engine"
            )
        return found(decode(body))


def encode_error(error: DynamoError) -> bytes:
    """Return the body of an answer that is an error."""
    item = f',"Item":{error.item}' if error.item else ""
    told = encode_text({"__type": error.wire_type, "message": error.message})
    return f"{told[:-1]}{item}}}".encode("ascii")
