"""What questions over HTTP cost: requests, the function's time, what it reads, what is written down of it. Pure."""

from dataclasses import dataclass
from typing import Any

from infra.aws.cost.model import GB, SECONDS_A_MONTH, Bill, Line
from infra.aws.cost.prices import PriceTable
from streamgage.errors import ConfigError

METERED_BYTES = 512 * 1024
"""API Gateway counts an answer of more as several requests.

Source: https://aws.amazon.com/api-gateway/pricing/ (checked 2026-11-29)
"""
_LOG_BYTES = 2_000  # lines of Lambda, of the function and of the access log, measured on the local stack
_METRICS = 3  # processors/live/function.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked, on average. The defaults are of a dear question: a day by the minute, of one of 10,000 keys.

    Attributes:
        per_s: questions a second, of all callers together.
        read_units: of DynamoDB, a question; docs/benchmarks.md. A day by the hour takes a sixtieth.
        ms: of the function at *memory_mb*, a question.
        answer_bytes: of an answer.
    """

    per_s: float = 0.0
    read_units: float = 229.0
    ms: float = 200.0
    memory_mb: int = 1024
    answer_bytes: float = 100_000.0

    def __post_init__(self) -> None:
        """Refuse what nobody asks, all at once."""
        limits = (
            ("questions-per-s", self.per_s, 0, 10_000),
            ("question-units", self.read_units, 0, 1e6),
            ("question-ms", self.ms, 0, 29_000),
            ("question-bytes", self.answer_bytes, 0, 6 * 1024 * 1024),
            ("api-memory-mb", self.memory_mb, 128, 10_240),
        )
        problems = [
            f"--{name} is {value:g}; it is {low:g} to {high:g}"
            for name, value, low, high in limits
            if not low <= value <= high
        ]
        if problems:
            raise ConfigError(*problems)

    @property
    def sandboxes(self) -> float:
        """How many are at work at a time, on average: what they take of the account's concurrency."""
        return self.per_s * self.ms / 1000


def questions_bill(questions: Questions, prices: PriceTable) -> Bill:
    """Return what a month of *questions* costs; its events are the questions."""
    asked = questions.per_s * SECONDS_A_MONTH
    metered = asked * max(1, -(-int(questions.answer_bytes) // METERED_BYTES))
    gb_s = asked * questions.ms / 1000 * questions.memory_mb / 1024

    def line(service: str, what: str, quantity: float, price: str) -> Line:
        return Line(service, what, quantity, prices.prices[price].unit, quantity * prices.usd(price))

    return Bill(
        (
            line("API Gateway", "requests", metered / 1e6, "http_api_requests"),
            line("Lambda", "duration", gb_s, "lambda_gb_s"),
            line("Lambda", "requests", asked / 1e6, "lambda_requests"),
            line("DynamoDB", "reads", asked * questions.read_units / 1e6, "dynamodb_reads"),
            line("CloudWatch", "logs", asked * _LOG_BYTES / GB, "logs_ingested"),
            line("CloudWatch", "metrics", float(_METRICS if asked else 0), "metrics"),
        ),
        asked,
    )


def told_of(questions: Questions, made: Bill) -> dict[str, Any]:
    """Return them as JSON values."""
    return {
        "per_s": questions.per_s,
        "read_units_per_s": questions.per_s * questions.read_units,
        "sandboxes": questions.sandboxes,
        "usd_per_month": {
            **{f"{line.service}: {line.what}": line.usd for line in made.lines if line.usd},
            "total": made.usd,
        },
        "usd_per_million_questions": made.usd_per_million_events,
    }
