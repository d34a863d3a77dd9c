"""Send files: rows become events, events become user records; what cannot be sent is set aside, never dropped."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from producers.client.encoder import encoder_of
from producers.client.undelivered import UndeliveredFile
from producers.clock import Clock
from producers.files.delivery import Delivery, NullSink, Sink
from producers.files.follow import Follow, PositionFile
from producers.files.mapping import EventMapping, MissingValue
from producers.files.progress import Progress
from producers.files.rejects import NdjsonFile, encode_reject
from producers.files.retime import Replay, Retimer, Shift
from producers.files.rows import BadRow, BlankLine, Row
from producers.files.summary import Summary
from producers.files.tables import Table
from producers.files.verdict import ConsumerRules
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event
from streamgage.visible import sentence, visible

EXIT_OK, EXIT_UNDELIVERED, EXIT_QUARANTINED, EXIT_INTERRUPTED = 0, 1, 3, 130

_UPDATE_EVERY = 200  # rows between two looks at the progress
_REASONS = 3  # rejected rows whose reasons are printed; the file has them all


@dataclass(frozen=True, slots=True)
class SendJob:
    """What to send and how.

    ``speed`` is of a replay, None without one. A dry run has no ``open_sink``. ``rules`` are the consumer's; ``follow`` and
    ``position`` are set where a file is followed.
    """

    source: Source
    rejects: Path
    undelivered: Path
    limit: int | None
    shift_to_now: bool
    speed: float | None
    open_sink: Callable[[], AbstractContextManager[Sink]] | None
    warn: Callable[[str], None]
    rules: ConsumerRules | None = None
    follow: Follow | None = None
    position: PositionFile | None = None


def send_tables(
    job: SendJob, tables: Iterable[Table], *, clock: Clock, progress: Progress, out: TextIO
) -> int:
    """Send the rows of files and say what became of them; return the exit code.

    *tables* are gone through once, and once more before it where event times are to be shifted. Imported, quarantined and
    undelivered rows are all rows but blank lines, comments, and rows whose value is marked as missing.

    Raises:
        ConfigError: before anything was sent, unless the rejects cannot be written.
    """
    began_ms = clock.now_ms()
    retimer: Retimer = Shift()
    rejects = NdjsonFile(job.rejects)
    with ExitStack() as stack:
        stack.callback(progress.close)
        stack.callback(rejects.close)
        if job.shift_to_now:
            retimer = Shift.to_now(_last_event_ms(job, tables), clock)
        opened = iter(tables) if job.follow else _begun(iter(tables))
        sink = stack.enter_context(job.open_sink()) if job.open_sink else NullSink()
        delivery = Delivery(sink, UndeliveredFile(job.undelivered, clock.now_ms), warn=job.warn)
        stack.callback(delivery.file.close)
        if job.speed is not None:
            retimer = Replay(job.speed, clock=clock, flush=delivery.flush)
        sending = _Sending(job, retimer, clock=clock, delivery=delivery, rejects=rejects, progress=progress)
        if job.follow is not None:
            job.follow.idle = sending.settle
        try:
            sending.run(opened)
        except KeyboardInterrupt:
            sending.interrupted = True
        finally:
            sending.settle()  # after Ctrl-C and after an error too: what was put is to be sent
    return sending.report(out, elapsed_ms=max(clock.now_ms() - began_ms, 1))


def _begun(tables: Iterator[Table]) -> Iterator[Table]:
    """Return *tables* with the first row read: an empty file is refused before a connection is made."""
    first = next(tables, None)
    if first is None:
        raise ConfigError("all files are empty")
    row = next(first.rows, None)
    if row is not None:
        first.rows = chain((row,), first.rows)
    return chain((first,), tables)


class _Sending:
    """One run over the rows of all files."""

    def __init__(
        self,
        job: SendJob,
        retimer: Retimer,
        *,
        clock: Clock,
        delivery: Delivery,
        rejects: NdjsonFile,
        progress: Progress,
    ) -> None:
        self._job = job
        self._retimer = retimer
        self._clock = clock
        self._delivery = delivery
        self._rejects = rejects
        self._progress = progress
        self._reasons: list[str] = []
        self._summary = Summary(job.source)
        self._table: Table | None = None
        self._line = self._end_bytes = self._seen = 0
        self.interrupted = False

    def run(self, tables: Iterable[Table]) -> None:
        """Send each row or set it aside."""
        for table in tables:
            self._table, self._line, self._end_bytes = table, 0, 0
            self._summary.begin(table)
            if not self._run(table):
                break

    def _run(self, table: Table) -> bool:
        """Send the rows of *table*; tell whether the next one is to be opened."""
        limit = self._job.limit
        paced = self._job.speed is not None
        for row in table.rows:
            if isinstance(row, BlankLine):
                self._summary.skipped[row.what] += 1
                self._end_bytes = row.end_bytes
                continue
            if limit is not None and self._seen >= limit:
                return False
            self._seen += 1
            if self._seen % _UPDATE_EVERY == 0 or paced:
                self._progress.update(
                    done=table.done_bytes(), events=self._delivery.taken, quarantined=self._rejects.count
                )
            self._send(row, table)
            self._line, self._end_bytes = row.line, row.end_bytes
        return True

    def settle(self) -> None:
        """Send what was put, and keep the place in a file that is followed."""
        self._delivery.flush()
        generation = self._table.generation if self._table else None
        if self._job.position is not None and generation is not None:
            done_bytes = max(self._end_bytes, generation.begin_bytes)
            self._job.position.save(generation.position(done_bytes))

    def _send(self, row: Row | BadRow, table: Table) -> None:
        if isinstance(row, BadRow):
            self._reject(row, row.reason)
            return
        try:
            event = _event(row, self._job.source, table.mapping, self._retimer)
            if self._job.rules is not None:
                self._job.rules.check(event, self._clock.now_ms())
            self._delivery.send(self._job.source, event)
        except MissingValue:
            table.notes["missing values"] += 1
        except ValueError as error:  # UnsendableRecord is one
            self._reject(row, row.about + str(error))
        else:
            self._summary.note(table, row, event)

    def _reject(self, row: Row | BadRow, reason: str) -> None:
        if len(self._reasons) < _REASONS:
            file = f"{self._file}, " if self._summary.files > 1 else ""
            self._reasons.append(visible(f"{file}line {row.line}: {reason}"))
        self._rejects.write(encode_reject(file=self._file, line=row.line, reason=reason, raw=row.raw))

    @property
    def _file(self) -> str:
        return self._table.name if self._table else ""

    def report(self, out: TextIO, *, elapsed_ms: int) -> int:
        """Print what became of the rows, and return the exit code."""
        delivery, quarantined = self._delivery, self._rejects.count
        verb = "imported" if self._job.open_sink else "dry run: would import"
        text = f"{verb} {delivery.delivered:,}, quarantined {quarantined:,}"
        text += f" (see {visible(str(self._rejects.path))})" if quarantined else ""
        rate = delivery.delivered * 1000 / elapsed_ms
        print(f"{text}, in {elapsed_ms / 1000:.1f} s ({rate:,.0f} events/s)", file=out)
        for reason in self._reasons:
            print(f"  {reason}", file=out)
        if quarantined > len(self._reasons):
            print(f"  … and {quarantined - len(self._reasons):,} more", file=out)
        for line in self._summary.lines():
            print(visible(line), file=out)
        if self.interrupted:
            where = f" of {visible(self._file)}" if self._summary.files > 1 else ""
            print(f"interrupted after line {self._line:,}{where}: the rows below it were not sent", file=out)
        return finish(delivery, out) or (
            EXIT_INTERRUPTED if self.interrupted else EXIT_QUARANTINED if quarantined else EXIT_OK
        )


def finish(delivery: Delivery, out: TextIO) -> int:
    """Say what was not delivered, if anything, and return the exit code for that."""
    if delivery.failure is None:
        return EXIT_OK
    path = visible(str(delivery.file.path))
    print(
        f"not delivered: {delivery.undelivered:,}, kept in {path} ({sentence(str(delivery.failure))})\n"
        f"send them when the stream is back: streamgage send undelivered {path}",
        file=out,
    )
    return EXIT_UNDELIVERED


def _event(row: Row, source: Source, mapping: EventMapping, retimer: Retimer) -> Event:
    event = mapping.event(row.values)
    event[source.event_time] = retimer.stamp(event[source.event_time])
    return event


def _last_event_ms(job: SendJob, tables: Iterable[Table]) -> int:
    """Return the latest event time among the rows that will be sent."""
    last_ms: int | None = None
    keep = Shift()
    counted = ((table, row) for table in tables for row in table.rows if not isinstance(row, BlankLine))
    for table, row in islice(counted, job.limit):
        if isinstance(row, BadRow):
            continue
        try:
            event_ms: int = table.mapping.event(row.values)[job.source.event_time]
            encoder_of(job.source).user_record(_event(row, job.source, table.mapping, keep))
        except ValueError:
            continue
        if last_ms is None or event_ms > last_ms:
            last_ms = event_ms
    return 0 if last_ms is None else last_ms
