"""The composition root of the aggregate function: ``processors.aggregate.function.handler`` is what Lambda calls.

What is imported here is imported by every cold start: docs/adr/0011, and a test holds the list of modules.
"""

import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from processors.aggregate import lineage
from processors.aggregate.batch import Aggregate, BatchReport
from processors.aggregate.own_stream import check_of_stream
from processors.aggregate.progress import ProgressReader, Reader
from processors.aggregate.report import SERVICE, Reporter
from processors.aggregate.settings import Settings
from processors.awsjson.client import AwsJsonClient
from processors.awsjson.connections import tls_context
from processors.awsjson.credentials import CredentialSource, credential_source
from processors.awsjson.endpoint import service_endpoint
from processors.deadline import Deadline
from processors.pipeline_files import load_pipeline
from processors.quarantine.queue import TARGET as SQS
from processors.quarantine.queue import LeanQuarantine, ObjectStore
from processors.sink import lean_dynamodb
from processors.sink.fenced import AggregateSink, SinkLimits
from streamgage.definition.fingerprint import counts_of, reader_counts
from streamgage.fold.batch import BatchFold, Counting
from streamgage.fold.items import Lanes

ROOTS_FOLDER = "roots"  # in the bundle: infra/aws/bundle/files.py makes it
_HOUR_MS = 3_600_000


def build(settings: Settings, report: Callable[[BatchReport], None]) -> Aggregate:
    """Return the function of *settings*, with real clients; *report* is told of each batch. No call is made yet."""
    store = lean_dynamodb.LeanDynamoItemStore(_client("dynamodb", lean_dynamodb.TARGET), settings.table)
    pipeline = load_pipeline(settings.pipeline).of_consumer(settings.consumer)
    lanes = Lanes(settings.stream, by_key=settings.lanes == "partition_key")
    sink = AggregateSink(store, limits=SinkLimits(concurrency=settings.write_concurrency))
    shards = lineage.KinesisLineage(_kinesis, settings.stream, from_first=settings.from_first_record)
    reader = Reader(settings.consumer, lanes, reader_counts(settings.consumer, settings.stream_arn))
    return Aggregate(
        fold=BatchFold(pipeline, lanes),
        counting=Counting(
            {name: counts_of(pipeline, rollup) for name, rollup in pipeline.rollups.items()},
            retention_ms=settings.retention_hours * _HOUR_MS,
        ),
        progress=ProgressReader(sink, shards, reader),
        sink=sink,
        quarantine=_quarantine(settings),
        now_ms=lambda: time.time_ns() // 1_000_000,
        report=report,
        check_stream=check_of_stream(settings.stream_arn),
    )


def _quarantine(settings: Settings) -> LeanQuarantine:
    return LeanQuarantine(
        _client("sqs", SQS), settings.quarantine_url, objects=lambda: _objects(settings.quarantine_bucket)
    )


def _objects(bucket: str) -> ObjectStore:
    # Here and not above: nearly no sandbox ever writes an object.
    from processors.quarantine.objects import S3Objects  # noqa: PLC0415 - see above

    tls = _tls() if service_endpoint("s3", os.environ).tls else None
    return S3Objects.of_environment(bucket, environment=os.environ, credentials=_credentials(), tls=tls)


def _kinesis(operation: str, request: Mapping[str, Any], /, *, deadline: Deadline) -> Any:
    """Ask Kinesis by a client of the moment: it is asked once a sandbox and new shard."""
    kinesis = _client("kinesis", lineage.TARGET, json_version="1.1")
    try:
        return json.loads(kinesis.call(operation, json.dumps(request), kinesis.retries(deadline)))
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
    """Return one context for all clients, by the certificates of AWS_CA_BUNDLE, the bundle's own, or OpenSSL's.

    OpenSSL reads a file of 130 roots as a whole, which takes 17 ms and more; of a folder, where each is a file named
    by the hash of its subject, only the one that it needs.
    """
    folder = os.path.join(os.environ.get("LAMBDA_TASK_ROOT", ""), ROOTS_FOLDER)  # noqa: PTH118 - pathlib costs 2 ms
    if not os.environ.get("AWS_CA_BUNDLE") and os.path.isdir(folder):  # noqa: PTH112 - the same
        return ssl.create_default_context(capath=folder)
    return tls_context(os.environ)


_aggregate: Aggregate | None = None
_reporter = Reporter(os.environ.get("AWS_LAMBDA_FUNCTION_NAME", SERVICE))


def handler(event: Any, context: Any) -> dict[str, list[dict[str, str]]]:
    """Handle one invocation."""
    _reporter.begin(context.aws_request_id)
    return _built().handle(event, remaining_ms=context.get_remaining_time_in_millis)


def _built() -> Aggregate:
    global _aggregate  # noqa: PLW0603 - one a sandbox is what Lambda's model is
    if _aggregate is None:
        _aggregate = build(Settings.of(os.environ), _reporter)
    return _aggregate


# In a sandbox the function is built while it is imported: it costs the same there, provisioned concurrency and SnapStart
# do it ahead of time, and Lambda is seen to give init more CPU. Anywhere else importing this module does nothing.
if "LAMBDA_TASK_ROOT" in os.environ:
    _built()
