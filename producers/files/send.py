"""Send a file: rows become events, events become user records; what cannot be sent is set aside, never dropped."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from producers.client.batcher import UnsendableRecord
from producers.client.encoder import encoder_of
from producers.clock import Clock
from producers.files.delivery import Delivery, NullSink, Sink
from producers.files.lines import Line
from producers.files.mapping import EventMapping
from producers.files.progress import Progress
from producers.files.rejects import NdjsonFile, encode_reject, read_undelivered
from producers.files.retime import Replay, Retimer, Shift
from producers.files.rows import AnyRow, BadRow, BlankLine, Row
from streamgage.definition.pipeline import Source
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event
from streamgage.records import UserRecord

EXIT_OK, EXIT_UNDELIVERED, EXIT_QUARANTINED, EXIT_INTERRUPTED = 0, 1, 3, 130

_UPDATE_EVERY = 200  # rows between two looks at the progress
_REASONS = 3  # rejected rows whose reasons are printed; the file has them all


@dataclass(frozen=True, slots=True)
class Table:
    """A file, opened and understood: its rows, which can be read once, and how they become events."""

    rows: Iterator[AnyRow]
    mapping: EventMapping


@dataclass(frozen=True, slots=True)
class SendJob:
    """What to send and how.

    ``name`` is what the file is called in messages and rejects. ``speed`` is of a replay, None without one. A dry run
    has no ``open_sink``.
    """

    name: str
    source: Source
    rejects: Path
    undelivered: Path
    limit: int | None
    shift_to_now: bool
    speed: float | None
    open_sink: Callable[[], AbstractContextManager[Sink]] | None
    warn: Callable[[str], None]


def send_table(
    job: SendJob, open_table: Callable[[], Table], *, clock: Clock, progress: Progress, out: TextIO
) -> int:
    """Send the rows of a file and say what became of them; return the exit code.

    *open_table* is called once, and once more before it where event times are to be shifted. Imported, quarantined and
    undelivered rows are all rows but blank lines.

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
            retimer = Shift.to_now(_last_event_ms(job, open_table()), clock)
        table = open_table()
        first = next(table.rows)  # an empty file is refused before a connection is made
        sink = stack.enter_context(job.open_sink()) if job.open_sink else NullSink()
        delivery = Delivery(sink, job.undelivered, warn=job.warn)
        stack.callback(delivery.file.close)
        if job.speed is not None:
            retimer = Replay(job.speed, clock=clock, flush=delivery.flush)
        sending = _Sending(job, table.mapping, retimer, delivery=delivery, rejects=rejects, progress=progress)
        try:
            sending.run(_with(first, table.rows))
        except KeyboardInterrupt:
            sending.interrupted = True
        finally:
            delivery.flush()  # after Ctrl-C and after an error too: what was put is to be sent
    return sending.report(out, elapsed_ms=max(clock.now_ms() - began_ms, 1))


