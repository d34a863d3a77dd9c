"""What the function loads is a list: a module that joins it unasked costs every cold start.

To let one in, add it below, and say in docs/adr/0011 what it costs: ``streamgage bench cold_start`` has the ledger.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from streamgage.definition.build_index import INDEX_NAME, index_text
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord, UserRecord
from support.fakes import STREAM_ARN
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, REAL_SEQUENCE, aggregated, reading

# All that is loaded on top of the runtime client, until a batch of today's events is folded.
OURS = {
    "processors": {
        "aggregate": "batch function lineage own_stream progress report settings",
        "awsjson": "aside client connections credentials endpoint http1 names retry signing",
        "deadline": "",
        "pipeline_files": "",
        "quarantine": "queue",
        "sink": "attributes breaker fenced lean_dynamodb writes",
    },
    "streamgage": {
        "definition": "build_index fingerprint pipeline pipeline_toml toml_table",
        "durations": "",
        "errors": "",
        "fold": "batch cells chunk chunk_memory items lane_log source_fold states verdicts",
        "formats": "avro blocks blocks.columns blocks.decimal_column blocks.floats blocks.ints blocks.layout blocks.reader "
        "kinesis_event kpl mark singles varint",
        "limits": "",
        "measures": "catalogue codec decimals layout named packing parts windows",
        "reading": "places poison record_reader row_shape row_values rows",
        "records": "",
    },
}  # fmt: skip
PYTHONS = {
    "dataclasses": {
        "dataclasses", "inspect", "ast", "_ast", "dis", "opcode", "_opcode", "copy", "importlib.machinery",
        "org", "org.python", "org.python.core",  # what copy looks for in vain: Jython
    },
    "typing": {"typing", "typing.io", "typing.re", "_typing"},
    "TLS and signatures": {
        "ssl", "_ssl", "socket", "_socket", "select", "selectors", "errno", "array", "base64", "binascii", "struct", "_struct",
        "hashlib", "_hashlib", "_blake2", "hmac",
    },
    "retries": {"random", "_random", "_sha512", "bisect", "_bisect"},
    "threads of the sink": {"concurrent", "concurrent.futures", "concurrent.futures._base", "concurrent.futures.thread",
        "queue", "_queue", "heapq", "_heapq"},
    "endpoints": {"ipaddress", "urllib", "urllib.parse", "datetime", "_datetime"},
    "blocks": {"zlib"},
    "the fold without the collector": {"gc"},
}  # fmt: skip
MODULES = {
    f"{package}.{room}{f'.{module}' if module else ''}"
    for package, rooms in OURS.items()
    for room, modules in rooms.items()
    for module in ("", *modules.split())
}
ALLOWED = {
    *OURS,
    *MODULES,
    *(module for modules in PYTHONS.values() for module in modules),
}
# Behind it, record by record: what of the readers of agents was loaded until then, and what was counted.
SCRIPT = """
import json, os, sys
batch, *others = json.load(sys.stdin)
import awslambdaric.bootstrap
print("-", file=sys.stderr, flush=True)
import processors.aggregate.function
from streamgage.formats.kinesis_event import decode_event
function = processors.aggregate.function._aggregate
folded = function._fold.fold(decode_event(batch), lambda *_: False, function._counting)
for each in folded.items.values():
    assert each.joined(each.joined(None).item).item is None
assert folded.user_records == 4 and not folded.poison, folded
print("-", file=sys.stderr, flush=True)
for each in others:
    folded = function._fold.fold(decode_event(each), lambda *_: False, function._counting)
    agents = {"streamgage.reading.agent_records", "streamgage.definition.agents_toml", "streamgage.formats.agents.mapping"}
    agents |= {f"streamgage.formats.agents.{name}" for name in ("decoder", "influx", "otlp_proto", "json_documents")}
    print(json.dumps([sorted(agents & sys.modules.keys()), folded.user_records - len(folded.poison)]))
