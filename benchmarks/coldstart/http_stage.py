"""What a cold start of the HTTP API's function needs around it: bundles, a request, and the stand-in for AWS."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.coldstart.stage import (
    EMPTY,
    Stage,
    authorities,
    function_of,
    handler_bundle,
    our_bundle,
    stub,
)
from benchmarks.harness import ROOT
from benchmarks.peers.external import INTERPRETER, are_installed
from infra.aws.bundle.dists import build_runtime_dir
from infra.aws.bundle.functions import API

OURS = "streamgage"
FASTAPI = "FastAPI + Mangum + boto3"
REQUEST = "/v1/rollups/device_metrics/range?window=1h&limit=1000"
__all__ = ["EMPTY", "FASTAPI", "OURS", "REQUEST", "staged"]

# In the peers' environment: what a pip install --target would put there, with bytecode.
_BUNDLE = "import sys; from pathlib import Path; from infra.aws.bundle.dists import build_dir; build_dir(Path(sys.argv[1]), sys.argv[2:])"


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Build everything in *folder*, start the stand-in, and end it afterwards; without the peer where it is not installed."""
    runtime = build_runtime_dir(folder / "runtime")
    with stub(folder / "tls") as running:
        own = running.certificate.read_text(encoding="ascii")
        trusting = {"AWS_CA_BUNDLE": str(authorities(folder, own))}
        handlers: dict[str, tuple[str, Path, str, Mapping[str, str]]] = {
            EMPTY: ("empty", handler_bundle(folder, "empty"), "empty.handler", {}),
        }
        if are_installed():
            handlers[FASTAPI] = ("fastapi_way", _peer(folder), "fastapi_way.handler", trusting)
        settings = {"QUARANTINE_QUEUE_URL": f"{running.url}/000000000000/quarantine"}
        handlers[OURS] = (API.name, our_bundle(folder, own, API), f"{API.entry}.handler", settings)
        functions = {
            label: function_of(
                folder, running, name, task_dir=task, runtime_dir=runtime, handler=handler, env=env
            )
            for label, (name, task, handler, env) in handlers.items()
        }
        event = json.dumps(event_of(REQUEST)).encode()
        yield Stage(functions, event, running, folder, {"event_bytes": len(event)})


def event_of(target: str) -> dict[str, Any]:
    """Return the event of a GET, payload format 2.0, with the headers that API Gateway adds."""
    path, _, query = target.partition("?")
    pairs = dict(each.split("=") for each in query.split("&"))
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "accept": "*/*",
            "content-length": "0",
            "host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "user-agent": "curl/8.5.0",
            "x-amzn-trace-id": "Root=1-6b0bd208-000000000000000000000000",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "queryStringParameters": pairs,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": "GET",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "29/Nov/2026:07:00:00 +0000",
            "timeEpoch": 1_795_935_600_000,
        },
        "isBase64Encoded": False,
    }


def _peer(folder: Path) -> Path:
    """Return the peer's bundle: its distributions are those of the peers' environment."""
    target = folder / "fastapi_way"
    subprocess.run(
        [str(INTERPRETER), "-c", _BUNDLE, str(target), "fastapi", "mangum"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )
    source = Path(__file__).parent / "handlers" / "fastapi_way.py"
    shutil.copyfile(source, target / source.name)
    subprocess.run([sys.executable, "-P", "-m", "compileall", "-q", str(target / source.name)], check=True)
    return target
