"""One cold start, measured from outside: spawn → first ``next`` (init) → first invocation → warm ones."""

import contextlib
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.coldstart.cpu_cap import CpuCap
from infra.local.function.runtime_api import Reply, RuntimeApi, RuntimeGone
from infra.local.function.sandbox import FunctionConfig, Sandbox, environment
from streamgage.errors import StreamgageError

_REQUEST_ID = "00000000-0000-4000-8000-{:012d}"
_PATIENCE_S = 60
_PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))  # no shim script


class FailedStartError(StreamgageError):
    """A function did not start, or its first invocation failed; its log says more."""

    code = "failed_start"


@dataclass(frozen=True, slots=True)
class Start:
    """What one start took. ``cpu_ms`` is of the whole process, up to the end of the last invocation."""

    init_ms: float
    first_ms: float
    warm_ms: tuple[float, ...]
    cpu_ms: float
    answer: bytes

    @property
    def both_ms(self) -> float:
        """From nothing to the first answer."""
        return self.init_ms + self.first_ms


def start(function: FunctionConfig, event: bytes, *, warm: int = 0, cap: CpuCap | None = None) -> Start:
    """Start *function*, invoke it once with *event*, then *warm* times more, and end it.

    Raises:
        FailedStartError: it did not get that far.
    """
    before_s = _children_cpu_s()
    with cap.around_spawn() if cap else contextlib.nullcontext():
        sandbox = Sandbox(function)
    try:
        _expect_ready(sandbox.wait_ready(), function)
        init_ms = sandbox.cold_start_ms()
        times_ms = []
        for number in range(1 + warm):
            began_s = time.perf_counter()
            reply = sandbox.invoke(_REQUEST_ID.format(number), event)
            times_ms.append((time.perf_counter() - began_s) * 1e3)
            _expect_answer(reply, function)
            _expect_ready(sandbox.wait_ready(), function)
    finally:
        sandbox.close()
    cpu_ms = (_children_cpu_s() - before_s) * 1e3
    return Start(init_ms or 0.0, times_ms[0], tuple(times_ms[1:]), cpu_ms, reply.body)


def init_cpu_ms(function: FunctionConfig) -> float:
    """Start *function*, end it before its first invocation, and return the CPU time that it took.

    Raises:
        FailedStartError: it did not get that far.
    """
    before_s = _children_cpu_s()
    sandbox = Sandbox(function)
    try:
        _expect_ready(sandbox.wait_ready(), function)
    finally:
        sandbox.close()
    return (_children_cpu_s() - before_s) * 1e3


def _expect_ready(failure: Reply | None, function: FunctionConfig) -> None:
    if failure is not None:
        raise FailedStartError(f"{function.name}: {failure.body.decode('utf-8', 'replace')[:2_000]}")


def _expect_answer(reply: Reply, function: FunctionConfig) -> None:
    if reply.kind != "response":
        raise FailedStartError(f"{function.name}: {reply.body.decode('utf-8', 'replace')[:2_000]}")


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def forked_start(function: FunctionConfig, event: bytes) -> Start:
    """Start *function* as a fork of a process that has initialised it; its init is from asking for it to ``next``.

    Raises:
        FailedStartError: it did not get that far.
    """
    api = RuntimeApi(lambda: _watch(process, deadline_s))
    deadline_s = time.monotonic() + _PATIENCE_S
    with (
        contextlib.closing(api),
        function.log_file.open("ab") as log,
        subprocess.Popen(
            [_PYTHON, "-P", "-S", "-s", str(Path(__file__).with_name("zygote.py")), function.handler],
            env=environment(function, api.address),
            cwd=function.task_dir,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            said, tell = process.stdout, process.stdin
            if said is None or tell is None or said.readline() != "ready\n":
                raise FailedStartError(f"{function.name}: it did not initialise; see {function.log_file}")
            began_s = time.perf_counter()
            tell.write("fork\n")
            tell.flush()
            _expect_ready(api.wait_next(), function)
            ready_s = time.perf_counter()
            reply = api.invoke(
                _REQUEST_ID.format(0),
                event,
                deadline_ms=round((time.time() + _PATIENCE_S) * 1e3),
                function_arn=function.arn,
            )
            done_s = time.perf_counter()
        finally:
            process.communicate(timeout=_PATIENCE_S)  # the end of its input: it ends its child, then itself
    _expect_answer(reply, function)
    return Start((ready_s - began_s) * 1e3, (done_s - ready_s) * 1e3, (), 0.0, reply.body)


def _watch(process: "subprocess.Popen[str]", deadline_s: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline_s:
        raise RuntimeGone("the forked function has gone, or does not answer")
