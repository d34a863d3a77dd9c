"""Kinesis by boto3: the adapter of the producer's port, and the way to a producer."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from producers.client.batcher import PutEntry
from producers.client.identity import Identity
from producers.client.ports import PutFailed, PutResult, PutStored, Throttled
from producers.client.producer import Producer, ProducerConfig
from producers.clock import MonotonicClock
from streamgage.errors import ConfigError, RetryableError, StreamgageError, without_password
from streamgage.shards import Shard, decode_shard

# Of a whole request. What else answers with a status below 500 is for a person to mend.
THROTTLED_CODES = {
    "KMSThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_PASSING_CODES = {
    "ExpiredNextTokenException",
    "InternalFailureException",
    "RequestTimeout",
    "ResourceInUseException",
}


class BotoKinesis:
    """One stream, through a boto3 client; safe for several threads.

    A request that timed out, or whose answer was lost, may have been stored: it raises RetryableError all the same.
    """

    def __init__(self, client: Any, stream_name: str) -> None:
        self._client = client
        self._stream_name = stream_name

    def list_shards(self) -> Sequence[Shard]:
        """Return every shard that the stream still lists, closed ones too."""
        shards: list[Shard] = []
        request = {"StreamName": self._stream_name}
        while True:
            answer = self._call(self._client.list_shards, **request)
            shards += map(decode_shard, answer.get("Shards", ()))
            if not answer.get("NextToken"):
                return shards
            request = {"NextToken": answer["NextToken"]}  # the API takes no stream name beside it

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Put *entries* in one request; see KinesisPort."""
        records = [_encode_entry(entry) for entry in entries]
        answer = self._call(self._client.put_records, StreamName=self._stream_name, Records=records)
        items = answer.get("Records", ())  # botocore takes a proxy's page with status 200 for an empty answer
        if len(items) != len(entries):
            raise RetryableError(
                f"put_records on stream {self._stream_name}: {len(items)} results for {len(entries)} records"
            )
        return [_decode_result(item) for item in items]

    def _call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        what = f"{operation.__name__} on stream {self._stream_name}"
        try:
            return operation(**arguments)
        except ClientError as error:
            raise _classify(error, what) from error
        except (BotoConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError) as error:
            raise RetryableError(f"{what}: {without_password(str(error))}") from error
        except BotoCoreError as error:  # no credentials, no region, a parameter that botocore refuses
            raise ConfigError(f"{what}: {error}") from error


def connect(
    stream_name: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    credentials: tuple[str, str] | None = None,
    config: ProducerConfig | None = None,
) -> Producer:
    """Return a producer for the stream, on AWS or at *endpoint_url*, with an identity of its own.

    *credentials* are an access key and its secret; without them they are found as boto3 finds them.

    Raises: as ``Producer`` does.
    """
    config, rng = config or ProducerConfig(), random.SystemRandom()
    access_key, secret_key = credentials or (None, None)
    try:
        client = boto3.client(
            "kinesis",
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=client_config(config.concurrency),
        )
    except (BotoCoreError, ValueError) as error:  # no region; an endpoint that is no URL
        raise ConfigError(
            f"no Kinesis client for stream {stream_name}: {without_password(str(error))}"
        ) from error
    return Producer(
        BotoKinesis(client, stream_name),
        clock=MonotonicClock(),
        rng=rng,
        config=config,
        tags_for=Identity(rng).tags_for,
    )


def client_config(concurrency: int) -> Config:
    """Return how boto3 is to behave below a producer.

    No retries of its own: they would send stored entries again, out of order, and hide throttling. Ours try only what
    failed. Parameters are not validated: the batcher has, and it would be a fifth of the CPU of a request of 500 records.
    """
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=5,
        read_timeout=20,
        max_pool_connections=concurrency,
        parameter_validation=False,
        tcp_keepalive=True,
    )


def _encode_entry(entry: PutEntry) -> dict[str, Any]:
    record = {"Data": entry.data, "PartitionKey": entry.partition_key}
    if entry.explicit_hash_key is not None:
        record["ExplicitHashKey"] = str(entry.explicit_hash_key)
    return record


def _decode_result(item: Mapping[str, Any]) -> PutResult:
    if item.get("ErrorCode") or not (item.get("ShardId") and item.get("SequenceNumber")):
        return PutFailed(item.get("ErrorCode", "NoSequenceNumber"), item.get("ErrorMessage", ""))
    return PutStored(item["ShardId"], int(item["SequenceNumber"]))


def _classify(error: ClientError, what: str) -> StreamgageError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = f"{what}: {error}"
    if code in THROTTLED_CODES or status == 429:
        return Throttled(message)
    if code in _PASSING_CODES or status >= 500:
        return RetryableError(message)
    return ConfigError(message)
