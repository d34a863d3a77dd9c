"""Fuzz the row reader beside fastavro: ``python tests/fuzz/fuzz_rows.py -max_total_time=60``."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import atheris  # in a virtual environment of its own: see `make fuzz`

sys.path[:0] = [
    str(folder) for folder in Path(__file__).parents[1:3]
]  # run as a script: tests, and the repository

with atheris.instrument_imports(include=["streamgage"]):
    from fuzz.promises import pipelines, sign
    from fuzz.targets import fuzz
    from streamgage.definition.pipeline import Source
    from streamgage.formats.avro import AvroReader
    from streamgage.formats.kpl import DIGEST_BYTES, MAGIC
    from streamgage.formats.kpl_builder import AggregateBuilder
    from streamgage.reading.rows import RowReader
    from streamgage.records import UserRecord
    from support.row_oracle import check_aggregate

_FIELDS = {
    "reading": ("ts", "device_id", "value"),
    "click": ("ts", "page", "bytes"),
    "everything": ("ts", "colour", "value"),
}


@cache
def sources() -> tuple[Source, ...]:
    """Return every source of the pipelines that the promises are tried on."""
    return tuple(source for pipeline in pipelines() for source in pipeline.sources.values())


def check(data: bytes) -> None:
    """Read *data*, but for its first byte, as the message of an aggregated record of one of the sources."""
    if len(data) > 1:
        source = sources()[data[0] % len(sources())]
        fields = _FIELDS[source.name]
        check_aggregate(
            RowReader(source, fields), AvroReader(source.schema, source.writers), fields, sign(data[1:])
        )


def seeds() -> Iterator[bytes]:
    """Yield the number of a source and a message with some of its events."""
    reading = {"device_id": "d1", "metric": "temp", "ts": 1_700_000_000_000, "value": 1.5}
    click = {"visitor_id": "v1", "page": "/é", "action": "view", "ts": 1_700_000_000_000, "bytes": 7}
    everything = {
        "id": "d1",
        "ts": 7,
        "colour": "RED",
        "value": 1.5,
        "blob": b"b",
        "points": [],
        "deep": {},
    }
    events = {"reading": reading, "click": click, "everything": everything}
    for number, source in enumerate(sources()):
        builder = AggregateBuilder()
        for _ in range(3):
            builder.add(UserRecord("k", source.schema.encode(events[source.name])))
        yield bytes((number,)) + builder.build()[len(MAGIC) : -DIGEST_BYTES]


if __name__ == "__main__":
    fuzz(check, seeds())
