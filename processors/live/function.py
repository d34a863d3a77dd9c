"""The composition root of the HTTP function: ``processors.live.function.handler`` is what Lambda calls."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from processors.aggregate.lineage import TARGET as KINESIS
from processors.live.application import Application, LambdaContext, Told
from processors.live.clients import aws_client
from processors.live.place import LiveStack
from processors.live.settings import Settings
from processors.live.shard_reads import ShardReads
from processors.live.tickets import TicketTable
from processors.pipeline_files import load_pipeline
from processors.quarantine.queue import TARGET as SQS
from processors.query.lean_store import Memory
from processors.sink.lean_dynamodb import TARGET as DYNAMODB

SERVICE = "http"  # where there is no function's name
NAMESPACE = "streamgage"  # the aggregate function's, whose reporter would bring its fold along
_READERS = 8

_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", SERVICE)
# Lambda sets it; 0: nothing is remembered from one answer to the next.
_memory_mb = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"))
_logger = Logger(service=_name)
_metrics = Metrics(namespace=NAMESPACE, service=_name)


def build(settings: Settings) -> Application:
    """Return the application of *settings*, with real clients. No call is made yet."""
    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
    dynamodb, connections = aws_client("dynamodb", DYNAMODB), settings.connections_table
    stack = LiveStack(
        pipeline=load_pipeline(settings.pipeline).of_consumer(settings.consumer),
        consumer=settings.consumer,
        table=settings.table,
        stream=settings.stream,
        dynamodb=dynamodb,
        shards=ShardReads(aws_client("kinesis", KINESIS, json_version="1.1"), settings.stream, readers),
        readers=readers,
        warn=_logger.warning,
        sqs=aws_client("sqs", SQS) if settings.quarantine_url else None,
        quarantine_url=settings.quarantine_url,
        tickets=TicketTable(dynamodb, connections) if connections else None,
        memory=Memory.of_mb(_memory_mb),
    )
    return Application(
        stack,
        now_ms=lambda: time.time_ns() // 1_000_000,
        told=_told,
        origins=settings.origins,
        keys_claim=settings.keys_claim,
    )


def _told(told: Told) -> None:
    """Write a line and the metrics of a request. What was asked for is in neither: it may name people."""
    facts = {
        "method": told.method[:20],
        "route": told.route,
        "status": told.status,
        "rows": told.rows,
        "read_units": told.read_units,
    }
    if told.error is not None:
        _logger.error("not answered", exc_info=told.error, extra=facts)
    else:
        _logger.info("answered", extra=facts)
    _metrics.add_metric("ReadUnits", MetricUnit.Count, told.read_units)
    _metrics.add_metric("Rows", MetricUnit.Count, told.rows)
    _metrics.add_metric("OutOfTime", MetricUnit.Count, int(told.status == 504))
    _metrics.flush_metrics()


@cache
def _built() -> Application:
    return build(Settings.of(os.environ))


def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Answer one request of API Gateway's HTTP API, payload format 2.0."""
    return _built().handle(event, context)


# In a sandbox it is built while it is imported, as the aggregate function is: docs/adr/0011.
if "LAMBDA_TASK_ROOT" in os.environ:
    _built()
