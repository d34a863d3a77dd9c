"""What it costs that events come by the collector: requests, the function's time, keys of batches, what is written down. Pure."""

from dataclasses import dataclass
from typing import Any

from infra.aws.cost.model import GB, SECONDS_A_MONTH, Bill, Line
from infra.aws.cost.prices import PriceTable
from infra.aws.cost.questions import METERED_BYTES
from streamgage.errors import ConfigError

MEMORY_GB = 1.0  # CollectorMemorySize
_REQUEST_MS, _EVENT_MS = (
    15.0,
    0.035,
)  # an answer of the stream and of the table; reading and packing at 0.58 of a core
_LOG_BYTES = 1_500  # lines of Lambda, and of the access log


@dataclass(frozen=True, slots=True)
class Collected:
    """How events come by HTTP. ``events`` are those of a request, 0: none come so; ``bytes`` what one takes as JSON."""

    events: float = 0.0
    bytes: float = 100.0

    def __post_init__(self) -> None:
        """Refuse what no request is."""
        if not 0 <= self.events <= 100_000:
            raise ConfigError(f"--by-http is {self.events:g}; it is 0 to 100,000 events a request")


def collector_bill(collected: Collected, events_per_s: float, prices: PriceTable) -> Bill:
    """Return what a month of *events_per_s* by HTTP costs beside the pipeline; its events are the events.

    Formula: requests = events / events a request, of which API Gateway counts each begun 512 kB; of the function
    ``15 ms + 35 us an event``; a write unit a request, for its key.
    """
    events = events_per_s * SECONDS_A_MONTH if collected.events else 0.0
    requests = events / collected.events if collected.events else 0.0
    metered = requests * max(1, -(-int(collected.events * collected.bytes) // METERED_BYTES))
    ms = _REQUEST_MS + _EVENT_MS * collected.events

    def line(service: str, what: str, quantity: float, price: str) -> Line:
        return Line(service, what, quantity, prices.prices[price].unit, quantity * prices.usd(price))

    return Bill(
        (
            line("API Gateway", "requests", metered / 1e6, "http_api_requests"),
            line("Lambda", "duration", requests * ms / 1000 * MEMORY_GB, "lambda_gb_s"),
            line("Lambda", "requests", requests / 1e6, "lambda_requests"),
            line("DynamoDB", "writes", requests / 1e6, "dynamodb_writes"),
            line("CloudWatch", "logs", requests * _LOG_BYTES / GB, "logs_ingested"),
        ),
        events,
    )


def collected_told_of(collected: Collected, made: Bill) -> dict[str, Any]:
    """Return it as JSON values."""
    return {
        "events_per_request": collected.events,
        "usd_per_month": {
            **{f"{line.service}: {line.what}": line.usd for line in made.lines if line.usd},
            "total": made.usd,
        },
    }
