"""Everything a cold start needs around it: bundles, the runtime, an event, and the stand-in for AWS."""

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPSConnection
from pathlib import Path

import botocore

from benchmarks.events import STREAM_ARN, Workload
from benchmarks.harness import ROOT
from infra.aws.bundle.dists import build_dir, build_runtime_dir
from infra.aws.bundle.files import build_bundle
from infra.aws.bundle.functions import AGGREGATE, Function
from infra.aws.bundle.roots import hashed_roots
from infra.local.function.sandbox import FunctionConfig
from processors.aggregate.function import ROOTS_FOLDER
from streamgage.formats.kinesis_event import encode_event

OURS = "streamgage"
BOTO3 = "boto3, a DynamoDB client"
EMPTY = "empty handler"
POWERTOOLS = "Powertools + aws_kinesis_agg + fastavro + boto3"
EVENTS = 8
_HANDLERS = Path(__file__).parent / "handlers"
_PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@dataclass(frozen=True, slots=True)
class Stub:
    """The stand-in for AWS."""

    port: int
    certificate: Path

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"https://localhost:{self.port}"

    def asked(self) -> Counter[str]:
        """Return how often each operation was asked for since the last time."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        with contextlib.closing(HTTPSConnection("localhost", self.port, context=context)) as connection:
            connection.request("GET", "/")
            return Counter(json.loads(connection.getresponse().read()))


@dataclass(frozen=True, slots=True)
class Stage:
    """Functions by label, the event that they get, and what they call."""

    functions: Mapping[str, FunctionConfig]
    event: bytes
    stub: Stub
    folder: Path
    config: Mapping[str, str | int] = field(default_factory=dict)

    def without_bytecode(self, label: str) -> FunctionConfig:
        """Return the function with a bundle that has no .pyc and gets none; the runtime keeps its own."""
        function = self.functions[label]
        bare = self.folder / f"{function.name}-bare"
        if not bare.exists():
            shutil.copytree(function.task_dir, bare, ignore=shutil.ignore_patterns("__pycache__"))
        return replace(function, task_dir=bare, env={**function.env, "PYTHONDONTWRITEBYTECODE": "1"})

    def drop_page_cache(self, label: str) -> None:
        """Ask the system to forget the files of the bundle and of the runtime; those in use elsewhere stay."""
        function = self.functions[label]
        for root in (function.task_dir, function.runtime_dir):
            for path in root.rglob("*"):
                if path.is_file():
                    descriptor = os.open(path, os.O_RDONLY)
                    try:
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    finally:
                        os.close(descriptor)


@contextlib.contextmanager
def staged(folder: Path, *, seed: int) -> Iterator[Stage]:
    """Build everything in *folder*, start the stand-in, and end it afterwards."""
    runtime_dir = build_runtime_dir(folder / "runtime")
    with stub(folder / "tls") as running:
        own = running.certificate.read_text(encoding="ascii")

        def function(name: str, task_dir: Path, handler: str, **env: str) -> FunctionConfig:
            return function_of(
                folder, running, name, task_dir=task_dir, runtime_dir=runtime_dir, handler=handler, env=env
            )

        trusting = {"AWS_CA_BUNDLE": str(authorities(folder, own))}
        functions = {
            EMPTY: function("empty", handler_bundle(folder, "empty"), "empty.handler"),
            BOTO3: function(
                "boto3_client", handler_bundle(folder, "boto3_client"), "boto3_client.handler", **trusting
            ),
            POWERTOOLS: function(
                "powertools_way",
                handler_bundle(
                    folder, "powertools_way", "aws-lambda-powertools", "aws-kinesis-agg", "six", "fastavro"
                ),
                "powertools_way.handler",
                **trusting,
            ),
            OURS: function("streamgage", our_bundle(folder, own), "processors.aggregate.function.handler"),
        }
        workload = Workload.of(events=EVENTS, devices=EVENTS, seed=seed)
        event = json.dumps(encode_event(workload.records, stream_arn=STREAM_ARN)).encode()
        size = {"kinesis_records": len(workload.records), "events": EVENTS, "event_bytes": len(event)}
        yield Stage(functions, event, running, folder, size)


def function_of(
    folder: Path,
    stub: Stub,
    name: str,
    *,
    task_dir: Path,
    runtime_dir: Path,
    handler: str,
    env: Mapping[str, str],
) -> FunctionConfig:
    """Return a function that is told of one table, stream and queue, all at *stub*."""
    return FunctionConfig(
        name=name,
        handler=handler,
        task_dir=task_dir,
        runtime_dir=runtime_dir,
        log_file=folder / f"{name}.log",
        env={
            "AWS_ENDPOINT_URL": stub.url,
            "STREAMGAGE_STREAM": "telemetry",
            "STREAMGAGE_STREAM_ARN": STREAM_ARN,
            "STREAMGAGE_TABLE": "aggregates",
            "STREAMGAGE_QUARANTINE_URL": f"{stub.url}/000000000000/quarantine",
            "STREAMGAGE_QUARANTINE_BUCKET": "failed-batches",
            **env,
        },
        timeout_s=60,
        memory_mb=1_024,
    )


def authorities(folder: Path, certificate: str) -> Path:
    """Return a file of botocore's authorities and the stand-in's *certificate*, for who reads one."""
    path = folder / "authorities.pem"
    usual = Path(str(botocore.__file__)).with_name("cacert.pem").read_text(encoding="utf-8")
    path.write_text(usual + certificate, encoding="utf-8")
    return path


def our_bundle(folder: Path, certificate: str, function: Function = AGGREGATE) -> Path:
    """Return the bundle of *function*; in its folder of authorities the stand-in's certificate is one more."""
    target = folder / f"our-{function.name}"
    build_bundle(target, ROOT / "pipeline.toml", function)
    for name, content in hashed_roots(certificate).items():
        (target / ROOTS_FOLDER / name).write_text(content, encoding="ascii")
    return target


def handler_bundle(folder: Path, name: str, *requirements: str) -> Path:
    """Return a bundle of the handler *name*, with installed distributions."""
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    if requirements:
        build_dir(target, requirements)
        shutil.copyfile(ROOT / "schemas" / "reading.avsc", target / "reading.avsc")
    shutil.copyfile(_HANDLERS / f"{name}.py", target / f"{name}.py")
    subprocess.run([_PYTHON, "-P", "-m", "compileall", "-q", str(target / f"{name}.py")], check=True)
    return target


@contextlib.contextmanager
def stub(directory: Path) -> Iterator[Stub]:
    """Run the stand-in for AWS."""
    command = [sys.executable, "-P", "-m", "benchmarks.coldstart.aws_stub", str(directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None or not (port := process.stdout.readline().strip()):
                raise RuntimeError("the stand-in for AWS did not start")
            yield Stub(int(port), directory / "cert.pem")
        finally:
            process.kill()
