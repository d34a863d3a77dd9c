"""boto3 and our Kinesis data plane: exceptions, paginators, waiters, retries, TLS."""

import queue
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from infra.aws.shard_ends import every_shard
from infra.local.kinesis.__main__ import wall_clock_ms
from infra.local.kinesis.api import KinesisApi
from infra.local.kinesis.disk import DiskStorage
from infra.local.kinesis.faults import Faults, parse_faults
from infra.local.kinesis.limits import Throttle
from infra.local.kinesis.model import KinesisModel
from infra.local.kinesis.server import KinesisServer
from infra.local.kinesis.storage import MemoryStorage
from infra.local.kinesis.tls import server_context
from infra.local.mapping.readers import Listed, ShardLister
from producers.client.kinesis import BotoKinesis


def client_of(url: str, *, verify: str | None = None) -> Any:
    return boto3.client(
        "kinesis",
        endpoint_url=url,
        verify=verify,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - no one checks it
        config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
    )


def serve(*, limits: bool = False, faults: Faults | None = None) -> KinesisServer:
    model = KinesisModel(clock_ms=wall_clock_ms, storage=MemoryStorage())
    server = KinesisServer(KinesisApi(model, throttle=Throttle() if limits else None), faults=faults)
    server.start()
    return server


@pytest.fixture(params=["plain", "tls on disk"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "plain":
        server = serve()
        opened = client_of(server.url)
        yield opened
        opened.close()
        server.stop()
        return
    storage = DiskStorage(tmp_path / "data")
    api = KinesisApi(KinesisModel(clock_ms=wall_clock_ms, storage=storage))
    server = KinesisServer(api, tls=server_context(tmp_path / "tls"))
    server.start()
    opened = client_of(server.url, verify=str(tmp_path / "tls/cert.pem"))
    yield opened
    opened.close()
    server.stop()
    storage.close()


def test_records_of_any_bytes_and_sizes_come_back_as_they_went(client: Any) -> None:
    client.create_stream(StreamName="s", ShardCount=1)
    client.get_waiter("stream_exists").wait(StreamName="s", WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    datas = [b"", bytes(range(256)), b"x" * (2**20 - 4), "žluť".encode()]
    before = datetime.now(UTC)
    for data in datas:
        client.put_record(StreamName="s", Data=data, PartitionKey="žluť"[:2])
    iterator = client.get_shard_iterator(
        StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = client.get_records(ShardIterator=iterator)["Records"]
    assert [record["Data"] for record in records] == datas
    assert {record["PartitionKey"] for record in records} == {"žl"}
    for record in records:
        assert abs((record["ApproximateArrivalTimestamp"] - before).total_seconds()) < 60
    at = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": records[0]["ApproximateArrivalTimestamp"]}
    iterator = client.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", **at)[
        "ShardIterator"
    ]
    assert len(client.get_records(ShardIterator=iterator)["Records"]) == 4


def test_paginators_see_every_shard_and_stream(client: Any) -> None:
    for i in range(3):
        client.create_stream(StreamName=f"s{i}", ShardCount=5)
    page = client.list_shards(StreamName="s1", MaxResults=2)
    sizes = [len(page["Shards"])]
    while "NextToken" in page:  # boto3's paginator repeats StreamName, which AWS refuses as well
        page = client.list_shards(NextToken=page["NextToken"], MaxResults=2)
        sizes.append(len(page["Shards"]))
    assert sizes == [2, 2, 1]
    described = client.get_paginator("describe_stream").paginate(
        StreamName="s1", PaginationConfig={"PageSize": 2}
    )
    assert sum(len(page["StreamDescription"]["Shards"]) for page in described) == 5
    streams = client.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2})
    assert [name for page in streams for name in page["StreamNames"]] == ["s0", "s1", "s2"]


def test_errors_are_the_exceptions_of_the_service_model(client: Any) -> None:
    raised = client.exceptions
    with pytest.raises(raised.ResourceNotFoundException):
        client.describe_stream(StreamName="absent")
    client.create_stream(StreamName="s", ShardCount=2)
    with pytest.raises(raised.ResourceInUseException):
        client.create_stream(StreamName="s", ShardCount=2)
    with pytest.raises(raised.InvalidArgumentException):
        client.get_records(ShardIterator="bogus")
    with pytest.raises(raised.ValidationException):
        client.put_records(StreamName="s", Records=[{"Data": b"", "PartitionKey": "p"}] * 501)
    with pytest.raises(raised.LimitExceededException):
        client.update_shard_count(StreamName="s", TargetShardCount=5, ScalingType="UNIFORM_SCALING")


def test_resharding_through_boto3_gives_child_shards_at_the_end(client: Any) -> None:
    client.create_stream(StreamName="s", ShardCount=1)
    client.update_shard_count(StreamName="s", TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    iterator = client.get_shard_iterator(
        StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="LATEST"
    )["ShardIterator"]
    answer = client.get_records(ShardIterator=iterator)
    assert answer.get("NextShardIterator") is None
    assert [child["ShardId"][-1] for child in answer["ChildShards"]] == ["1", "2"]
    client.delete_stream(StreamName="s")
    client.get_waiter("stream_not_exists").wait(StreamName="s", WaiterConfig={"Delay": 1, "MaxAttempts": 3})


def test_throttling_is_an_exception_for_one_record_and_an_answer_for_many() -> None:
    server = serve(limits=True)
    client = client_of(server.url)
    client.create_stream(StreamName="s", ShardCount=1)
    records = [{"Data": b"x" * 100, "PartitionKey": "p"}] * 500
    failed = sum(client.put_records(StreamName="s", Records=records)["FailedRecordCount"] for _ in range(6))
    assert 0 < failed < 2000
    data = b"x" * 2**19
    codes: set[str] = set()
    for _ in range(20):
        try:
            client.put_record(StreamName="s", Data=data, PartitionKey="p")
        except client.exceptions.ProvisionedThroughputExceededException as error:
            codes.add(error.response["Error"]["Code"])
    assert codes == {"ProvisionedThroughputExceededException"}
    client.close()
    server.stop()


def insist(call: Callable[[], Any]) -> tuple[Any, int]:
    """Call until an answer arrives; return it and how many were lost before."""
    for lost in range(50):
        try:
            return call(), lost
        except ConnectionClosedError:
            continue
    pytest.fail("50 answers lost in a row")


def test_a_retry_after_a_lost_answer_stores_the_record_twice_as_on_aws() -> None:
    server = serve(faults=parse_faults("1:lost=0.5"))
    client = client_of(server.url)
    client.create_stream(StreamName="s", ShardCount=1)
    lost = 0
    for i in range(10):
        lost += insist(partial(client.put_record, StreamName="s", Data=b"%d" % i, PartitionKey="p"))[1]
    start = {"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    iterator, _ = insist(partial(client.get_shard_iterator, **start))
    page, _ = insist(partial(client.get_records, ShardIterator=iterator["ShardIterator"]))
    datas = [record["Data"] for record in page["Records"]]
    assert lost > 0
    assert len(datas) == 10 + lost
    assert set(datas) == {b"%d" % i for i in range(10)}
    client.close()
    server.stop()


def test_a_producer_that_asks_whose_account_it_is_gets_the_one_in_the_arns() -> None:
    server = serve()
    sts = boto3.client(
        "sts",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - no one checks it
    )
    kinesis = client_of(server.url)
    kinesis.create_stream(StreamName="s", ShardCount=1)
    account = sts.get_caller_identity()["Account"]
    arn = f"arn:aws:kinesis:us-east-1:{account}:stream/s"
    assert kinesis.describe_stream_summary(StreamARN=arn)["StreamDescriptionSummary"]["StreamARN"] == arn
    with pytest.raises(sts.exceptions.ClientError, match="InvalidAction"):
        sts.get_session_token()
    sts.close()
    kinesis.close()
    server.stop()


def test_a_stream_on_demand_says_that_keys_place_its_records_and_none_takes_auto(client: Any) -> None:
    on_demand = {"StreamMode": "ON_DEMAND"}
    client.create_stream(
        StreamName="s", StreamModeDetails=on_demand, RecordDistributionStrategy="USER_PARTITION_KEY"
    )
    client.create_stream(StreamName="provisioned", ShardCount=1)
    summary = client.describe_stream_summary
    assert (
        summary(StreamName="s")["StreamDescriptionSummary"]["RecordDistributionStrategy"]
        == "USER_PARTITION_KEY"
    )
    assert "RecordDistributionStrategy" not in summary(StreamName="provisioned")["StreamDescriptionSummary"]
    with pytest.raises(client.exceptions.InvalidArgumentException, match="AUTO"):
        client.create_stream(
            StreamName="auto", StreamModeDetails=on_demand, RecordDistributionStrategy="AUTO"
        )
    assert client.list_streams()["StreamNames"] == ["provisioned", "s"]


def test_every_reader_of_a_stream_sees_more_shards_than_a_page_has() -> None:
    """The paginator of botocore does not: it names the stream beside the NextToken, and Kinesis refuses that."""
    server = serve()
    client = client_of(server.url)
    client.create_stream(StreamName="s", ShardCount=1001)
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lister = ShardLister(client, stream_name="s", every_ms=60_000, events=events)
    lister.start()
    listed = events.get(timeout=30)
    lister.stop()
    lister.join()
    assert isinstance(listed, Listed)
    assert len(listed.shards) == 1001
    assert len({each["ShardId"] for each in every_shard(client, "s")}) == 1001
    assert len(BotoKinesis(client, "s").list_shards()) == 1001
    client.close()
    server.stop()


def test_a_record_of_ten_mebibytes_goes_and_comes_back(client: Any) -> None:
    client.create_stream(StreamName="s", ShardCount=1, MaxRecordSizeInKiB=10_240)
    data = bytes(10 * 2**20 - 1)
    client.put_records(StreamName="s", Records=[{"Data": data, "PartitionKey": "p"}])
    shard = client.list_shards(StreamName="s")["Shards"][0]["ShardId"]
    iterator = client.get_shard_iterator(StreamName="s", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    [record] = client.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert record["Data"] == data
