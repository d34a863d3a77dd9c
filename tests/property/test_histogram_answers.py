"""Answers about histograms that clients counted: by Python, HTTP, PromQL and in files, as of any other histogram."""

import io
import json
from decimal import Decimal

import pyarrow.parquet
import pytest

from streamgage.measures import histogram
from streamgage.measures.histogram_points import point_of
from streamgage.records import StreamRecord
from support.fakes import World, invoke
from support.histograms import counted, event, pipeline
from support.http_face import Face, FakeStack
from support.promql import Prometheus
from support.strategies import ARRIVAL_MS

POINTS = [([1.0, 3.0, 200.0], 3), ([0.5, 0.25], 6), ([1000.0], 4)]
STATE = histogram.united([point_of(counted(*each)) for each in POINTS])
P99 = Decimal(f"{histogram.quantile(STATE, 0.99):.6g}")
BUCKETS = json.dumps(histogram.in_opentelemetry(STATE), separators=(",", ":"))
RANGE = "/v1/rollups/latencies/range?window=1h&key.service=web"


@pytest.fixture(scope="module")
def face() -> Face:
    world = World(pipeline())
    schema = pipeline().sources["latency"].schema
    records = [
        StreamRecord(
            "shardId-0", number, "web", schema.encode(event(values, scale, ts=ARRIVAL_MS)), ARRIVAL_MS
        )
        for number, (values, scale) in enumerate(POINTS, 1)
    ]
    assert invoke(world.sandbox(), records) is None
    return Face(FakeStack(world.store, pipeline()))


def test_by_http_they_have_their_quantiles_their_buckets_and_how_far_off_they_may_be(face: Face) -> None:
    (row,) = face(RANGE).json["rows"]
    assert (row["events"], row["latency.p99"], row["latency.histogram"]) == (3, P99, BUCKETS)
    columns = {each["name"]: each for each in face("/v1/rollups/latencies").json["columns"]}
    assert columns["latency.p99"]["kind"] == "number"
    assert columns["latency.histogram"]["kind"] == "json"
    assert float(face(RANGE).json["errors"]["latency.p99"]) == histogram.relative_error(3)


def test_in_csv_and_parquet_they_stand_as_in_json(face: Face) -> None:
    text = face(RANGE, headers={"accept": "text/csv"}).plain.decode()
    assert str(P99) in text
    data = face(RANGE, headers={"accept": "application/vnd.apache.parquet"}).plain
    (row,) = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    assert (row["latency.p99"], row["latency.histogram"]) == (P99, BUCKETS)


def test_by_promql_they_are_histograms() -> None:
    prometheus = Prometheus(pipeline())
    events = [event(values, scale, ts=7) for values, scale in POINTS]
    prometheus.send("latency", events)
    ((_, told),) = prometheus.at(
        'histogram_quantile(0.99, latencies_latency_histogram{window="1m"})', 1
    ).items()
    assert Decimal(told) == pytest.approx(P99, rel=Decimal("1e-5"))
    ((_, count),) = prometheus.at('histogram_count(latencies_latency_histogram{window="1m"})', 1).items()
    assert count == "6"
    ((_, plain),) = prometheus.at('latencies_latency_p99{window="1m"}', 1).items()
    assert Decimal(plain) == P99
