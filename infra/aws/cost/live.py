"""What live updates cost: connections, messages, and the function that tells, whether anybody listens or not. Pure."""

import math
from typing import Any

from infra.aws.cost.flow import Flow
from infra.aws.cost.load import Questions
from infra.aws.cost.model import GB, SECONDS_A_MONTH, Bill, Line
from infra.aws.cost.prices import PriceTable

PARTITIONS = 4
"""Of a new table on demand, and so shards of its stream: it takes 4,000 write units a second, a partition 1,000.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
"""
_PARTITION_UNITS = 1_000
_MEMORY_GB = 0.25  # PushFunction's, in the template
_LEAST_MS, _POST_MS, _POSTS = (
    30.0,
    15.0,
    16,
)  # an invocation; a message, so many at a time (processors/live/push.py)
_APART_MS = 1_000.0  # processors/live/fanout.py: a sandbox waits so long, where news follows news
_POLLS_PER_S = 4  # of a shard, by Lambda
_SUBSCRIPTION_BYTES = 250
_READ_BYTES = 8 * 1024  # of an eventually consistent unit
_LOG_BYTES = 900  # lines of Lambda, and of the function
_METRICS = 2  # processors/live/push.py


def told_per_s(flow: Flow, *, listens: bool = True) -> float:
    """Return how often the function runs: for each shard of the table's stream once a batch of the pipeline.

    At most once a second, for it waits between two messages; where nobody *listens*, as often as Lambda looks.
    """
    shards = max(PARTITIONS, math.ceil(flow.write_units_per_s / _PARTITION_UNITS))
    return shards * min(1.0 if listens else _POLLS_PER_S, flow.invocations_per_s)


def live_bill(questions: Questions, flow: Flow, prices: PriceTable) -> Bill:
    """Return what a month costs with that many listeners of all that changes; its events are the messages."""
    listens = questions.listeners > 0
    invocations = told_per_s(flow, listens=listens) * SECONDS_A_MONTH
    messages = invocations * questions.listeners
    waits_ms = _APART_MS * min(1.0, flow.invocations_per_s) if listens else 0.0
    ms = max(_LEAST_MS + _POST_MS * questions.listeners / _POSTS, waits_ms)
    units = max(0.5, questions.listeners * _SUBSCRIPTION_BYTES / _READ_BYTES)

    def line(service: str, what: str, quantity: float, price: str) -> Line:
        return Line(service, what, quantity, prices.prices[price].unit, quantity * prices.usd(price))

    return Bill(
        (
            line("API Gateway", "messages", messages / 1e6, "websocket_messages"),
            line(
                "API Gateway",
                "connections",
                questions.listeners * SECONDS_A_MONTH / 60 / 1e6,
                "websocket_minutes",
            ),
            line("Lambda", "duration", invocations * ms / 1000 * _MEMORY_GB, "lambda_gb_s"),
            line("Lambda", "requests", invocations / 1e6, "lambda_requests"),
            line("DynamoDB", "reads", invocations * units / 1e6, "dynamodb_reads"),
            line("CloudWatch", "logs", invocations * _LOG_BYTES / GB, "logs_ingested"),
            line("CloudWatch", "metrics", float(_METRICS if listens else 0), "metrics"),
        ),
        messages,
    )


def live_told_of(questions: Questions, made: Bill) -> dict[str, Any]:
    """Return it as JSON values."""
    return {
        "listeners": questions.listeners,
        "usd_per_month": {
            **{f"{line.service}: {line.what}": line.usd for line in made.lines if line.usd},
            "total": made.usd,
        },
    }
