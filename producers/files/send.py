"""Send files: rows become events, events become user records; what cannot be sent is set aside, never dropped."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from typing import TextIO

from producers.client.encoder import encoder_of
from producers.client.undelivered import UndeliveredFile
from producers.files.delivery import Delivery, NullSink
from producers.files.job import SendJob
from producers.files.progress import Progress
from producers.files.rejects import NdjsonFile
from producers.files.report import (
    report,
)
from producers.files.retime import Replay, Retimer, Shift
from producers.files.rows import BadRow, BlankLine
from producers.files.sending import Sending
from producers.files.stop import Patience
from producers.files.tables import Table
from streamgage.errors import ConfigError

Noting = Callable[[], AbstractContextManager[None]]
"""Within it a signal is noted in the run's Stop; outside of it, it ends the process: nothing is held then."""


def send_tables(
    job: SendJob,
    tables: Iterable[Table],
    *,
    patience: Patience,
    noting: Noting,
    progress: Progress,
    out: TextIO,
) -> int:
    """Send the rows of files and say what became of them; return the exit code.

    *tables* are gone through once, and once more before it where event times are to be shifted. Imported, quarantined and
    undelivered rows are all rows but blank lines, comments, and rows whose value is marked as missing.

    Raises:
        ConfigError: before anything was sent. Later, what is wrong is said with what became of the rows.
    """
    began_ms = patience.now_ms()
    retimer: Retimer = Shift()
    rejects = NdjsonFile(job.rejects)
    with ExitStack() as stack:
        stack.callback(progress.close)
        stack.callback(rejects.close)
        if job.shift_to_now:
            retimer = Shift.to_now(_last_event_ms(job, tables), patience)
        opened = iter(tables) if job.follow else _begun(iter(tables))
        sink = stack.enter_context(job.open_sink()) if job.open_sink else NullSink()
        kept = UndeliveredFile(job.undelivered, patience.now_ms)
        delivery = Delivery(sink, kept, warn=job.warn, patience=patience)
        stack.callback(delivery.file.close)
        sending = Sending(job, patience=patience, delivery=delivery, rejects=rejects, progress=progress)
        if job.speed is not None:
            retimer = Replay(job.speed, clock=patience, flush=sending.settle)
        sending.retimer = retimer
        with noting():
            problem = _go(sending, opened, job, patience)
            if problem is not None and not delivery.taken and not rejects.count:
                raise problem
            progress.close()
            return report(
                sending,
                problem,
                verb="imported" if job.open_sink else "dry run: would import",
                exit_code=patience.stop.exit_code,
                elapsed_ms=max(patience.now_ms() - began_ms, 1),
                out=out,
            )


def _go(sending: Sending, opened: Iterator[Table], job: SendJob, patience: Patience) -> ConfigError | None:
    """Go through the rows, and have all that was taken delivered or kept; return what stopped it before the end."""
    patience.idle = sending.idle
    if job.follow is not None:
        job.follow.idle = sending.settle
    problem: ConfigError | None = None
    try:
        sending.run(opened)
    except ConfigError as error:
        problem = error
    except BaseException:  # a bug; what was put is to be sent all the same
        sending.settle()
        raise
    try:
        sending.settle()
    except ConfigError as error:
        problem = problem or error
    return problem


def _begun(tables: Iterator[Table]) -> Iterator[Table]:
    """Return *tables* with the first row read: an empty file is refused before a connection is made."""
    first = next(tables, None)
    if first is None:
        raise ConfigError("all files are empty")
    row = next(first.rows, None)
    if row is not None:
        first.rows = chain((row,), first.rows)
    return chain((first,), tables)


def _last_event_ms(job: SendJob, tables: Iterable[Table]) -> int:
    """Return the latest event time among the rows that will be sent."""
    last_ms: int | None = None
    seen = 0
    for table in tables:
        line = 0
        for row in table.rows:
            if isinstance(row, BlankLine) or row.line < table.first_line:
                continue
            seen += row.line != line
            line = row.line
            if job.limit is not None and seen > job.limit:
                return last_ms or 0
            if isinstance(row, BadRow):
                continue
            try:
                event = table.mapping.event(row.values)
                encoder_of(job.source).user_record(event)
            except ValueError:
                continue
            event_ms: int = event[job.source.event_time]
            if last_ms is None or event_ms > last_ms:
                last_ms = event_ms
    return last_ms or 0
