"""The local stack: start what the template describes, keep it running, stop it without leaving anything behind.

Processes, all on loopback and each in a session of its own::

    supervisor (`streamgage up`)
    ├── aws        the emulator: SQS, S3, CloudFormation and the rest
    ├── dynamodb   our tables over SQLite; DynamoDB Local, or the emulator, where that was asked for
    ├── kinesis    our Kinesis data plane
    ├── metrics    what all of it measures, for Prometheus
    └── mapping    Lambda's event source mapping
        └── sandboxes of the real Lambda runtime client, running the bundle
"""

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from infra.local.files import make_private
from infra.local.http.secret import Credentials, keep_credentials
from infra.local.mapping.config import not_carried_out
from infra.local.mapping.process_config import parse
from infra.local.stack import dynamodb_local, emulator
from infra.local.stack.children import Child, kill_group, wait_until
from infra.local.stack.cloudformation import create_resources
from infra.local.stack.definition import keep_definition
from infra.local.stack.home import Home, StackInfo, is_alive, read_json, write_json
from infra.local.stack.stores.check import OUR_HANDLER, Look, Stores, agree, look
from infra.local.stack.tables import Engine, create_table, keep_engine
from infra.local.stack.template import (
    LocalTemplate,
    divide,
    function_name,
    resolve,
    stream_arn,
    stream_name,
    table_name,
    told,
)
from infra.template.read import TEMPLATE
from infra.template.translate import REGION
from processors.pipeline_files import load_pipeline
from streamgage.errors import ConfigError

LOOPBACK = "127.0.0.1"
_START_S = 30
_CHECK_S = (
    300  # tables are looked through for damage before they are served: some ten seconds a million items
)
_EMULATED = "dynamodb,sqs,sns,s3,cloudformation,iam,sts,ssm,monitoring,events,kms,logs,iot"

Say = Callable[[str], None]