"""
LINE = re.compile(r"import time:\s+\d+ \|\s+\d+ \|( +)(\S+)")


def importers(text: str) -> dict[str, str]:
    """Return who imported each module, from what ``-X importtime`` printed: a module comes after those it imports."""
    found: dict[str, str] = {}
    waiting: list[tuple[int, str]] = []
    for match in LINE.finditer(text):
        depth, name = len(match[1]), match[2]
        while waiting and waiting[-1][0] > depth:
            found[waiting.pop()[1]] = name
        waiting.append((depth, name))
    return found | {name: "the function itself" for _, name in waiting}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    """What a sandbox said that loaded the bundle and read a batch, and others, each of one record."""
    bundle = tmp_path_factory.mktemp("bundle")
    shutil.copytree(ROOT / "schemas", bundle / "schemas")
    shutil.copyfile(ROOT / "pipeline.toml", bundle / "pipeline.toml")
    schemas = [each.read_text(encoding="utf-8") for each in (ROOT / "schemas").glob("*.avsc")]
    definition = (ROOT / "pipeline.toml").read_text(encoding="utf-8")
    (bundle / INDEX_NAME).write_text(index_text(schemas=schemas, definition=definition), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-c", SCRIPT],
        input=json.dumps([batch(), *(event(each) for each in OTHERS)]),
        env={
            "PYTHONPATH": str(ROOT),
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
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr[-2_000:]
    return child


@pytest.fixture(scope="module")
def loaded(sandbox: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """Who imported each module that a sandbox loads until its first batch is folded."""
    before, after, _ = sandbox.stderr.split("\n-\n")
    known = importers(before)
    return {name: by for name, by in importers(after).items() if name not in known}


OTHERS = (
    b'{"source": "reading", "device_id": "d1", "metric": "t", "ts": %d, "value": 1}' % ARRIVAL_MS,
    b"\xc3\x01 of an unknown schema",
    b"weather,device_id=d1 temperature=20.5 %d000000" % ARRIVAL_MS,
)


def batch() -> Any:
    """Return the event of a batch: an aggregated record of readings, and a plain one."""
    schema = load_pipeline(Path(ROOT / "pipeline.toml")).sources["reading"].schema
    datas = [schema.encode(reading("d1", "temp", ARRIVAL_MS + n, n / 10)) for n in range(4)]
    return event(aggregated([UserRecord("d1", each) for each in datas[:3]]), datas[3])


def event(*datas: bytes) -> Any:
    """Return the event of a batch of Kinesis records."""
    records = [
        StreamRecord("shardId-000000000000", REAL_SEQUENCE + n, "d1", data, ARRIVAL_MS)
        for n, data in enumerate(datas)
    ]
    return json.loads(json.dumps(encode_event(records, stream_arn=STREAM_ARN)))


def test_no_module_joins_the_cold_start_unasked(loaded: dict[str, str]) -> None:
    unasked = {name: f"imported by {by}" for name, by in loaded.items() if name not in ALLOWED}
    assert unasked == {}


def test_what_reads_agents_is_loaded_at_the_first_record_of_one(
    sandbox: "subprocess.CompletedProcess[str]",
) -> None:
    """Though the definition names some; each format of theirs by itself."""
    json_event, unknown, line = (json.loads(each) for each in sandbox.stdout.splitlines())
    assert json_event == [[], 1]
    assert unknown == [[], 0]
    assert line == [
        [
            "streamgage.definition.agents_toml",
            "streamgage.formats.agents.decoder",
            "streamgage.formats.agents.influx",
            "streamgage.formats.agents.mapping",
            "streamgage.reading.agent_records",
        ],
        1,
    ]


def test_what_takes_long_to_load_is_not_loaded(loaded: dict[str, str]) -> None:
    heavy = (
        "boto3",
        "botocore",
        "fastavro",
        "aws_lambda_powertools",
        "tomllib",
        "http.client",
        "asyncio",
        "encodings.idna",
    )
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_modules_of_ours_that_are_allowed_exist() -> None:
    for module in MODULES:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), module


def test_who_imported_a_module_is_told_by_the_depth_of_its_line() -> None:
    text = (
        "import time: self [us] | cumulative | imported package\n"
        "import time:       100 |        100 |     socket\n"
        "import time:       200 |        200 |     select\n"
        "import time:       300 |        600 |   ssl\n"
        "import time:        50 |        650 | processors.aggregate.function\n"
        "import time:        10 |         10 | late\n"
    )
    assert importers(text) == {
        "socket": "ssl",
        "select": "ssl",
        "ssl": "processors.aggregate.function",
        "processors.aggregate.function": "the function itself",
        "late": "the function itself",
    }
