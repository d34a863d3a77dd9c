"""The ways to a stream: boto3, or our own lean client. Each is imported when it is used."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from producers.client.entry import PutEntry
from producers.client.ports import PutResult
from streamgage.errors import ConfigError
from streamgage.shards import Shard

Transport = Literal["boto3", "lean"]


class Stream(Protocol):
    """A KinesisPort that also describes its stream."""

    def list_shards(self) -> Sequence[Shard]:
        """As KinesisPort does."""

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """As KinesisPort does."""

    def describe(self) -> Mapping[str, Any]:
        """Return what DescribeStreamSummary answers."""

    def close(self) -> None:
        """Close its connections: nothing more is asked for."""


def open_stream(
    transport: Transport,
    stream_name: str,
    *,
    region: str | None,
    endpoint_url: str | None,
    credentials: tuple[str, ...] | None,
    concurrency: int,
) -> Stream:
    """Return the way to a stream. Raises: ConfigError."""
    if credentials is not None and not 2 <= len(credentials) <= 3:
        raise ConfigError("credentials are an access key, its secret, and the session token if there is one")
    if transport == "lean":
        from producers.client.lean import LeanKinesis  # noqa: PLC0415 - see the module

        return LeanKinesis(stream_name, region=region, endpoint_url=endpoint_url, credentials=credentials)
    if transport != "boto3":
        raise ConfigError(f"transport is {transport!r}, neither 'boto3' nor 'lean'")
    try:
        from producers.client.kinesis import open_boto  # noqa: PLC0415 - see the module
    except ImportError as error:
        raise ConfigError(
            "boto3 is not installed: pip install 'streamgage[send]', or transport=\"lean\", which needs nothing"
        ) from error
    return open_boto(
        stream_name,
        region=region,
        endpoint_url=endpoint_url,
        credentials=credentials,
        concurrency=concurrency,
    )
