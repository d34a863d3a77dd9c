"""The zip that is deployed, unpacked and run: by the real runtime client here, by name and machine where it cannot be."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from conftest import CREDENTIALS, REGION, ClientFactory, create_table
from infra.aws.bundle.bytecode import find_interpreter
from infra.aws.bundle.dists import build_runtime_dir
from infra.aws.bundle.files import bundle_files, installed_libraries, our_imports
from infra.aws.bundle.package import PYTHON, Package, package
from infra.aws.bundle.wheels import Target
from infra.local.function.outcome import Answered
from infra.local.function.pool import FunctionPool
from infra.local.function.sandbox import FunctionConfig
from processors.pipeline_files import load_pipeline
from processors.quarantine.bulk import decode_bulk
from processors.query.cells import DynamoPartialStore
from streamgage.errors import ConfigError
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord, UserRecord
from support.bundle_child import PIPELINE, run, slow, todays, told_of_slow
from support.fakes import STREAM_ARN, ask_store
from support.paths import ROOT
from support.strategies import ARRIVAL_MS, POISON_USER_RECORDS, REAL_SEQUENCE, aggregated, reading

pytestmark = pytest.mark.local

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ELF_FIELDS = (("H", 18), ("Q", 32), ("H", 56))  # e_machine, e_phoff, e_phnum
ELF_MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}


@dataclass(frozen=True, slots=True)
class Made:
    """A zip, and where it is unpacked."""

    package: Package
    folder: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Made]:
    """``made(architecture, python)``: the bundle for it, made once. Fails with pip's words where pip reaches no index."""

    @cache
    def make(architecture: str, python: str) -> Made:
        folder = tmp_path_factory.mktemp("made")
        try:
            zipped = package(folder / "a.zip", PIPELINE, architecture=architecture, python=python)
        except ConfigError as error:
            pytest.fail(f"this test needs the index that pip is configured with: {error}")
        with zipfile.ZipFile(zipped.path) as archive:
            archive.extractall(folder / "task")
        return Made(zipped, folder / "task")

    return make


