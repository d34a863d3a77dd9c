"""Peer: aws_kinesis_agg's aggregator, with fastavro's writer, as its README shows a producer."""

from collections.abc import Iterable
from io import BytesIO

from aws_kinesis_agg.aggregator import RecordAggregator
from fastavro import schemaless_writer

from streamgage.formats.avro import AvroSchema, Event


def encode(event: Event, schema: AvroSchema) -> bytes:
    """Return *event* as an Avro single object, as the reader of our stream expects it."""
    out = BytesIO()
    out.write(schema.prefix)
    schemaless_writer(out, schema.parsed, event)
    return out.getvalue()


def aggregate(records: Iterable[tuple[str, bytes]], *, max_bytes: int) -> list[bytes]:
    """Return the data of the Kinesis records that *records* (partition key, data) fill, the last one as it is."""
    aggregator = RecordAggregator(max_bytes)
    datas: list[bytes] = []
    for partition_key, data in records:
        full = aggregator.add_user_record(partition_key, data)
        if full:
            datas.append(full.get_contents()[2])
    last = aggregator.clear_and_get()
    if last:
        datas.append(last.get_contents()[2])
    return datas
