"""The price table: one dated file, a source beside each figure."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamgage.errors import ConfigError

TABLE = Path(__file__).with_name("prices.toml")
NAMES = (
    "kinesis_shard_hour",
    "kinesis_put_units",
    "kinesis_on_demand_hour",
    "kinesis_on_demand_in",
    "kinesis_on_demand_out",
    "lambda_gb_s",
    "lambda_requests",
    "dynamodb_writes",
    "dynamodb_reads",
    "dynamodb_write_capacity_hour",
    "dynamodb_read_capacity_hour",
    "dynamodb_storage",
    "dynamodb_backup",
    "sqs_requests",
    "http_api_requests",
    "cloudfront_requests",
    "cloudfront_out",
    "websocket_messages",
    "websocket_minutes",
    "logs_ingested",
    "metrics",
)


@dataclass(frozen=True, slots=True)
class Price:
    """What one ``unit`` costs, who says so, and whether a page that says so was read."""

    usd: float
    unit: str
    source: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The prices of a region as they were on the day ``checked``."""

    region: str
    checked: str
    prices: Mapping[str, Price]

    def usd(self, name: str) -> float:
        """Return the price called *name*."""
        return self.prices[name].usd

    @property
    def unconfirmed(self) -> list[str]:
        """The names of the prices that nobody confirmed."""
        return [name for name, price in self.prices.items() if not price.confirmed]


def load_prices(path: Path = TABLE) -> PriceTable:
    """Return the table in *path*.

    Raises:
        ConfigError: it cannot be read; a price is missing, unknown, negative or without a source. All at once.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    region, checked = str(table.pop("region", "")), str(table.pop("checked", ""))
    problems = [f"{path}: no price of {name}" for name in NAMES if name not in table]
    problems += [f"{path}: {name} is no price that the model knows" for name in table if name not in NAMES]
    problems += [
        f"{path}: {name} is missing" for name, text in (("region", region), ("checked", checked)) if not text
    ]
    prices = {}
    for name in NAMES:
        entry = table.get(name)
        if entry is None:
            continue
        problem = _problem(entry)
        if problem:
            problems.append(f"{path}: {name}: {problem}")
        else:
            prices[name] = Price(float(entry["usd"]), entry["unit"], entry["source"], entry["confirmed"])
    if problems:
        raise ConfigError(*problems)
    return PriceTable(region, checked, prices)


def _problem(entry: object) -> str:
    if not isinstance(entry, dict) or set(entry) != {"usd", "unit", "source", "confirmed"}:
        return "a price has usd, unit, source and confirmed"
    usd = entry["usd"]
    if type(usd) not in (int, float) or not 0 <= usd < float("inf"):
        return f"usd is {usd!r}, not an amount"
    if not all(isinstance(entry[each], str) and entry[each] for each in ("unit", "source")):
        return "unit and source are texts, and not empty"
    return "" if isinstance(entry["confirmed"], bool) else "confirmed is true or false"
