"""A process that runs commands as children of its own, forked with everything imported: 30 ms each instead of 700.

It reads a request a line from its standard input, ``{"argv": […], "folder": …}``, prints ``pid``
with the child's, and after another line ``status`` with what it ended with. What the child prints goes to ``out`` and ``err`` in its folder. A request
may say more: ``feed``, a file that is written in bursts into the pipe that is the standard input; ``environ``; ``closed``,
the descriptors that are; ``out`` or ``err``, another file for what it prints; ``unreadable``, true where nobody reads the output.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import boto3

from infra.commands.main import main

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve() -> None:
    """Run one command after the other until there are no more."""
    boto3.DEFAULT_SESSION = boto3.session.Session()
    boto3.client(
        "kinesis", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9"
    )  # its models are read once
    for number in _ENDING:
        signal.signal(number, signal.SIG_DFL)  # a child that has not begun yet is ended without a word
    while line := sys.stdin.readline():
        request = json.loads(line)
        feed = _feeder(Path(request["feed"])) if request.get("feed") else None
        child = os.fork()
        if not child:
            _run(request, feed[0] if feed else None)
        if feed:
            os.close(feed[0])
        print("pid", child, flush=True)
        sys.stdin.readline()  # until then its number is not given to another
        print("status", os.waitpid(child, 0)[1], flush=True)
        if feed:
            os.kill(feed[1], signal.SIGKILL)
            os.waitpid(feed[1], 0)


def _run(request: dict[str, Any], stdin: int | None) -> None:
    folder = Path(request["folder"])
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY) if stdin is None else stdin, 0)
    for name, descriptor in (("out", 1), ("err", 2)):
        os.dup2(
            os.open(folder / request.get(name, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            descriptor,
        )
    if request.get("unreadable"):
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
    sys.stdin = os.fdopen(os.dup(0), encoding="utf-8")
    for descriptor in request.get("closed", ()):  # as Python finds them when it starts
        os.close(descriptor)
        setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)
    os.environ.update(request.get("environ", {}))
    sys.argv = ["streamgage", *request["argv"]]
    code = 70
    try:
        code = main()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:  # noqa: BLE001 - what Python does of one that nobody caught
        (folder / "trace").write_text(
            traceback.format_exc()
        )  # where its standard error may be full, or closed
    finally:
        try:
            sys.stdout.flush()
        except (OSError, AttributeError):
            code = 120  # as Python's own end has it
        os._exit(code)


def _feeder(path: Path) -> tuple[int, int]:
    """Return a pipe's end to read, and the child that writes *path* into it, a few lines at a time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return reading, child
    os.close(reading)
    try:
        data, dice, at = path.read_bytes(), random.Random(path.name), 0
        while at < len(data):
            end = at + dice.randint(1, 20_000)
            os.write(writing, data[at:end])
            at = end
            time.sleep(dice.random() * 0.03)
        if dice.random() < 0.5:
            time.sleep(60)  # it falls silent, and stays open
    except BrokenPipeError:
        pass
    os._exit(0)


if __name__ == "__main__":
    serve()
