"""Kinesis by boto3: the adapter of the producer's port, and the way to a producer."""

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from producers.client.core import ProducerCore
from producers.client.distribution import check_distribution
from producers.client.entry import PutEntry
from producers.client.failures import CALL_ERRORS, classify
from producers.client.forks import renew_in_children
from producers.client.identity import Identity
from producers.client.ports import CredentialsRefused, PutResult
from producers.client.refusals import THROTTLED_CODES
from producers.client.results import results_of
from producers.client.settings import CoreConfig
from producers.client.sockets import OwnSockets
from producers.clock import MonotonicClock
from streamgage.errors import ConfigError, without_password
from streamgage.shards import Shard, decode_shard

__all__ = ["THROTTLED_CODES", "BotoKinesis", "client_config", "connect", "open_boto"]


class BotoKinesis:
    """One stream, through a boto3 client; safe for several threads.

    A request that timed out, or whose answer was lost, may have been stored: it raises RetryableError all the same.

    *make_client* makes another, that looks for credentials anew: where they were refused, and in a forked child, which
    must not share its parent's connections.
    """

    def __init__(
        self, client: Any, stream_name: str, *, make_client: Callable[[], Any] | None = None
    ) -> None:
        self._client = client
        self._stream_name = stream_name
        self._make_client = make_client
        self._worked = False
        self._stale = False  # whether another client is to be made
        self._lock = threading.Lock()
        self._sockets: OwnSockets | None = None
        if make_client is not None:
            self._sockets = OwnSockets(client)
            renew_in_children(self)

    def renew_in_child(self) -> None:
        """Have connections of its own, in a forked child: the client is made when it is needed, if ever."""
        self._lock, self._stale = threading.Lock(), True
        if self._sockets is not None:
            self._sockets.close_copies()

    def _fresh_client(self) -> Any:
        """Return the client, or a new one; calls that are under way end with the old one."""
        with self._lock:
            if self._stale and self._make_client is not None:
                client = self._make_client()
                self._sockets, self._client = OwnSockets(client), client
            self._stale = False
            return self._client

    def list_shards(self) -> Sequence[Shard]:
        """Return every shard that the stream still lists, closed ones too."""
        shards: list[Shard] = []
        request = {"StreamName": self._stream_name}
        while True:
            answer = self._call("list_shards", **request)
            shards += map(decode_shard, answer.get("Shards", ()))
            if not answer.get("NextToken"):
                return shards
            request = {"NextToken": answer["NextToken"]}  # the API takes no stream name beside it

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Put *entries* in one request; see KinesisPort."""
        records = [_encode_entry(entry) for entry in entries]
        answer = self._call("put_records", StreamName=self._stream_name, Records=records)
        return results_of(answer, len(entries), self._stream_name)

    def describe(self) -> Mapping[str, Any]:
        """Return what DescribeStreamSummary answers."""
        answer: Mapping[str, Any] = self._call("describe_stream_summary", StreamName=self._stream_name)
        return answer

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _call(self, operation: str, **arguments: Any) -> Any:
        what = f"{operation} on stream {self._stream_name}"
        try:
            answer = getattr(self._fresh_client(), operation)(**arguments)
        except CALL_ERRORS as error:
            meaning = classify(error, what, worked=self._worked)
            if meaning is None:
                raise
            self._stale |= isinstance(meaning, CredentialsRefused)
            raise meaning from error
        self._worked = True
        return answer


def connect(
    stream_name: str,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    credentials: tuple[str, ...] | None = None,
    config: CoreConfig | None = None,
) -> ProducerCore:
    """Return a producer for the stream, on AWS or at *endpoint_url*, with an identity of its own.

    Raises: as ``open_boto`` and ``ProducerCore`` do.
    """
    config, rng = config or CoreConfig(), random.SystemRandom()
    port = open_boto(
        stream_name,
        endpoint_url=endpoint_url,
        region=region,
        credentials=credentials,
        concurrency=config.concurrency,
    )
    producer = ProducerCore(
        port, clock=MonotonicClock(), rng=rng, config=config, tags_for=Identity(rng).tags_for
    )
    check_distribution(stream_name, port.describe)
    return producer


def open_boto(
    stream_name: str,
    *,
    endpoint_url: str | None,
    region: str | None,
    credentials: tuple[str, ...] | None,
    concurrency: int,
) -> BotoKinesis:
    """Return the stream, on AWS or at *endpoint_url*.

    *credentials* are an access key, its secret, and the session token if it has one; without them they are found as boto3
    finds them.

    Raises:
        ConfigError: no region, an endpoint that is none, or a stream that ignores partition keys.
    """
    access_key, secret_key, token = (*(credentials or ()), None, None, None)[:3]

    def make_client() -> Any:
        # A session of its own: boto3's remembers the credentials that it found.
        return boto3.Session().client(
            "kinesis",
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=client_config(concurrency),
        )

    try:
        client = make_client()
    except (BotoCoreError, ValueError) as error:  # no region; an endpoint that is no URL
        raise ConfigError(
            f"no Kinesis client for stream {stream_name}: {without_password(str(error))}"
        ) from error
    return BotoKinesis(client, stream_name, make_client=make_client)


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
