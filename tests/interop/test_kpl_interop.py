"""The real KPL, the AWS SDK for Java and the KCL's deaggregator, through our Kinesis data plane.

Skipped where Java or Maven is missing. Every program is run as its users run it, and only told another endpoint.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.local.kinesis.__main__ import wall_clock_ms
from interop.java_clients import (
    BARRIER,
    KCL,
    KPL,
    KPL_BEFORE_STREAM_STRATEGIES,
    ClientFailed,
    JavaClients,
    Placed,
    build,
)
from interop.served import Served, served
from interop.test_javascript_sdk import VERSION as JAVASCRIPT_SDK
from processors.pipeline_files import FilesIn
from producers.client.batcher import BatcherConfig
from producers.client.core import CoreConfig, ProducerCore
from producers.client.encoder import encoder_of
from producers.client.identity import Identity
from producers.client.kinesis import BotoKinesis
from producers.clock import MonotonicClock
from streamgage.definition.pipeline_toml import parse_pipeline
from streamgage.formats.kpl import decode_aggregate, is_aggregated
from streamgage.limits import KINESIS_HASH_KEYS
from streamgage.records import StreamRecord, UserRecord
from streamgage.shards import Shard, hash_key_of
from support.fakes import World, invoke
from support.paths import ROOT

pytestmark = pytest.mark.local

HOUR_MS = 3_600_000
CBOR = "application/x-amz-cbor-1.1"
PIPELINE = parse_pipeline(
    """
    [[sources]]
    name = "reading"
    schema = "schemas/reading.avsc"
    partition_key = "device_id"
    event_time = "ts"

    [[rollups]]
    name = "hourly"
    source = "reading"
    key = ["device_id", "metric"]
    windows = ["1h"]
    keep = "90d"
    [rollups.measures]
    value = ["count", "sum", "min", "max"]
    """,
    FilesIn(ROOT),
)

Tally = dict[tuple[str, str, int], tuple[int, Decimal, Decimal, Decimal]]
"""By device, metric and hour: count, sum, min, max."""


@pytest.fixture(scope="module")
def java() -> JavaClients:
    return build()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def readings(seed: int, count: int) -> tuple[list[UserRecord], Tally]:
    """Return Avro readings, one in eight with an explicit hash key, and their totals, added up the plain way."""
    dice = random.Random(seed)
    source = PIPELINE.sources["reading"]
    now_ms = wall_clock_ms()
    records = []
    tally: Tally = {}
    for _ in range(count):
        device, metric = f"zařízení-{dice.randrange(60)}", dice.choice(("temp", "load"))
        ts = now_ms - dice.randrange(3 * HOUR_MS)
        value = Decimal(dice.randrange(-50_000, 50_000)).scaleb(-3)
        record = encoder_of(source).user_record(
            {"device_id": device, "metric": metric, "ts": ts, "value": float(value)}
        )
        hash_key = dice.randrange(KINESIS_HASH_KEYS) if dice.randrange(8) == 0 else None
        records.append(replace(record, explicit_hash_key=hash_key))
        key = (device, metric, ts - ts % HOUR_MS)
        number, total, least, most = tally.get(key, (0, Decimal(), value, value))
        tally[key] = (number + 1, total + value, min(least, value), max(most, value))
    return records, tally


def counted(by_shard: dict[str, list[StreamRecord]]) -> Tally:
    """Return the totals that our function, sink and query make of *by_shard*, with nothing quarantined."""
    world = World(PIPELINE)
    for records in by_shard.values():
        sandbox = world.sandbox()
        for start in range(0, len(records), 7):
            assert invoke(sandbox, records[start : start + 7]) is None
    assert world.quarantine.kept == []
    tally: Tally = {}
    for device in (f"zařízení-{n}" for n in range(60)):
        for metric in ("temp", "load"):
            for row in world.ask("hourly", {"device_id": device, "metric": metric}, "1h"):
                value: Any = row.values["value"]
                tally[device, metric, row.window.start_ms] = (
                    row.events,
                    value["sum"],
                    value["min"],
                    value["max"],
                )
    return tally


def user_records(by_shard: dict[str, list[StreamRecord]]) -> Iterator[tuple[Placed, int, UserRecord]]:
    """Yield what our decoder finds: where, the sub-sequence number, the user record."""
    for records in by_shard.values():
        for record in records:
            placed = Placed(record.shard_id, record.sequence_number)
            if not is_aggregated(record.data):
                yield placed, 0, UserRecord(record.partition_key, record.data)
                continue
            for number, user_record in enumerate(decode_aggregate(record.data).user_records()):
                yield placed, number, user_record


def without_hash_key(record: UserRecord) -> UserRecord:
    return replace(record, explicit_hash_key=None)


def strays(by_shard: dict[str, list[StreamRecord]], shards: dict[str, Shard]) -> set[Placed]:
    """Return the aggregated records that hold a user record of another shard's hash keys."""
    found = set()
    for shard_id, records in by_shard.items():
        shard = shards[shard_id]
        for record in filter(lambda record: is_aggregated(record.data), records):
            for each in decode_aggregate(record.data).user_records():
                hash_key = each.explicit_hash_key
                hash_key = hash_key_of(each.partition_key) if hash_key is None else hash_key
                if not shard.start <= hash_key <= shard.end:
                    found.add(Placed(shard_id, record.sequence_number))
    return found


