"""What the agents' tests count: a reading of whatever they send, and what became of each that came."""

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from processors.pipeline_files import load_pipeline
from streamgage.definition.pipeline import Pipeline
from streamgage.formats.agents.decoder import AgentDecoder, Taken
from streamgage.formats.agents.inflate import opened
from streamgage.formats.avro import Event
from streamgage.formats.kpl import decode_aggregate
from streamgage.formats.mark import decode_mark
from streamgage.reading.record_reader import SourceReader
from support.paths import ROOT

Reading = tuple[str, str, int, float]
"""Device, metric, time in ms, value."""

_TEXT = """
[[sources]]
name = "reading"
schema = "schemas/reading.avsc"
partition_key = "device_id"
event_time = "ts"
max_future = "5m"

[[sources.from]]
format = "otlp"
fields = { device_id = "resource:host.name", metric = "metric", value = "value", ts = "time" }

[[sources.from]]
format = "influx"
fields = { device_id = "tag:host", metric = "field", value = "value", ts = "time" }

[[sources.from]]
format = "cloudevents"
match = { type = "com.example.reading" }
fields = { device_id = "subject", metric = "data:metric", value = "data:value", ts = "time" }

[[rollups]]
name = "device_metrics"
source = "reading"
key = ["device_id", "metric"]
windows = ["1d"]
[rollups.measures]
value = ["count", "sum", "min", "max", "last"]
"""


def definition_in(folder: Path) -> Path:
    """Write the definition and its schema into *folder*; return the file."""
    (folder / "schemas").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "schemas" / "reading.avsc", folder / "schemas")
    page = folder / "pipeline.toml"
    page.write_text(_TEXT)
    return page


def definition(folder: Path) -> Pipeline:
    """Return the definition that ``definition_in`` writes."""
    return load_pipeline(definition_in(folder))


def put_by_agents(records: Iterable[bytes], pipeline: Pipeline) -> Counter[Reading]:
    """Return how often each reading counts, of what agents put on a stream as it is."""
    decoder = AgentDecoder(pipeline.sources.values())
    taken = (
        each.event
        for data in records
        for each in decoder.decode_whole(opened(data))
        if isinstance(each, Taken)
    )
    return Counter(_reading(each) for each in taken)


def collected(records: Sequence[bytes], pipeline: Pipeline) -> Counter[Reading]:
    """Return how often each reading counts, of what a collector put: a consumer knows aggregates by their marks."""
    events = SourceReader(pipeline.sources["reading"], ("ts",)).events
    seen, found = set[object](), Counter[Reading]()
    for data in records:
        aggregate = decode_aggregate(data)
        mark = decode_mark(aggregate.tags)
        if mark not in seen:
            seen.add(mark)
            for record in aggregate.user_records():
                found[_reading(events.decode(record.data))] += 1
    return found


def _reading(event: Event) -> Reading:
    return event["device_id"], event["metric"], event["ts"], event["value"]
