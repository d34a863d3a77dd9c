"""Where to send: the stack that runs in this folder, a stack on AWS, or a stream that was named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.local.http.secret import read_credentials
from infra.local.sealed import unseal
from infra.local.stack.home import Home
from streamgage.errors import ConfigError, RetryableError, without_password

if TYPE_CHECKING:
    from producers.client.core import ProducerCore

_HOME_VARIABLE = "STREAMGAGE_HOME"
_FOLDER = ".streamgage"
_STACK = "stack.json"


@dataclass(frozen=True, slots=True)
class Target:
    """One stream. ``endpoint_url`` and ``region`` are boto3's own where None.

    ``local`` is a stack on this machine, in the folder ``home``, and ``credentials`` are its own.
    ``one_key_per_record``: its mapping has a ParallelizationFactor > 1, so each Kinesis record carries one key.
    """

    stream: str
    endpoint_url: str | None = None
    region: str | None = None
    local: bool = False
    one_key_per_record: bool = False
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    home: Path | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"stream {self.stream} " + (
            f"at {without_password(self.endpoint_url)}" if self.endpoint_url else "on AWS"
        )


def find_aws_target(name: str, *, region: str | None) -> Target:
    """Return the stream of the stack *name* on AWS.

    Raises:
        ConfigError: no credentials, no region, no such stack, or it is none of streamgage.
        RetryableError: AWS does not answer.
    """
    from infra.aws.stacks import find_stack

    stack = find_stack(name, region)
    return Target(
        stack.output("StreamName"), region=stack.region, one_key_per_record=stack.one_key_per_record
    )


def find_target(
    *,
    stream: str | None,
    endpoint_url: str | None,
    region: str | None,
    environ: Mapping[str, str],
    folder: Path,
) -> Target:
    """Return the stream to send to, where no stack on AWS was named.

    With no name, or the name of the running stack's own stream, it is that stack's. Any other name, or an endpoint, is
    not the stack's: boto3 finds what is not given here.

    Raises:
        ConfigError: no stack runs and none was named, or its file is damaged.
    """
    path = _stack_file(environ, folder)
    stack = _read_stack(path) if path else None
    if endpoint_url is None and stack is not None and stream in (None, stack.stream):
        return replace(stack, region=region or stack.region)
    if stream is not None:
        return Target(stream, endpoint_url, region)
    if endpoint_url is not None:
        raise ConfigError(f"which stream at {without_password(endpoint_url)}? Name it with --stream NAME")
    raise ConfigError(
        "no stack is running here: start one with `streamgage up`, send to one on AWS with --target aws --stack NAME, "
        "or name a stream with --stream NAME"
    )


def open_producer(target: Target) -> "ProducerCore":
    """Return a producer for *target*. Raises: ConfigError, also where nothing answers."""
    from producers.client.batcher import BatcherConfig
    from producers.client.core import CoreConfig
    from producers.client.kinesis import connect

    if target.home is not None:
        from infra.local.stack.running import check_someone_is_there

        check_someone_is_there(Home(target.home))
    try:
        return connect(
            target.stream,
            endpoint_url=target.endpoint_url,
            region=target.region,
            credentials=target.credentials,
            config=CoreConfig(batching=BatcherConfig(one_key_per_record=target.one_key_per_record)),
        )
    except RetryableError as error:
        hint = ". Is the stack running? See `streamgage status`" if target.local else ""
        raise ConfigError(f"{target} does not answer: {error}{hint}") from error


def _stack_file(environ: Mapping[str, str], folder: Path) -> Path | None:
    home = environ.get(_HOME_VARIABLE)
    if home:
        path = Path(home) / _STACK
        return path if path.is_file() else None
    for parent in (folder, *folder.parents):
        path = parent / _FOLDER / _STACK
        if path.is_file():
            return path
    return None


def _read_stack(path: Path) -> Target:
    try:
        raw: Any = unseal(json.loads(path.read_text(encoding="utf-8")))
        values = (raw["stream"], raw["endpoints"]["kinesis"], raw.get("region"))
        credentials = Path(raw["credentials_file"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: does not describe a running stack ({type(error).__name__}: {error}). "
            "Start it again: `streamgage down`, then `streamgage up`"
        ) from error
    if not all(isinstance(each, str) for each in values[:2]):
        raise ConfigError(f"{path}: stream and endpoints.kinesis must be texts")
    return Target(
        *values,
        local=True,
        home=path.parent,
        one_key_per_record=bool(raw.get("one_key_per_record")),
        credentials=read_credentials(credentials),
    )
