"""OTLP metrics, whichever way they are written: what a data point comes to.

Gauges and delta sums have a ``value``; delta histograms, explicit and exponential, ``count``, ``sum``, ``min`` and ``max`` of what
was observed since the point before, and exponential ones their buckets, ``histogram``, as a field of histograms takes it (docs/formats.md). Explicit
buckets are not read: whose bounds are anywhere fit into no others. What adds up since some start (cumulative) is refused: to sum it would count everything
again with each point.

Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/ (checked 2026-11-29).
"""

from collections.abc import Mapping
from typing import Final

from streamgage.formats.agents.items import (
    PASSED_OVER,
    Composite,
    Item,
    PassedOver,
    Place,
    Refused,
    Values,
    merged,
)

DELTA, CUMULATIVE = 1, 2
NO_RECORDED_VALUE = (
    1  # of a point's flags: "there is explicitly no recorded value, as for a Prometheus stale marker"
)
ARRAY: Final = Composite("an array")
KEY_VALUES: Final = Composite("an object")
BYTES: Final = Composite("bytes")

Attributes = Mapping[str, object]


def resource_values(attributes: Attributes) -> dict[str, object]:
    """Return what all points of a resource share."""
    return {"resource": attributes, **{f"resource:{key}": value for key, value in attributes.items()}}


def metric_values(shared: Values, scope: str, name: str, unit: str) -> Values:
    """Return what all points of a metric share."""
    return merged(shared, {"scope": scope, "metric": name, "unit": unit})


def point(
    shared: Values,
    attributes: Attributes,
    own: Mapping[str, object],
    place: Place,
    *,
    time_ns: int,
    flags: int,
) -> Item | PassedOver:
    """Return the point of *own* values at *place*; 0 is no time."""
    if flags & NO_RECORDED_VALUE:
        return PASSED_OVER
    values = {f"attribute:{key}": value for key, value in attributes.items()}
    values |= {"attributes": attributes, "time": time_ns or None, **own}
    return Item(merged(shared, values), place)


def refused_kind(kind: str, temporality: int | None, place: Place) -> Refused | None:
    """Return why no point of a metric of *kind* can be counted; None where they can."""
    if kind == "summary":
        return Refused.at(place, "a summary: its quantiles cannot be added up. Send histograms")
    if temporality in (None, DELTA):
        return None
    if temporality == CUMULATIVE:
        return Refused.at(
            place,
            f"a cumulative {kind}: each point repeats all before it. Send deltas: "
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta in the SDK, or the processor cumulativetodelta in the Collector; "
            "of an up-down counter a gauge, by convert_sum_to_gauge() of the processor transform",
        )
    return Refused.at(
        place, f"a {kind} of aggregation temporality {temporality}: neither delta (1) nor cumulative (2)"
    )
