"""Send simulated events, or write them to a file; and, if asked, the totals that they add up to."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, Self, TextIO

from producers.client.batcher import UnsendableRecord
from producers.client.many import RefusedEvents
from producers.client.undelivered import UndeliveredFile
from producers.files.delivery import Delivery, NullSink, Sink
from producers.files.progress import Progress
from producers.files.report import EXIT_UNDELIVERED, tell, undelivered_lines
from producers.files.retime import Pace
from producers.files.send import Noting
from producers.files.stop import Patience, Stopped
from producers.simulators.totals import Tally, write_totals
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event

_UPDATE_EVERY = 500


@dataclass(frozen=True, slots=True)
class SimulateJob:
    """What to simulate and where it goes: to a stream, to the file *out_path*, or (neither) nowhere: a dry run."""

    pipeline: Pipeline
    source: str
    events: Iterable[Event]
    totals_path: Path | None
    out_path: Path | None
    undelivered: Path
    rate_per_s: float | None
    open_sink: Callable[[], AbstractContextManager[Sink]] | None
    warn: Callable[[str], None]


class _Outlet(Protocol):
    """Takes events, several at a time."""

    def send(self, events: Sequence[Event]) -> None: ...


def simulate(job: SimulateJob, *, patience: Patience, noting: Noting, progress: Progress, out: TextIO) -> int:
    """Generate, tally and send; say what was done; return the exit code.

    Totals are of everything that was taken, also of what could not be delivered: that is kept in a file, to be sent.

    Raises:
        ConfigError: a file cannot be written; or an event does not fit the source's schema, which is not ours then.
    """
    began_ms = patience.now_ms()
    tally = Tally(job.pipeline) if job.totals_path else None
    count, is_stopped = 0, False
    with ExitStack() as stack:
        stack.callback(progress.close)
        sink = stack.enter_context(job.open_sink()) if job.open_sink else NullSink()
        kept = UndeliveredFile(job.undelivered, patience.now_ms)
        delivery = Delivery(sink, kept, warn=job.warn, patience=patience)
        stack.callback(delivery.file.close)
        stack.enter_context(noting())
        patience.idle = delivery.idle
        delivery.tell_waiting = lambda why: progress.update(
            done=count, events=count, quarantined=0, waiting_for=why
        )
        outlet = _outlet(job, delivery, stack)
        pace = Pace(job.rate_per_s, clock=patience, flush=delivery.flush) if job.rate_per_s else None
        try:
            coming = iter(job.events)
            # Where each is to be counted by itself, in time or in a file, they come one by one.
            at_once = 1 if pace or job.out_path or not job.open_sink else _UPDATE_EVERY
            while delivery.broken is None and (events := list(islice(coming, at_once))):
                patience.stop.check()
                if pace:
                    pace.wait()
                outlet.send(events)
                if tally:
                    for event in events:
                        tally.add(job.source, event)
                count += len(events)
                if count % _UPDATE_EVERY == 0 or pace:
                    progress.update(done=count, events=count, quarantined=0)
        except Stopped:
            is_stopped = True
        finally:
            delivery.flush()
        wrote_totals = ""
        if is_stopped or delivery.broken is not None:
            wrote_totals = "; interrupted, so no totals" if tally else "; interrupted"
        elif tally and job.totals_path:
            wrote_totals = f"; totals in {job.totals_path}"
            write_totals(tally.totals, job.totals_path)
        elapsed_ms = max(patience.now_ms() - began_ms, 1)
        done = (
            f"wrote to {job.out_path}" if job.out_path else "sent" if job.open_sink else "dry run: generated"
        )
        number = count if job.out_path or not job.open_sink else delivery.delivered
        rate = number * 1000 / elapsed_ms
        told = f"{done} {number:,} {job.source} events in {elapsed_ms / 1000:.1f} s ({rate:,.0f}/s){wrote_totals}"
        tell(out, [told, *undelivered_lines(delivery)])
    if delivery.failure is not None:
        return EXIT_UNDELIVERED
    return patience.stop.exit_code


def _outlet(job: SimulateJob, delivery: Delivery, stack: ExitStack) -> _Outlet:
    if job.out_path is None:
        return _ToStream(job, delivery)
    try:
        return stack.enter_context(_ToFile(job.out_path))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{job.out_path}: cannot be written ({getattr(error, 'strerror', error)})"
        ) from error


class _ToStream:
    def __init__(self, job: SimulateJob, delivery: Delivery) -> None:
        self._source = job.pipeline.sources[job.source]
        self._delivery = delivery

    def send(self, events: Sequence[Event]) -> None:
        try:
            self._delivery.put_many(self._source, events)
        except RefusedEvents as refused:
            error = refused.refused[0].error
            if isinstance(error, UnsendableRecord):
                raise error from refused
            raise ConfigError(
                f"source {self._source.name!r} does not take simulated events: {error}. "
                "Simulators send the sources `reading` and `click` that streamgage ships"
            ) from error


class _ToFile:
    def __init__(self, path: Path) -> None:
        self._file, self._path = path.open("w", encoding="utf-8"), path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise self._full(error) from error

    def send(self, events: Sequence[Event]) -> None:
        try:
            self._file.writelines(json.dumps(event) + "\n" for event in events)
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._path}: cannot be written ({error.strerror})")
