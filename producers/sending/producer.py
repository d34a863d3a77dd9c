"""``Producer``: what a device, a gateway or a service puts its events into."""

import atexit
import logging
import os
import random
import time
import warnings
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias

from processors.pipeline_files import load_pipeline
from producers.client.distribution import check_distribution
from producers.client.engine import Engine
from producers.client.forks import renew_in_children
from producers.client.identity import Identity
from producers.client.outcomes import Delivered, OnDelivery, Outcome
from producers.client.ports import KinesisPort
from producers.client.settings import ProducerStats
from producers.client.unsent import Unsent
from producers.clock import Clock, MonotonicClock
from producers.sending.courier import Courier, Hook
from producers.sending.intake import Intake
from producers.sending.places import StreamPlace, find_place
from producers.sending.problems import BufferFull, NotYetStored
from producers.sending.settings import ProducerConfig
from producers.sending.transports import Transport, open_stream
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.errors import ConfigError, DeliveryError
from streamgage.formats.avro import Event
from streamgage.records import SealedRecord

if TYPE_CHECKING:
    from producers.sending.forwarding import Forwarding
    from producers.spool import Spool

_LOG = logging.getLogger("streamgage.producer")

PipelineLike: TypeAlias = Pipeline | str | os.PathLike[str] | None
SpoolLike: TypeAlias = "Spool | str | os.PathLike[str] | None"