class _Sending:
    """One run over the rows of a file."""

    def __init__(
        self,
        job: SendJob,
        mapping: EventMapping,
        retimer: Retimer,
        *,
        delivery: Delivery,
        rejects: NdjsonFile,
        progress: Progress,
    ) -> None:
        self._job = job
        self._mapping = mapping
        self._retimer = retimer
        self._delivery = delivery
        self._rejects = rejects
        self._progress = progress
        self._reasons: list[str] = []
        self._blank = 0
        self._line = 0
        self.interrupted = False

    def run(self, rows: Iterable[AnyRow]) -> None:
        """Send each row or set it aside."""
        limit, seen = self._job.limit, 0
        paced = self._job.speed is not None
        for row in rows:
            if isinstance(row, BlankLine):
                self._blank += 1
                continue
            if limit is not None and seen >= limit:
                break
            seen += 1
            if seen % _UPDATE_EVERY == 0 or paced:
                self._progress.update(
                    done=row.end_bytes, events=self._delivery.taken, quarantined=self._rejects.count
                )
            self._send(row)
            self._line = row.line

    def _send(self, row: Row | BadRow) -> None:
        if isinstance(row, BadRow):
            self._reject(row, row.reason)
            return
        try:
            self._delivery.send(self._job.source, _event(row, self._job.source, self._mapping, self._retimer))
        except ValueError as error:  # UnsendableRecord is one
            self._reject(row, str(error))

    def _reject(self, row: Row | BadRow, reason: str) -> None:
        if len(self._reasons) < _REASONS:
            self._reasons.append(f"line {row.line}: {reason}")
        self._rejects.write(encode_reject(file=self._job.name, line=row.line, reason=reason, raw=row.raw))

    def report(self, out: TextIO, *, elapsed_ms: int) -> int:
        """Print what became of the rows, and return the exit code."""
        delivery, quarantined = self._delivery, self._rejects.count
        verb = "imported" if self._job.open_sink else "dry run: would import"
        text = f"{verb} {delivery.delivered:,}, quarantined {quarantined:,}"
        text += f" (see {self._rejects.path})" if quarantined else ""
        rate = delivery.delivered * 1000 / elapsed_ms
        print(f"{text}, in {elapsed_ms / 1000:.1f} s ({rate:,.0f} events/s)", file=out)
        for reason in self._reasons:
            print(f"  {reason}", file=out)
        if quarantined > len(self._reasons):
            print(f"  … and {quarantined - len(self._reasons):,} more", file=out)
        if self._blank:
            print(f"blank lines skipped: {self._blank:,}", file=out)
        if self._mapping.ignored:
            print(f"columns ignored: {', '.join(self._mapping.ignored)}", file=out)
        if self._mapping.unseen:
            print(f"mapped columns that no row had: {', '.join(sorted(self._mapping.unseen))}", file=out)
        if self.interrupted:
            print(f"interrupted after line {self._line:,}: the rows below it were not sent", file=out)
        return finish(delivery, out) or (
            EXIT_INTERRUPTED if self.interrupted else EXIT_QUARANTINED if quarantined else EXIT_OK
        )


def send_undelivered(
    lines: Iterable[Line],
    *,
    name: str,
    sink: Sink,
    rejects: Path,
    undelivered: Path,
    out: TextIO,
    warn: Callable[[str], None],
) -> int:
    """Send the user records of an undelivered file; lines that hold none are set aside. Return the exit code."""
    delivery, bad = Delivery(sink, undelivered, warn=warn), NdjsonFile(rejects)
    with ExitStack() as stack:
        stack.callback(bad.close)
        stack.callback(delivery.file.close)
        try:
            for line, record in read_undelivered(lines):
                reason = record if isinstance(record, str) else _put(delivery, record)
                if reason is not None:
                    bad.write(encode_reject(file=name, line=line.number, reason=reason, raw=line.raw))
        finally:
            delivery.flush()
    if not delivery.taken and not bad.count:
        raise ConfigError(f"{name} is empty")
    where = f" (see {bad.path})" if bad.count else ""
    print(f"sent {delivery.delivered:,}, quarantined {bad.count:,}{where}", file=out)
    return finish(delivery, out) or (EXIT_QUARANTINED if bad.count else EXIT_OK)


def finish(delivery: Delivery, out: TextIO) -> int:
    """Say what was not delivered, if anything, and return the exit code for that."""
    if delivery.failure is None:
        return EXIT_OK
    print(
        f"not delivered: {delivery.undelivered:,}, kept in {delivery.file.path} ({delivery.failure})\n"
        f"send them when the stream is back: streamgage send undelivered {delivery.file.path}",
        file=out,
    )
    return EXIT_UNDELIVERED


def _put(delivery: Delivery, record: UserRecord) -> str | None:
    try:
        delivery.put(record)
    except UnsendableRecord as error:
        return str(error)
    return None


def _event(row: Row, source: Source, mapping: EventMapping, retimer: Retimer) -> Event:
    event = mapping.event(row.values)
    event[source.event_time] = retimer.stamp(event[source.event_time])
    return event


def _last_event_ms(job: SendJob, table: Table) -> int:
    """Return the latest event time among the rows that will be sent."""
    last_ms: int | None = None
    keep = Shift()
    counted = (row for row in table.rows if not isinstance(row, BlankLine))
    for row in islice(counted, job.limit):
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


def _with(first: AnyRow, rest: Iterator[AnyRow]) -> Iterator[AnyRow]:
    yield first
    yield from rest
