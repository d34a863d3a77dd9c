"""Where a question is asked, and the instants that a person names: shared by the verbs that ask."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.commands.arguments import aws_stack, usual_pipeline
from infra.local.stack.home import Home, StackInfo

if TYPE_CHECKING:
    from processors.query.cells import DynamoPartialStore
    from processors.query.freshness import Freshness


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask. ``open`` connects, and tells whose rollups are there: a mistyped question need not wait for it."""

    pipeline: Path
    open: "Callable[[], tuple[DynamoPartialStore, Freshness, str]]"


def find_place(arguments: argparse.Namespace) -> Place:
    """Return where to ask: the stack that runs here, or one on AWS. Raises: ConfigError."""
    name = aws_stack(arguments)
    if name is not None:
        return Place(Path(arguments.pipeline or usual_pipeline()), lambda: _open_aws(name, arguments.region))
    home = Home.of(os.environ)
    info = home.info()
    return Place(Path(arguments.pipeline or info.pipeline), lambda: _open_local(home, info))


def open_local_home(home: str | Path | None) -> Place:
    """Return the stack that runs in the folder *home*, for ``Tables.local``. Raises: ConfigError, none runs there."""
    place = Home.of(os.environ if home is None else {**os.environ, "STREAMGAGE_HOME": str(home)})
    info = place.info()
    return Place(Path(info.pipeline), lambda: _open_local(place, info))


def open_aws_stack(stack: str, region: str | None, pipeline: Path) -> Place:
    """Return a stack on AWS, for ``Tables.aws``."""
    return Place(pipeline, lambda: _open_aws(stack, region))


def _open_local(home: Home, info: StackInfo) -> "tuple[DynamoPartialStore, Freshness, str]":
    from infra.local.stack.clients import local_client
    from processors.query.cells import DynamoPartialStore
    from processors.query.freshness import freshness
    from processors.query.progress import read_progress

    store = DynamoPartialStore(
        local_client("dynamodb", info.endpoints["dynamodb"], info.credentials), info.table
    )
    status = home.status()  # before the progress, which only grows
    progress = read_progress(store, info.consumer, info.stream)
    return store, freshness(progress, status, by_key=info.one_key_per_record), info.consumer


def _open_aws(name: str, region: str | None) -> "tuple[DynamoPartialStore, Freshness, str]":
    from infra.aws.stacks import aws_client, find_stack
    from infra.aws.status import read_freshness
    from processors.query.cells import DynamoPartialStore

    stack = find_stack(name, region)
    fresh, _ = read_freshness(stack)
    store = DynamoPartialStore(aws_client("dynamodb", stack.region), stack.output("TableName"))
    return store, fresh, stack.consumer


def parse_instant(text: str | None, *, now_ms: int, default_ms: int) -> int:
    """Return the instant, in ms: an ISO date or time (UTC unless it says otherwise), or an age such as ``2h``."""
    from processors.query.tables import instant_ms

    return instant_ms(text, now_ms=now_ms, default_ms=default_ms)