class Producer:
    """Puts events into a stream, each counted once; a thread of its own sends them.

    ::

        with Producer("events", region="eu-west-1") as producer:
            producer.put("reading", {"device_id": "d1", "metric": "temperature", "ts": 1767614400000, "value": 20.5})

    ``put`` returns when the event is taken, which takes microseconds; ``flush`` when all that was put is stored. What could
    not be stored is raised as a DeliveryError by the next call of ``put``, ``flush`` or ``close``: its ``sealed`` are Kinesis
    records with their marks, and sending those again (``put_sealed``, ``streamgage send undelivered``) counts nothing twice.

    Any number of threads may call it. A forked child has an empty one, with an identity of its own; what the parent put, the
    parent sends. A call that is interrupted (Ctrl-C, a signal handler that raises) took its event whole or not at all. What
    is held when the interpreter ends without ``close`` is sent for ``exit_timeout_s``, and what is left then is logged.
    A signal that ends the process at once, as SIGTERM does where nobody handles it, and a crash lose what was not stored
    yet: see ``commit``, and *spool*. docs/sending.md has recipes, and what happens when.
    """

    def __init__(
        self,
        stream: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: tuple[str, ...] | None = None,
        pipeline: PipelineLike = None,
        config: ProducerConfig | None = None,
        spool: SpoolLike = None,
        transport: Transport = "boto3",
        on_metrics: Hook | None = None,
    ) -> None:
        """Find the stream and its shards.

        Args:
            stream: its name.
            region: as the transport finds it, where it is not given.
            endpoint_url: of a stream that is not AWS's.
            credentials: an access key, its secret, and the session token if there is one; else as the transport finds them.
            pipeline: the definition, or its file; pipeline.toml here.
            config: how to send.
            spool: a Spool, or its file: what is put is kept there first, and sent from there. Then the stream need not
                answer, now or later, and what is kept survives the process.
            transport: boto3; or "lean", which starts in a fraction of the time and memory: see LeanKinesis.
            on_metrics: is given a copy of ``stats`` every ten seconds and at the end, on the producer's thread.

        Raises:
            ConfigError: no such stream, no right to it, or one that ignores partition keys; no region or credentials; a
                pipeline that is not right.
            RetryableError: Kinesis did not answer for as long as the retries last.
        """
        config = config or ProducerConfig()
        port = open_stream(
            transport,
            stream,
            region=region,
            endpoint_url=endpoint_url,
            credentials=credentials,
            concurrency=config.concurrency,
        )
        try:
            self._begin(port, pipeline=pipeline, config=config, spool=spool, on_metrics=on_metrics)
            check_distribution(stream, port.describe, waits=spool is None)
        except BaseException:
            port.close()
            raise
        self._disconnect = port.close

    @classmethod
    def over(
        cls,
        port: KinesisPort,
        *,
        pipeline: PipelineLike = None,
        config: ProducerConfig | None = None,
        spool: SpoolLike = None,
        on_metrics: Hook | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> Self:
        """Return a producer over any *port*: for tests, and for streams that neither transport reaches."""
        producer = cls.__new__(cls)
        producer._begin(  # noqa: SLF001 - its own
            port,
            pipeline=pipeline,
            config=config or ProducerConfig(),
            spool=spool,
            on_metrics=on_metrics,
            clock=clock,
            rng=rng,
        )
        return producer

    @classmethod
    def to_local(cls, home: str | os.PathLike[str] | None = None, **options: Any) -> Self:
        """Return a producer for the stack that runs in this folder, or in *home*. *options* are those of ``Producer``.

        Raises: as ``Producer`` does.
        """
        return cls._to(find_place("local", home), options)

    @classmethod
    def to_aws(cls, stack: str, **options: Any) -> Self:
        """Return a producer for the deployed stack of that name. *options* are those of ``Producer``; needs boto3.

        Raises: as ``Producer`` does.
        """
        return cls._to(find_place("aws", stack, options.get("region")), options)

    @classmethod
    def _to(cls, place: StreamPlace, options: dict[str, Any]) -> Self:
        config = options.pop("config", None) or ProducerConfig()
        found = {
            "region": place.region,
            "endpoint_url": place.endpoint_url,
            "credentials": place.credentials,
            "pipeline": place.pipeline,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return cls(place.stream, config=config.for_consumer(place.one_key_per_record), **{**found, **given})

    def _begin(
        self,
        port: KinesisPort,
        *,
        pipeline: PipelineLike,
        config: ProducerConfig,
        spool: SpoolLike,
        on_metrics: Hook | None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not isinstance(pipeline, Pipeline):
            pipeline = load_pipeline("pipeline.toml" if pipeline is None else pipeline)
        self.pipeline, self.config = pipeline, config
        self._sources = pipeline.sources
        self._ended = False
        self._disconnect = _do_nothing
        self._forwarding: Forwarding | None = None
        clock, rng = clock or MonotonicClock(), rng or random.SystemRandom()
        if spool is not None:
            from producers.sending import forwarding  # noqa: PLC0415 - SQLite, which most need not have

            self._forwarding = forwarding.Forwarding(
                spool, port, config=config.forwarding(), clock=clock, rng=rng
            )
        kept = self._forwarding
        identity = Identity(rng, most=config.remembered_keys) if kept is None else kept.spool.identity
        self._engine = Engine(
            port,
            clock=clock,
            rng=rng,
            config=config.core(),
            tags_for=identity.tags_for,
            shards=None if kept is None else kept.shards,
        )
        self._courier = Courier(
            self._engine, max_memory_bytes=config.events_memory_bytes, on_metrics=on_metrics
        )
        self._intake = Intake(self._engine, self._courier, config)
        if kept is not None:
            self._engine.divert(kept.spool.append)
            kept.start(self._courier.take_shards)
        Unsent(self._courier, self._engine)
        renew_in_children(self)
        self._at_exit = partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._at_exit)

    def renew_in_child(self) -> None:
        """Begin anew, in a forked child, which has no part in a spool."""
        self._engine.renew()
        self._courier.renew()
        self._forwarding = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a producer cannot be pickled or copied: make one in each process")

    @property
    def stats(self) -> ProducerStats:
        """What it has done so far; another thread goes on with it."""
        return self._engine.stats

    @property
    def waiting_for(self) -> str | None:
        """Why a shard gets nothing just now: "throttled", "credentials", "no answer", a code of Kinesis, or of a spool; else None."""
        found = self._courier.fault or self._engine.sender.waiting_for
        return found if found or self._forwarding is None else self._forwarding.waiting_for

    def put(
        self,
        source: str,
        event: Event,
        *,
        timeout_s: float | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Take *event* of *source*, a mapping of the fields in its schema.

        Args:
            source: its name in the pipeline.
            event: not kept; the caller may change it afterwards.
            timeout_s: how long to wait for room at most; 0: not at all; None: as the settings say.
            on_delivery: told once, on the producer's thread, what became of it: Delivered, or a DeliveryError, which is
                raised nowhere then. Where this call is interrupted nobody may be told.

        Raises:
            ValueError: it does not fit the schema, or would be quarantined on arrival; it was not taken.
            BufferFull: there was no room in time; it was not taken.
            DeliveryError: others, put before, could not be delivered; it was not taken. Put it again.
            ProducerClosed: it was not taken.
        """
        intake = self._intake
        intake.take(self._source(source), event, intake.deadline_s(timeout_s), on_delivery=on_delivery)

    def put_many(self, source: str, events: Sequence[Event], *, timeout_s: float | None = None) -> None:
        """Take *events* of *source*, as ``put`` would one after the other, in a third of the time where it has blocks.

        Raises:
            RefusedEvents: which of them were refused, each with its error. All others were taken.
            BufferFull: there was no room in time; ``done`` says how many were taken or refused.
            DeliveryError, ProducerClosed: as ``put`` does; none was taken.
        """
        intake = self._intake
        intake.take_many(self._source(source), events, intake.deadline_s(timeout_s))

    def put_future(self, source: str, event: Event, *, timeout_s: float | None = None) -> "Future[Delivered]":
        """Take *event* as ``put`` does; the future is done when it is stored, or has the DeliveryError.

        Raises: as ``put`` does.
        """
        future: Future[Delivered] = Future()
        self.put(source, event, timeout_s=timeout_s, on_delivery=partial(_settle, future))
        return future

    def put_sealed(self, records: Iterable[SealedRecord], *, timeout_s: float | None = None) -> None:
        """Take what was sealed before: ``DeliveryError.sealed``, of this producer or another. Its marks say what it repeats.

        Raises: as ``put`` does; those before the one that was not taken were.
        """
        until_s = self._intake.deadline_s(timeout_s)
        for record in records:
            self._intake.take_sealed(record, until_s)

    async def asend(self, source: str, event: Event, *, on_delivery: OnDelivery | None = None) -> None:
        """Take *event* as ``put`` does; where it is full the event loop goes on, and this waits.

        Raises: as ``put`` does.
        """
        import asyncio  # noqa: PLC0415 - who calls this has it; others do not pay for it

        until_s = self._intake.deadline_s(None)
        while True:
            try:
                return self.put(source, event, timeout_s=0, on_delivery=on_delivery)
            except BufferFull:
                if self.config.when_full == "raise" or (until_s is not None and time.monotonic() >= until_s):
                    raise
            loop, looked = asyncio.get_running_loop(), asyncio.Event()
            self._courier.call_after_turn(partial(loop.call_soon_threadsafe, looked.set))
            await looked.wait()

    async def aflush(self, timeout_s: float | None = None) -> None:
        """Do as ``flush``, and let the event loop go on."""
        import asyncio  # noqa: PLC0415 - as above

        await asyncio.to_thread(self.flush, timeout_s)

    def commit(self, timeout_s: float | None = None) -> None:
        """Return when all that was put before is safe: in the spool, or, without one, in the stream.

        Raises:
            NotYetStored: it is not, in time.
            DeliveryError: what could not be delivered, after everything else was.
        """
        if not self._is_stored(timeout_s):
            waits = f"; a shard takes nothing: {self.waiting_for}" if self.waiting_for else ""
            raise NotYetStored(f"not all is stored after {timeout_s} s{waits}. It is still being sent")
        with self._courier.lock:
            self._intake.raise_given_up()

    def _is_stored(self, timeout_s: float | None) -> bool:
        """Return True once nothing of what was put before is held; False where that is not so in time."""
        engine, courier = self._engine, self._courier
        with courier.lock:
            engine.seal()
            mine = tuple(engine.outbox.held)
        return courier.wait(lambda: not any(each in engine.outbox.held for each in mine), timeout_s)

    def flush(self, timeout_s: float | None = None) -> None:
        """Return when all that was put before is stored in the stream.

        Raises: as ``commit`` does.
        """
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        self.commit(timeout_s)
        if self._forwarding is None:
            return
        left_s = None if until_s is None else max(until_s - time.monotonic(), 0)
        if not self._forwarding.is_done(left_s):
            raise NotYetStored(f"not all of the spool is stored after {timeout_s} s. It is still being sent")

    def close(self, timeout_s: float | None = None) -> None:
        """Commit, and take no more. Closing again does nothing; after an interrupt, it goes on.

        What is in a spool then stays there, and is sent by the next producer that has it, or ``streamgage spool``.

        Raises:
            DeliveryError: what could not be delivered; with *timeout_s*, in that time: some of it may be stored all the same,
                and its marks say so.
        """
        engine, courier = self._engine, self._courier
        if not self._ended:
            with courier.lock:
                self._intake.is_closed = True
            if not self._is_stored(timeout_s):
                with courier.lock:
                    engine.give_up()
            courier.end()
            courier.join()
            engine.sender.stop()
            if self._forwarding is not None:
                self._forwarding.stop()
            self._disconnect()
            courier.tell_metrics()
            atexit.unregister(self._at_exit)
            self._ended = True
        with courier.lock:
            self._intake.raise_given_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, after an exception too: what was put is to be sent."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, and let the event loop go on."""
        import asyncio  # noqa: PLC0415 - as above

        await asyncio.to_thread(self.close)

    def __del__(self) -> None:
        """Warn where nobody closed it and something is in it: that is sent as long as the process lives."""
        if getattr(self, "_ended", True):
            return
        atexit.unregister(self._at_exit)
        events = self._engine.events
        if events:
            warnings.warn(
                f"a Producer with {events} events was not closed: call close(), or use `with`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        self._courier.end()

    def _source(self, name: str) -> Source:
        source = self._sources.get(name)
        if source is None:
            raise ConfigError(
                f"the pipeline has no source {name!r}; its sources are {', '.join(self._sources)}"
            )
        return source


def _do_nothing() -> None:
    """Do nothing."""


def _settle(future: "Future[Delivered]", outcome: Outcome) -> None:
    if future.set_running_or_notify_cancel():
        if isinstance(outcome, DeliveryError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _close_at_exit(reference: "weakref.ref[Producer]") -> None:
    """Send what an unclosed producer holds as the interpreter ends; what is left is logged."""
    producer = reference()
    if producer is None:
        return
    try:
        producer.close(producer.config.exit_timeout_s)
    except DeliveryError as error:
        _LOG.error("the interpreter ends, and a producer was not closed: %s", error)
