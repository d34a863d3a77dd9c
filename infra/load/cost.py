"""What a load costs on AWS, about: by the planner's own model and prices."""

from dataclasses import replace

from infra.aws.cost.load import Load, Weights
from infra.aws.cost.plan import make_plan
from infra.aws.cost.prices import load_prices
from infra.aws.cost.weigh import weigh
from streamgage.definition.pipeline import Pipeline, Source

_BLOCK_SHRINKS = 10  # cautious, as in `streamgage plan`
_KEYS = 20  # of a rollup that is not by the device: texts of a load, times its processes


def estimate_usd(
    pipeline: Pipeline,
    sources: tuple[Source, ...],
    *,
    events: int,
    rate_per_s: float,
    devices: int,
    senders: int,
) -> float:
    """Return the dollars of *events* at *rate_per_s*, with a stream and a table on demand. Reading them over is not in it."""
    prices, total = load_prices(), 0.0
    for source in sources:
        keys = {
            each.name: _KEYS * senders
            for each in pipeline.rollups_of(source.name)
            if source.partition_key not in each.key
        }
        weighed = weigh(pipeline, source, devices=devices, metrics=4, keys=keys)
        load = Load(
            events_per_s=rate_per_s / len(sources),
            devices=devices,
            rollups=weighed.rollups,
            weights=replace(
                Weights(),
                event_bytes=weighed.event_bytes,
                block_event_bytes=weighed.event_bytes / _BLOCK_SHRINKS,
            ),
            blocks=source.blocks,
            producers=senders,
        )
        plan = make_plan(load, prices)
        total += plan.on_demand.usd_per_million_events * events / len(sources) / 1e6
    return total
