"""The composition root: the function counts for the consumer that it was told, of the stream that it was told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.aggregate import function
from processors.aggregate.batch import Aggregate
from processors.aggregate.settings import Settings
from processors.pipeline_files import load_pipeline
from streamgage.errors import ConfigError
from streamgage.fold.batch import Folded
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord
from support.fakes import PLENTY_MS, STREAM_ARN
from support.paths import ROOT
from support.tables import fold

TWO = (ROOT / "pipeline.toml").read_text().replace('key = ["page"]', 'key = ["page"]\nconsumer = "web"')


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is called here: clients are made, and no connection is opened."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    function._credentials.cache_clear()
    yield
    function._credentials.cache_clear()


def built(folder: Path, consumer: str) -> Aggregate:
    (folder / "pipeline.toml").write_text(TWO)
    if not (folder / "schemas").exists():
        (folder / "schemas").symlink_to(ROOT / "schemas")
    environment = {
        "STREAMGAGE_STREAM": "telemetry",
        "STREAMGAGE_STREAM_ARN": STREAM_ARN,
        "STREAMGAGE_TABLE": "t",
        "STREAMGAGE_QUARANTINE_URL": "http://127.0.0.1:9/q",
        "STREAMGAGE_QUARANTINE_BUCKET": "b",
        "STREAMGAGE_PIPELINE": str(folder / "pipeline.toml"),
        "STREAMGAGE_CONSUMER": consumer,
    }
    return function.build(Settings.of(environment), lambda _report: None)


def folded(folder: Path, consumer: str, record: StreamRecord) -> Folded:
    """Return what the function of *consumer* makes of *record*."""
    batch_fold = built(folder, consumer)._fold
    return fold(batch_fold, load_pipeline(folder / "pipeline.toml"), [record])


def test_it_refuses_a_batch_of_another_stream_before_it_reads_or_writes(tmp_path: Path) -> None:
    record = StreamRecord("shardId-000000000000", 7, "p", b"x", 0)
    event = encode_event([record], stream_arn=f"{STREAM_ARN}-2")
    with pytest.raises(ConfigError, match="STREAMGAGE_STREAM_ARN"):
        built(tmp_path, "main").handle(event, remaining_ms=lambda: PLENTY_MS)


def test_it_counts_the_rollups_of_its_consumer_alone(tmp_path: Path) -> None:
    page = (
        b'{"source": "click", "visitor_id": "v", "page": "/", "ts": 1767614400000, "bytes": 1, "status": 200}'
    )
    record = StreamRecord("shardId-000000000000", 7, "p", page, 1_767_614_400_005)
    names = {
        consumer: {key.pk.partition(".")[0] for key in folded(tmp_path, consumer, record).items}
        for consumer in ("main", "web")
    }
    assert names == {"main": {"visits"}, "web": {"page_views"}}


def test_a_consumer_that_no_rollup_names_stops_it_when_it_is_built(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'wbe'; there are: main, web"):
        built(tmp_path, "wbe")
