"""Peer: Powertools' BatchProcessor, aws_kinesis_agg and fastavro, record by record, folded into a plain dict.

Written as the batch page of Powertools' documentation shows a Kinesis handler (``process_partial_response`` with a record
handler) and as the README of aws_kinesis_agg shows deaggregation in a Lambda function. ``without_powertools`` is the same
with a plain loop, as that README has it: the least that these libraries cost.
"""

import base64
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from aws_kinesis_agg.deaggregator import deaggregate_records
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from fastavro import schemaless_reader

from benchmarks.events import WINDOWS_MS, Totals, total_key
from streamgage.formats.avro import HEADER_BYTES, AvroSchema

_Found = dict[tuple[str, int, str, str], list[Any]]


class PowertoolsFunction:
    """The function; ``found`` holds count, sum and maximum by window, start, device and metric."""

    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema.parsed
        self._processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
        self.found: _Found = {}

    def handle(self, event: Mapping[str, Any]) -> Any:
        """Handle an invocation, each user record on its own."""
        self.found = {}
        return process_partial_response(
            event={"Records": deaggregate_records(event["Records"])},
            record_handler=self._handle_record,
            processor=self._processor,
            context=LambdaContext(),
        )

    def without_powertools(self, event: Mapping[str, Any]) -> None:
        """Handle an invocation in a plain loop: no partial failures."""
        self.found = {}
        for record in deaggregate_records(event["Records"]):
            self._fold(base64.b64decode(record["kinesis"]["data"]))

    def _handle_record(self, record: KinesisStreamRecord) -> None:
        self._fold(record.kinesis.data_as_bytes())

    def _fold(self, data: bytes) -> None:
        reading: Any = schemaless_reader(BytesIO(data[HEADER_BYTES:]), self._schema, None)
        ts, value = reading["ts"], reading["value"]
        for label, size_ms in WINDOWS_MS.items():
            key = (label, ts - ts % size_ms, reading["device_id"], reading["metric"])
            total = self.found.get(key)
            if total is None:
                self.found[key] = [1, value, value]
            else:
                total[0] += 1
                total[1] += value
                total[2] = max(total[2], value)

    def totals(self) -> Totals:
        """Return what the last invocation found."""
        return {total_key(*key): (count, total, most) for key, (count, total, most) in self.found.items()}
