"""Peer: Quix Streams decodes readings and folds them by key and window. A script of the peers' virtual environment.

Written as https://quix.io/docs/quix-streams/windowing.html shows tumbling windows with several aggregations. Quix reads
from Kafka only; here its own deserializer, StreamingDataFrame and RocksDB window stores are driven directly, as
``StreamingDataFrame.test`` and the loop of ``Application.run`` do, without a broker, offsets, changelog topics and
commits: less than a deployed one does.
"""

import base64
import json
import sys
import tempfile
import time
from contextvars import copy_context
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.context import set_message_context
from quixstreams.dataframe.windows import Count, Max, Sum
from quixstreams.models import Topic, TopicConfig
from quixstreams.models.serializers.avro import AvroDeserializer

TOPIC = "readings"
WINDOWS_MS = {"1m": 60_000, "1h": 3_600_000}
GRACE_MS = 5_000
_CLOSING = b"~"  # the key of the last message, whose time closes every window


class Message:
    """A Kafka message as confluent-kafka hands it over."""

    def __init__(self, offset: int, key: bytes, value: bytes, timestamp_ms: int) -> None:
        self._offset, self._key, self._value, self._timestamp_ms = offset, key, value, timestamp_ms

    def topic(self) -> str:
        """Its topic."""
        return TOPIC

    def partition(self) -> int:
        """Its partition."""
        return 0

    def offset(self) -> int:
        """Its place."""
        return self._offset

    def key(self) -> bytes:
        """Its key."""
        return self._key

    def value(self) -> bytes:
        """Its payload."""
        return self._value

    def timestamp(self) -> tuple[int, int]:
        """Its time: type and ms."""
        return 1, self._timestamp_ms

    def headers(self) -> None:
        """It has none."""

    def leader_epoch(self) -> None:
        """It has none."""

    def error(self) -> None:
        """It has none."""

    def __len__(self) -> int:
        return len(self._value)


def main(source: Path, destination: Path) -> None:
    """Fold what *source* holds; write CPU time and totals to *destination*."""
    content = json.loads(source.read_text())
    messages = [
        Message(number, key.encode(), base64.b64decode(payload), ts)
        for number, (key, ts, payload) in enumerate(
            zip(content["keys"], content["times"], content["payloads"], strict=True)
        )
    ]
    # Two windows' length later than everything: its own totals are not looked at.
    last = messages[-1]
    closing = Message(last.offset() + 1, _CLOSING, last.value(), last.timestamp()[1] + 7_200_000)

    with tempfile.TemporaryDirectory() as state_dir:
        app = Application(
            broker_address="127.0.0.1:1",  # never connected to
            consumer_group="benchmark",
            state_dir=state_dir,
            use_changelog_topics=False,
            loglevel="CRITICAL",
        )
        topic = Topic(
            TOPIC,
            value_deserializer=AvroDeserializer(content["schema"]),
            key_deserializer="str",
        )
        topic.broker_config = TopicConfig(
            num_partitions=1, replication_factor=1, extra_config={"retention.ms": "604800000"}
        )
        found: dict[str, list[Any]] = {label: [] for label in WINDOWS_MS}
        sdf = app.dataframe(topic)
        for label, size_ms in WINDOWS_MS.items():
            windows = sdf.tumbling_window(size_ms, grace_ms=GRACE_MS).agg(
                count=Count(), sum=Sum("value"), max=Max("value")
            )
            windows.final("partition").update(
                lambda value, key, timestamp, headers, rows=found[label]: rows.append((key, value)),  # noqa: ARG005 - by metadata=True it is called with four
                metadata=True,
            )
        cpu_s = run(app, topic, [*messages, closing])
    totals = {
        f"{label}|{value['start']}|{key}": [value["count"], value["sum"], value["max"]]
        for label, rows in found.items()
        for key, value in rows
        if key != _CLOSING.decode()
    }
    destination.write_text(json.dumps({"cpu_s": cpu_s, "answer": totals}))


def run(app: Any, topic: Any, messages: list[Message]) -> float:
    """Send *messages* through the dataframe of *app*, and return the CPU seconds it took."""
    context, state = app._processing_context, app._state_manager  # noqa: SLF001 - no public way without a broker
    with state:
        state.on_partition_assign(stream_id=TOPIC, partition=0, committed_offsets={})
        context.init_checkpoint()
        composed = app._dataframe_registry.compose_all()[TOPIC]  # noqa: SLF001 - see above
        began_s = time.process_time()
        for message in messages:
            row = topic.row_deserialize(message)
            each = copy_context()
            each.run(set_message_context, row.context)
            each.run(composed, row.value, row.key, row.timestamp, row.headers)
        return time.process_time() - began_s


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
