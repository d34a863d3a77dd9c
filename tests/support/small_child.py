"""A small child of a supervisor: ``python -m support.small_child KIND MARK``; MARK is written once it is ready."""

import signal
import sys
import time
from pathlib import Path


def main(kind: str, mark: str) -> None:
    if kind == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind == "dying":
        print("my last words", flush=True)
        sys.exit(7)
    Path(mark).touch()
    while True:
        time.sleep(60)  # until it is ended


if __name__ == "__main__":
    main(*sys.argv[1:])
