"""A whole bridge over its files: what one left unfinished, the next one finishes, also where the spool was full."""

import json
import random
import socket
from pathlib import Path

from producers.files.stop import Stop
from producers.mqtt.bridge import Batch, Bridge
from producers.mqtt.journal import Journal
from producers.mqtt.messages import Message
from producers.mqtt.reading import Reader
from producers.mqtt.routes_toml import subscriptions_of
from producers.mqtt.run import BridgeFiles, Health, run_bridge
from producers.mqtt.sealing import Sealer
from producers.mqtt.settings import BrokerSettings
from producers.spool import Spool
from producers.spool.told import SpoolFull
from streamgage.shards import ShardMap
from support.counting import HALVES, CountingStream
from support.sending import ROWS, numbers_of

NOW_MS = 1_767_225_600_000
SPOOL_BYTES = 140_000
READINGS = subscriptions_of(
    [
        {
            "topic": "plant/+/reading",
            "source": "reading",
            "id": "id",
            "fields": {"device_id": "topic:2", "metric": "text:m"},
        }
    ],
    ROWS.sources,
)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def leave_unfinished(files: BridgeFiles) -> int:
    """Have a bridge fill its spool until a batch stays in the journal; return how many messages are safe."""
    dice, number = random.Random(7), 0
    with (
        Spool.open(files.spool, max_bytes=SPOOL_BYTES, fsync=False) as spool,
        Journal(files.journal) as journal,
    ):
        sealer = Sealer(ROWS, ShardMap(HALVES), spool.identity)
        bridge = Bridge(
            Reader(READINGS),
            journal,
            sealer,
            append=spool.append,
            quarantine=lambda _: None,
            now_ms=lambda: NOW_MS,
        )
        while True:
            body = {"id": number, "ts": NOW_MS, "value": float(number), "metric": dice.randbytes(4_000).hex()}
            message = Message(f"plant/{'d' * 200}/reading", json.dumps(body).encode(), 1, 1, NOW_MS)
            number += 1
            try:
                bridge.commit(Batch([message]))
            except SpoolFull:
                return number


def test_a_bridge_that_was_killed_before_a_full_spool_makes_room_and_finishes(tmp_path: Path) -> None:
    files = BridgeFiles(tmp_path / "spool", spool_bytes=SPOOL_BYTES)
    safe = leave_unfinished(files)
    stream, stop, said = CountingStream(), Stop(), list[str]()

    def tell(health: Health) -> None:
        if health.spool_records == 0:
            stop.ask(15)

    run_bridge(
        ROWS, READINGS, BrokerSettings("127.0.0.1", free_port()), files, stream,
        stop=stop, warn=said.append, tell=tell, every_ms=1,
    )  # fmt: skip
    assert numbers_of(dict(stream.counts)) == dict.fromkeys(range(safe), 1)
    with Journal(files.journal) as journal:
        assert journal.unfinished() == []
