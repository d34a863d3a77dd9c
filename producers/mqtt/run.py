"""A whole bridge, from its files and its broker to the stream; and what it says of itself."""

import json
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from producers.client.ports import KinesisPort
from producers.clock import Clock, MonotonicClock, WallClock
from producers.files.stop import Stop
from producers.mqtt.bridge import Bridge, Counts
from producers.mqtt.broker import Broker
from producers.mqtt.journal import MOST_IDS, Journal
from producers.mqtt.quarantine import MOST_BYTES, Quarantine
from producers.mqtt.reading import Reader
from producers.mqtt.routes import Subscription
from producers.mqtt.sealing import Sealer
from producers.mqtt.settings import BrokerSettings
from producers.mqtt.sparkplug.nodes import Nodes
from producers.mqtt.worker import Worker
from producers.sending.forwarding import Forwarding
from producers.sending.settings import ProducerConfig
from producers.spool import Spool
from producers.spool.told import SpoolError
from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from streamgage.records import SealedRecord

_SESSION = "session"
_CONCURRENCY = 2
_AGAIN_MS = 500  # after a spool that takes nothing


@dataclass(frozen=True, slots=True)
class BridgeFiles:
    """What a bridge keeps on the disk: the spool in *spool*, and beside it the journal, and what is quarantined."""

    spool: Path
    spool_bytes: int = 1 << 30
    quarantine_bytes: int = MOST_BYTES
    most_ids: int = MOST_IDS

    @property
    def journal(self) -> Path:
        """Where ids are remembered."""
        return self.spool.with_name(f"{self.spool.name}.mqtt")

    @property
    def quarantine(self) -> Path:
        """Where messages go that cannot be counted."""
        return self.spool.with_name(f"{self.spool.name}.quarantine.ndjson")


@dataclass(frozen=True, slots=True)
class Health:
    """How a bridge stands. ``waiting_for``: "broker", or the code of a spool; of the stream it is ``stream_waits_for``."""

    counts: Counts
    held: int
    spool_records: int
    spool_events: int
    waiting_for: str | None
    stream_waits_for: str | None

    def as_json(self) -> str:
        """Return it as one line for a program."""
        return json.dumps(asdict(self))

    def __str__(self) -> str:
        counts = self.counts
        parts = [f"{counts.messages:,} messages, {counts.events:,} events"]
        told = (
            "quarantined",
            "duplicates",
            "duplicate_events",
            "retained",
            "passed_over",
            "historical",
            "gaps",
        )
        parts += [
            f"{number:,} {name.replace('_', ' ')}"
            for name in (*told, "unacknowledged")
            if (number := getattr(counts, name))
        ]
        parts.append(f"{self.held:,} held, {self.spool_events:,} in the spool")
        if self.waiting_for:
            parts.append(f"waits for {self.waiting_for}")
        if self.stream_waits_for:
            parts.append(f"the stream: {self.stream_waits_for}")
        return "; ".join(parts)


