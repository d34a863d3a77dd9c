"""What the commands see of the machine: entry points make the real one, tests a small one."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO

from infra.commands.arguments import PIPELINE_FILE, PIPELINE_VARIABLE
from infra.commands.places import Target, open_producer
from infra.commands.signals import noting_signals
from producers.clock import Clock, WallClock
from producers.files.delivery import Sink
from producers.files.stop import Stop


@dataclass(frozen=True, slots=True)
class World:
    """Environment, current folder, standard streams, clock, and the way to a stream."""

    environ: Mapping[str, str]
    folder: Path
    stdin: BinaryIO
    out: TextIO
    err: TextIO
    clock: Clock
    open_sink: Callable[[Target], AbstractContextManager[Sink]]
    stop: Stop = field(default_factory=Stop)
    noting: Callable[[Stop], AbstractContextManager[None]] = nullcontext  # type: ignore[assignment]  # ends nothing

    def warn(self, text: str) -> None:
        """Tell the person at the terminal at once, if there still is one."""
        with suppress(OSError):
            print(f"streamgage: {text}", file=self.err, flush=True)

    def pipeline_path(self, named: str | None) -> Path:
        """Return the pipeline definition to use."""
        return self.folder / (named or self.environ.get(PIPELINE_VARIABLE) or PIPELINE_FILE)


def real_world() -> World:
    """Return this process's surroundings."""
    return World(
        environ=os.environ,
        folder=Path.cwd(),
        stdin=sys.stdin.buffer,
        out=sys.stdout,
        err=sys.stderr,
        clock=WallClock(),
        open_sink=open_producer,
        noting=noting_signals,
    )
