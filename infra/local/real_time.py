"""What a small fleet and a site's visitors send as time goes by: for a page that moves."""

import heapq
import time
from collections.abc import Iterator

from infra.local.stack.home import StackInfo
from producers.client.kinesis import connect
from producers.simulators.fleet import FleetConfig, fleet_events
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.definition.pipeline import Pipeline
from streamgage.formats.avro import Event

_FOR_EVER = 10**12
_DAY_MS = 86_400_000
_DEVICES, _METRICS = 20, 3  # a reading a second each
_CLICKS_A_DAY = 864_000
_FLUSH_S = 0.5


def send_in_real_time(info: StackInfo, pipeline: Pipeline, *, seed: int) -> None:
    """Send each event when its time has come, until KeyboardInterrupt; what is held by then is delivered."""
    producer = connect(
        info.stream,
        endpoint_url=info.endpoints["kinesis"],
        region=info.region,
        credentials=info.credentials,
    )
    with producer:
        flush_s = time.monotonic()
        for source, event in _events(time.time_ns() // 1_000_000, seed):
            while (ahead_ms := event["ts"] - time.time_ns() // 1_000_000) > 0:
                time.sleep(min(ahead_ms / 1000, _FLUSH_S))
            producer.send(pipeline.sources[source], event)
            if time.monotonic() > flush_s:
                producer.flush()
                flush_s = time.monotonic() + _FLUSH_S


def _events(start_ms: int, seed: int) -> Iterator[tuple[str, Event]]:
    fleet = FleetConfig(
        devices=_DEVICES,
        events=_FOR_EVER,
        seed=seed,
        start_ms=start_ms,
        period_ms=1_000,
        metrics=_METRICS,
        late_share=0,
    )
    visitors = VisitorsConfig(
        visitors=2_000,
        events=_CLICKS_A_DAY * 3_650,
        seed=seed,
        start_ms=start_ms,
        span_ms=3_650 * _DAY_MS,
    )
    return heapq.merge(
        (("reading", event) for event in fleet_events(fleet)),
        (("click", event) for event in visitor_events(visitors)),
        key=lambda each: each[1]["ts"],
    )