def this_architecture() -> str:
    """Return this machine's, as Lambda names it."""
    return {"aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def is_compiled(name: str) -> bool:
    return name.endswith(".so")


def unsuffixed(name: str) -> str:
    """Return the name of a compiled module without Python and machine."""
    return re.sub(r"\.cpython-[^/]*\.so$", ".so", name)


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_here_and_on_aws_run_the_same_files_but_for_compiled_modules(
    made: Callable[[str, str], Made], architecture: str
) -> None:
    local = bundle_files(PIPELINE, installed_libraries())
    with zipfile.ZipFile(made(architecture, PYTHON).package.path) as archive:
        deployed = {each: archive.read(each) for each in archive.namelist() if not each.endswith(".pyc")}
    assert {unsuffixed(each) for each in local} == {unsuffixed(each) for each in deployed}
    assert {name: each for name, each in local.items() if not is_compiled(name)} == {
        name: each for name, each in deployed.items() if not is_compiled(name)
    }


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_compiled_modules_are_for_lambdas_machine_and_python(
    made: Callable[[str, str], Made], architecture: str
) -> None:
    modules = [each for each in made(architecture, PYTHON).folder.rglob("*") if is_compiled(each.name)]
    assert len(modules) == 6
    for path in modules:
        content = path.read_bytes()
        machine, table, count = (struct.unpack_from(f"<{kind}", content, at)[0] for kind, at in ELF_FIELDS)
        assert (content[:5], machine) == (b"\x7fELF\x02", ELF_MACHINES[architecture])
        for number in range(count):
            offset, _, _, size_bytes = struct.unpack_from("<4Q", content, table + number * 56 + 8)
            assert offset + size_bytes <= len(content)
        assert path.name.endswith(Target(architecture, PYTHON).extension)


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_a_bundle_is_within_its_budget(made: Callable[[str, str], Made], architecture: str) -> None:
    zipped = made(architecture, PYTHON).package
    assert zipped.over_budget() == []
    assert zipped.modules == our_imports().at_init
    assert zipped.size_bytes == zipped.path.stat().st_size
    assert zipped.unzipped_bytes == sum(part.unzipped_bytes for part in zipped.parts)
    interpreter = find_interpreter(PYTHON)
    bytecode = list(made(architecture, PYTHON).folder.rglob("*.pyc"))
    assert zipped.bytecode == (interpreter.version if interpreter else None)
    assert bool(bytecode) == bool(interpreter)
    assert {each.name.split(".")[1] for each in bytecode} <= {"cpython-" + PYTHON.replace(".", "")}


def test_the_same_inputs_make_the_same_bytes_in_another_place_zone_and_process(
    made: Callable[[str, str], Made], tmp_path: Path
) -> None:
    once = made("arm64", PYTHON).package.sha256
    elsewhere = tmp_path / "checkout"
    shutil.copytree(ROOT / "schemas", elsewhere / "schemas")
    shutil.copyfile(PIPELINE, elsewhere / "pipeline.toml")
    script = (
        "import os, sys; os.umask(0o077); from pathlib import Path; from infra.aws.bundle.package import package; "
        "print(package(Path('other.zip'), Path('pipeline.toml'), architecture='arm64').sha256)"
    )
    child = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=elsewhere,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TZ": "Pacific/Kiritimati",
            "PYTHONHASHSEED": "7",
            "LC_ALL": "C",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert child.returncode == 0, child.stderr[-2_000:]
    assert child.stdout.strip() == once


def test_the_bundle_for_lambdas_python_runs_in_it_where_it_is_installed(
    made: Callable[[str, str], Made],
) -> None:
    interpreter = find_interpreter(PYTHON)
    if interpreter is None:
        pytest.skip(f"Python {PYTHON} is not installed here")
    task = made(this_architecture(), PYTHON).folder
    quick, said = run(task, [todays(), slow()], python=interpreter.path)
    assert sorted(quick.modules) == sorted(our_imports().at_init)
    assert (said.records, set(said.poison)) == (
        1 + len(POISON_USER_RECORDS) + 1,  # an array of two
        set(told_of_slow()),
    )
    tag = f"cpython-{PYTHON.replace('.', '')}"
    assert [each for each in said.modules.values() if tag not in each] == []  # bytecode and compiled modules


def settings_of(task: Path, queue_url: str) -> dict[str, str]:
    return {
        "LAMBDA_TASK_ROOT": str(task),
        "STREAMGAGE_STREAM": "telemetry",
        "STREAMGAGE_STREAM_ARN": STREAM_ARN,
        "STREAMGAGE_TABLE": "aggregates",
        "STREAMGAGE_QUARANTINE_URL": queue_url,
        "STREAMGAGE_QUARANTINE_BUCKET": "failed-batches",
        "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
        "AWS_REGION": REGION,
    }


@dataclass(frozen=True, slots=True)
class Running:
    """The function of an unpacked bundle in a real sandbox, and what it writes to."""

    pool: FunctionPool
    log: Path
    dynamodb: Any
    table: str
    sqs: Any
    queue_url: str
    s3: Any


@pytest.fixture
def running(made: Callable[[str, str], Made], ministack: ClientFactory, tmp_path: Path) -> Iterator[Running]:
    """The bundle for this machine."""
    task = made(this_architecture(), HERE).folder
    dynamodb, sqs = ministack("dynamodb"), ministack("sqs")
    name = f"package-{uuid.uuid4().hex}"
    create_table(dynamodb, name)
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    ministack("kinesis").create_stream(StreamName=name, ShardCount=1)
    s3 = ministack("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    pool = FunctionPool(
        FunctionConfig(
            name="aggregate",
            handler="processors.aggregate.function.handler",
            task_dir=task,
            runtime_dir=build_runtime_dir(tmp_path / "runtime"),
            log_file=tmp_path / "function.log",
            env={
                **settings_of(task, queue_url),
                "STREAMGAGE_TABLE": name,
                "STREAMGAGE_STREAM": name,
                "STREAMGAGE_QUARANTINE_BUCKET": name,
                "AWS_ENDPOINT_URL": dynamodb.meta.endpoint_url,
            },
            timeout_s=60,
            memory_mb=512,
            region=REGION,
        )
    )
    yield Running(pool, tmp_path / "function.log", dynamodb, name, sqs, queue_url, s3)
    pool.close()


def test_the_real_runtime_client_runs_the_unpacked_zip_on_its_quick_and_slow_paths(running: Running) -> None:
    pipeline = load_pipeline(PIPELINE)
    schema = pipeline.sources["reading"].schema
    quick = [schema.encode(reading("d1", "temp", ARRIVAL_MS + n, n / 10)) for n in range(4)]
    slow = json.dumps({"source": "reading", **reading("d1", "temp", ARRIVAL_MS, 100.0)}).encode()
    poison = {code: make(ARRIVAL_MS) for code, make in POISON_USER_RECORDS if code != "late"}
    datas = [aggregated([UserRecord("d1", each) for each in quick[:3]]), quick[3], slow, *poison.values()]
    datas.append(large := Random(1).randbytes(400_000))  # larger than a message, whatever deflates it
    records = [
        StreamRecord("shardId-000000000000", REAL_SEQUENCE + n, "d1", data, ARRIVAL_MS)
        for n, data in enumerate(datas)
    ]
    payload = json.dumps(encode_event(records, stream_arn=STREAM_ARN)).encode()
    for number in range(2):  # a redelivery adds nothing to what is stored
        outcome = running.pool.invoke(f"request-{number}", payload).outcome
        assert isinstance(outcome, Answered), (outcome, running.log.read_text()[-2_000:])
        assert json.loads(outcome.payload) == {"batchItemFailures": []}, running.log.read_text()[-2_000:]
    (row,) = ask_store(
        DynamoPartialStore(running.dynamodb, running.table),
        pipeline,
        rollup="device_metrics",
        key={"device_id": "d1", "metric": "temp"},
        window="1h",
        from_ms=ARRIVAL_MS,
        to_ms=ARRIVAL_MS + 1,
    )
    assert (row.values["value"]["count"], row.values["value"]["sum"]) == (5, Decimal("100.6"))
    assert codes_in(running) == set(poison)
    (stored,) = running.s3.list_objects_v2(Bucket=running.table)[
        "Contents"
    ]  # of the first delivery, and only one
    body = running.s3.get_object(Bucket=running.table, Key=stored["Key"])["Body"].read()
    assert [each.data for each in decode_bulk(body)] == [large]


def codes_in(running: Running) -> set[str]:
    """Return the codes of the poison that the queue holds; it gives ten messages a time."""
    found: set[str] = set()
    while messages := running.sqs.receive_message(QueueUrl=running.queue_url, MaxNumberOfMessages=10).get(
        "Messages"
    ):
        for each in messages:
            found.update(json.loads(each["Body"])["codes"])
            running.sqs.delete_message(QueueUrl=running.queue_url, ReceiptHandle=each["ReceiptHandle"])
    return found
