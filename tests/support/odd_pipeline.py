"""A pipeline that is as unlike readings and clicks as one may be: for what has to work with any."""

import json
from pathlib import Path

from processors.pipeline_files import load_pipeline
from streamgage.definition.pipeline import Pipeline

DEFINITION = """
[[sources]]
name = "meter"
schema = "meter.avsc"
partition_key = "meter"
event_time = "at"
max_future = "2m"
max_lateness = "20m"
blocks = true

[sources.derive]
is_much = "amount > 22"

[[sources]]
name = "note"
schema = "note.avsc"
partition_key = "author"
event_time = "at"
max_future = "5m"

[[rollups]]
name = "by_meter"
source = "meter"
key = ["meter", "level"]
windows = ["1m", "1h"]
[rollups.measures]
amount = ["count", "sum", "min", "max", "mean", "first", "last"]

[[rollups]]
name = "by_kind"
source = "meter"
key = ["kind", "is_much"]
windows = ["1h"]
keep = "30m"
[rollups.measures]
ratio = ["sum", "first", "last"]

[[rollups]]
name = "hot"
source = "meter"
key = ["site"]
windows = ["1h"]
where = "state == 'hot'"
[rollups.measures]
amount = ["count", "sum"]

[[rollups]]
name = "authors"
source = "note"
key = ["author"]
windows = ["1d"]
[rollups.measures]
words = ["count", "sum", "max"]
"""
METER = {
    "type": "record",
    "name": "Meter",
    "fields": [
        {"name": "meter", "type": "long"},
        {"name": "level", "type": "int"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["WATER", "GAS"]}},
        {"name": "other", "type": ["null", "Kind"], "default": None},
        {"name": "site", "type": "string"},
        {"name": "state", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": ["null", "double"], "default": None},
        {"name": "ratio", "type": "float"},
        {"name": "raw", "type": "bytes"},
        {"name": "half", "type": {"type": "fixed", "name": "Half", "size": 2}},
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "parts", "type": {"type": "array", "items": ["null", "long"]}},
        {
            "name": "place",
            "type": {"type": "record", "name": "Place", "fields": [{"name": "ok", "type": "boolean"}]},
        },
    ],
}
NOTE = {
    "type": "record",
    "name": "Note",
    "fields": [
        {"name": "author", "type": "string"},
        {"name": "at", "type": "long"},
        {"name": "words", "type": ["null", "int"], "default": None},
    ],
}


def write_odd(folder: Path) -> Path:
    """Write the definition and its schemas into *folder*, and return the definition's path."""
    (folder / "meter.avsc").write_text(json.dumps(METER), encoding="utf-8")
    (folder / "note.avsc").write_text(json.dumps(NOTE), encoding="utf-8")
    (folder / "odd.toml").write_text(DEFINITION, encoding="utf-8")
    return folder / "odd.toml"


def odd_pipeline(folder: Path) -> Pipeline:
    """Return that pipeline; its files are in *folder*."""
    return load_pipeline(write_odd(folder))