class Code(NamedTuple):
    """How the function's code comes to be: ``bundle(folder, definition)`` unpacked, ``runtime(folder)`` beside it."""

    bundle: Callable[[Path, Path], None]
    runtime: Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What a person may choose of a local stack. Port 0 is any free one. ``parameters`` are the template's.

    With ``fsync``, stream and tables survive power loss, at the disk's pace. ``accept_loss``: go on without what the check of
    the stores found to be lost.
    """

    home: Home
    pipeline: Path
    code: Code
    template: Path = TEMPLATE
    aws_port: int = 4566
    kinesis_port: int = 4567
    metrics_port: int = 0
    parameters: Mapping[str, str] | None = None
    dynamodb: Engine = Engine.EMBEDDED
    kinesis_faults: str | None = None
    fsync: bool = False
    accept_loss: bool = False


class Stack:
    """A stack in this process's care: ``start``, then ``watch`` until told to stop, then ``stop``."""

    def __init__(self, options: StackOptions, *, say: Say = lambda _: None) -> None:
        self._options, self._home, self._say = options, options.home, say
        self._children: dict[str, Child] = {}
        self._info: StackInfo | None = None
        self._ports: dict[str, int] = {}
        self._credentials = Credentials("", "")  # until it starts

    @property
    def info(self) -> StackInfo:
        """The running stack."""
        if self._info is None:
            raise ConfigError("the stack is not started")
        return self._info

    def start(self) -> None:
        """Start everything, or nothing.

        Raises:
            ConfigError: a stack runs here already, a port is taken, or the definition or template has problems.
        """
        end_leftovers(self._home)
        make_private(self._home.root)
        self._credentials = keep_credentials(self._home.credentials_file)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        home, options = self._home, self._options
        own_dynamodb = options.dynamodb.is_apart
        keep_engine(home, options.dynamodb)
        pipeline = load_pipeline(options.pipeline)
        parameters = {**pipeline.deploy, **(options.parameters or {})}
        consumer = pipeline.consumer_for(parameters.get("Consumer"))
        keep_definition(home, pipeline, consumer)
        if options.dynamodb is Engine.LOCAL:
            dynamodb_local.install(say=self._say)
        self._say("building the bundle")
        template = divide(options.template, keep_tables=own_dynamodb)
        if problems := [problem for each in template.mappings.values() for problem in not_carried_out(each)]:
            raise ConfigError(*problems)
        options.code.bundle(home.task_dir, options.pipeline)
        options.code.runtime(home.runtime_dir)
        (stream_id,) = template.streams
        seen = look(home, stream_name(stream_id), now_ms=time.time_ns() // 1_000_000)
        self._ports = {
            "aws": _port(options.aws_port, "--port"),
            "kinesis": _port(options.kinesis_port, "--kinesis-port"),
            "metrics": _port(options.metrics_port, "--metrics-port"),
        }
        self._ports["dynamodb"] = _port(0, "") if own_dynamodb else self._ports["aws"]
        self._say(f"starting AWS on port {self._ports['aws']}, Kinesis on port {self._ports['kinesis']}")
        self._start_aws()
        self._start_kinesis()
        if own_dynamodb:
            self._start_dynamodb()
            is_local = options.dynamodb is Engine.LOCAL
            self._await("dynamodb", dynamodb_local.answers if is_local else _answers_health, seconds=_CHECK_S)
        self._await("aws", lambda url: _is_healthy(url + emulator.HEALTH))
        self._await("kinesis", _answers_health)
        self._say("creating what the template describes")
        if "Consumer" in template.cloudformation.get("Parameters", {}):
            parameters["Consumer"] = consumer
        outputs = create_resources(self._client("cloudformation"), template, parameters)
        self._say(f"exists only on AWS: {told(template.elsewhere)}")
        for logical_id, properties in template.streams.items():
            self._create_stream(stream_name(logical_id), resolve(properties, outputs))
        for logical_id, properties in template.tables.items():
            create_table(
                self._client("dynamodb", "dynamodb"),
                table_name(logical_id),
                _numbers(resolve(properties, outputs)),
            )
        self._agree(template, outputs, seen, consumer)
        self._write_mapping_config(template, outputs)
        self._start_mapping()
        self._start_metrics()
        self._info = StackInfo(
            endpoints={role: self._endpoint(role) for role in ("aws", "kinesis", "dynamodb", "metrics")},
            region=REGION,
            stream=stream_name(stream_id),
            stream_arn=stream_arn(stream_id),
            table=outputs["TableName"],
            quarantine_url=outputs["QuarantineUrl"],
            failed_batches_bucket=outputs["FailedBatchesBucket"],
            pipeline=str(options.pipeline.resolve()),
            credentials_file=str(home.credentials_file),
            one_key_per_record=self._check_lanes(template, outputs),
            consumer=consumer,
        )
        self._write_info()

    def watch(self, until: Callable[[], bool], *, poll_s: float = 0.2) -> None:
        """Keep the stack running until *until* says so: what died is started again.

        Raises:
            ConfigError: the emulator died; what it held died with it.
        """
        while not until():
            for name, start in (
                ("dynamodb", self._start_dynamodb),
                ("kinesis", self._start_kinesis),
                ("mapping", self._start_mapping),
                ("metrics", self._start_metrics),
            ):
                child = self._children.get(name)
                if child is not None and child.has_ended():
                    self._say(f"{name} ended with status {child.process.returncode}; starting it again")
                    child.kill()
                    start()
                    self._write_info()
            if self._children["aws"].has_ended():
                held = (
                    "queues and buckets" if self._options.dynamodb.is_apart else "tables, queues and buckets"
                )
                raise ConfigError(
                    f"the emulator ended by itself, and its {held} with it; its log is {self._home.logs / 'aws.log'}"
                )
            time.sleep(poll_s)

    def stop(self) -> None:
        """Stop everything, in order; stream, tables and checkpoints are kept."""
        for name in ("metrics", "mapping", "kinesis", "dynamodb", "aws"):
            child = self._children.pop(name, None)
            if child is not None:
                self._say(f"stopping {name}")
                child.stop()
        self._home.info_file.unlink(missing_ok=True)
        self._home.status_file.unlink(missing_ok=True)

    def _start_aws(self) -> None:
        data = self._home.aws_data
        self._children["aws"] = Child.start(
            "aws",
            [
                "-m",
                "infra.local.stack.emulator",
                "--port",
                str(self._ports["aws"]),
                *self._credentials_option(),
            ],
            log=self._home.logs / "aws.log",
            environment={
                **self._environment(),
                "BIND_HOST": LOOPBACK,
                "MINISTACK_HOST": LOOPBACK,
                "GATEWAY_PORT": str(self._ports["aws"]),
                "SERVICES": _EMULATED,
                "IOT_MTLS_ENABLED": "0",  # it and SFTP would listen on every interface, whatever BIND_HOST says
                "SFTP_ENABLED": "0",
                "PERSIST_STATE": "1",
                "STATE_DIR": str(data),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(data / "s3"),
                "LOG_LEVEL": "WARNING",
            },
        )

    def _start_dynamodb(self) -> None:
        cache = {key: os.environ[key] for key in ("XDG_CACHE_HOME",) if key in os.environ}
        module, data = "infra.local.dynamodb", self._home.tables_data
        if self._options.dynamodb is Engine.LOCAL:
            module, data = "infra.local.stack.dynamodb_local", self._home.dynamodb_data
        ours: list[str] = []
        if self._options.dynamodb is Engine.EMBEDDED:
            ours = [*self._credentials_option(), *(["--fsync"] if self._options.fsync else [])]
        self._children["dynamodb"] = Child.start(
            "dynamodb",
            ["-m", module, "--port", str(self._ports["dynamodb"]), "--data", str(data), *ours],
            log=self._home.logs / "dynamodb.log",
            environment=cache,
        )

    def _start_kinesis(self) -> None:
        self._children["kinesis"] = Child.start(
            "kinesis",
            [
                "-m",
                "infra.local.kinesis",
                "--port",
                str(self._ports["kinesis"]),
                "--data",
                str(self._home.kinesis_data),
                *self._credentials_option(),
                *(["--fsync"] if self._options.fsync else []),
                *(["--faults", self._options.kinesis_faults] if self._options.kinesis_faults else []),
            ],
            log=self._home.logs / "kinesis.log",
            environment={},
        )

    def _start_mapping(self) -> None:
        self._children["mapping"] = Child.start(
            "mapping",
            ["-m", "infra.local.mapping.process", "--config", str(self._home.mapping_config_file)],
            log=self._home.logs / "mapping.log",
            environment=self._environment(),
        )

    def _start_metrics(self) -> None:
        self._children["metrics"] = Child.start(
            "metrics",
            [
                "-m",
                "infra.local.metrics.endpoint",
                "--home",
                str(self._home.root),
                "--port",
                str(self._ports["metrics"]),
            ],
            log=self._home.logs / "metrics.log",
            environment={},
        )

    def _endpoint(self, role: str) -> str:
        return f"http://{LOOPBACK}:{self._ports[role]}"

    def _client(self, service: str, role: str = "aws") -> Any:
        return local_client(service, self._endpoint(role), self._credentials)

    def _credentials_option(self) -> list[str]:
        return ["--credentials", str(self._home.credentials_file)]

    def _environment(self) -> dict[str, str]:
        """Return what a child signs its own requests with."""
        return {**self._credentials.variables(), "AWS_DEFAULT_REGION": REGION}

    def _await(self, role: str, is_up: Callable[[str], bool], *, seconds: float = _START_S) -> None:
        child, url = self._children[role], self._endpoint(role)

        def answers() -> bool:
            if child.has_ended():
                raise ConfigError(
                    f"{role} did not start; the end of its log:\n{_tail(self._home.logs / (role + '.log'))}"
                )
            return is_up(url)

        wait_until(answers, seconds=seconds, what=f"{role} on {url}")

    def _create_stream(self, name: str, properties: Mapping[str, Any]) -> None:
        client = self._client("kinesis", "kinesis")
        wanted = {key: properties[key] for key in ("StreamModeDetails",) if key in properties}
        if "ShardCount" in properties:
            wanted["ShardCount"] = int(properties["ShardCount"])
        try:
            client.create_stream(StreamName=name, **wanted)
        except client.exceptions.ResourceInUseException:
            return  # kept from the last time, with its records
        hours = int(properties.get("RetentionPeriodHours", 24))
        if hours > 24:
            client.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=hours)

    def _agree(self, template: LocalTemplate, outputs: Mapping[str, str], seen: Look, consumer: str) -> None:
        (stream_id,), (function,) = template.streams, template.functions.values()
        stores = Stores(
            home=self._home,
            stream=stream_name(stream_id),
            table=outputs["TableName"],
            consumer=consumer,
            by_key=self._check_lanes(template, outputs),
            comparable=function["Handler"] == OUR_HANDLER,
            kinesis=self._client("kinesis", "kinesis"),
            dynamodb=self._client("dynamodb", "dynamodb"),
        )
        agree(stores, seen, accept_loss=self._options.accept_loss, say=self._say)

    def _check_lanes(self, template: LocalTemplate, outputs: Mapping[str, str]) -> bool:
        """Return whether lanes are partition keys. Raises: ConfigError where the mapping's factor would lose events."""
        (mapping,) = template.mappings.values()
        (function,) = template.functions.values()
        factor = int(resolve(mapping, outputs).get("ParallelizationFactor", 1))
        lanes = resolve(function, outputs)["Environment"]["Variables"].get("STREAMGAGE_LANES", "shard")
        if factor > 1 and lanes != "partition_key":
            raise ConfigError(
                f"ParallelizationFactor is {factor}, and the function's STREAMGAGE_LANES is {lanes!r}: Lambda keeps order "
                "per partition key only, so lanes by shard would lose events. Set STREAMGAGE_LANES to partition_key"
            )
        return factor > 1

    def _write_mapping_config(self, template: LocalTemplate, outputs: Mapping[str, str]) -> None:
        (mapping,) = template.mappings.values()
        ((logical_id, function),) = template.functions.items()
        function = _numbers(resolve(function, outputs))
        home = self._home
        document = {
            "stream_arn": resolve(mapping["EventSourceArn"], outputs),
            "kinesis_endpoint": self._endpoint("kinesis"),
            "endpoint": self._endpoint("aws"),
            **self._credentials._asdict(),
            "mapping": _numbers(resolve(mapping, outputs)),
            "function": {
                "name": function_name(logical_id),
                "handler": function["Handler"],
                "task_dir": str(home.task_dir),
                "runtime_dir": str(home.runtime_dir),
                "timeout_s": function["Timeout"],
                "memory_mb": function["MemorySize"],
                "log_file": str(home.logs / "function.log"),
                "env": {
                    **self._credentials.variables(),
                    "AWS_ENDPOINT_URL": self._endpoint("aws"),
                    "AWS_ENDPOINT_URL_DYNAMODB": self._endpoint("dynamodb"),
                    "AWS_ENDPOINT_URL_KINESIS": self._endpoint("kinesis"),
                    **{key: str(value) for key, value in function["Environment"]["Variables"].items()},
                },
            },
            "checkpoint_file": str(home.checkpoint_file),
            "status_file": str(home.status_file),
        }
        parse(document)  # a mapping that would not start is refused here
        write_json(home.mapping_config_file, document)

    def _write_info(self) -> None:
        pids = {"supervisor": os.getpid(), **{name: child.pid for name, child in self._children.items()}}
        self._info = StackInfo(
            **{**{key: getattr(self.info, key) for key in StackInfo.__slots__}, "pids": pids}
        )
        self._home.write_info(self._info)