def run_bridge(
    pipeline: Pipeline,
    subscriptions: Sequence[Subscription],
    settings: BrokerSettings,
    files: BridgeFiles,
    port: KinesisPort,
    *,
    stop: Stop,
    warn: Callable[[str], None],
    tell: Callable[[Health], None],
    every_ms: int,
    one_key_per_record: bool = False,
    clock: Clock | None = None,
) -> Health:
    """Carry messages to the stream until *stop* is asked for; return how it stands then.

    Args:
        pipeline: the definition.
        subscriptions: what of the broker's messages are events, and of which source.
        settings: which broker.
        files: where what is safe lies until the stream has it.
        port: the stream; it need not answer.
        stop: what came until it is asked is made safe and acknowledged; insisted, it ends at once.
        warn: told of what a person should know.
        tell: told how it stands, every *every_ms*.
        every_ms: as it says.
        one_key_per_record: as the stream's consumer needs it.
        clock: measures.

    Raises:
        ConfigError: a person has to change something. The broker has what was not acknowledged.
    """
    check_subscriptions(subscriptions, settings)
    clock, rng, wall = clock or MonotonicClock(), random.SystemRandom(), WallClock()
    with ExitStack() as stack:
        spool = stack.enter_context(Spool.open(files.spool, max_bytes=files.spool_bytes))
        journal = stack.enter_context(Journal(files.journal, most_ids=files.most_ids))
        sent = ProducerConfig(concurrency=_CONCURRENCY).forwarding()
        forwarding = Forwarding(spool, port, config=sent, clock=clock, rng=rng)
        sealer = Sealer(
            pipeline,
            forwarding.shards,
            spool.identity,
            one_key_per_record=one_key_per_record,
            clock=clock,
            rng=rng,
        )
        facts = journal.facts()
        noted = facts.pop(_SESSION, None)
        quarantine = Quarantine(files.quarantine, most_bytes=files.quarantine_bytes)
        bridge = Bridge(
            Reader(subscriptions, Nodes(facts)),
            journal,
            sealer,
            append=spool.append,
            quarantine=quarantine.keep,
            now_ms=wall.now_ms,
        )
        forwarding.start(
            sealer.take_shards
        )  # first: where the spool is full, it makes the room for what is unfinished
        stack.callback(forwarding.stop)
        _recover(bridge, journal.unfinished(), clock=clock, stop=stop, warn=warn)
        told_ms = clock.now_ms()

        def health(worker: Worker) -> Health:
            stats = spool.stats
            return Health(
                worker.counts,
                worker.held,
                stats.records,
                stats.events,
                worker.waiting_for,
                forwarding.waiting_for,
            )

        def turn(worker: Worker) -> None:
            nonlocal told_ms, noted
            if noted != settings.client_id and worker.has_session and worker.is_between:
                with suppress(
                    SpoolError
                ):  # a full disk, say: batches wait for it and tell, and this comes again
                    journal.write((), (), {_SESSION: settings.client_id}, now_ms=wall.now_ms())
                    noted = settings.client_id
            if clock.now_ms() - told_ms >= every_ms:
                told_ms = clock.now_ms()
                tell(health(worker))

        worker = Worker(
            bridge,
            clock=clock,
            wall_ms=wall.now_ms,
            stop=stop,
            rng=rng,
            warn=warn,
            tell=turn,
            had_session=noted == settings.client_id,
        )
        topics = [each.topic.text for each in subscriptions]
        worker.run(Broker(settings, topics, worker, now_ms=wall.now_ms))
        return health(worker)


def _recover(
    bridge: Bridge,
    unfinished: Sequence[SealedRecord],
    *,
    clock: Clock,
    stop: Stop,
    warn: Callable[[str], None],
) -> None:
    """Return once the spool has what the bridge before this one left, or *stop* is asked for: then it is left to the next."""
    is_told = False
    while not stop.asked:
        try:
            bridge.recover(unfinished)
        except SpoolError as error:
            if not is_told:
                warn(f"{error}; it is tried again, and nothing is taken from the broker meanwhile")
            is_told = True
            clock.sleep_ms(_AGAIN_MS)
        else:
            return


def check_subscriptions(subscriptions: Sequence[Subscription], settings: BrokerSettings) -> None:
    """Refuse what cannot be right. Raises: ConfigError."""
    if not subscriptions:
        raise ConfigError("the pipeline has no [[mqtt]]: it says which topics are events of which source")
    for each in subscriptions:
        if each.payload == "sparkplug" and settings.share is not None:
            raise ConfigError(
                f"{each.topic.text}: a share gives the messages of a Sparkplug node to several bridges, and none has all of "
                "its births. Share by group: a bridge each, with a filter each"
            )
        if settings.version != "5" and each.id is not None and each.id.startswith("property:"):
            raise ConfigError(f"{each.topic.text}: user properties, as {each.id}, are of MQTT 5")
