"""The streams of stacks, for ``Producer.to_local`` and ``Producer.to_aws``: found as ``streamgage send`` finds them."""

import os
from pathlib import Path

from infra.commands.places import find_aws_target, find_target
from infra.local.stack.home import Home
from infra.local.stack.running import check_someone_is_there
from producers.sending.places import StreamPlace


def local_stream(home: str | os.PathLike[str] | None) -> StreamPlace:
    """Return the stream of the stack that runs in the folder *home*, else in this one or above. Raises: ConfigError."""
    environ = os.environ if home is None else {**os.environ, "STREAMGAGE_HOME": os.fspath(home)}
    target = find_target(stream=None, endpoint_url=None, region=None, environ=environ, folder=Path.cwd())
    assert target.home is not None  # noqa: S101 - of a stack that was not named by its stream
    place = Home(target.home)
    check_someone_is_there(place)
    return StreamPlace(
        target.stream,
        target.region,
        endpoint_url=target.endpoint_url,
        credentials=target.credentials,
        one_key_per_record=target.one_key_per_record,
        pipeline=str(place.info().pipeline),
    )


def aws_stream(stack: str, region: str | None) -> StreamPlace:
    """Return the stream of *stack* on AWS. Raises: ConfigError, RetryableError."""
    target = find_aws_target(stack, region=region)
    return StreamPlace(target.stream, target.region, one_key_per_record=target.one_key_per_record)
