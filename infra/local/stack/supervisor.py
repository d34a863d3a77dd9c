"""The local stack: start what the template describes, keep it running, stop it without leaving anything behind.

Processes, all on loopback and each in a session of its own::

    supervisor (`streamgage up`)
    ├── aws        the emulator: SQS, S3, CloudFormation and the rest
    ├── dynamodb   our tables over SQLite; DynamoDB Local, or the emulator, where that was asked for
    ├── kinesis    our Kinesis data plane
    ├── metrics    what all of it measures, for Prometheus
    ├── gateway    API Gateway's HTTP and WebSocket APIs, where the template has them, and the page
    │   └── sandboxes of the APIs' functions, and of the collector
    ├── changes    Lambda's mapping of a table's stream, where the template has one
    │   └── sandboxes of its function
    └── mapping    Lambda's event source mapping
        └── sandboxes of the real Lambda runtime client, running the bundle

What they are is in `roles`, how they are kept in `keeper` and `restarts`, what is written down of them in `books`; here is
the order in which a stack comes to be.
"""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from infra.local.changes.config import parse as parse_changes
from infra.local.gateway.api import unasked
from infra.local.gateway.config import parse as parse_gateway
from infra.local.http.secret import Credentials, keep_credentials
from infra.local.mapping.config import not_carried_out
from infra.local.mapping.process_config import parse
from infra.local.stack import dynamodb_local
from infra.local.stack.aws_only import check_parameters
from infra.local.stack.books import Books
from infra.local.stack.clients import local_client
from infra.local.stack.cloudformation import create_resources
from infra.local.stack.definition import keep_definition
from infra.local.stack.home import Home, StackInfo, write_json
from infra.local.stack.keeper import Keeper
from infra.local.stack.keys import hand_over_keys
from infra.local.stack.leftovers import end_leftovers
from infra.local.stack.lock import Hold, hold
from infra.local.stack.mapped import check_lanes, keep_fixed, mapping_config, numbers
from infra.local.stack.parameters import with_those_of_here
from infra.local.stack.ports import free_ports
from infra.local.stack.prepare import make_home
from infra.local.stack.roles import STOP_WAVES, Roles
from infra.local.stack.sentences import in_a_sentence
from infra.local.stack.served import (
    Place,
    build_other,
    changes_config,
    gateway_config,
    may_be_served,
    wanted_port,
)
from infra.local.stack.stores.check import OUR_HANDLER, Look, Stores, agree, look
from infra.local.stack.stream import keep_stream
from infra.local.stack.tables import Engine, create_table, keep_engine
from infra.local.stack.template import (
    LocalTemplate,
    divide,
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

Say = Callable[[str], None]


class Code(NamedTuple):
    """How the functions' code comes to be: ``bundle(folder, definition)`` unpacked, ``runtime(folder)`` beside it.

    ``api`` is as ``bundle``, of the HTTP API's function; ``of_handler(folder, definition, handler)`` of any other.
    """

    bundle: Callable[[Path, Path], None]
    runtime: Callable[[Path], object]
    api: Callable[[Path, Path], None] | None = None
    of_handler: Callable[[Path, Path, str], None] | None = None


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What a person may choose of a local stack. Port 0 is any free one. ``parameters`` are the template's.

    ``http_port`` 0 is the one that the home had last, if it is free, so that the page's address stays.
    With ``fsync``, stream and tables survive power loss, at the disk's pace. Where ``keep_tables`` is not wanted, DynamoDB
    Local has them in memory: on disk it waits for the disk at every write. ``accept_loss``: go on without what the check of
    the stores found to be lost.
    """

    home: Home
    pipeline: Path
    code: Code
    template: Path = TEMPLATE
    aws_port: int = 4566
    kinesis_port: int = 4567
    metrics_port: int = 0
    http_port: int = 0
    parameters: Mapping[str, str] | None = None
    dynamodb: Engine = Engine.EMBEDDED
    kinesis_faults: str | None = None
    fsync: bool = False
    keep_tables: bool = True
    accept_loss: bool = False


class Stack:
    """A stack in this process's care: ``start``, then ``watch`` until told to stop, then ``stop``.

    *held* is the home where the caller holds it already, and goes on holding it afterwards.
    """

    def __init__(self, options: StackOptions, *, say: Say = lambda _: None, held: Hold | None = None) -> None:
        self._options, self._home, self._say = options, options.home, say
        self._held, self._is_mine = held, held is None
        self._books = Books(self._home, say=say)
        self._keeper = Keeper(say=say, changed=self._books.note)
        self._roles = Roles(self._home, {}, Credentials("", ""), options.dynamodb)  # until it starts
        self._has_sockets = False

    @property
    def info(self) -> StackInfo:
        """The running stack."""
        if self._books.info is None:
            raise ConfigError("the stack is not started")
        return self._books.info

    def start(self) -> None:
        """Start everything, or nothing.

        Raises:
            ConfigError: a stack runs here already, a port is taken, or the definition or template has problems.
            RetryableError: it takes too long.
        """
        home = self._home
        with in_a_sentence(home):
            make_home(home)
            self._held = self._held or hold(home.lock_file, "up")
            try:
                with hold(home.update_lock_file, "up"):  # an update is of the stack that was
                    end_leftovers(home, say=self._say)
                    self._start()
            except BaseException:
                self.stop()
                raise

    def watch(self, until: Callable[[], bool], *, poll_s: float = 0.2) -> None:
        """Keep the stack running until *until* says so: what ended is started again.

        Raises:
            ConfigError: a child ended for good, or the home was removed.
        """
        while not until():
            self._keeper.look()
            self._books.settle()
            if self._held is not None and self._held.is_lost():
                raise ConfigError(
                    f"{self._home.root} was removed while the stack ran, and its stream and tables with it; so it ends"
                )
            time.sleep(poll_s)

    def stop(self) -> None:
        """Stop everything, in order and within bounded time; stream, tables and checkpoints are kept."""
        try:
            self._keeper.stop(*STOP_WAVES)
            if self._held is not None and not self._held.is_lost():
                self._books.close()
        finally:
            if self._held is not None and self._is_mine:
                self._held.release()
                self._held = None

    def _start(self) -> None:
        home, options = self._home, self._options
        pipeline = load_pipeline(options.pipeline)
        parameters = {**pipeline.deploy, **(options.parameters or {})}
        check_parameters(parameters)
        consumer = pipeline.consumer_for(parameters.get("Consumer"))
        keep_engine(home, options.dynamodb)
        keep_definition(home, pipeline, consumer)
        template = divide(options.template, keep_tables=options.dynamodb.is_apart)
        if problems := [problem for each in template.mappings.values() for problem in not_carried_out(each)]:
            raise ConfigError(*problems)
        (stream_id,) = template.streams
        seen = look(home, stream_name(stream_id), now_ms=time.time_ns() // 1_000_000)
        self._start_servers()
        self._build(template)  # while they start
        self._await_servers()
        self._say("creating what the template describes")
        known, given = template.cloudformation.get("Parameters", {}), parameters
        parameters = with_those_of_here(given, known)
        if "Consumer" in known:
            parameters["Consumer"] = consumer
        outputs = create_resources(self._client("cloudformation"), template, parameters)
        self._say(f"exists only on AWS: {told(template.elsewhere)}")
        self._keep_stream_and_tables(template, outputs, given)
        self._agree(template, outputs, seen, consumer)  # nothing reads or writes yet
        self._start_functions(template, outputs, given)
        self._publish(template, outputs, consumer=consumer)

    def _build(self, template: LocalTemplate) -> None:
        home, code, pipeline = self._home, self._options.code, self._options.pipeline
        self._say("building the bundle")
        code.bundle(home.task_dir, pipeline)
        code.runtime(home.runtime_dir)
        if may_be_served(template):
            if code.api is None:
                raise ConfigError("the template has an HTTP API, and there is no code for its function")
            code.api(home.api_task_dir, pipeline)

    def _start_servers(self) -> None:
        home, options = self._home, self._options
        if options.dynamodb is Engine.LOCAL:
            dynamodb_local.install(say=self._say)
        wanted = {
            "aws": (options.aws_port, "--port"),
            "kinesis": (options.kinesis_port, "--kinesis-port"),
            "metrics": (options.metrics_port, "--metrics-port"),
            "gateway": (wanted_port(home, options.http_port), "--http-port"),
            "dynamodb": (0, ""),
        }
        ports = free_ports(wanted)
        if not options.dynamodb.is_apart:
            ports["dynamodb"] = ports["aws"]
        self._roles = Roles(
            home,
            ports,
            keep_credentials(home.credentials_file),
            options.dynamodb,
            keep_tables=options.keep_tables,
            kinesis_faults=options.kinesis_faults,
            fsync=options.fsync,
        )
        self._say(f"starting AWS on port {ports['aws']}, Kinesis on port {ports['kinesis']}")
        self._keeper.start(self._roles.aws())
        self._keeper.start(self._roles.kinesis())
        if options.dynamodb.is_apart:
            self._keeper.start(self._roles.dynamodb())

    def _await_servers(self) -> None:
        for role in self._keeper.pids():
            self._keeper.await_ready(role)

    def _keep_stream_and_tables(
        self, template: LocalTemplate, outputs: Mapping[str, str], given: Mapping[str, str]
    ) -> None:
        unsaid = set(template.cloudformation.get("Parameters", {})) - set(given)
        for logical_id, properties in template.streams.items():
            keep_stream(
                self._home,
                self._client("kinesis"),
                stream_name(logical_id),
                resolve(properties, outputs),
                unsaid=unsaid,
            )
        for logical_id, properties in template.tables.items():
            create_table(
                self._client("dynamodb"), table_name(logical_id), numbers(resolve(properties, outputs))
            )

    def _agree(self, template: LocalTemplate, outputs: Mapping[str, str], seen: Look, consumer: str) -> None:
        (stream_id,), (_, function) = template.streams, template.mapped(outputs)
        stores = Stores(
            home=self._home,
            stream=stream_name(stream_id),
            table=outputs["TableName"],
            consumer=consumer,
            by_key=check_lanes(template, outputs),
            comparable=function["Handler"] == OUR_HANDLER,
            kinesis=self._client("kinesis"),
            dynamodb=self._client("dynamodb"),
        )
        agree(stores, seen, accept_loss=self._options.accept_loss, say=self._say)

    def _start_functions(
        self, template: LocalTemplate, outputs: Mapping[str, str], given: Mapping[str, str]
    ) -> None:
        check_lanes(template, outputs)
        keep_fixed(self._home, template, outputs, given=given)
        document = mapping_config(
            self._home, template, outputs, endpoints=self._endpoints(), credentials=self._roles.credentials
        )
        parse(document)  # a mapping that would not start is refused here
        write_json(self._home.mapping_config_file, document)
        self._start_gateway(template, outputs)
        self._keeper.start(self._roles.mapping())
        self._keeper.start(self._roles.metrics())
        for role in {"changes", "gateway", "mapping"} & self._keeper.pids().keys():
            self._keeper.await_ready(role)

    def _start_gateway(self, template: LocalTemplate, outputs: Mapping[str, str]) -> None:
        home, code, pipeline = self._home, self._options.code, self._options.pipeline
        place = Place(home, self._roles.ports["gateway"], self._endpoints(), self._roles.credentials)
        document = gateway_config(place, template, outputs)
        if document is not None:
            config = parse_gateway(document)
            sockets = () if config.socket is None else config.socket.api.routes.values()
            for line in unasked((*config.api.routes, *sockets)):
                self._say(line)
            self._has_sockets = config.socket is not None
            for other in ("socket_function", "collector_function"):
                build_other(document.get(other), pipeline, code.of_handler)
            hand_over_keys(home, self._client, document.get("collector_function"))
            write_json(home.gateway_config_file, document)
            self._keeper.start(self._roles.gateway())
        home.changes_status_file.unlink(missing_ok=True)  # of a stack that was killed
        changes = changes_config(place, template, outputs)
        if changes is not None:
            parse_changes(changes)
            build_other(changes["function"], pipeline, code.of_handler)
            write_json(home.changes_config_file, changes)
            self._keeper.start(self._roles.changes())

    def _publish(self, template: LocalTemplate, outputs: Mapping[str, str], *, consumer: str) -> None:
        (stream_id,) = template.streams
        self._books.publish(
            StackInfo(
                endpoints=self._endpoints(),
                region=REGION,
                stream=stream_name(stream_id),
                stream_arn=stream_arn(stream_id),
                table=outputs["TableName"],
                quarantine_url=outputs["QuarantineUrl"],
                failed_batches_bucket=outputs["FailedBatchesBucket"],
                pipeline=str(self._options.pipeline.resolve()),
                credentials_file=str(self._home.credentials_file),
                one_key_per_record=check_lanes(template, outputs),
                consumer=consumer,
            )
        )

    def _endpoints(self) -> dict[str, str]:
        found = {role: self._roles.url(role) for role in ("aws", "kinesis", "dynamodb", "metrics")}
        if "gateway" in self._keeper.pids():
            found["http"] = f"{self._roles.url('gateway')}/{self._roles.credentials.base}"
        if self._has_sockets:
            found["live"] = f"ws://{found['http'].partition('://')[2]}/live"
        return found

    def _client(self, service: str) -> Any:
        role = service if service in ("kinesis", "dynamodb") else "aws"
        return local_client(service, self._roles.url(role), self._roles.credentials)


def say_on_stderr(text: str) -> None:
    """Tell a person what is going on. Where nobody listens any more, or the disk of the log is full, the stack works on."""
    with suppress(OSError, ValueError):
        print(f"streamgage: {text}", file=sys.stderr, flush=True)
