"""What a sender says at its end: what became of the rows, and how to go on."""

import sys
from collections.abc import Sequence
from typing import TextIO

from producers.files.delivery import Delivery
from producers.files.sending import Sending
from streamgage.errors import ConfigError
from streamgage.visible import sentence, visible

EXIT_OK, EXIT_UNDELIVERED, EXIT_QUARANTINED = 0, 1, 3


def report(
    sending: Sending,
    problem: ConfigError | None,
    *,
    verb: str,
    exit_code: int,
    elapsed_ms: int,
    out: TextIO,
) -> int:
    """Say what became of the rows, and return the exit code.

    *problem* is what stopped them before the end, *exit_code* of a signal that did, 0 without one.
    """
    delivery, rejects = sending.delivery, sending.rejects
    text = f"{verb} {delivery.delivered:,}, quarantined {rejects.count:,}"
    text += f" (see {visible(str(rejects.path))})" if rejects.count else ""
    rate = delivery.delivered * 1000 / elapsed_ms
    told = [f"{text}, in {elapsed_ms / 1000:.1f} s ({rate:,.0f} events/s)"]
    told += [f"  {visible(reason)}" for reason in sending.reasons]
    if rejects.count > len(sending.reasons):
        told.append(f"  … and {rejects.count - len(sending.reasons):,} more")
    told += map(visible, sending.summary.lines())
    if problem is not None:
        told += [f"stopped: {each}" for each in problem.problems]
    if sending.interrupted or problem is not None:
        file = visible(sending.file) if sending.summary.files > 1 else ""
        told.append(interrupted(sending.done.line, "rows", file, is_kept=sending.keeps_place))
    elif exit_code:
        told.append("interrupted, when every row was read already")
    told += undelivered_lines(delivery)
    tell(out, told)
    if delivery.failure is not None or problem is not None:
        return EXIT_UNDELIVERED
    return exit_code or (EXIT_QUARANTINED if rejects.count else EXIT_OK)


def interrupted(line: int, what: str, file: str = "", *, is_kept: bool = False) -> str:
    """Return where a run ended before its time, and how to go on from there."""
    if not line:
        return f"interrupted before the first of the {what}{file and f' of {file}'}: none of them was sent"
    others = f", {file} and the files behind it," if file else ""
    more = "" if is_kept else f"{others} with --from-line {line + 1}"
    return (
        f"interrupted after line {line:,}{file and f' of {file}'}: the {what} below it were not sent; to go on: the same "
        f"command{more}"
    )


def undelivered_lines(delivery: Delivery) -> list[str]:
    """Return what is to be said of what was not delivered, if anything."""
    if delivery.failure is None:
        return []
    kept, path = delivery.file.events, visible(str(delivery.file.path))
    told = []
    if delivery.lost:
        told.append(f"LOST, neither delivered nor kept: {delivery.lost:,} ({delivery.broken})")
    if kept:
        told += [
            f"not delivered: {kept:,}, kept in {path} ({sentence(str(delivery.failure))})",
            f"send them when the stream is back: streamgage send undelivered {path}",
        ]
    return told


def tell(out: TextIO, lines: Sequence[str]) -> None:
    """Print *lines*; where nobody reads *out* any more, be quiet, and where it cannot be written, say them elsewhere."""
    try:
        print("\n".join(lines), file=out, flush=True)
    except BrokenPipeError:
        pass
    except OSError:
        print("\n".join(lines), file=sys.stderr, flush=True)
