"""What ``send`` and ``simulate`` share: the way to the stream, the source, the progress bar."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from infra.commands.arguments import aws_stack
from infra.commands.places import find_aws_target, find_target
from infra.commands.world import World
from producers.files.delivery import Sink
from producers.files.progress import Progress, show_progress
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.errors import ConfigError
from streamgage.visible import visible


def sink_opener(args: argparse.Namespace, world: World) -> Callable[[], AbstractContextManager[Sink]]:
    """Return what opens the stream that *args* name. Raises: ConfigError, RetryableError (AWS does not answer)."""
    name = aws_stack(args)
    if name is not None:
        by_itself = [f"--{each}" for each in ("stream", "endpoint-url") if vars(args)[each.replace("-", "_")]]
        if by_itself:
            raise ConfigError(
                f"{' and '.join(by_itself)} beside --target aws: the stack's own stream is meant, or another"
            )
        target = find_aws_target(name, region=args.region)
    else:
        target = find_target(
            stream=args.stream,
            endpoint_url=args.endpoint_url,
            region=args.region,
            environ=world.environ,
            folder=world.folder,
        )
    if args.one_key_per_record:
        target = replace(target, one_key_per_record=True)

    def open_sink() -> AbstractContextManager[Sink]:
        print(f"sending to {visible(str(target))}", file=world.err)
        return world.open_sink(target)

    return open_sink


def progress_of(world: World, label: str, total: int | None) -> Progress:
    """Return the progress bar of *label* on the terminal's error stream."""
    return show_progress(label, total, out=world.err, now_ms=world.clock.now_ms)


def source_of(pipeline: Pipeline, name: str) -> Source:
    """Return the source *name*. Raises: ConfigError, with those there are."""
    source = pipeline.sources.get(name)
    if source is None:
        raise ConfigError(
            f"the pipeline has no source {name!r}; its sources are {', '.join(pipeline.sources)}"
        )
    return source
