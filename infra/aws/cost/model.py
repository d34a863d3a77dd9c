"""The bill: what was used x what it costs, line by line. Pure; whoever counted or planned the usage calls it."""

from dataclasses import dataclass, fields
from typing import Literal

from infra.aws.cost.prices import PriceTable
from streamgage.limits import MIB

StreamMode = Literal["provisioned", "on-demand"]
HOURS_A_MONTH = 730
SECONDS_A_MONTH = HOURS_A_MONTH * 3600
GB = 1024 * MIB
PUT_UNIT_BYTES = 25 * 1024
ON_DEMAND_ROUND_BYTES = 1024


def put_units(record_bytes: int) -> int:
    """Return the PUT payload units of one Kinesis record of a provisioned stream: 25 kB each, rounded up."""
    return max(1, -(-record_bytes // PUT_UNIT_BYTES))


def on_demand_bytes(record_bytes: int) -> int:
    """Return what an on-demand stream bills for one Kinesis record: rounded up to 1 kB."""
    return max(1, -(-record_bytes // ON_DEMAND_ROUND_BYTES)) * ON_DEMAND_ROUND_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used in ``hours``. Every figure is of that time, and none is negative.

    Attributes:
        put_units: of Kinesis records, see put_units. Only a provisioned stream bills them, and ``shards``.
        on_demand_in_bytes: rounded up a record. Only an on-demand stream bills it, and ``on_demand_out_bytes``.
        lambda_gb_s: memory x duration, initialisations included.
        stored_bytes: of the tables on average, with the 100 bytes that DynamoDB adds to each item.
        metrics: custom CloudWatch metrics.
    """

    hours: float
    events: float
    shards: float = 0
    put_units: float = 0
    on_demand_in_bytes: float = 0
    on_demand_out_bytes: float = 0
    lambda_requests: float = 0
    lambda_gb_s: float = 0
    write_units: float = 0
    read_units: float = 0
    stored_bytes: float = 0
    sqs_requests: float = 0
    log_bytes: float = 0
    metrics: float = 0

    def __post_init__(self) -> None:
        """Refuse what nobody can have used."""
        wrong = [each.name for each in fields(self) if not 0 <= getattr(self, each.name) < float("inf")]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: a usage is a finite number, at least 0")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill: ``usd = quantity x the price per unit``."""

    service: str
    what: str
    quantity: float
    unit: str
    usd: float


@dataclass(frozen=True, slots=True)
class Bill:
    """What a usage costs."""

    lines: tuple[Line, ...]
    events: float

    @property
    def usd(self) -> float:
        """The sum of all lines."""
        return sum(line.usd for line in self.lines)

    def usd_of(self, service: str, what: str) -> float:
        """Return what one line comes to; 0 where there is none."""
        return sum(line.usd for line in self.lines if (line.service, line.what) == (service, what))

    @property
    def usd_per_million_events(self) -> float:
        """``usd / events x 10**6``; 0 where there was no event."""
        return self.usd / self.events * 1e6 if self.events else 0.0


def bill(usage: Usage, prices: PriceTable, *, mode: StreamMode) -> Bill:
    """Return the bill of *usage*, with a stream of *mode*."""
    months = usage.hours / HOURS_A_MONTH

    def line(service: str, what: str, quantity: float, price: str) -> Line:
        return Line(service, what, quantity, prices.prices[price].unit, quantity * prices.usd(price))

    if mode == "provisioned":
        stream = [
            line("Kinesis", "shards", usage.shards * usage.hours, "kinesis_shard_hour"),
            line("Kinesis", "PUT payload units", usage.put_units / 1e6, "kinesis_put_units"),
        ]
    else:
        stream = [
            line("Kinesis", "stream", usage.hours, "kinesis_on_demand_hour"),
            line("Kinesis", "data in", usage.on_demand_in_bytes / GB, "kinesis_on_demand_in"),
            line("Kinesis", "data out", usage.on_demand_out_bytes / GB, "kinesis_on_demand_out"),
        ]
    stored_gb_months = usage.stored_bytes / GB * months
    return Bill(
        (
            *stream,
            line("Lambda", "duration", usage.lambda_gb_s, "lambda_gb_s"),
            line("Lambda", "requests", usage.lambda_requests / 1e6, "lambda_requests"),
            line("DynamoDB", "writes", usage.write_units / 1e6, "dynamodb_writes"),
            line("DynamoDB", "reads", usage.read_units / 1e6, "dynamodb_reads"),
            line("DynamoDB", "storage", stored_gb_months, "dynamodb_storage"),
            line("DynamoDB", "point-in-time recovery", stored_gb_months, "dynamodb_backup"),
            line("SQS", "requests", usage.sqs_requests / 1e6, "sqs_requests"),
            line("CloudWatch", "logs", usage.log_bytes / GB, "logs_ingested"),
            line("CloudWatch", "metrics", usage.metrics * months, "metrics"),
        ),
        usage.events,
    )
