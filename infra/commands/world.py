"""What the commands see of the machine: entry points make the real one, tests a small one."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from infra.commands.places import Target, open_producer
from producers.files.delivery import Sink
from producers.files.retime import Clock

_PIPELINE_VARIABLE = "STREAMGAGE_PIPELINE"


class WallClock:
    """The time of day."""

    def now_ms(self) -> int:
        """Return ms since the epoch."""
        return time.time_ns() // 1_000_000

    def sleep_ms(self, duration_ms: int) -> None:
        """Do nothing for *duration_ms*."""
        time.sleep(duration_ms / 1000)


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

    def warn(self, text: str) -> None:
        """Tell the person at the terminal at once."""
        print(f"streamgage: {text}", file=self.err, flush=True)

    def pipeline_path(self, named: str | None) -> Path:
        """Return the pipeline definition to use."""
        return self.folder / (named or self.environ.get(_PIPELINE_VARIABLE) or "pipeline.toml")


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
    )
