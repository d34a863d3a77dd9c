"""A table's stream, by any client of DynamoDB Streams: from its end on, whatever becomes of it."""

from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.changes.event import Record

_RECORDS = 1_000


class StreamReader:
    """Reads the stream of *table* by boto3's clients *tables* and *streams*. What cannot be read is said once, by *say*.

    A stream that is another now, was trimmed, or cannot be told from a damaged one, is begun anew at its end. Not thread-safe.
    """

    def __init__(self, tables: Any, streams: Any, table: str, *, say: Callable[[str], None]) -> None:
        self._tables, self._streams, self._table, self._say = tables, streams, table, say
        self._arn, self._iterator = "", ""
        self._told = ""

    @property
    def stream_arn(self) -> str:
        """The stream that was read last."""
        return self._arn

    @property
    def is_reading(self) -> bool:
        """Whether what is written from now on will be read."""
        return bool(self._iterator)

    def read(self) -> Sequence[Record]:
        """Return what has come since; nothing where it cannot be read just now."""
        try:
            if not self._iterator:
                self._begin("LATEST")
            answer = self._streams.get_records(ShardIterator=self._iterator, Limit=_RECORDS)
            self._iterator = answer.get("NextShardIterator") or ""
            if not self._iterator:  # the shard was closed, and another goes on
                self._begin("TRIM_HORIZON")
        except ClientError as error:
            self._iterator = ""
            self._tell(f"the stream of {self._table} is read anew from its end: {error}")
            return []
        except (BotoCoreError, LookupError) as error:  # the tables are about to come again
            self._tell(f"the stream of {self._table} cannot be read: {error}")
            return []
        self._told = ""
        found: Sequence[Record] = answer["Records"]
        return found

    def _begin(self, kind: str) -> None:
        described = self._tables.describe_table(TableName=self._table)["Table"]
        self._arn = described["LatestStreamArn"]
        shards = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        asked = {"StreamArn": self._arn, "ShardId": shards[-1]["ShardId"], "ShardIteratorType": kind}
        self._iterator = self._streams.get_shard_iterator(**asked)["ShardIterator"]

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._say(text)
