"""The children of a stack, as values: their commands, how each is seen to be ready, what its end means."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infra.local.http.secret import Credentials
from infra.local.stack import dynamodb_local, emulator
from infra.local.stack.home import Home
from infra.local.stack.keeper import ChildSpec, IsReady, OnEnd
from infra.local.stack.tables import Engine
from infra.template.translate import REGION

LOOPBACK = "127.0.0.1"
STOP_WAVES = (("metrics", "changes", "gateway", "mapping"), ("kinesis", "dynamodb", "aws"))
"""Who is stopped before whom: mapping and gateway end what they have begun, so what they ask is there until they are done."""

_CHECK_S = (
    300  # tables are looked through for damage before they are served: some ten seconds a million items
)
_MAPPING_STOP_S = 30.0  # the function may be at work; what is cut off then is delivered again
_EMULATED = ("sqs", "sns", "s3", "cloudformation", "iam", "sts", "ssm", "monitoring", "events", "kms", "logs", "iot")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roles:
    """What the children of the stack in *home* are started with."""

    home: Home
    ports: Mapping[str, int]
    credentials: Credentials
    engine: Engine
    keep_tables: bool = True
    kinesis_faults: str | None = None
    fsync: bool = False

    def url(self, role: str) -> str:
        """Return where *role* answers."""
        return f"http://{LOOPBACK}:{self.ports[role]}"

    def aws(self) -> ChildSpec:
        """Return the emulator: SQS, S3, CloudFormation and the rest; the tables only where it is their engine."""
        data = self.home.aws_data
        services = _EMULATED if self.engine.is_apart else ("dynamodb", "dynamodbstreams", *_EMULATED)
        return ChildSpec(
            name="aws",
            arguments=self._module("infra.local.stack.emulator", "aws", *self._key()),
            log=self.home.logs / "aws.log",
            probe=lambda: partial(is_healthy, self.url("aws") + emulator.HEALTH),
            environment={
                **self._signing(),
                "BIND_HOST": LOOPBACK,
                "MINISTACK_HOST": LOOPBACK,
                "GATEWAY_PORT": str(self.ports["aws"]),
                "SERVICES": ",".join(services),
                "IOT_MTLS_ENABLED": "0",  # it and SFTP would listen on every interface, whatever BIND_HOST says
                "SFTP_ENABLED": "0",
                "PERSIST_STATE": "1",
                "STATE_DIR": str(data),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(data / "s3"),
                "LOG_LEVEL": "WARNING",
            },
            on_end=OnEnd.END,
            held="queues and buckets" if self.engine.is_apart else "tables, queues and buckets",
        )

    def dynamodb(self) -> ChildSpec:
        """Return the engine of the tables, where it is a process of its own."""
        log = self.home.logs / "dynamodb.log"
        if self.engine is Engine.LOCAL:
            data = ("--data", str(self.home.dynamodb_data)) if self.keep_tables else ()
            return ChildSpec(
                name="dynamodb",
                arguments=self._module("infra.local.stack.dynamodb_local", "dynamodb", *data, *self._key()),
                log=log,
                probe=lambda: partial(dynamodb_local.answers, self.url("dynamodb")),
                environment={key: os.environ[key] for key in ("XDG_CACHE_HOME",) if key in os.environ},
                on_end=OnEnd.AGAIN if self.keep_tables else OnEnd.END,
                held="tables",
            )
        return ChildSpec(
            name="dynamodb",
            arguments=self._module(
                "infra.local.dynamodb", "dynamodb", "--data", str(self.home.tables_data), *self._key(), *self._fsync()
            ),
            log=log,
            probe=self._health("dynamodb"),
            ready_within_s=_CHECK_S,
        )  # fmt: skip

    def kinesis(self) -> ChildSpec:
        """Return our Kinesis data plane."""
        faults = ("--faults", self.kinesis_faults) if self.kinesis_faults else ()
        return ChildSpec(
            name="kinesis",
            arguments=self._module(
                "infra.local.kinesis", "kinesis", "--data", str(self.home.kinesis_data), *self._key(), *self._fsync(), *faults
            ),
            log=self.home.logs / "kinesis.log",
            probe=self._health("kinesis"),
            ready_within_s=_CHECK_S,
        )  # fmt: skip

    def mapping(self) -> ChildSpec:
        """Return the event source mapping; ready once it has written its status."""
        return ChildSpec(
            name="mapping",
            arguments=("-m", "infra.local.mapping.process", "--config", str(self.home.mapping_config_file)),
            log=self.home.logs / "mapping.log",
            probe=lambda: partial(_is_another, self.home.status_file, _version(self.home.status_file)),
            environment=self._signing(),
            stop_s=_MAPPING_STOP_S,
        )

    def gateway(self) -> ChildSpec:
        """Return the HTTP API and the page."""
        return ChildSpec(
            name="gateway",
            arguments=(
                "-m",
                "infra.local.gateway",
                "--config",
                str(self.home.gateway_config_file),
                *self._key(),
            ),
            log=self.home.logs / "gateway.log",
            probe=self._health("gateway"),
            on_end=OnEnd.WITHOUT,
        )

    def changes(self) -> ChildSpec:
        """Return who tells a function what changed in a table; nothing waits for it, and it is ready once it says so."""
        return ChildSpec(
            name="changes",
            arguments=("-m", "infra.local.changes.process", "--config", str(self.home.changes_config_file)),
            log=self.home.logs / "changes.log",
            probe=lambda: partial(
                _is_another, self.home.changes_status_file, _version(self.home.changes_status_file)
            ),
            environment=self._signing(),
            on_end=OnEnd.WITHOUT,
        )

    def metrics(self) -> ChildSpec:
        """Return what tells Prometheus; nothing waits for it."""
        return ChildSpec(
            name="metrics",
            arguments=self._module("infra.local.metrics.endpoint", "metrics", "--home", str(self.home.root)),
            log=self.home.logs / "metrics.log",
            probe=self._health("metrics"),
            on_end=OnEnd.WITHOUT,
        )

    def _module(self, module: str, role: str, *options: str) -> tuple[str, ...]:
        return ("-m", module, "--port", str(self.ports[role]), *options)

    def _key(self) -> tuple[str, ...]:
        return ("--credentials", str(self.home.credentials_file))

    def _fsync(self) -> tuple[str, ...]:
        return ("--fsync",) if self.fsync else ()

    def _signing(self) -> dict[str, str]:
        """Return what a child signs its own requests with."""
        return {**self.credentials.variables(), "AWS_DEFAULT_REGION": REGION}

    def _health(self, role: str) -> Callable[[], IsReady]:
        return lambda: partial(is_healthy, self.url(role) + "/health")


def is_healthy(url: str) -> bool:
    """Tell whether *url*, on loopback, answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _version(path: Path) -> tuple[int, int] | None:
    """Return what tells one writing of *path* from another, without a clock."""
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_ino, there.st_mtime_ns


def _is_another(path: Path, before: tuple[int, int] | None) -> bool:
    return _version(path) not in (None, before)
