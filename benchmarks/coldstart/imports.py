"""What a function imports on top of the runtime client, and how long each module takes: its import-time ledger."""

import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping

from infra.local.function.sandbox import FunctionConfig, environment

_SCRIPT = """
import sys
import awslambdaric.bootstrap
print("-", file=sys.stderr, flush=True)
import {module}
"""


def ledger(function: FunctionConfig, *, rounds: int) -> dict[str, float]:
    """Return the ms that each module takes itself, without those it imports; the median of *rounds* processes.

    ``-X importtime`` slows imports down a little: the shares count, not the sum. Modules that the runtime client brings
    along are not among them.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, ms in _once(function).items():
            found[name].append(ms)
    medians = {name: statistics.median(each) for name, each in found.items()}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def by_package(modules: Mapping[str, float]) -> dict[str, float]:
    """Return the sum of each package's modules, the largest first."""
    sums: dict[str, float] = defaultdict(float)
    for name, ms in modules.items():
        sums[name.partition(".")[0]] += ms
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def _once(function: FunctionConfig) -> dict[str, float]:
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    module = function.handler.rpartition(".")[0]
    done = subprocess.run(
        [python, "-P", "-S", "-s", "-X", "importtime", "-c", _SCRIPT.format(module=module)],
        env=environment(function, "127.0.0.1:9"),
        cwd=function.task_dir,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return parse(done.stderr.partition("\n-\n")[2])


def parse(text: str) -> dict[str, float]:
    """Return (module → ms) of lines ``import time: self [us] | cumulative | name``.

    Source: https://docs.python.org/3.11/using/cmdline.html#cmdoption-X
    """
    found = {}
    for line in text.splitlines():
        if line.startswith("import time:") and "self [us]" not in line:
            own_us, _, name = line.removeprefix("import time:").split("|")
            found[name.strip()] = int(own_us) / 1_000
    return found
