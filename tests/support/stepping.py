"""A stack whose clock steps: ``python stepping.py CLOCK -m MODULE …``. It and its children say the time with CLOCK's step added.

CLOCK is a file of eight bytes, seconds as a double, that every process maps: what a test writes there is the time of all of
them at once. Nothing of the stack knows it; ``time.monotonic`` is left alone, as a step of the system's clock leaves it.
"""

import mmap
import os
import runpy
import struct
import sys
import time
from pathlib import Path

CHILD = "infra.local.stack.children"
_STEP = struct.Struct("d")


def step_time(clock: str) -> None:
    """Add the step in the file *clock* to this process's time of day."""
    descriptor = os.open(clock, os.O_RDONLY)
    mapped = mmap.mmap(descriptor, _STEP.size, prot=mmap.PROT_READ)
    os.close(descriptor)
    real_s, real_ns = time.time, time.time_ns
    time.time = lambda: real_s() + _STEP.unpack_from(mapped)[0]
    time.time_ns = lambda: real_ns() + int(_STEP.unpack_from(mapped)[0] * 1e9)


def write_step(clock: Path, seconds: float) -> None:
    """Step the time of all that map *clock*."""
    with clock.open("r+b" if clock.exists() else "w+b") as file:
        file.write(_STEP.pack(seconds))


def main(clock: str, _: str, module: str, *rest: str) -> None:
    """Become ``python -m MODULE …``, with children of the same kind."""
    step_time(clock)
    from infra.local.function import sandbox

    if module != CHILD:
        from infra.local.stack import children

        children.python = lambda: [sys.executable, "-P", __file__, clock]
    sandbox._LAUNCHER = (
        f"import runpy; runpy.run_path({__file__!r})['step_time']({clock!r})\n{sandbox._LAUNCHER}"
    )
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
