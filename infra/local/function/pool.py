"""A function's sandboxes: started when needed, reused while they live, replaced when they do not."""

import json
import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from infra.local.files import open_private
from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.function.runtime_api import Reply, RuntimeGone
from infra.local.function.sandbox import FunctionConfig, Sandbox

VERSION_VARIABLE = "AWS_LAMBDA_FUNCTION_VERSION"
LATEST = "$LATEST"


@dataclass(frozen=True, slots=True)
class Invoked:
    """What an invocation came to, and how long it took. ``init_ms`` is None in a sandbox that was warm."""

    outcome: Outcome
    duration_ms: float
    init_ms: float | None


class FunctionPool:
    """Up to ``max_concurrency`` sandboxes of one function; a caller beyond that waits for one to be free.

    ``update`` shifts the function to another version, as an alias of Lambda's is shifted: what begins from then on runs
    in the new version, what is under way ends in the old one. Thread-safe. After ``close`` no child is left.
    """

    def __init__(self, config: FunctionConfig) -> None:
        self._config = config
        self._idle: list[Sandbox] = []
        self._all: dict[Sandbox, FunctionConfig] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._places = threading.BoundedSemaphore(config.max_concurrency)
        # Children die with the thread that started them: one thread starts all of them, and lives until close().
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="sandbox-spawner")
        config.log_file.parent.mkdir(parents=True, exist_ok=True)
        self._log = open_private(config.log_file, append=True)

    def pids(self) -> list[int]:
        """Return the process ids of the sandboxes, idle or busy."""
        with self._lock:
            return sorted(sandbox.pid for sandbox in self._all)

    @property
    def version(self) -> str:
        """The version that the next invocation runs."""
        return version_of(self._config)

    def draining(self) -> list[str]:
        """Return the versions before this one that still have a sandbox."""
        with self._lock:
            return sorted({version_of(config) for config in self._all.values() if config != self._config})

    def update(self, config: FunctionConfig) -> str | None:
        """Shift the function to *config*; no invocation is lost, cut short or run twice by it.

        A sandbox of the new version is started first, and takes the first invocation: a version that cannot be
        initialised is refused, as publishing it with SnapStart fails on Lambda. While it starts there may be one
        sandbox more than ``max_concurrency``. One caller at a time.

        Returns:
            None when the shift is made; why it is refused otherwise, and then nothing has changed.
        """
        if config == self._config:
            return None
        kept = ("name", "max_concurrency", "log_file")
        changed = [name for name in kept if getattr(config, name) != getattr(self._config, name)]
        if changed:
            return f"an update does not change {', '.join(changed)}"
        try:
            sandbox = self._spawner.submit(self._start, config).result()
        except (OSError, RuntimeError) as error:
            return f"cannot start a sandbox: {error}"
        try:
            reply = sandbox.wait_ready()
        except RuntimeGone as error:
            self._end(sandbox)
            return str(error)
        if reply is not None:
            self._end(sandbox)
            return _message_of(reply)
        with self._lock:
            before, self._idle = self._idle, []
            self._config = config
            closed = self._closed
            if not closed:
                self._idle.append(sandbox)
        for each in [*before, sandbox] if closed else before:
            self._end(each)
        return "the function's pool is closed" if closed else None

    def invoke(self, request_id: str, payload: bytes) -> Invoked:
        """Run the function once and return what came of it; never raises for what the function does.

        A sandbox that died while idle is replaced unnoticed; one that dies with the invocation fails it.
        """
        with self._places:
            sandbox, failure = self._ready_sandbox()
            if sandbox is None:
                return Invoked(failure or NotInvoked("no sandbox"), 0.0, None)
            return self._invoke_in(sandbox, request_id, payload)

    def close(self) -> None:
        """Kill every sandbox, busy or not; what is under way in them fails. Later invocations are not carried out."""
        with self._lock:
            closed, self._closed = self._closed, True
            sandboxes, idle, self._idle = list(self._all), self._idle, []
        if closed:
            return
        for sandbox in sandboxes:
            sandbox.kill()
        for _ in range(self._config.max_concurrency):  # whoever was inside notices, and leaves
            self._places.acquire()
        for sandbox in idle:
            self._end(sandbox)
        self._spawner.shutdown()
        os.close(self._log)
        for _ in range(self._config.max_concurrency):
            self._places.release()

    def _ready_sandbox(self) -> tuple[Sandbox | None, Outcome | None]:
        while True:
            with self._lock:
                if self._closed:
                    return None, NotInvoked("the function's pool is closed")
                sandbox = self._idle.pop() if self._idle else None
            warm = sandbox is not None
            if sandbox is None:
                try:
                    sandbox = self._spawner.submit(self._start, self._config).result()
                except (
                    OSError,
                    RuntimeError,
                ) as error:  # no memory, no process to be had, or closed meanwhile
                    return None, NotInvoked(f"cannot start a sandbox: {error}")
            try:
                reply = sandbox.wait_ready()
            except RuntimeGone as error:
                self._end(sandbox)
                if warm:
                    continue  # it died while nothing was under way
                self._write(f"INIT_REPORT Status: error\tError: {error}\n")
                return None, Failed(str(error))
            if reply is None:
                return sandbox, None
            self._end(sandbox)
            return None, Failed(_message_of(reply))

    def _start(self, config: FunctionConfig) -> Sandbox:
        sandbox = Sandbox(config)
        with self._lock:
            closed = self._closed
            if not closed:
                self._all[sandbox] = config
        if closed:
            sandbox.close()
            raise RuntimeError("the function's pool is closed")
        return sandbox

    def _invoke_in(self, sandbox: Sandbox, request_id: str, payload: bytes) -> Invoked:
        init_ms = sandbox.cold_start_ms()
        config = self._all[sandbox]
        self._write(f"START RequestId: {request_id} Version: {version_of(config)}\n")
        started = time.perf_counter()
        status = ""
        try:
            reply = sandbox.invoke(request_id, payload)
        except RuntimeGone as error:
            duration_ms = (time.perf_counter() - started) * 1000
            peak_bytes = sandbox.memory_peak_bytes()
            self._end(sandbox)
            outcome: Outcome = Failed(f"RequestId: {request_id} Error: {error}")
            status = error.status
            self._write(f"{_stamp()} {request_id} {error}\n\n")
        else:
            duration_ms = (time.perf_counter() - started) * 1000
            peak_bytes = sandbox.memory_peak_bytes()
            outcome = Answered(reply.body) if reply.kind == "response" else Failed(_message_of(reply))
            self._keep(sandbox)
        self._report(
            config, request_id, duration_ms=duration_ms, init_ms=init_ms, peak_bytes=peak_bytes, status=status
        )
        return Invoked(outcome, duration_ms, init_ms)

    def _report(
        self,
        config: FunctionConfig,
        request_id: str,
        *,
        duration_ms: float,
        init_ms: float | None,
        peak_bytes: int,
        status: str,
    ) -> None:
        billed_ms = math.ceil(duration_ms + (init_ms or 0))  # INIT is billed since August 2025
        line = (
            f"END RequestId: {request_id}\nREPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {billed_ms} ms\tMemory Size: {config.memory_mb} MB\t"
            f"Max Memory Used: {math.ceil(peak_bytes / 1024 / 1024)} MB\t"
        )
        line += f"Init Duration: {init_ms:.2f} ms\t" if init_ms is not None else ""
        self._write(line + (f"Status: {status}\t" if status else "") + "\n")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a full disk: what is lost is a line
            os.write(self._log, text.encode())

    def _keep(self, sandbox: Sandbox) -> None:
        with self._lock:
            ends = self._closed or self._all[sandbox] != self._config
            if not ends:
                self._idle.append(sandbox)
        if ends:
            self._end(sandbox)

    def _end(self, sandbox: Sandbox) -> None:
        with self._lock:
            self._all.pop(sandbox, None)
        sandbox.close()


def version_of(config: FunctionConfig) -> str:
    """Return the version as the function itself sees it in its environment."""
    return config.env.get(VERSION_VARIABLE, LATEST)


def _message_of(reply: Reply) -> str:
    try:
        error = json.loads(reply.body)
        return f"{error['errorType']}: {error['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        return reply.body[:1000].decode("utf-8", "replace")


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
