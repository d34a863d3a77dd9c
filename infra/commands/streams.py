"""The standard streams of a process: closed, full, or of an encoding that lacks a character, they never cost a traceback."""

import io
import os
import sys
import threading


def mend_streams() -> None:
    """Give what was closed (`>&-`) a stream to nowhere, and let what cannot be encoded be escaped."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - it stays open
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - the same
        elif isinstance(stream, io.TextIOWrapper) and stream is sys.stderr:  # data stays exact, or is refused
            stream.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """Say *text* on standard error, if that can be."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _to_nowhere(sys.stderr)


def flush_stdout() -> bool:
    """Write what was printed; tell whether all of it was, or its reader went away, which is quiet."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _to_nowhere(sys.stdout)
    except OSError as error:
        _to_nowhere(sys.stdout)
        complain(f"streamgage: standard output cannot be written ({error.strerror})")
        return False
    return True


def leave(code: int) -> None:
    """Leave the process for good after a signal, where threads are still sending: nobody waits for them."""
    others = [
        each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()
    ]
    if code >= 128 and others:
        os._exit(code)


def _to_nowhere(stream: object) -> None:
    """Let *stream* write to nowhere, also what it still holds when the process ends."""
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]  # a stream of a test may have none
    except (OSError, AttributeError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