def local_client(
    service: str, endpoint: str, credentials: Credentials, *, config: Config | None = None
) -> Any:
    """Return a boto3 client of a service at a loopback *endpoint*, with the credentials of its home."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        config=config or Config(retries={"mode": "standard", "max_attempts": 3}),
    )


def watching_client(service: str, endpoint: str, credentials: Credentials) -> Any:
    """Return a client for whoever shows what goes on: a service that hangs is not waited for."""
    quick = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
    return local_client(service, endpoint, credentials, config=quick)


def end_leftovers(home: Home) -> None:
    """End what a killed supervisor left running. Raises: ConfigError where the stack is alive."""
    raw = read_json(home.info_file)
    if raw is None:
        return
    if is_alive(raw["pids"].get("supervisor", 0)):
        raise ConfigError(
            f"a stack is running in {home.root} already (pid {raw['pids']['supervisor']}). See it: streamgage status. "
            "Stop it: streamgage down"
        )
    for pid in raw["pids"].values():
        if _is_ours(pid):
            kill_group(pid)
    home.info_file.unlink(missing_ok=True)


def _is_ours(pid: int) -> bool:
    """Tell whether *pid* still is one of our children: the number may have gone to a stranger."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    ours = (
        "infra.local.stack.emulator",
        "infra.local.dynamodb",
        "infra.local.kinesis",
        "infra.local.mapping.process",
        "infra.local.metrics.endpoint",
        "infra.local.stack.dynamodb_local",
        dynamodb_local.MARK,
    )
    return any(name.encode() in command for name in ours)


def _answers_health(url: str) -> bool:
    return _is_healthy(url + "/health")


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _numbers(value: Any) -> Any:
    """Return *value* with the numbers that CloudFormation gave out as text made numbers again."""
    if isinstance(value, dict):
        return {key: each if key == "Variables" else _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else value


def _port(wanted: int, option: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError as error:
            raise ConfigError(
                f"port {wanted} of {LOOPBACK} is taken ({error.strerror}). Choose another: {option} 14566, "
                f"or any free one: {option} 0"
            ) from error
        return int(probe.getsockname()[1])


def _tail(log: Path, lines: int = 8) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no log at {log})"


def say_on_stderr(text: str) -> None:
    """Tell a person what is going on."""
    print(f"streamgage: {text}", file=sys.stderr, flush=True)
