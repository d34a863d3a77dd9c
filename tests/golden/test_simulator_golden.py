"""The simulators' output is part of their contract: a seed in a bug report must mean the same events next year."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from producers.simulators.fleet import FleetConfig, fleet_events
from producers.simulators.visitors import VisitorsConfig, visitor_events

START_MS = 1_700_000_000_000
FIRST_READING = {"device_id": "device-0000", "metric": "temperature", "ts": 1700000003148, "value": 20.19}
FLEET_DIGEST = "8481b1fe6324ff14"
FIRST_CLICK = {
    "visitor_id": "visitor-00000",
    "page": "/articles/page-0001",
    "referrer": "https://social.example/",
    "action": "view",
    "ts": 1700000000000,
    "status": 200,
    "bytes": 7629,
}
VISITORS_DIGEST = "0d652d21ef61ad81"


def digest(events: Iterable[dict[str, Any]]) -> str:
    return hashlib.sha256("\n".join(map(json.dumps, events)).encode()).hexdigest()[:16]


def test_a_fleet_of_seed_1_is_the_fleet_it_always_was() -> None:
    config = FleetConfig(devices=2, events=1_000, seed=1, start_ms=START_MS)
    assert next(fleet_events(config)) == FIRST_READING
    assert digest(fleet_events(config)) == FLEET_DIGEST


def test_visitors_of_seed_1_are_the_visitors_they_always_were() -> None:
    config = VisitorsConfig(visitors=50, events=1_000, seed=1, start_ms=START_MS)
    assert next(visitor_events(config)) == FIRST_CLICK
    assert digest(visitor_events(config)) == VISITORS_DIGEST
