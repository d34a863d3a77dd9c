"""What the HTTP function, and those of live updates, load with each cold start: nothing heavy that nobody asked for."""

import json
import subprocess
import sys

import pytest

from support.paths import ROOT

HEAVY = {
    "boto3",
    "pydantic",
    "pyarrow",
    "duckdb",
    "matplotlib",
    "rich",
    "pandas",
    "polars",
    "fastavro",
    "promql_parser",
}
OTHERS = (
    "infra",
    "producers",
    "benchmarks",
    "processors.aggregate.batch",
    "streamgage.fold.batch",
    "streamgage.reading.rows",
)
# botocore is there where it is installed, as in Lambda's own Python: Powertools looks for it, and imports its first file.


def loaded(script: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(done.stdout))


def test_the_function_loads_nothing_heavy() -> None:
    names = loaded(
        "import json, sys\nimport processors.live.function\nprint(json.dumps(sorted(sys.modules)))"
    )
    assert "aws_lambda_powertools.event_handler.api_gateway" in names
    assert not {each.partition(".")[0] for each in names} & HEAVY
    assert not {each for each in names if each.startswith(OTHERS)}


@pytest.mark.parametrize("module", ["processors.live.socket", "processors.live.push"])
def test_who_tells_what_changed_loads_no_library_and_nothing_that_answers(module: str) -> None:
    names = loaded(f"import json, sys\nimport {module}\nprint(json.dumps(sorted(sys.modules)))")
    assert not {each.partition(".")[0] for each in names} & {*HEAVY, "aws_lambda_powertools", "botocore"}
    assert not {each for each in names if each.startswith((*OTHERS, "processors.query", "processors.promql"))}
    assert not {
        each for each in names if each.startswith(("processors.live.application", "processors.live.function"))
    }
    assert "processors.live.fanout" in names or module.endswith("socket")


def test_outside_of_a_sandbox_importing_it_does_nothing() -> None:
    assert loaded(
        "import json\nimport processors.live.function as f\nprint(json.dumps([str(f._built.cache_info().currsize)]))"
    ) == {"0"}
