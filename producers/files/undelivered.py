"""Send what an earlier command could not: sealed records, as often as it takes; each event of them counts once.

Nothing leaves the file before it is stored: at the end the file is removed, or replaced by what is left. A crash before
that leaves it as it was, and sending all of it again changes nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from producers.client.entry import UnsendableRecord
from producers.client.undelivered import Damaged, Kept, UndeliveredFile, UndeliveredReader, sync_folder
from producers.files.delivery import Delivery, Sink
from producers.files.rejects import NdjsonFile, encode_reject
from producers.files.report import EXIT_OK, EXIT_QUARANTINED, EXIT_UNDELIVERED, tell, undelivered_lines
from producers.files.send import Noting
from producers.files.stop import Patience
from streamgage.errors import ConfigError
from streamgage.formats.mark import KEPT_MS
from streamgage.records import SealedRecord, UserRecord

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class ResendJob:
    """Which undelivered file to send. ``stream`` can be read twice; ``path`` is its own, None where it is no file.

    What cannot be delivered this time goes to ``rest``, which then replaces the file. *force* sends what is so old that
    nobody knows any more whether it was stored.
    """

    stream: BinaryIO
    name: str
    path: Path | None
    rest: Path
    rejects: Path
    force: bool
    warn: Callable[[str], None]


def send_undelivered(
    job: ResendJob, sink: Callable[[], Sink], *, patience: Patience, noting: Noting, out: TextIO
) -> int:
    """Send what is in the file; return the exit code. Lines that hold no record are set aside, and named.

    Where someone wants an end, what is not sent yet is left in the file.

    Raises:
        ConfigError: before *sink* was asked for and anything was sent, unless what is left cannot be written.
    """
    _check(job, _survey(job), patience.now_ms())
    bad = NdjsonFile(job.rejects)
    rest = UndeliveredFile(job.rest, patience.now_ms, replaces=job.path is not None)
    delivery = Delivery(sink(), rest, warn=job.warn, patience=patience)
    patience.idle = delivery.idle
    with ExitStack() as stack, noting():
        stack.callback(bad.close)
        stack.callback(rest.close)
        try:
            reader = UndeliveredReader(job.stream, job.name)
            for kept in reader:
                if patience.stop.asked and delivery.failure is None:
                    delivery.flush()
                    delivery.divert("interrupted")
                if delivery.broken is not None:
                    break
                damaged = _put(delivery, kept, reader.line)
                if damaged is not None:
                    line, reason = damaged.line, damaged.reason
                    bad.write(encode_reject(file=job.name, line=line, reason=reason, raw=damaged.raw))
                    job.warn(f"{job.name}, line {line}: {reason}")
        finally:
            delivery.flush()
        rest.close()
        told = f"; {job.name} is left as it was" if delivery.broken else _settle(job, rest, bad)
        where = f" (see {bad.path})" if bad.count else ""
        said = f"sent {delivery.delivered:,}, quarantined {bad.count:,}{where}{told}"
        tell(out, [said, *undelivered_lines(delivery)])
    if rest.records or delivery.broken:
        return EXIT_UNDELIVERED
    return patience.stop.exit_code or (EXIT_QUARANTINED if bad.count else EXIT_OK)


@dataclass(slots=True)
class _Survey:
    """What is in a file, before any of it is sent."""

    lines: int = 0
    unmarked: int = 0
    oldest_ms: int | None = None
    is_whole: bool = False
    is_known: bool = False


def _survey(job: ResendJob) -> _Survey:
    survey = _Survey()
    reader = UndeliveredReader(job.stream, job.name)
    for kept in _readable(reader, job.name):
        survey.lines += 1
        survey.unmarked += isinstance(kept, UserRecord)
        if isinstance(kept, SealedRecord) and kept.kept_ms is not None:
            before_ms = survey.oldest_ms
            survey.oldest_ms = kept.kept_ms if before_ms is None else min(before_ms, kept.kept_ms)
    survey.is_whole, survey.is_known = reader.is_whole, reader.is_known
    job.stream.seek(0)
    return survey


def _readable(reader: UndeliveredReader, name: str) -> Iterator[Kept]:
    try:
        yield from reader
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror or error})") from error


def _check(job: ResendJob, survey: _Survey, now_ms: int) -> None:
    if not survey.lines:
        raise ConfigError(f"{job.name} is empty")
    if not survey.is_known:  # its lines would go to the rejects file, and it be removed
        raise ConfigError(
            f"{job.name} is no undelivered file: no line of it is one of such a file. Rows are sent by streamgage send csv, "
            "ndjson or access-log; what is compressed, unpack first"
        )
    age_ms = 0 if survey.oldest_ms is None else now_ms - survey.oldest_ms
    if age_ms > KEPT_MS and not job.force:
        raise ConfigError(
            f"{job.name} holds records of {age_ms // _DAY_MS} days ago; who counts them remembers for "
            f"{KEPT_MS // _DAY_MS} days which were stored after all. Older ones may count twice: to send them all the same, "
            "add --force"
        )
    if survey.unmarked:
        job.warn(
            f"{job.name} was written by an older streamgage, without marks: what of it was stored after all counts twice"
        )
    elif not survey.is_whole:
        job.warn(
            f"{job.name} has no end: what wrote it was killed, or the file was cut short; what is in it is sent"
        )


def _put(delivery: Delivery, kept: Kept, line: int) -> Damaged | None:
    """Send what was in a line, or return what is wrong with it."""
    if isinstance(kept, Damaged):
        return kept
    try:
        delivery.put(kept)
    except UnsendableRecord as error:
        return Damaged(line, str(error), kept.data)
    return None


def _settle(job: ResendJob, rest: UndeliveredFile, bad: NdjsonFile) -> str:
    """Leave in the file what is not delivered, and say so."""
    if job.path is None:
        return ""
    if bad.count:
        with bad.path.open("rb+") as file:
            os.fsync(file)  # what is damaged is to be nowhere else
    if rest.records:
        rest.path.replace(job.path)
        rest.path = job.path
    else:
        job.path.unlink(missing_ok=True)
    sync_folder(job.path)
    return "" if rest.records else f"; {job.name} is removed"
