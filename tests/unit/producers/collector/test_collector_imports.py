"""What the collector's function loads with each cold start: nothing heavy, no spool, no simulator, nothing that counts."""

import json
import subprocess
import sys

from support.paths import ROOT

HEAVY = {
    "boto3",
    "pydantic",
    "rich",
    "fastavro",
    "promql_parser",
    "sqlite3",
    "duckdb",
    "pyarrow",
    "h2",
    "httptools",
}
OTHERS = (
    "infra", "benchmarks", "processors.aggregate", "processors.live", "processors.query", "processors.sink",
    "producers.sending", "producers.spool", "producers.simulators", "producers.files", "streamgage.fold",
    "streamgage.reading", "streamgage.expressions",
)  # fmt: skip


def loaded(script: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(done.stdout))


def test_the_function_loads_nothing_heavy_and_no_other_way_to_send() -> None:
    names = loaded(
        "import json, sys\nimport producers.collector.function\nprint(json.dumps(sorted(sys.modules)))"
    )
    assert "aws_lambda_powertools.event_handler.api_gateway" in names
    assert not {each.partition(".")[0] for each in names} & HEAVY
    assert not {each for each in names if each.startswith(OTHERS)}


def test_outside_of_a_sandbox_importing_it_does_nothing() -> None:
    assert loaded(
        "import json\nimport producers.collector.function as f\nprint(json.dumps([str(f._built.cache_info().currsize)]))"
    ) == {"0"}
