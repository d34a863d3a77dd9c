"""What people build today: Powertools' batch processor, logger and metrics, aws_kinesis_agg, fastavro, boto3.

As the documentation of each shows it: clients outside the handler, one UpdateItem an event.
"""

import json
import os
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import fastavro
from aws_kinesis_agg.deaggregator import deaggregate_records
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="aggregate")
metrics = Metrics(namespace="telemetry", service="aggregate")
processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
table = boto3.resource("dynamodb").Table(os.environ["STREAMGAGE_TABLE"])
schema = fastavro.parse_schema(json.loads(Path("reading.avsc").read_text(encoding="utf-8")))


def record_handler(record: KinesisStreamRecord) -> None:
    """Count one event in its minute."""
    body = record.kinesis.data_as_bytes()
    event: Any = fastavro.schemaless_reader(BytesIO(body[10:]), schema, None)
    minute = int(event["ts"].timestamp()) // 60
    table.update_item(
        Key={"pk": f"{event['device_id']}|{event['metric']}", "sk": str(minute)},
        UpdateExpression="ADD #count :one, #sum :value",
        ExpressionAttributeNames={"#count": "count", "#sum": "sum"},
        ExpressionAttributeValues={":one": 1, ":value": Decimal(str(event["value"]))},
    )


@metrics.log_metrics(capture_cold_start_metric=True)
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Handle one invocation."""
    records = deaggregate_records(event["Records"])
    metrics.add_metric(name="UserRecords", unit=MetricUnit.Count, value=len(records))
    logger.info("batch", extra={"user_records": len(records)})
    return process_partial_response(
        event={"Records": records}, record_handler=record_handler, processor=processor, context=context
    )
