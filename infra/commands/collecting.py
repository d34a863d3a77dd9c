"""The collector as a long-lived server: the bounded HTTP server of this machine, the collector behind it, a spool behind that."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.http.guard import Guard
from infra.local.http.message import Limits, Request, Response
from infra.local.http.server import HttpServer
from producers.client.ports import KinesisPort
from producers.clock import MonotonicClock
from producers.collector.collector import Collector
from producers.collector.keys import OPEN, Keys, parse_keys
from producers.collector.limits import Bounds
from producers.collector.message import Answer, Asked
from producers.collector.openapi import document
from producers.collector.spooled import SpoolDurable
from producers.sending.forwarding import Forwarding
from producers.sending.settings import ProducerConfig
from producers.spool import Spool
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError

METRICS_PATH: Final = "/metrics"
OPENAPI_PATH: Final = "/v1/events/openapi.json"
_LOOK_S = 1.0  # how often a file of keys is looked at
_LIMITS = Limits(
    connections=16_384,
    body_bytes=Bounds().body_bytes,
    buffered_bytes=128 * 1024 * 1024,
    head_s=10,
    body_s=30,
    idle_s=60,
    write_s=20,
    workers=16,
    chunked=True,
    grace_s=10,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGuard(Guard):
    """Who may send. Without keys: programs of this machine, as to every face of it. With keys: who presents one.

    Either is judged before a body is taken.
    """

    collector: Collector
    has_keys: bool

    def refusal(self, request: Request) -> Response | None:
        """See Guard."""
        if not self.has_keys:
            refused = Guard.refusal(self, request)
            if refused is not None:
                return refused
        answer = self.collector.admit(_asked(request))
        return None if answer is None else _response(answer)

    def mark(self, request: Request, response: Response) -> Response:
        """Return *response*: the collector says itself whose pages may read it, where there are keys."""
        return response if self.has_keys else Guard.mark(self, request, response)


class KeysFile:
    """The keys in a file, read again when it changes; what is no document of keys is not taken in place of one that was."""

    def __init__(self, path: Path, clock_s: Callable[[], float]) -> None:
        """Read it. Raises: ConfigError."""
        self._path, self._clock_s = path, clock_s
        self._stamp = self._stamped()
        self._keys = self._read()
        self._looked_s = clock_s()

    def __call__(self) -> Keys:
        """Return those of now. Raises: ConfigError, the file has changed and is no document of keys: nobody is let in."""
        now_s = self._clock_s()
        if now_s - self._looked_s >= _LOOK_S:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._keys, self._stamp = self._read(), stamp
            self._looked_s = now_s
        return self._keys

    def _stamped(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read: {error.strerror}") from error
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> Keys:
        try:
            return parse_keys(self._path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._path}: cannot be read: {error}") from error


class CollectorServer:
    """Listens, keeps what comes in a spool, and forwards it. ``start``, then ``drain``, once each."""

    def __init__(
        self,
        pipeline: Pipeline,
        port: KinesisPort,
        spool: Spool,
        *,
        keys: KeysFile | None,
        host: str,
        listen_port: int,
        max_bytes: int,
        one_key_per_record: bool,
        origins: frozenset[str] = frozenset(),
        limits: Limits = _LIMITS,
        bounds: Bounds | None = None,
    ) -> None:
        """Listen, and answer nobody yet. Raises: ConfigError, the port is taken; or as ``Forwarding``."""
        self._spool, self._wanted = spool, limits.connections
        config = ProducerConfig(concurrency=2).forwarding()
        self._forwarding = Forwarding(
            spool, port, config=config, clock=MonotonicClock(), rng=random.SystemRandom()
        )
        self._durable = SpoolDurable(
            spool, self._forwarding.shards, max_bytes=max_bytes, one_key_per_record=one_key_per_record
        )
        self.collector = Collector(
            pipeline,
            self._durable,
            keys=keys or (lambda: OPEN),
            now_ms=lambda: time.time_ns() // 1_000_000,
            clock_s=time.monotonic,
            bounds=bounds or Bounds(),
        )
        guard = KeyGuard(
            collector=self.collector,
            has_keys=keys is not None,
            origins=origins,
            hosts=frozenset({host.lower()}),
        )
        self._server = HttpServer(
            self._answer, name="collector", host=host, port=listen_port, limits=limits, guard=guard
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    @property
    def connections(self) -> tuple[int, int]:
        """How many it has room for, and how many it would have, if the system let it open more files."""
        return self._server.limits.connections, self._wanted

    @property
    def waiting_for(self) -> str | None:
        """Why nothing is forwarded just now; None where something is."""
        return self._forwarding.waiting_for

    def start(self) -> None:
        """Answer, and forward."""
        self._forwarding.start(self._durable.take_shards)
        self._server.start()

    def drain(self, forward_s: float) -> int:
        """Finish what is being answered, forward for *forward_s* at most; return how many records stay in the spool."""
        self.collector.is_draining = True
        self._server.stop()
        self._forwarding.is_done(forward_s)
        left = self._spool.stats.records
        self._forwarding.stop()
        return left

    def _answer(self, request: Request) -> Response:
        if request.path == METRICS_PATH and request.method == "GET":
            return Response(200, self._metrics().encode(), "text/plain; version=0.0.4")
        if request.path == OPENAPI_PATH and request.method == "GET":
            return _response(Answer.json(200, document(self.collector.pipeline)))
        return _response(self.collector.answer(_asked(request)))

    def _metrics(self) -> str:
        stats = self._spool.stats
        gauges = (
            ("spool_records", "Records that the stream does not have yet.", stats.records),
            ("spool_events", "Events that the stream does not have yet.", stats.events),
            ("spool_bytes", "What they take of the disk.", stats.bytes),
            (
                "spool_oldest_ms",
                "Since when the oldest is kept, ms since the epoch; 0: there is none.",
                stats.oldest_ms or 0,
            ),
            ("forwarding", "Whether the stream takes what there is.", int(self.waiting_for is None)),
        )
        lines = [
            line
            for name, says, value in gauges
            for line in (
                f"# HELP streamgage_collector_{name} {says}",
                f"# TYPE streamgage_collector_{name} gauge",
                f"streamgage_collector_{name} {value}",
            )
        ]
        return self.collector.tally.text() + "\n".join(lines) + "\n"


def _asked(request: Request) -> Asked:
    path, _, query = request.target.partition("?")
    return Asked(request.method, path, query, request.headers, request.body)


def _response(answer: Answer) -> Response:
    return Response(answer.status, answer.body, answer.content_type, answer.headers)
