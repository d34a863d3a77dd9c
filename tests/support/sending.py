"""A Producer over a stream of a test, and events for it."""

from dataclasses import replace
from typing import Any

from processors.pipeline_files import load_pipeline
from producers import Producer, ProducerConfig
from producers.client.ports import KinesisPort
from streamgage.definition.pipeline import Pipeline
from streamgage.formats.avro import AvroReader
from streamgage.formats.blocks.reader import BlockReader
from support.paths import ROOT

ROWS = load_pipeline(ROOT / "pipeline.toml")
BLOCKS = replace(ROWS, sources={name: replace(source, blocks=True) for name, source in ROWS.sources.items()})
ROWS = replace(ROWS, sources={name: replace(source, blocks=False) for name, source in ROWS.sources.items()})


def producer_over(
    port: KinesisPort, *, pipeline: Pipeline = ROWS, config: ProducerConfig | None = None, **options: Any
) -> Producer:
    return Producer.over(port, pipeline=pipeline, config=config, **options)


def reading(number: int, *, devices: int = 9) -> dict[str, Any]:
    device = f"d{number % devices}"
    return {"device_id": device, "metric": "m", "ts": number, "value": float(number), "tags": None}


def numbers_of(user_records: dict[bytes, int]) -> dict[int, int]:
    """Return how often each number was counted, of user records that are rows or blocks."""
    source = ROWS.sources["reading"]
    rows, blocks, found = AvroReader(source.schema), BlockReader(source.schema), dict[int, int]()
    for data, count in user_records.items():
        if data.startswith(source.schema.prefix):
            events = [rows.decode(data)]
        else:
            block = blocks.decode(data, ())
            events = [block.event(at) for at in range(block.count)]
        for event in events:
            number = int(event["value"])
            found[number] = found.get(number, 0) + count
    return found
