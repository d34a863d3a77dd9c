"""What a producer meets at the stack that runs here: does Kinesis take a record, and is it applied?"""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.health import PROBE_KEY, Finding, Health, probe, round_trip
from infra.local.stack.clients import watching_client
from infra.local.stack.home import Home, StackInfo
from processors.query.cells import DynamoPartialStore
from processors.query.progress import read_progress
from producers.clock import Clock
from streamgage.errors import ConfigError


def examine_as_producer(home: Home, clock: Clock, *, wait_s: float) -> Iterator[Finding]:
    """Yield what a producer meets; nothing where no stack runs in *home*. What is sent counts nowhere.

    The record that goes the whole way is waited for *wait_s* at most.
    """
    try:
        info = home.info()
    except ConfigError:
        return
    try:
        client = watching_client("kinesis", info.endpoints["kinesis"], info.credentials)
        summary = client.describe_stream_summary(StreamName=info.stream)["StreamDescriptionSummary"]
        yield Finding(
            "stream",
            Health.GOOD,
            f"{info.stream} is {summary['StreamStatus']}, {summary['OpenShardCount']} open shards",
        )
        yield _round_trip(info, client, clock, wait_s)
    except (BotoCoreError, ClientError, ConfigError) as error:
        yield Finding(
            "stream",
            Health.BAD,
            f"it does not answer a producer: {error}",
            "streamgage status says what stands still; .streamgage/logs says why",
        )


def _round_trip(info: StackInfo, kinesis: Any, clock: Clock, wait_s: float) -> Finding:
    store = DynamoPartialStore(
        watching_client("dynamodb", info.endpoints["dynamodb"], info.credentials), info.table
    )

    def put() -> tuple[str, int]:
        answer = kinesis.put_record(StreamName=info.stream, Data=probe(), PartitionKey=PROBE_KEY)
        return answer["ShardId"], int(answer["SequenceNumber"])

    def fences() -> dict[str, int]:
        progress = read_progress(store, info.consumer, info.stream)
        return {each.shard_id: each.sequence_number for each in progress}

    return round_trip(
        put,
        None if info.one_key_per_record else fences,
        clock=clock,
        wait_s=wait_s,
        todo="streamgage status says what stands still",
    )
