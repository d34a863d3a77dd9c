"""One run over the rows of files: rows become events, events go in chunks, and each row is accounted for."""

from collections.abc import Iterable
from dataclasses import dataclass

from producers.client.many import RefusedEvents
from producers.files.delivery import Delivery
from producers.files.job import SendJob
from producers.files.mapping import MissingValue
from producers.files.progress import Progress
from producers.files.rejects import NdjsonFile, encode_reject
from producers.files.retime import Retimer, Shift
from producers.files.rows import BadRow, BlankLine, Row
from producers.files.stop import Patience, Stopped
from producers.files.summary import Summary
from producers.files.tables import Table
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event

CHUNK_ROWS = 500
CHUNK_BYTES = 262_144  # of the file
CHUNK_MS = 50  # then the rows read so far go on; a user record lingers 100 ms more
_REASONS = 3  # rejected rows whose reasons are printed; the file has them all


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file was gone through: the number of the last row's first line, and where that row ends."""

    line: int = 0
    end_bytes: int = 0


class Sending:
    """One run over the rows of all files.

    Rows gather in a chunk, good and bad in their order, and go together: so ``done`` is a place above which every row is
    taken or set aside, and below which none is. A wish to end is seen between two lines, never within one.
    """

    def __init__(
        self,
        job: SendJob,
        *,
        patience: Patience,
        delivery: Delivery,
        rejects: NdjsonFile,
        progress: Progress,
    ) -> None:
        self.summary = Summary(job.source, job.rules.keys if job.rules else ())
        self.reasons: list[str] = []
        self.done = Place()
        self.interrupted = False
        self.retimer: Retimer = Shift()
        self._job = job
        self._patience = patience
        self.delivery = delivery
        self.rejects = rejects
        self._progress = progress
        self._table: Table | None = None
        self._read = Place()
        self._rows: list[Row | BadRow] = []
        self._events: list[Event | str] = []  # of each of the rows, or why there is none
        self._chunk_bytes = self._opened_ms = self._seen = 0
        delivery.tell_waiting = self._tell_progress

    @property
    def file(self) -> str:
        """The name of the file that is read."""
        return self._table.name if self._table else ""

    @property
    def keeps_place(self) -> bool:
        """Whether the next run goes on by itself where this one ends."""
        return self._job.position is not None

    def run(self, tables: Iterable[Table]) -> None:
        """Send each row or set it aside, until the end or until someone wants one."""
        try:
            for table in tables:
                self._table, self._read, self.done = table, Place(), Place()
                self.summary.begin(table)
                if not self._run(table):
                    break
                self._put()
        except Stopped:
            self.interrupted = True

    def _run(self, table: Table) -> bool:
        """Gather the rows of *table*; tell whether the next one is to be opened."""
        limit, first, stop = self._job.limit, table.first_line, self._patience.stop
        for row in table.rows:
            if row.line != self._read.line:  # a row of a wide file comes as several of one line
                stop.check()
                now_ms = self._patience.now_ms()
                if self._is_full(now_ms):
                    self._put()
                    self._opened_ms = now_ms
                if row.line >= first and not isinstance(row, BlankLine):
                    if self._seen == limit:
                        return False
                    self._seen += 1
            if row.line < first:
                if not isinstance(row, BlankLine):
                    self.summary.skipped[f"rows before line {first:,}"] += 1
            elif isinstance(row, BlankLine):
                self.summary.skipped[row.what] += 1
            else:
                self._gather(row, table)
            self._read = Place(row.line, row.end_bytes)
            if self._seen == limit and not getattr(row, "about", ""):  # what is of one row only may go on
                return False  # at once: the next row may be long in coming
        return True

    def idle(self) -> bool:
        """Send on what was read, since nothing comes just now; tell whether anything is still on its way."""
        self._put()
        self.delivery.poll()
        return self.delivery.is_holding

    def settle(self) -> None:
        """Send what was read, and keep the place in a file that is followed. Raises: ConfigError."""
        try:
            self._put()
        finally:
            self.delivery.flush()
        generation = self._table.generation if self._table else None
        if self._job.position is not None and generation is not None:
            done_bytes = max(self.done.end_bytes, generation.begin_bytes)
            self._job.position.save(generation.position(done_bytes))

    def _is_full(self, now_ms: int) -> bool:
        if not self._rows:  # the next row opens a chunk
            self._opened_ms = now_ms
            return False
        return (
            len(self._rows) >= CHUNK_ROWS
            or self._chunk_bytes >= CHUNK_BYTES
            or not 0 <= now_ms - self._opened_ms < CHUNK_MS
        )

    def _gather(self, row: Row | BadRow, table: Table) -> None:
        outcome: Event | str
        if isinstance(row, BadRow):
            outcome = row.reason
        else:
            try:
                event = table.mapping.event(row.values)
                time = self._job.source.event_time
                event[time] = self.retimer.stamp(event[time])
                outcome = event
            except MissingValue:
                table.notes["missing values"] += 1
                return
            except ValueError as error:
                outcome = str(error)
        self._rows.append(row)
        self._events.append(outcome)
        self._chunk_bytes += len(row.raw)

    def _put(self) -> None:
        """Put the chunk. Raises: ConfigError, a file cannot be written; then it says which lines are in none."""
        rows, outcomes = self._rows, self._events
        if rows:
            self._rows, self._events, self._chunk_bytes = [], [], 0
            self._judge(outcomes)
            self._put_good(rows, outcomes)
            self._set_aside(
                [(row, why) for row, why in zip(rows, outcomes, strict=True) if isinstance(why, str)]
            )
        self.done = self._read
        if self.delivery.broken is not None:
            raise self.delivery.broken
        self._tell_progress(None)

    def _judge(self, outcomes: list[Event | str]) -> None:
        """Refuse what the consumer would."""
        if self._job.rules is None:
            return
        now_ms = self._patience.now_ms()
        for at, outcome in enumerate(outcomes):
            if not isinstance(outcome, str):
                try:
                    self._job.rules.check(outcome, now_ms)
                except ValueError as error:
                    outcomes[at] = str(error)

    def _put_good(self, rows: list[Row | BadRow], outcomes: list[Event | str]) -> None:
        places = [at for at, outcome in enumerate(outcomes) if not isinstance(outcome, str)]
        events = [each for each in outcomes if not isinstance(each, str)]
        try:
            self.delivery.put_many(self._job.source, events)
        except RefusedEvents as refused:
            for each in refused.refused:
                outcomes[places[each.at]] = str(each.error)
        table = self._table
        for row, outcome in zip(rows, outcomes, strict=True):
            if table is not None and isinstance(row, Row) and not isinstance(outcome, str):
                self.summary.note(table, row, outcome)

    def _set_aside(self, rejected: list[tuple[Row | BadRow, str]]) -> None:
        for at, (row, reason) in enumerate(rejected):
            why = row.about + reason if isinstance(row, Row) else reason
            if len(self.reasons) < _REASONS:
                file = f"{self.file}, " if self.summary.files > 1 else ""
                self.reasons.append(f"{file}line {row.line}: {why}")
            try:
                self.rejects.write(encode_reject(file=self.file, line=row.line, reason=why, raw=row.raw))
            except ConfigError as error:
                lines = ", ".join(str(each.line) for each, _ in rejected[at:][:10])
                more = f" and {len(rejected) - at - 10} more" if len(rejected) - at > 10 else ""
                raise ConfigError(f"{error}; not set aside: line {lines}{more}") from error

    def _tell_progress(self, waiting_for: str | None) -> None:
        if self._table is not None:
            self._progress.update(
                done=self._table.done_bytes(),
                events=self.delivery.taken,
                quarantined=self.rejects.count,
                waiting_for=waiting_for,
            )
