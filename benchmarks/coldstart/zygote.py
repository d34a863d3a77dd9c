"""Initialises a function, and forks it when told to: what a snapshot (SnapStart) brings back, without the snapshot.

A script that runs in a bundle, with nothing of ours but the handler: ``python zygote.py HANDLER``. It says "ready"; a line
on its input has it fork the child that works for the Runtime API; the end of the input has it end the child.
"""

import importlib
import os
import signal
import sys


def main(handler: str) -> None:
    """Initialise, wait, fork, wait, end."""
    bootstrap = importlib.import_module("awslambdaric.bootstrap")
    bootstrap._get_handler(handler)  # noqa: SLF001 - what bootstrap.run begins with: it imports the module
    print("ready", flush=True)
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        bootstrap.run(handler, bootstrap.LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"]))
    sys.stdin.read()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
