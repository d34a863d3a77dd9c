"""An unpacked bundle in a Python that has nothing else: what it loads, and what it makes of batches."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors.pipeline_files import load_pipeline
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord, UserRecord
from support.fakes import STREAM_ARN
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, POISON_USER_RECORDS, REAL_SEQUENCE, aggregated, reading

PIPELINE = ROOT / "pipeline.toml"
# The interpreter has its own library on its path, and the bundle, and nothing else: -I and -S leave nothing else in. -B
# keeps it from making the bytecode that the bundle should hold.
SCRIPT = """
import json, os, sys
bundle, batches = json.load(sys.stdin)
assert not [each for each in sys.path if "-packages" in each], sys.path
sys.path.insert(0, bundle)
os.chdir(bundle)
from dataclasses import replace
import processors.aggregate.function
from streamgage.formats.kinesis_event import decode_event

def loaded():
    return {name: (getattr(module, "__cached__", None) or module.__file__) for name, module in sys.modules.items()
            if (getattr(module, "__file__", None) or "").startswith(bundle)}

from processors.deadline import Deadline
quarantine = processors.aggregate.function._aggregate._quarantine
quarantine._client.call = lambda *_: b"{}"

said = []
for number, batch in enumerate(batches):
    if number:  # what a definition with filters, derived fields or sketches loads
        from streamgage.definition.derived import filter_of
        from streamgage.measures.named import find_measure, part_named
        assert [part_named(each).identity for each in find_measure("p95").parts] == [part_named("histogram").identity]
        assert all(part_named(part) for each in ("entry", "time_weighted_mean") for part in find_measure(each).parts)
        assert filter_of("status >= 500", {"status": "int"}).value({"status": 503}) is True
        import streamgage.definition.agents_toml, streamgage.reading.agent_records  # where a source names what agents write, and each by its format
        import streamgage.definition.histogram_fields, streamgage.measures.histogram_points  # where a field holds histograms
        from streamgage.formats.agents import cloudevents, influx, json_documents, otlp_json, otlp_points, otlp_proto
    aggregate = processors.aggregate.function._aggregate
    counting = replace(aggregate._counting, begin_ms=lambda _: 0)
    folded = aggregate._fold.fold(decode_event(batch), lambda *_: False, counting)
    if folded.poison:
        quarantine.send(folded.poison, deadline=Deadline.after(60))
        quarantine._objects = processors.aggregate.function._objects("failed-batches")
        quarantine._objects.put = lambda *_, **__: None
        quarantine.send(folded.poison * 200, deadline=Deadline.after(60))
    said.append({"modules": loaded(), "records": folded.user_records, "poison": [code for each in folded.poison for code in each.codes]})
print(json.dumps(said))
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a child said after each batch: the modules of the bundle that are loaded, by the file that was run."""

    modules: dict[str, str]
    records: int
    poison: list[str]


def event(*datas: bytes) -> Any:
    """Return the event of a batch of Kinesis records."""
    records = [
        StreamRecord("shardId-000000000000", REAL_SEQUENCE + n, "d1", data, ARRIVAL_MS)
        for n, data in enumerate(datas)
    ]
    return json.loads(json.dumps(encode_event(records, stream_arn=STREAM_ARN)))


def todays() -> Any:
    """Return a batch of today's events: an aggregated record, and a plain one."""
    schema = load_pipeline(PIPELINE).sources["reading"].schema
    datas = [schema.encode(reading("d1", "temp", ARRIVAL_MS + n, n / 10)) for n in range(4)]
    return event(aggregated([UserRecord("d1", each) for each in datas[:3]]), datas[3])


def slow() -> Any:
    """Return a batch that needs every slow path of the function's own code: JSON, and all that is poison."""
    asked = json.dumps({"source": "reading", **reading("d1", "temp", ARRIVAL_MS, 1.0)}).encode()
    return event(asked, *(make(ARRIVAL_MS) for _, make in POISON_USER_RECORDS))


def told_of_slow() -> list[str]:
    """Return the codes of what is wrong in ``slow``, by the definition that ships.

    It takes an event however old, and reads an array as an agent's, item by item.
    """
    return [
        "undecodable" if make(ARRIVAL_MS) == b"[1, 2]" else code
        for code, make in POISON_USER_RECORDS
        if code != "late"
    ]


def run(bundle: Path, batches: Sequence[Any], *, python: str | Path = sys.executable) -> list[Said]:
    child = subprocess.run(
        [os.path.realpath(python), "-I", "-S", "-B", "-c", SCRIPT],
        input=json.dumps([str(bundle), batches]),
        env={
            "LAMBDA_TASK_ROOT": str(bundle),
            "STREAMGAGE_STREAM": "telemetry",
            "STREAMGAGE_STREAM_ARN": STREAM_ARN,
            "STREAMGAGE_TABLE": "aggregates",
            "STREAMGAGE_QUARANTINE_URL": "http://127.0.0.1/q",
            "STREAMGAGE_QUARANTINE_BUCKET": "failed-batches",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr[-2_000:]
    return [Said(**each) for each in json.loads(child.stdout)]
