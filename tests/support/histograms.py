"""Histograms as clients count them: by exact arithmetic, at any scale; and a definition that takes them at every entrance."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from functools import cache
from typing import Any

from streamgage.definition.pipeline import Pipeline
from streamgage.definition.pipeline_toml import parse_pipeline
from support.paths import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## A field of histograms") : PAGE.index("## What agents write")]
FIELD, EVENT = (json.loads(each) for each in re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL))
(MEASURES,) = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
(OTLP,) = [
    each for each in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if 'latency = "histogram"' in each
]
SCHEMA = {
    "type": "record",
    "name": "Latency",
    "fields": [
        {"name": "service", "type": "string"},
        {"name": "ts", "type": "long"},
        FIELD,
        {"name": "size", "type": ["null", "Histogram"], "default": None},
        {"name": "total", "type": ["null", "double"], "default": None},
    ],
}
SOURCE = """
[[sources]]
name = "latency"
schema = "latency.avsc"
partition_key = "service"
event_time = "ts"
"""
ROLLUP = f"""
[[rollups]]
name = "latencies"
source = "latency"
key = ["service"]
windows = ["1m", "1h"]
{MEASURES}
size = ["p50"]
total = ["sum"]
"""


class OneSchema:
    """The files of a definition that has one schema."""

    def __init__(self, schema: Any) -> None:
        self._text = json.dumps(schema)

    def read(self, _path: str) -> str:
        """Return it."""
        return self._text

    def versions(self, _path: str) -> Iterable[str]:
        """Return that there was no other."""
        return ()


@cache
def pipeline() -> Pipeline:
    """Return the definition of docs/formats.md."""
    return parse_pipeline(SOURCE + OTLP + ROLLUP, OneSchema(SCHEMA))


def index_of(value: float, scale: int) -> int:
    """Return the bucket of *value*, above zero, at *scale*: ``(b**index, b**(index + 1)]``."""
    numerator, denominator = value.as_integer_ratio()
    if (
        numerator & (numerator - 1) == 0 and denominator & (denominator - 1) == 0
    ):  # 2**exponent, a bound of each scale
        exponent = numerator.bit_length() - denominator.bit_length()
        whole = -((-exponent << max(scale, 0)) >> max(-scale, 0))
        return whole - 1
    with localcontext() as context:
        context.prec = 50
        place = (Decimal(value).ln() / Decimal(2).ln()) * Decimal(2) ** scale
        return int(place.to_integral_value(rounding="ROUND_CEILING")) - 1


def run_of(buckets: Counter[int]) -> dict[str, Any]:
    """Return *buckets*, counts by index, as a run."""
    if not buckets:
        return {"offset": 0, "bucketCounts": []}
    first, last = min(buckets), max(buckets)
    return {"offset": first, "bucketCounts": [buckets[each] for each in range(first, last + 1)]}


def counted(values: Sequence[float], scale: int) -> dict[str, Any]:
    """Return the histogram that a client counts of *values* at *scale*."""
    return {
        "count": len(values),
        "scale": scale,
        "zeroCount": values.count(0),
        "zeroThreshold": 0.0,
        "positive": run_of(Counter(index_of(each, scale) for each in values if each > 0)),
        "negative": run_of(Counter(index_of(-each, scale) for each in values if each < 0)),
    }


def event(values: Sequence[float], scale: int, *, ts: int, service: str = "web") -> dict[str, Any]:
    """Return an event with the histogram of *values*."""
    return {"service": service, "ts": ts, "latency": counted(values, scale), "size": None, "total": None}
