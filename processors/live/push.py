"""The composition root of the function that tells what changed: ``processors.live.push.handler`` is what Lambda calls.

It gets the keys of what was written into the table, from the table's stream, and sends news to those who are connected.
Nothing that is counted passes through it: what it drops, each client asks for by itself within half a minute.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from typing import Any, Protocol

from processors.awsjson.connections import Connections, Timeouts
from processors.awsjson.credentials import credential_source
from processors.awsjson.endpoint import Endpoint, region_of
from processors.awsjson.retry import RetryPolicy
from processors.awsjson.signing import Signer
from processors.deadline import Deadline
from processors.live.clients import aws_client, tls
from processors.live.connections import ConnectionTable
from processors.live.fanout import Fanout, Told
from processors.live.live_settings import LiveSettings
from processors.live.management import Management
from processors.live.news import Windows, written_keys
from processors.pipeline_files import load_pipeline
from processors.sink.lean_dynamodb import TARGET as DYNAMODB

SERVICE = "push"  # where there is no function's name
NAMESPACE = "streamgage"
_POSTS = 16  # messages under way at a time
_MARGIN_S = 1.0  # of an invocation's time: for what is written down, and the answer
_LONGEST_S = 20.0


class Context(Protocol):
    """What Lambda tells of an invocation."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how much of its time is left."""


class Push:
    """What one sandbox does with each batch of the table's stream."""

    def __init__(self, windows: Windows, fanout: Fanout) -> None:
        self._windows, self._fanout = windows, fanout

    def handle(self, event: Any, deadline: Deadline) -> Told:
        """Tell what *event* says by *deadline*. What in it cannot be read is no news; it never fails by it."""
        news = self._windows.changed(written_keys(event))
        return self._fanout.tell(news, deadline) if news else Told()


def build(settings: LiveSettings) -> Push:
    """Return the function of *settings*, with real clients. No call is made yet. Raises: ConfigError."""
    endpoint = Endpoint.parse(settings.socket_endpoint)
    management = Management(
        endpoint,
        signer=Signer(service="execute-api", region=region_of(os.environ)),
        credentials=credential_source(os.environ),
        connections=Connections(endpoint, tls=tls() if endpoint.tls else None, timeouts=Timeouts()),
    )
    fanout = Fanout(
        ConnectionTable(aws_client("dynamodb", DYNAMODB), settings.connections_table),
        management.post,
        posts=ThreadPoolExecutor(_POSTS, thread_name_prefix="post"),
        policy=RetryPolicy(),
    )
    return Push(Windows(load_pipeline(settings.pipeline).of_consumer(settings.consumer)), fanout)


@cache
def _built() -> Push:
    return build(LiveSettings.of(os.environ))


def report(told: Told, service: str, now_ms: int) -> str:
    """Return the line of a batch: what became of its news, and two metrics of it (EMF). Who is connected is not in it."""
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["service"]],
        "Metrics": [{"Name": name, "Unit": "Count"} for name in ("NewsSent", "NewsDropped")],
    }
    line = {
        "level": "WARNING" if told.dropped else "INFO",
        "message": "news told in part" if told.dropped else "news told",
        "service": service,
        **asdict(told),
        "NewsSent": told.sent,
        "NewsDropped": told.dropped,
        "_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]},
    }
    return json.dumps(line, separators=(",", ":"))


def handler(event: Any, context: Context) -> dict[str, Any]:
    """Tell the news of one batch of the table's stream."""
    left_s = context.get_remaining_time_in_millis() / 1000 - _MARGIN_S
    told = _built().handle(event, Deadline.after(min(left_s, _LONGEST_S)))
    if told != Told():  # most batches are heard of by nobody
        name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", SERVICE)
        sys.stdout.write(f"{report(told, name, time.time_ns() // 1_000_000)}\n")
        sys.stdout.flush()
    return {"sent": told.sent, "gone": told.gone, "dropped": told.dropped}


# In a sandbox it is built while it is imported, as the aggregate function is: docs/adr/0011.
if "LAMBDA_TASK_ROOT" in os.environ:
    _built()
