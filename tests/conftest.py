"""Engines that more than one suite runs on."""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Test folders are not packages: what they share (fakes, strategies) is imported by its name from here.
sys.path.insert(0, str(Path(__file__).parent))

from infra.local.stack.ports import any_port
from support.examples import THOROUGH

REGION = "eu-central-1"
CREDENTIALS = {
    "region_name": REGION,
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}
START_TIMEOUT_S = 120
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # Java compiles once, quickly: it lives for a minute
LONG = (
    "test_simulation.py",
    "test_template.py",
    "test_planted_bugs.py",
    "test_page_access.py",
    "test_each_event_counts_once.py",
    "test_planted_bugs_are_caught.py",
    "test_contributing.py",
    "test_page_numbers.py",
    "test_hostile_files.py",
    "test_dynamodb_differential.py",
    # of the real stack
    "test_stack.py",
    "test_stores_agree.py",
    "test_load.py",
    "test_function_update.py",
    "test_faults.py",
    "test_bench_pipeline_quick.py",
    "test_dynamodb_local.py",
    "test_readme.py",
    "test_page_live.py",
    "test_tables_process.py",
    "test_hard_sending.py",
    "test_gateway_stack.py",
    "test_live_stack.py",
    "test_collector_stack.py",
    "test_metrics_endpoint.py",
    "test_private.py",
    "test_chaos.py",
    "test_sending_local.py",
    "test_collect.py",
)
"""Files that begin first, those that take longest before others (each suite has its own workers): none is left alone with
one at the end. Our --no-loadscope-reorder is for this: by itself xdist begins with the files of most tests."""

# No example is judged by the clock: on a machine under load a deadline finds what is not there. "Too slow" is said of
# drawing, by the clock too.
settings.register_profile("streamgage", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(THOROUGH, settings.get_profile("streamgage"))
settings.load_profile("streamgage")

ClientFactory = Callable[[str], Any]
"""``client("dynamodb")``: a boto3 client of an engine."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name what is bytes by its argument: gzip writes the time into it, and two workers would collect two suites."""
    return argname if isinstance(val, bytes | bytearray) else None


@pytest.hookimpl(trylast=True)  # behind pytest-randomly, which keeps its order among the others
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClientFactory]:
    """Moto, in this process, empty; the environment is a Lambda sandbox's."""
    import boto3
    from moto import mock_aws
    from moto.core.botocore_stubber import BotocoreStubber

    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(BotocoreStubber, "process_request", one_at_a_time(BotocoreStubber.process_request))
    with mock_aws():
        yield lambda service: boto3.client(service, **CREDENTIALS)


def one_at_a_time(process: Callable[..., Any]) -> Callable[..., Any]:
    """Return *process* for one thread at a time: moto checks a condition and writes in two steps; DynamoDB in one."""
    alone = threading.RLock()

    def locked(*arguments: Any) -> Any:
        with alone:
            return process(*arguments)

    return locked


@pytest.fixture(scope="session")
def ministack() -> Iterator[ClientFactory]:
    """MiniStack as a child process on a free loopback port, ended by its pid. For tests marked ``local``."""
    import boto3
    from botocore.config import Config

    port = any_port()
    environment = {
        **os.environ,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SERVICES": "dynamodb,dynamodbstreams,sqs,kinesis,s3,ssm",
        "PERSIST_STATE": "0",
    }
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "ministack"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_healthy(child, f"{url}/_ministack/health")
        config = Config(max_pool_connections=32)
        yield cache(lambda service: boto3.client(service, endpoint_url=url, config=config, **CREDENTIALS))
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientFactory]:
    """Our own engine over SQLite, on a free loopback port of this process, with a folder of its own."""
    import boto3
    from botocore.config import Config

    from infra.local.dynamodb.api import DynamoApi
    from infra.local.dynamodb.database import open_database
    from infra.local.dynamodb.server import DynamoServer
    from infra.local.dynamodb.store import Store

    store = Store(open_database(tmp_path_factory.mktemp("tables"), now_ms=0))
    server = DynamoServer(DynamoApi(store, clock_ms=lambda: 0))
    server.start()
    config = Config(max_pool_connections=32)
    clients: dict[str, Any] = {}
    try:
        yield lambda service: clients.setdefault(
            service, boto3.client(service, endpoint_url=server.url, config=config, **CREDENTIALS)
        )
    finally:
        for client in clients.values():
            client.close()
        server.stop()
        store.close()


@pytest.fixture(scope="session")
def dynamodb_local() -> Iterator[ClientFactory]:
    """DynamoDB Local, AWS's own engine, in memory on a free loopback port. Skips where there is no Java or Maven."""
    import boto3
    from botocore.config import Config

    from infra.local.stack import dynamodb_local

    reason = dynamodb_local.unavailable()
    if reason is not None:
        pytest.skip(reason)
    port = any_port()
    url = f"http://127.0.0.1:{port}"
    child = subprocess.Popen(
        dynamodb_local.command(dynamodb_local.install(), port=port, data=None),
        env={**os.environ, "JAVA_TOOL_OPTIONS": SHORT_LIVED},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not dynamodb_local.answers(url):
            if child.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"DynamoDB Local did not start; its exit code is {child.returncode}")
            time.sleep(0.05)  # polls a real process, with a deadline
        config = Config(max_pool_connections=32)
        yield cache(lambda service: boto3.client(service, endpoint_url=url, config=config, **CREDENTIALS))
    finally:
        child.kill()
        child.wait()


def create_table(client: Any, name: str) -> None:
    """Create an aggregate table, as the template does."""
    client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk")],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def _wait_until_healthy(child: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            pytest.fail(f"MiniStack ended with exit code {child.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own loopback URL
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)  # polls a real process, with a deadline
    pytest.fail(f"MiniStack was not healthy after {START_TIMEOUT_S} s")
