"""Both ways to a stream, boto3's and our lean one, keep the promises of KinesisPort, over real HTTP."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, get_args

import pytest

from infra.local.kinesis.__main__ import wall_clock_ms
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.server import KinesisServer
from infra.local.kinesis.storage import MemoryStorage
from producers import ConfigError, Producer, RetryableError
from producers.client.distribution import check_distribution
from producers.client.entry import PutEntry
from producers.client.lean import LeanKinesis
from producers.client.ports import CredentialsRefused, PutFailed, PutStored, Throttled
from producers.sending.transports import Stream, Transport, open_stream
from support.paths import ROOT
from support.scripted_kinesis import Reply, Script, scripted_kinesis, stores_all
from support.sending import BLOCKS, reading

KEYS = ("AKIA", "secret", "token")
ENTRIES = [
    PutEntry("shardId-000000000000", "k", None, b"\x00plain", 8, (), (), 0),
    PutEntry("shardId-000000000001", "é", 2**128 - 1, b"hashed", 8, (), (), 0),
]


@contextmanager
def opened(transport: Transport, url: str) -> Iterator[Stream]:
    stream = open_stream(
        transport, "events", region="eu-west-1", endpoint_url=url, credentials=KEYS, concurrency=2
    )
    try:
        yield stream
    finally:
        stream.close()


def answering(operation: str, reply: Reply) -> Script:
    return lambda asked, request: reply if asked == operation else stores_all(asked, request)


def error(code: str, message: str = "no", status: int = 400) -> Reply:
    return status, {"__type": code, "message": message}


@pytest.fixture(params=get_args(Transport))
def transport(request: pytest.FixtureRequest) -> Transport:
    given: Transport = request.param
    return given


class TestStreamContract:
    """Every way to a stream keeps these promises."""

    def test_our_own_data_plane_lists_stores_and_describes(self, transport: Transport) -> None:
        server = KinesisServer(KinesisApi(KinesisModel(clock_ms=wall_clock_ms, storage=MemoryStorage())))
        server.start()
        try:
            import boto3

            with closing(
                boto3.client(
                    "kinesis",
                    endpoint_url=server.url,
                    region_name="eu-west-1",
                    aws_access_key_id="a",
                    aws_secret_access_key="b",  # noqa: S106 - nobody's
                )
            ) as client:
                client.create_stream(StreamName="events", ShardCount=2)
                client.get_waiter("stream_exists").wait(StreamName="events")
            with opened(transport, server.url) as stream:
                assert [each.shard_id for each in stream.list_shards()] == [
                    "shardId-000000000000",
                    "shardId-000000000001",
                ]
                results = stream.put_records(ENTRIES)
                assert all(isinstance(each, PutStored) for each in results)
                check_distribution("events", stream.describe)
        finally:
            server.stop()

    def test_what_is_sent_is_what_was_sealed(self, transport: Transport) -> None:
        with scripted_kinesis() as (url, requests), opened(transport, url) as stream:
            assert stream.put_records(ENTRIES) == [PutStored("s", 1)] * 2
        assert requests == [
            (
                "PutRecords",
                {
                    "StreamName": "events",
                    "Records": [
                        {"Data": "AHBsYWlu", "PartitionKey": "k"},
                        {"Data": "aGFzaGVk", "PartitionKey": "é", "ExplicitHashKey": str(2**128 - 1)},
                    ],
                },
            )
        ]

    def test_each_record_has_its_own_result(self, transport: Transport) -> None:
        records = [
            {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"},
            {"SequenceNumber": "12", "ShardId": "s"},
        ]
        script = answering("PutRecords", (200, {"FailedRecordCount": 1, "Records": records}))
        with scripted_kinesis(script) as (url, _), opened(transport, url) as stream:
            assert stream.put_records(ENTRIES) == [
                PutFailed("ProvisionedThroughputExceededException", "Rate exceeded"),
                PutStored("s", 12),
            ]

    @pytest.mark.parametrize(
        ("reply", "meaning"),
        [
            (error("ProvisionedThroughputExceededException"), Throttled),
            (error("LimitExceededException"), Throttled),
            (error("Any", status=429), Throttled),
            (error("InternalFailureException", status=500), RetryableError),
            ((503, b"<html>a proxy"), RetryableError),
            (error("ExpiredTokenException"), CredentialsRefused),
            (error("InvalidSignatureException", "Signature expired: 2026"), CredentialsRefused),
            (error("InvalidSignatureException", "does not match"), ConfigError),
            (error("UnrecognizedClientException"), ConfigError),
            (error("ResourceNotFoundException"), ConfigError),
            (error("AccessDeniedException"), ConfigError),
            ((200, {"Records": [{"SequenceNumber": "1", "ShardId": "s"}]}), RetryableError),
            ((200, b"<html>a proxy"), RetryableError),
        ],
    )
    def test_a_refusal_is_classed_by_what_to_do(
        self, transport: Transport, reply: Reply, meaning: type[Exception]
    ) -> None:
        script = answering("PutRecords", reply)
        with scripted_kinesis(script) as (url, requests), opened(transport, url) as stream:
            with pytest.raises(meaning) as refused:
                stream.put_records(ENTRIES)
            assert type(refused.value) is meaning
            assert len(requests) == 1  # what failed is tried again above, and only that

    def test_keys_that_worked_and_are_unknown_now_may_be_known_again(self, transport: Transport) -> None:
        script = answering("PutRecords", error("UnrecognizedClientException"))
        with scripted_kinesis(script) as (url, _), opened(transport, url) as stream:
            stream.list_shards()
            with pytest.raises(CredentialsRefused):
                stream.put_records(ENTRIES)

    def test_all_pages_of_shards_are_listed(self, transport: Transport) -> None:
        def pages(operation: str, request: Mapping[str, Any]) -> Reply:
            _, answer = stores_all(operation, request)
            assert isinstance(answer, dict)
            return 200, (answer if "NextToken" in request else {**answer, "NextToken": "next"})

        with scripted_kinesis(pages) as (url, requests), opened(transport, url) as stream:
            assert [each.shard_id for each in stream.list_shards()] == ["s", "s"]
        assert [request for _, request in requests] == [{"StreamName": "events"}, {"NextToken": "next"}]

    def test_nobody_at_the_endpoint_may_pass(self, transport: Transport) -> None:
        with scripted_kinesis() as (url, _):
            pass
        with opened(transport, url) as stream, pytest.raises(RetryableError):
            stream.put_records(ENTRIES)


def the_producer(transport: Transport, url: str) -> Producer:
    return Producer(
        "events",
        region="eu-west-1",
        endpoint_url=url,
        credentials=KEYS,
        pipeline=BLOCKS,
        transport=transport,
    )


def test_a_producer_sends_by_either(transport: Transport) -> None:
    with scripted_kinesis() as (url, requests):
        with the_producer(transport, url) as producer:
            producer.put_many("reading", [reading(number) for number in range(1_000)])
        assert producer.stats.events_stored == 1_000
        assert {operation for operation, _ in requests} == {
            "ListShards",
            "DescribeStreamSummary",
            "PutRecords",
        }


def test_a_stream_that_ignores_partition_keys_is_refused_with_the_reason(transport: Transport) -> None:
    summary = {"StreamDescriptionSummary": {"RecordDistributionStrategy": "AUTO"}}
    script = answering("DescribeStreamSummary", (200, summary))
    with scripted_kinesis(script) as (url, _), pytest.raises(ConfigError, match="ignores partition keys"):
        the_producer(transport, url)


def test_a_stream_that_may_not_be_described_is_taken(transport: Transport) -> None:
    script = answering("DescribeStreamSummary", error("AccessDeniedException"))
    with scripted_kinesis(script) as (url, _), the_producer(transport, url) as producer:
        producer.put("reading", reading(1))
    assert producer.stats.events_stored == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"credentials": ("a",)}, "credentials are an access key, its secret"),
        ({"transport": "boto"}, "neither 'boto3' nor 'lean'"),
        ({"endpoint_url": "ftp://x"}, "is not an endpoint"),
    ],
)
def test_what_leads_to_no_stream_is_said(change: dict[str, Any], problem: str) -> None:
    options = {
        "transport": "lean",
        "region": "r",
        "endpoint_url": None,
        "credentials": KEYS,
        "concurrency": 1,
    }
    open_any: Callable[..., Stream] = open_stream
    with pytest.raises(ConfigError, match=problem):
        open_any(stream_name="events", **{**options, **change})


def test_lean_finds_credentials_and_region_in_the_environment_or_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="no credentials"):
        LeanKinesis("events", region="eu-west-1", environment={})
    with pytest.raises(ConfigError, match="AWS_REGION is not set"):
        LeanKinesis("events", credentials=KEYS, environment={})
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
    LeanKinesis("events", environment=keys).close()


def test_a_call_of_lean_to_a_silent_stream_ends_when_its_caller_has_no_more_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stream = LeanKinesis(
            "events",
            region="eu-west-1",
            endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}",
            credentials=KEYS,
            left_s=lambda: 0.1,
        )
        with closing(stream), pytest.raises(RetryableError, match="timed out"):
            stream.put_records(ENTRIES)


def test_lean_asks_nobody_once_its_caller_has_no_time_left() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "eu-west-1"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with closing(LeanKinesis("events", endpoint_url=url, environment=keys, left_s=lambda: 0.0)) as stream:
            with pytest.raises(RetryableError, match="no time left"):
                stream.list_shards()
            with pytest.raises(BlockingIOError):
                server.accept()


def test_who_sends_lean_imports_no_boto3() -> None:
    script = (
        "import sys; from producers import Producer\n"
        "Producer('events', region='r', endpoint_url=sys.argv[1], credentials=('a', 'b'), transport='lean').close()\n"
        "assert not {'boto3', 'botocore', 'rich', 'asyncio'} & set(sys.modules)\n"
    )
    with scripted_kinesis() as (url, _):
        subprocess.run(
            [sys.executable, "-P", "-c", script, url],
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )


def test_a_forked_child_has_connections_of_its_own() -> None:
    with scripted_kinesis() as (url, requests), opened("lean", url) as stream:
        stream.list_shards()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                stream.list_shards()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        stream.list_shards()
        assert len(requests) == 3
