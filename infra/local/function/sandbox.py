"""One execution environment: a child process of the real Lambda runtime client, running the unpacked bundle."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.files import open_private
from infra.local.function.peer import is_of_process
from infra.local.function.runtime_api import Reply, RuntimeApi, RuntimeGone, TimedOut

_INIT_LIMIT_S = 10  # Lambda's own limit; a slower start is run again within the first invocation's timeout
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# The child asks Linux to be killed when the thread that started it ends (PR_SET_PDEATHSIG = 1, SIGKILL = 9), makes
# sure that this has not happened already, and becomes the runtime client. It asks itself, after exec: preexec_fn is
# not safe in a process with threads. It may open as many files as a function of Lambda's, however many its parent may:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, file descriptors (checked 2026-11-29).
_LAUNCHER = """
import ctypes, os, resource, runpy, sys
most, hard = 1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most if hard < 0 else min(most, hard), hard))
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
os.getppid() == int(sys.argv.pop(1)) or os._exit(1)
del ctypes, os, resource, most, hard
runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionConfig:
    """A function as its sandboxes need it. *env* is what the template gives it, and AWS_ENDPOINT_URL and the like.

    ``task_dir`` is the unpacked bundle (LAMBDA_TASK_ROOT), ``runtime_dir`` what Lambda brings along.
    """

    name: str
    handler: str
    task_dir: Path
    runtime_dir: Path
    log_file: Path
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 3
    memory_mb: int = 128
    max_concurrency: int = 10
    region: str = "us-east-1"
    account_id: str = "000000000000"

    @property
    def arn(self) -> str:
        """The function's ARN, unqualified."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"


class Sandbox:
    """A started sandbox. Not thread-safe. ``close`` always ends the process.

    Start it in a thread that outlives it: on Linux the child dies with the *thread* that started it. Where there is
    no PR_SET_PDEATHSIG the runtime client ends when it next finds its connection closed.
    """

    def __init__(self, config: FunctionConfig) -> None:
        self._config = config
        self._deadline = math.inf  # of time.monotonic()
        self._memory_peak_bytes = 0
        self._api = RuntimeApi(self._watch, is_sandbox=lambda each: is_of_process(each, self._process.pid))
        self._started = time.monotonic()
        self._init_ms: float | None = None  # known once the runtime client has asked for its first invocation
        self._invoked = False
        try:
            self._process = self._spawn()
        except BaseException:
            self._api.close()
            raise

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def wait_ready(self) -> Reply | None:
        """Wait until the function can be invoked.

        Returns:
            None when it can; what the runtime client posted when the initialisation failed.

        Raises:
            RuntimeGone: the process ended, or did not become ready in time. Close the sandbox.
        """
        self._deadline = (time.monotonic() if self._init_ms is not None else self._started) + (
            _INIT_LIMIT_S + self._config.timeout_s
        )
        failure = self._api.wait_next()
        if failure is None:
            self._watch()  # it may have asked, and died while it waited
        if self._init_ms is None:
            self._init_ms = (time.monotonic() - self._started) * 1000
        return failure

    def invoke(self, request_id: str, payload: bytes) -> Reply:
        """Run the function once; ``wait_ready`` must have returned None since the last time.

        Raises:
            TimedOut: the function's timeout has passed. Close the sandbox.
            RuntimeGone: the process ended, or uses more than its memory. Close the sandbox.
        """
        self._invoked = True
        self._deadline = time.monotonic() + self._config.timeout_s
        return self._api.invoke(
            request_id,
            payload,
            deadline_ms=round((time.time() + self._config.timeout_s) * 1000),
            function_arn=self._config.arn,
        )

    def cold_start_ms(self) -> float | None:
        """Return how long the initialisation took, the first time; None of a warm sandbox."""
        return None if self._invoked else self._init_ms

    def memory_peak_bytes(self) -> int:
        """Return the largest resident set seen; 0 where the system has no /proc."""
        self._look_at_memory()
        return self._memory_peak_bytes

    def kill(self) -> None:
        """Kill the process, and wait until it is gone. Any thread may; whoever waits for it sees RuntimeGone."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill the process, whatever it is doing, and end the conversation with it."""
        self.kill()
        self._api.close()

    def _watch(self) -> None:
        status = self._process.poll()
        if status is not None:
            raise RuntimeGone(_exit_text(status))
        if time.monotonic() > self._deadline:
            if self._init_ms is None:
                raise RuntimeGone(
                    f"Init phase not completed after {_INIT_LIMIT_S + self._config.timeout_s:.2f} seconds"
                )
            raise TimedOut(f"Task timed out after {self._config.timeout_s:.2f} seconds")
        # RLIMIT_AS would limit what is mapped, not what is used, and raise MemoryError in place of a kill.
        if self._look_at_memory() > self._config.memory_mb * 1024 * 1024:
            raise RuntimeGone(
                f"Runtime exited with error: signal: killed (more than {self._config.memory_mb} MB used)"
            )

    def _look_at_memory(self) -> int:
        try:
            with open(f"/proc/{self._process.pid}/statm", encoding="ascii") as file:  # noqa: PTH123  # ten times a second
                used_bytes = int(file.read().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0
        self._memory_peak_bytes = max(self._memory_peak_bytes, used_bytes)
        return used_bytes

    def _spawn(self) -> subprocess.Popen[bytes]:
        # The real binary: a shim script on the PATH (pyenv) would be another process and an extra 100 ms. Without
        # site (-S, -s) nothing of this environment is importable but what the two directories hold.
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        command = [python, "-P", "-S", "-s"]
        if sys.platform == "linux":
            command += ["-c", _LAUNCHER, str(os.getpid()), self._config.handler]
        else:
            command += ["-m", "awslambdaric", self._config.handler]
        with os.fdopen(open_private(self._config.log_file, append=True), "ab") as log:
            return subprocess.Popen(
                command,
                env=environment(self._config, self._api.address),
                cwd=self._config.task_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def environment(config: FunctionConfig, runtime_api: str) -> dict[str, str]:
    """Return the variables of a sandbox: Lambda's own, then the function's. Nothing comes from the user's shell."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "HOME": "/nonexistent",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": config.region,
        "AWS_DEFAULT_REGION": config.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
        "AWS_LAMBDA_FUNCTION_NAME": config.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{config.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        **config.env,
        "_HANDLER": config.handler,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "LAMBDA_TASK_ROOT": str(config.task_dir),
        "LAMBDA_RUNTIME_DIR": str(config.runtime_dir),
        "PYTHONPATH": f"{config.task_dir}{os.pathsep}{config.runtime_dir}",
    }


def _exit_text(status: int) -> str:
    if status >= 0:
        return f"Runtime exited with error: exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    return f"Runtime exited with error: signal: {name}"
