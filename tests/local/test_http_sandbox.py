"""The HTTP function in a real sandbox: it answers, and a question that would outlast it is told so in time."""

import json
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from infra.aws.bundle.dists import build_runtime_dir
from infra.local.function.outcome import Answered as Outcome
from infra.local.function.pool import FunctionPool
from infra.local.function.sandbox import FunctionConfig
from support.http_face import Answered, answered, event_of
from support.lean_server import Reply, Request, Service, serving
from support.paths import ROOT

pytestmark = pytest.mark.local

RANGE = "/v1/rollups/device_metrics/range"
NEEDED = ("aws-lambda-powertools", "jmespath", "typing-extensions", "fastavro")
ENDLESS = """
import processors.query.tables
from processors.live.function import handler

def answer(*_, **__):
    while True:
        pass

processors.query.tables.answer = answer
"""


def services(request: Request) -> Reply:
    """Answer as an empty table and an empty stream do."""
    answers: dict[str, Any] = {
        "Query": {"Items": [], "ConsumedCapacity": {"CapacityUnits": 0.5}},
        "BatchGetItem": {"Responses": {}},
        "ListShards": {"Shards": []},
    }
    return Reply.of(json.dumps(answers[request.operation]).encode())


@pytest.fixture(scope="module")
def task_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, by links: our rooms, the definition, and what the function needs of others."""
    folder = tmp_path_factory.mktemp("http") / "task"
    folder.mkdir()
    for name in ("processors", "streamgage", "pipeline.toml", "schemas"):
        (folder / name).symlink_to(ROOT / name)
    for name in NEEDED:
        for top in {each.parts[0] for each in distribution(name).files or () if ".." not in each.parts}:
            if top != "__pycache__":
                (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    (folder / "endless.py").write_text(ENDLESS, encoding="utf-8")
    return folder


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(services) as started:
        yield started


Ask = Callable[..., list[Answered]]


@pytest.fixture
def ask(task_dir: Path, service: Service, tmp_path: Path) -> Iterator[Ask]:
    runtime_dir = build_runtime_dir(tmp_path / "runtime")
    pools: list[FunctionPool] = []

    def asked(
        *targets: str, handler: str = "processors.live.function.handler", timeout_s: float = 60
    ) -> list[Answered]:
        config = FunctionConfig(
            name="http",
            handler=handler,
            task_dir=task_dir,
            runtime_dir=runtime_dir,
            log_file=tmp_path / "log",
            env={
                "AWS_ENDPOINT_URL": service.url,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "STREAMGAGE_STREAM": "telemetry",
                "STREAMGAGE_TABLE": "aggregates",
            },
            timeout_s=timeout_s,
            memory_mb=512,
        )
        pools.append(FunctionPool(config))
        found = []
        for target in targets:
            outcome = pools[-1].invoke("request", json.dumps(event_of(target)).encode()).outcome
            assert isinstance(outcome, Outcome), (outcome, (tmp_path / "log").read_text())
            found.append(answered(json.loads(outcome.payload)))
        return found

    yield asked
    for pool in pools:
        pool.close()


def test_a_sandbox_answers_as_it_is_asked(ask: Ask, tmp_path: Path) -> None:
    health, rollups, asked = ask("/health", "/v1/rollups", f"{RANGE}?window=1h")
    assert (health.status, rollups.status, asked.status) == (200, 200, 200)
    assert "device_metrics" in [each["name"] for each in rollups.json["rollups"]]
    assert (asked.json["rows"], asked.json["read_units"]) == ([], 0.5)
    log = (tmp_path / "log").read_text()
    assert '"route":"/v1/rollups/{rollup}/range"' in log
    assert '"Namespace":"streamgage"' in log


def test_a_question_that_computes_for_ever_is_ended_and_the_sandbox_lives(ask: Ask) -> None:
    endless, health = ask(RANGE, "/health", handler="endless.handler", timeout_s=8)
    assert (endless.status, "would take too long" in endless.json["error"]) == (504, True)
    assert health.status == 200
