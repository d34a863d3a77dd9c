"""The configuration file of a mapping process: one JSON object, checked as a whole."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.function.document import function_config, function_problems
from infra.local.function.sandbox import FunctionConfig
from infra.local.mapping.config import MappingConfig, from_properties
from infra.local.sealed import unseal
from streamgage.errors import ConfigError

_REQUIRED = ("stream_arn", "mapping", "function", "checkpoint_file", "status_file")
_PLAIN = {
    "mapping_id": "00000000-0000-0000-0000-000000000000",
    "kinesis_endpoint": None,
    "endpoint": None,
    "access_key": "local",
    "secret_key": "local",
    "poll_idle_ms": 50,
    "list_shards_ms": 1000,
    "exit_with_parent": True,
}
_OPTIONAL = {**_PLAIN, "retry_first_ms": 200, "retry_max_ms": 30_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """What ``python -m infra.local.mapping.process`` runs with.

    ``endpoint`` is where SQS, SNS and S3 are, for the on-failure destination; a None endpoint is AWS itself, with
    the credentials that boto3 finds. With ``exit_with_parent`` the process stops when its parent has gone.
    """

    stream_arn: str
    mapping: MappingConfig
    function: FunctionConfig
    checkpoint_file: Path
    status_file: Path
    mapping_id: str
    kinesis_endpoint: str | None
    endpoint: str | None
    access_key: str
    secret_key: str
    poll_idle_ms: int
    list_shards_ms: int
    exit_with_parent: bool

    @property
    def stream_name(self) -> str:
        """The stream's name, from its ARN."""
        return self.stream_arn.rpartition("/")[2]

    @property
    def region(self) -> str:
        """The stream's region, from its ARN."""
        return self.stream_arn.split(":")[3]


def load(path: Path) -> ProcessConfig:
    """Return the configuration in the file *path*.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a JSON object")
    try:
        return parse(unseal(document))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}. The next `streamgage up` writes it anew") from error


def parse(document: Mapping[str, Any]) -> ProcessConfig:
    """Return the configuration that *document* describes.

    Raises:
        ConfigError: with every problem found.
    """
    function = document.get("function") or {}
    problems = [f"{name} is missing" for name in _REQUIRED if not document.get(name)]
    problems += [f"{name} is unknown" for name in sorted(set(document) - {*_REQUIRED, *_OPTIONAL})]
    problems += function_problems(function)
    stream_arn = str(document.get("stream_arn", ""))
    if stream_arn and (stream_arn.count(":") != 5 or ":stream/" not in stream_arn):
        problems.append(
            f"stream_arn is {stream_arn!r}: must be arn:aws:kinesis:<region>:<account>:stream/<name>"
        )
    try:
        mapping = from_properties(
            document.get("mapping") or {},
            retry_first_ms=int(document.get("retry_first_ms", _OPTIONAL["retry_first_ms"])),
            retry_max_ms=int(document.get("retry_max_ms", _OPTIONAL["retry_max_ms"])),
        )
    except ConfigError as error:
        problems += [f"mapping: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(*problems)
    return ProcessConfig(
        stream_arn=stream_arn,
        mapping=mapping,
        function=function_config(
            function, region=stream_arn.split(":")[3], account_id=stream_arn.split(":")[4]
        ),
        checkpoint_file=Path(document["checkpoint_file"]).resolve(),
        status_file=Path(document["status_file"]).resolve(),
        **{name: document.get(name, default) for name, default in _PLAIN.items()},
    )
