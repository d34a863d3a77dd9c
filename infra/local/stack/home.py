"""The folder of a local stack: ``.streamgage`` holds its data, its logs and, while it runs, who it is."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from infra.local.files import open_private
from infra.local.http.secret import Credentials, read_credentials
from infra.local.sealed import read_sealed, seal
from infra.local.stack.processes import Identity, runs
from streamgage.definition.pipeline import DEFAULT_CONSUMER
from streamgage.errors import ConfigError


@dataclass(frozen=True, slots=True)
class StackInfo:
    """A running stack, as ``stack.json`` describes it to every command. ``pids`` are by role, and when each ``started``.

    ``one_key_per_record``: Lambda keeps order per partition key only (ParallelizationFactor > 1), so producers give each
    Kinesis record one key. ``consumer`` is whose rollups the function counts. ``endpoints`` are by role, and ``http`` is the
    address of page and API: who has it may read, so it is shown to the owner alone; ``live`` is the WebSocket under it.
    """

    endpoints: dict[str, str]
    region: str
    stream: str
    stream_arn: str
    table: str
    quarantine_url: str
    failed_batches_bucket: str
    pipeline: str
    credentials_file: str
    one_key_per_record: bool = False
    consumer: str = DEFAULT_CONSUMER
    pids: dict[str, int] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)

    @property
    def credentials(self) -> Credentials:
        """What clients of this stack sign with. Raises: ConfigError where their file is damaged."""
        return read_credentials(Path(self.credentials_file))


# What to do about a damaged file, by its name.
TODO = {
    "stack.json": "It says which processes run. Look for them (ps -ef | grep infra.local), end them, and remove it",
    "mapping.status.json": "Remove it: it is written anew",
    "mapping.json": "Remove it: the next `streamgage up` writes it anew",
    "gateway.json": "Remove it: the next `streamgage up` writes it anew; the page may get another port",
    "gateway.status.json": "Remove it: it is written anew",
    "changes.json": "Remove it: the next `streamgage up` writes it anew",
    "changes.status.json": "Remove it: it is written anew",
    "dynamodb.json": "Remove it: the next `streamgage up` sees by the tables which engine holds them",
    "definition.json": (
        "It says what the tables were counted by. Remove it if pipeline.toml has not changed since the last "
        "`streamgage up`, which writes it anew"
    ),
    "keys.json": "It holds the collector's keys, as hashes. Remove it, and make new ones: streamgage keys create",
    "stores.json": "Remove it: stream, tables and checkpoints say themselves whose they are",
    "stream.json": "Remove it: the stream says itself how many shards it has, and for how long it keeps records",
    "fixed.json": (
        "It says by which lanes this home counts, and where it began. Remove it if the next `streamgage up` gets the same "
        "StartAt and ParallelizationFactor as the last one"
    ),
}


class Home:
    """Where a local stack keeps its things. Making one touches nothing."""

    def __init__(self, root: Path) -> None:
        # Path.resolve raises a RuntimeError of links that lead to each other, before Python 3.13.
        self.root = Path(os.path.realpath(root))
        self.lock_file = self.root / "lock"
        self.update_lock_file = self.root / "update.lock"
        self.info_file = self.root / "stack.json"
        self.processes_file = self.root / "processes.json"
        self.status_file = self.root / "mapping.status.json"
        self.checkpoint_file = self.root / "data" / "checkpoints.json"
        self.mapping_config_file = self.root / "mapping.json"
        self.gateway_config_file = self.root / "gateway.json"
        self.gateway_status_file = self.root / "gateway.status.json"
        self.changes_config_file = self.root / "changes.json"
        self.changes_status_file = self.root / "changes.status.json"
        self.aws_data = self.root / "data" / "aws"
        self.kinesis_data = self.root / "data" / "kinesis"
        self.dynamodb_data = self.root / "data" / "dynamodb-local"
        self.tables_data = self.root / "data" / "tables"
        self.dynamodb_file = self.root / "data" / "dynamodb.json"
        self.stores_file = self.root / "data" / "stores.json"
        self.definition_file = self.root / "data" / "definition.json"
        self.stream_file = self.root / "data" / "stream.json"
        self.fixed_file = self.root / "data" / "fixed.json"
        self.keys_file = self.root / "keys.json"
        self.credentials_file = self.root / "credentials.json"
        self.logs = self.root / "logs"
        self.task_dir = self.root / "bundle"
        self.api_task_dir = self.root / "bundle-api"
        self.socket_task_dir = self.root / "bundle-socket"
        self.changes_task_dir = self.root / "bundle-changes"
        self.collector_task_dir = self.root / "bundle-collector"
        self.runtime_dir = self.root / "runtime"

    @property
    def documents(self) -> tuple[Path, ...]:
        """The sealed files that describe the stack; each is written by ``write_json``, and damage to it ends a start."""
        return (
            self.info_file, self.mapping_config_file, self.gateway_config_file, self.changes_config_file, self.dynamodb_file,
            self.definition_file, self.stores_file, self.stream_file, self.fixed_file, self.keys_file,
        )  # fmt: skip

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Home":
        """Return the home that STREAMGAGE_HOME names, else ``.streamgage`` in this folder."""
        return cls(Path(environment.get("STREAMGAGE_HOME") or ".streamgage"))

    def write_info(self, info: StackInfo) -> None:
        """Say that the stack runs, and where."""
        write_json(self.info_file, asdict(info))

    def info(self) -> StackInfo:
        """Return the running stack. Raises: ConfigError where none runs."""
        raw = self.raw_info()
        if raw is None or not is_running(raw, "supervisor"):
            raise ConfigError(f"no stack is running in {self.root}. Start one: streamgage up")
        try:
            return StackInfo(**raw)
        except TypeError as error:
            raise ConfigError(
                f"{self.info_file} is of another version. {TODO[self.info_file.name]}"
            ) from error

    def raw_info(self) -> dict[str, Any] | None:
        """Return what was written of a stack that may run; None where nothing was, or not the whole of it."""
        raw = read_json(self.info_file)
        pids = raw.get("pids") if isinstance(raw, dict) else None
        is_whole = isinstance(pids, dict) and all(isinstance(each, int) for each in pids.values())
        return raw if is_whole else None

    def status(self) -> dict[str, Any]:
        """Return what the mapping last said of itself; {} before it said anything."""
        status = read_json(self.status_file)
        return status if isinstance(status, dict) else {}

    def gateway_status(self) -> dict[str, Any]:
        """Return what the gateway last said of itself; {} before it said anything."""
        status = read_json(self.gateway_status_file)
        return status if isinstance(status, dict) else {}

    def changes_status(self) -> dict[str, Any]:
        """Return what who tells changes last said of itself; {} before it said anything."""
        status = read_json(self.changes_status_file)
        return status if isinstance(status, dict) else {}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write *value*, whole or not at all, with a checksum."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".partial")
    with os.fdopen(open_private(partial), "w", encoding="utf-8") as file:
        json.dump(seal(value), file, indent=1)
    partial.replace(path)


def read_json(path: Path) -> Any:
    """Return what is in *path*, or None where there is no such file. Raises: ConfigError where it is damaged."""
    return read_sealed(path, todo=TODO.get(path.name, "Remove it"))


def is_running(info: Mapping[str, Any], role: str) -> bool:
    """Tell whether the process that ``stack.json`` names for *role* runs, and not a stranger that has its number now."""
    pid, started = info["pids"].get(role, 0), info.get("started", {}).get(role)
    return is_alive(pid) if started is None else runs(Identity(pid, started))


def is_alive(pid: int) -> bool:
    """Tell whether a process *pid* runs (a zombie does not)."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state != "Z"