def check_kpl(
    java: JavaClients,
    plane: Served,
    *,
    count: int,
    stream_mode: dict[str, Any],
    max_count: int | None = None,
) -> None:
    """Send by the KPL, read by boto3, count by our function: every place, byte and total must agree."""
    plane.client.create_stream(StreamName="s", **stream_mode)
    records, tally = readings(seed=count, count=count)
    # The KPL sends plain records until it has listed the shards: one goes ahead, then come three flushes.
    third = count // 3
    flights = [*records[:1], BARRIER, *records[1:third], BARRIER, *records[third : 2 * third]]
    flights += [BARRIER, *records[2 * third :]]
    placed = java.kpl_send("s", flights, port=plane.tls.port, max_count=max_count)
    by_shard = plane.read("s")
    found = list(user_records(by_shard))
    assert Counter((where, without_hash_key(record)) for where, _, record in found) == Counter(
        zip(placed, map(without_hash_key, records), strict=True)
    )
    assert counted(by_shard) == tally
    stored = [record for shard in by_shard.values() for record in shard]
    aggregates = [record for record in stored if is_aggregated(record.data)]
    assert all(by_shard.values())
    assert sum(len(decode_aggregate(record.data).datas) for record in aggregates) > 0.9 * count
    hash_keys = {record.explicit_hash_key for _, _, record in found}
    assert len(hash_keys & {record.explicit_hash_key for record in records}) > count // 16
    assert {kind for action, kind in plane.tls.heard if action} == {"application/x-amz-json-1.1"}


def test_what_the_kpl_sends_our_function_counts_exactly(java: JavaClients, plane: Served) -> None:
    check_kpl(java, plane, count=3_000, stream_mode={"ShardCount": 3})
    assert {action for action, _ in plane.tls.heard} == {"DescribeStreamSummary", "ListShards", "PutRecords"}


@pytest.mark.slow
def test_throttled_entries_are_sent_again_by_the_kpl_and_count_once(
    java: JavaClients, tmp_path: Path
) -> None:
    with served(tmp_path, faults="11:throttle=0.3") as plane:
        check_kpl(java, plane, count=1_500, stream_mode={"ShardCount": 2}, max_count=60)
        assert plane.faults is not None
        assert plane.faults.fired["ProvisionedThroughputExceededException"] > 5


def test_after_a_split_the_kpl_sends_again_and_the_hash_keys_of_the_shards_tell_which_copy_counts(
    java: JavaClients, plane: Served
) -> None:
    """The KCL drops an aggregated record that holds a user record of another shard; the KPL sends all of it again."""
    plane.client.create_stream(StreamName="s", ShardCount=2)

    def split(actions: list[str]) -> None:
        if actions[-1] == "PutRecords" and actions.count("PutRecords") == 2:
            plane.client.split_shard(
                StreamName="s", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126)
            )

    plane.tls.before = split
    sent, _ = readings(seed=3, count=2_000)
    java.kpl_send("s", [*sent[:1], BARRIER, *sent[1:1000], BARRIER, *sent[1000:]], port=plane.tls.port)
    by_shard = plane.read("s")
    found = list(user_records(by_shard))
    assert {record.data for _, _, record in found} == {record.data for record in sent}
    assert len(found) > len(sent)
    strayed = strays(
        by_shard, {shard.shard_id: shard for shard in BotoKinesis(plane.client, "s").list_shards()}
    )
    belonging = Counter(without_hash_key(record) for placed, _, record in found if placed not in strayed)
    assert belonging == Counter(map(without_hash_key, sent))
    read = java.kcl_read("s", url=plane.plain.url)
    assert Counter(without_hash_key(each.record) for each in read) == belonging


@pytest.mark.slow
def test_the_kpl_sends_to_a_stream_on_demand(java: JavaClients, plane: Served) -> None:
    mode = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}
    check_kpl(java, plane, count=1_000, stream_mode=mode)


