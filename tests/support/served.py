"""The gateway's process as tests handle it, before a function of tests/support/api_handlers.py; no stack around it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from infra.aws.bundle.dists import build_runtime_dir
from infra.local.http.secret import keep_credentials
from infra.local.stack.children import wait_until
from infra.local.stack.home import write_json
from infra.local.stack.ports import any_port

HANDLERS = Path(__file__).with_name("api_handlers.py")
PATIENCE_S = 120
CREDENTIALS = "credentials.json"


def resources(
    *routes: Mapping[str, Any],
    cors: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
    timeout_ms: int = 30_000,
) -> dict[str, Any]:
    """Return an HTTP API with *routes* (properties beside ApiId), by default one that takes all, as the template has it."""
    described: dict[str, tuple[str, Mapping[str, Any]]] = {
        "api": (
            "Api",
            {"Name": "n", "ProtocolType": "HTTP", **({"CorsConfiguration": cors} if cors else {})},
        ),
        "all": ("Integration", integration(TimeoutInMillis=timeout_ms)),
        "stage": ("Stage", {"StageName": "$default", **(stage or {})}),
    }
    for number, each in enumerate(routes or ({"RouteKey": "$default"},)):
        described[f"route{number}"] = ("Route", {"Target": "integrations/all", **each})
    return {
        name: {
            "Type": f"AWS::ApiGatewayV2::{kind}",
            "Properties": dict(properties) if kind == "Api" else {"ApiId": "api", **properties},
        }
        for name, (kind, properties) in described.items()
    }


def socket_resources(
    *routes: Mapping[str, Any], stage: Mapping[str, Any] | None = None, timeout_ms: int = 29_000, **api: Any
) -> dict[str, Any]:
    """Return a WebSocket API: $connect, $disconnect, and two-way ``echo`` and $default, or *routes* in their place."""
    two_way = {"RouteResponseSelectionExpression": "$default"}
    given = routes or (
        {"RouteKey": "$connect"}, {"RouteKey": "$disconnect"}, {"RouteKey": "echo", **two_way}, {"RouteKey": "quiet"},
        {"RouteKey": "$default", **two_way},
    )  # fmt: skip
    uri = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:"
    described: dict[str, tuple[str, Mapping[str, Any]]] = {
        "socket": (
            "Api",
            {"Name": "s", "ProtocolType": "WEBSOCKET", "RouteSelectionExpression": "$request.body.action", **api},
        ),
        "socketAll": (
            "Integration",
            {
                "IntegrationType": "AWS_PROXY", "IntegrationUri": f"{uri}streamgage-Socket:live/invocations",
                "TimeoutInMillis": timeout_ms,
            },
        ),
        "socketStage": ("Stage", {"StageName": "live", **(stage or {})}),
    }  # fmt: skip
    for number, each in enumerate(given):
        described[f"socketRoute{number}"] = ("Route", {"Target": "integrations/socketAll", **each})
        if "RouteResponseSelectionExpression" in each:
            response = {"RouteId": f"socketRoute{number}", "RouteResponseKey": "$default"}
            described[f"socketResponse{number}"] = ("RouteResponse", response)
    return {
        name: {
            "Type": f"AWS::ApiGatewayV2::{kind}",
            "Properties": dict(properties) if kind == "Api" else {"ApiId": "socket", **properties},
        }
        for name, (kind, properties) in described.items()
    }


def integration(**properties: Any) -> dict[str, Any]:
    uri = "arn:aws:lambda:us-east-1:000000000000:function:streamgage-Api:live"
    return {
        "IntegrationType": "AWS_PROXY", "IntegrationUri": uri, "PayloadFormatVersion": "2.0", **properties,
    }  # fmt: skip


@dataclass
class Served:
    """A running gateway: its process, its address, and its files."""

    process: "subprocess.Popen[str]"
    port: int
    base: str
    folder: Path

    def ask(
        self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[HTTPResponse, bytes]:
        """Ask for what is under the base; names of headers have _ for -."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, f"/{self.base}{path}", body, named)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def log(self, name: str = "gateway.log") -> str:
        return (self.folder / name).read_text(errors="replace")


@contextmanager
def served(folder: Path, document: Mapping[str, Any] | None = None, **function: Any) -> Iterator[Served]:
    """Run a gateway in *folder* with the resources of *document*; in the end its process is gone."""
    (folder / "task").mkdir()
    shutil.copy(HANDLERS, folder / "task" / "handlers.py")
    credentials = keep_credentials(folder / CREDENTIALS)
    port = any_port()
    config: dict[str, Any] = {
        "port": port,
        "region": "us-east-1",
        "account": "000000000000",
        "resources": document or resources(),
        "function": {
            "name": "streamgage-Api", "handler": "handlers.handler", "task_dir": str(folder / "task"), "memory_mb": 256,
            "runtime_dir": str(build_runtime_dir(folder / "runtime")), "log_file": str(folder / "api.log"), "timeout_s": 20,
            "max_concurrency": 4, **function,
        },
        "web_dir": str(folder / "web"),
        "status_file": str(folder / "gateway.status.json"),
    }  # fmt: skip
    if any(each["Properties"].get("ProtocolType") == "WEBSOCKET" for each in config["resources"].values()):
        config["socket_function"] = {
            **config["function"], "name": "streamgage-Socket", "handler": "handlers.socket", "log_file": str(folder / "socket.log"),
        }  # fmt: skip
    write_json(folder / "gateway.json", config)
    command = [
        sys.executable, "-P", "-m", "infra.local.gateway", "--config", str(folder / "gateway.json"), "--credentials",
        str(folder / CREDENTIALS),
    ]  # fmt: skip
    with (folder / "gateway.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    running = Served(process, port, credentials.base, folder)
    try:
        wait_until(lambda: "listens at" in running.log(), seconds=PATIENCE_S, what="the gateway")
        yield running
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0, running.log()


def status_of(running: Served) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((running.folder / "gateway.status.json").read_text())
    return document
