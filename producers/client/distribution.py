"""Streams that distribute records themselves: nothing here may be sent to one.

Under AUTO "Kinesis Data Streams distributes records evenly across shards … and ignores any partition key": user records of
an aggregate lie outside their shard then, which the KCL drops in silence, and what is sent again lands elsewhere than what
it repeats, so it counts twice. Source:
https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamRecordDistributionStrategy.html and
https://docs.aws.amazon.com/streams/latest/dev/service-managed-pk-kpl-permissions.html (checked 2026-11-29)
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from producers.client.patience import within
from streamgage.errors import ConfigError, RetryableError

_LOG = logging.getLogger("streamgage.producer")


def check_distribution(
    stream_name: str, describe: Callable[[], Mapping[str, Any]], *, waits: bool = True
) -> None:
    """Let pass a stream whose records go by their partition keys; *describe* is DescribeStreamSummary.

    Where it is not answered (no right to it, throttled; without *waits*, not soon) the stream passes: few have that switched on.

    Raises:
        ConfigError: it distributes them itself.
    """
    try:
        summary = (describe() if waits else within(describe)).get("StreamDescriptionSummary", {})
    except (ConfigError, RetryableError) as error:
        _LOG.info("how stream %s distributes its records is not known: %s", stream_name, error)
        return
    if summary.get("RecordDistributionStrategy") == "AUTO":
        raise ConfigError(
            f"stream {stream_name} distributes records itself (RecordDistributionStrategy AUTO) and ignores partition keys: "
            "what is sent twice would count twice there, and other consumers drop aggregated records. Set it back: "
            "aws kinesis update-stream-record-distribution-strategy --stream-arn … "
            "--record-distribution-strategy USER_PARTITION_KEY"
        )
