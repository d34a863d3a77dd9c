"""The composition root of the aggregate function: ``processors.function.handler`` is what Lambda calls."""

import json
import os
import ssl
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from processors import lean_dynamodb, lean_sqs, lineage
from processors.aggregate import Aggregate, BatchReport
from processors.awsjson.client import AwsJsonClient
from processors.awsjson.connections import tls_context
from processors.awsjson.credentials import CredentialSource, credential_source
from processors.awsjson.endpoint import service_endpoint
from processors.progress import ProgressReader, ShardLineage
from processors.quarantine import Quarantine, SqsQuarantine
from processors.settings import Settings
from processors.sink import AggregateSink, ItemStore, SinkLimits
from streamgage.fold import Folder
from streamgage.items import lane_of_key, lane_of_shard
from streamgage.pipeline_toml import load_pipeline

_LANES = {"shard": lane_of_shard, "partition_key": lane_of_key}


def build(settings: Settings) -> Aggregate:
    """Return the function of *settings*, with real clients. One line and one flush of metrics a batch."""
    store, quarantine, shards = _ADAPTERS[settings.client](settings)
    lane = _LANES[settings.lanes]
    sink = AggregateSink(
        store, now_s=lambda: int(time.time()), limits=SinkLimits(concurrency=settings.write_concurrency)
    )
    return Aggregate(
        folder=Folder(load_pipeline(Path(settings.pipeline)), lane),
        progress=ProgressReader(sink, shards, lane),
        sink=sink,
        quarantine=quarantine,
        now_ms=lambda: time.time_ns() // 1_000_000,
        report=Reporter(),
    )


def _lean(settings: Settings) -> tuple[ItemStore, Quarantine, ShardLineage]:
    return (
        lean_dynamodb.LeanDynamoItemStore(_client("dynamodb", lean_dynamodb.TARGET), settings.table),
        lean_sqs.LeanSqsQuarantine(_client("sqs", lean_sqs.TARGET), settings.quarantine_url),
        lineage.KinesisLineage(_list_shards, settings.stream),
    )


def _list_shards(request: Mapping[str, Any]) -> Any:
    """Ask Kinesis by a client of the moment: it is asked once a sandbox and new shard."""
    kinesis = _client("kinesis", lineage.TARGET, json_version="1.1")
    try:
        return json.loads(kinesis.call("ListShards", json.dumps(request)))
    finally:
        kinesis.close()


def _client(service: str, target: str, *, json_version: str = "1.0") -> AwsJsonClient:
    return AwsJsonClient.of_environment(
        service,
        target,
        environment=os.environ,
        credentials=_credentials(),
        tls=_tls() if service_endpoint(service, os.environ).tls else None,
        json_version=json_version,
    )


@cache
def _credentials() -> CredentialSource:
    return credential_source(os.environ)


@cache
def _tls() -> ssl.SSLContext:
    return tls_context(os.environ)  # one for all clients: loading the roots takes tens of ms


def _boto3(settings: Settings) -> tuple[ItemStore, Quarantine, ShardLineage]:
    # Imported here only: boto3 is most of a cold start.
    import boto3  # noqa: PLC0415 - see above
    from botocore.config import Config  # noqa: PLC0415 - see above

    from processors.dynamodb import DynamoItemStore  # noqa: PLC0415 - see above

    config = Config(
        connect_timeout=1,
        read_timeout=3,
        retries={"mode": "standard", "max_attempts": 3},
        max_pool_connections=settings.write_concurrency,
    )
    kinesis = boto3.client("kinesis", config=config)
    return (
        DynamoItemStore(boto3.client("dynamodb", config=config), settings.table),
        SqsQuarantine(boto3.client("sqs", config=config), settings.quarantine_url),
        lineage.KinesisLineage(lambda request: kinesis.list_shards(**request), settings.stream),
    )


_ADAPTERS = {"lean": _lean, "boto3": _boto3}


class Reporter:
    """Say what happened to a batch: one structured log line, one flush of metrics (EMF)."""

    def __init__(self) -> None:
        self._logger = Logger(service="aggregate")
        self._metrics = Metrics(namespace="streamgage", service="aggregate")
        self._cpu_ns = time.process_time_ns()

    def __call__(self, report: BatchReport) -> None:
        """Report one batch."""
        applied = report.applied
        before_ns, self._cpu_ns = self._cpu_ns, time.process_time_ns()
        line = {
            "shard_id": report.shard_id,
            "first_sequence_number": str(report.first_sequence_number),
            "last_sequence_number": str(report.last_sequence_number),
            "kinesis_records": report.kinesis_records,
            "user_records": report.user_records,
            "redelivered_records": report.redelivered_records,
            "repeated_records": report.repeated_records,
            "poison": dict(report.poison),
            "items": applied.items,
            "writes": applied.writes,
            "progress_writes": report.progress.writes,
            "conflicts": applied.conflicts,
            "already_applied": applied.already_applied,
            "behind_ms": report.behind_ms,
            "cpu_ms": (self._cpu_ns - before_ns) // 1_000_000,
            "failed_from": None if report.failed_from is None else str(report.failed_from),
        }
        if report.error:
            self._logger.warning("batch applied in part", extra={**line, "error": report.error})
        else:
            self._logger.info("batch applied", extra=line)
        for name, unit, value in (
            ("UserRecords", MetricUnit.Count, report.user_records),
            ("RepeatedRecords", MetricUnit.Count, report.repeated_records),
            ("Poison", MetricUnit.Count, report.poison.total()),
            ("Writes", MetricUnit.Count, applied.writes + report.progress.writes),
            ("WriteConflicts", MetricUnit.Count, applied.conflicts),
            ("PartialFailures", MetricUnit.Count, int(report.failed_from is not None)),
            ("Behind", MetricUnit.Milliseconds, report.behind_ms),
        ):
            self._metrics.add_metric(name, unit, value)
        self._metrics.flush_metrics()


_aggregate: Aggregate | None = None


def handler(event: Any, context: Any) -> dict[str, list[dict[str, str]]]:
    """Handle one invocation. The function is built on the first one, so that importing this module does nothing."""
    global _aggregate  # noqa: PLW0603 - one a sandbox is what Lambda's model is
    if _aggregate is None:
        _aggregate = build(Settings.of(os.environ))
    return _aggregate.handle(event, remaining_ms=context.get_remaining_time_in_millis)
