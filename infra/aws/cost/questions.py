"""What questions over HTTP cost: requests, the function's time, what it reads, what is written down of it. Pure."""

from typing import Any

from infra.aws.cost.load import Questions
from infra.aws.cost.model import GB, SECONDS_A_MONTH, Bill, Line
from infra.aws.cost.prices import PriceTable

METERED_BYTES = 512 * 1024
"""API Gateway counts an answer of more as several requests.

Source: https://aws.amazon.com/api-gateway/pricing/ (checked 2026-11-29)
"""
_LOG_BYTES = 2_000  # lines of Lambda, of the function and of the access log, measured on the local stack
_METRICS = 3  # processors/live/function.py


def questions_bill(questions: Questions, prices: PriceTable) -> Bill:
    """Return what a month of *questions* costs; its events are the questions."""
    asked = questions.per_s * SECONDS_A_MONTH
    metered = asked * max(1, -(-int(questions.answer_bytes) // METERED_BYTES))
    gb_s = asked * questions.ms / 1000 * questions.memory_mb / 1024

    def line(service: str, what: str, quantity: float, price: str) -> Line:
        return Line(service, what, quantity, prices.prices[price].unit, quantity * prices.usd(price))

    edge = (
        (
            line("CloudFront", "requests", asked / 1e6, "cloudfront_requests"),
            line("CloudFront", "data out", asked * questions.answer_bytes / GB, "cloudfront_out"),
        )
        if questions.by_page
        else ()
    )
    return Bill(
        (
            *edge,
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