@pytest.mark.slow
def test_a_kpl_that_asks_sts_for_its_account_is_answered_and_addresses_the_stream_by_arn(
    plane: Served,
) -> None:
    check_kpl(build(kpl=KPL_BEFORE_STREAM_STRATEGIES), plane, count=1_000, stream_mode={"ShardCount": 2})
    assert ("", "application/x-www-form-urlencoded") in plane.tls.heard


@pytest.mark.parametrize("marked", [False, True], ids=["without tags", "with the producer's mark"])
def test_what_our_producers_send_the_kcl_takes_apart(
    java: JavaClients, plane: Served, *, marked: bool
) -> None:
    plane.client.create_stream(StreamName="s", ShardCount=3)
    dice = random.Random(5)
    sent, _ = readings(seed=5, count=1_500)
    sent += [
        UserRecord("empty", b""),
        UserRecord("x" * 256, bytes(range(256))),
        UserRecord("𝄞", b"\xf3\x89\x9a\xc2"),
    ]
    sent += [UserRecord("edge", b"low", 0), UserRecord("edge", b"high", KINESIS_HASH_KEYS - 1)]
    sent += [UserRecord("large", dice.randbytes(30_000)) for _ in range(5)]
    identity = Identity(dice)
    with ProducerCore(
        BotoKinesis(plane.client, "s"),
        clock=MonotonicClock(),
        rng=dice,
        config=CoreConfig(batching=BatcherConfig(aggregate_bytes=40_000)),
        tags_for=identity.tags_for if marked else None,
    ) as producer:
        for record in sent:
            producer.put(record)
    read = java.kcl_read("s", url=plane.plain.url)
    ours = plane.read("s")
    by_key: dict[str, list[bytes]] = defaultdict(list)
    for each in read:
        by_key[each.record.partition_key].append(each.record.data)
    assert Counter(each.record.data for each in read) == Counter(record.data for record in sent)
    for (
        key,
        datas,
    ) in by_key.items():  # what has a hash key of its own may go to another shard than its key's others
        assert Counter(datas) == Counter(record.data for record in sent if record.partition_key == key)
    aggregated = [each for each in read if each.aggregated]
    assert len(aggregated) > 0.9 * len(sent)
    assert [(each.placed, each.sub_sequence_number, each.record) for each in read] == list(user_records(ours))
    arrivals = {Placed(s, r.sequence_number): r.arrival_ms for s, records in ours.items() for r in records}
    assert {each.placed: each.arrival_ms for each in read} == arrivals
    assert {kind for action, kind in plane.plain.heard if action == "GetRecords"} >= {CBOR}


def test_what_the_java_sdk_puts_in_cbor_boto3_reads_in_json(java: JavaClients, plane: Served) -> None:
    plane.client.create_stream(StreamName="s", ShardCount=2)
    sent = [UserRecord(f"k{n}-ž", bytes([n]) * n * 40, n * 2**120 if n % 3 else None) for n in range(200)]
    placed = java.sdk_put("s", sent, url=plane.plain.url)
    found = {where: (record.partition_key, record.data) for where, _, record in user_records(plane.read("s"))}
    assert [found[where] for where in placed] == [(record.partition_key, record.data) for record in sent]
    assert ("PutRecords", CBOR) in plane.plain.heard


def test_the_java_sdk_knows_our_errors_by_their_class(java: JavaClients, plane: Served) -> None:
    with pytest.raises(ClientFailed, match=r"ResourceNotFoundException: Stream none under account"):
        java.kcl_read("none", url=plane.plain.url)


def test_the_versions_that_are_tested_are_those_that_the_builds_and_the_page_name() -> None:
    here = Path(__file__).parent
    pom, whole = (here / "pom.xml").read_text(), (here / "kcl" / "pom.xml").read_text()
    assert f"<kpl.version>{KPL}</kpl.version>" in pom
    assert f"<kcl.version>{KCL}</kcl.version>" in pom
    assert f"<kcl.version>{KCL}</kcl.version>" in whole
    sdk = pom.partition("<sdk.version>")[2].partition("<")[0]
    page = (here.parents[1] / "docs" / "interop.md").read_text().partition("\n## Agents")[0]
    rows = [line.split(" | ") for line in page.splitlines() if line.endswith(".py |")]
    assert [row[1] for row in rows] == [
        f"{KPL}, {KPL_BEFORE_STREAM_STRATEGIES}",
        sdk,
        KCL,
        KCL,
        JAVASCRIPT_SDK,
    ]
    assert all((here / row[3].removesuffix(" |")).exists() for row in rows)
