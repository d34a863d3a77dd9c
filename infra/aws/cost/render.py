"""A plan for people: text, no wider than a terminal."""

from collections.abc import Iterator

from infra.aws.cost.plan import Plan
from infra.aws.cost.prices import PriceTable


def render_plan(plan: Plan, prices: PriceTable) -> str:
    """Return *plan* as text."""
    return "\n".join(
        [
            *_shape(plan),
            *_together(plan),
            *_bill(plan),
            *_collector(plan),
            *_questions(plan),
            *_live(plan),
            *_curve(plan),
            *_paste(plan),
            *_warnings(plan),
            *_notes(prices),
        ]
    )


def _shape(plan: Plan) -> Iterator[str]:
    load, flow = plan.load, plan.flow
    events = load.events_per_s
    form = "blocks" if load.blocks else "aggregated records" if load.aggregated else "plain records"
    yield f"{events:,.0f} events/s of {load.devices:,} devices, in {form}; peak {load.peak:g} x"
    for name, value in (
        ("shards", f"{flow.shards:,}"),
        (
            "a batch",
            f"{flow.batch_s:.1f} s, {flow.batch_events:,.0f} events, {flow.batch_payload_bytes / 1e6:.2f} MB",
        ),
        ("ended by", flow.bound),
        (
            "an invocation",
            f"{flow.duration_s:.2f} s at {load.memory_mb} MB, {flow.batch_keys:,.0f} states in {flow.batch_writes:,.0f} items",
        ),
        ("freshness", f"{flow.freshness_s:.0f} s at most"),
        (
            "write units",
            f"{flow.write_units_per_s:,.0f}/s, {flow.write_units_per_s / events * 1e6:,.0f} a million events",
        ),
        (
            "stored",
            f"{flow.stored_items / 1e6:,.1f} million items, {flow.stored_bytes / 2**30:,.0f} GB when full",
        ),
    ):
        yield f"  {name:14} {value}"


def _together(plan: Plan) -> Iterator[str]:
    million_s = 1e6 / plan.load.events_per_s
    for each in plan.together:
        together, apart = each.together, each.apart
        yield ""
        yield f"{each.rollup}: {each.keys:,.3g} keys of one {', '.join(each.fields)} together, beside each by itself"
        for name, ours, other, unit in (
            (
                "write units",
                together.write_units_per_s * million_s,
                apart.write_units_per_s * million_s,
                "a million events, at most",
            ),
            ("stored", together.stored_bytes / 2**30, apart.stored_bytes / 2**30, "GB when full"),
            ("an item", together.item_bytes, apart.item_bytes, "bytes"),
        ):
            yield f"  {name:14} {_short(ours)} instead of {_short(other)} {unit} ({ours / other - 1:+.0%})"
        read = f"{_short(together.read_items)} items a window and lane instead of {_short(apart.read_items)}"
        yield f"  {'a question':14} about one {', '.join(each.fields)} reads {read}"


def _short(number: float) -> str:
    return f"{number:,.1f}" if number < 100 else f"{number:,.0f}"


def _bill(plan: Plan) -> Iterator[str]:
    yield ""
    yield f"{'$ a month':42} {'provisioned':>12} {'on-demand':>12}"
    amounts: dict[str, list[float]] = {}
    for column, each in enumerate((plan.provisioned, plan.on_demand)):
        for line in each.lines:
            amounts.setdefault(f"{line.service}: {line.what}", [0.0, 0.0])[column] = line.usd
    for name, pair in amounts.items():
        if any(pair):
            yield f"  {name:40} {pair[0]:12,.2f} {pair[1]:12,.2f}"
    yield f"  {'total':40} {plan.provisioned.usd:12,.2f} {plan.on_demand.usd:12,.2f}"
    ours, other = plan.provisioned.usd_per_million_events, plan.on_demand.usd_per_million_events
    yield f"  {'$ a million events':40} {ours:12.4f} {other:12.4f}"


def _questions(plan: Plan) -> Iterator[str]:
    questions, asked = plan.questions, plan.asked
    if not questions.per_s:
        return
    yield ""
    yield (
        f"questions over HTTP: {questions.per_s:g}/s, each {questions.read_units:,.0f} read units and {questions.ms:,.0f} ms "
        f"at {questions.memory_mb} MB"
    )
    for line in asked.lines:
        yield f"  {f'{line.service}: {line.what}':40} {line.usd:12,.2f}"
    yield f"  {'total':40} {asked.usd:12,.2f}"
    yield f"  {'$ a million questions':40} {asked.usd_per_million_events:12.2f}"
    yield f"  sandboxes at work: {questions.sandboxes:.1f} on average; read units: {questions.per_s * questions.read_units:,.0f}/s"


def _collector(plan: Plan) -> Iterator[str]:
    if not plan.collected.events:
        return
    yield ""
    yield f"all of it by the collector, {plan.collected.events:g} events a request, each request with a key of its own"
    for line in plan.collecting.lines:
        yield f"  {f'{line.service}: {line.what}':40} {line.usd:12,.2f}"
    yield f"  {'total':40} {plan.collecting.usd:12,.2f}"
    yield f"  {'$ a million events':40} {plan.collecting.usd_per_million_events:12.4f}"


def _live(plan: Plan) -> Iterator[str]:
    yield ""
    listeners = plan.questions.listeners
    yield f"live updates, heard by {listeners:g} (LiveUpdates=false: none of it)"
    for line in plan.live.lines if listeners else ():
        yield f"  {f'{line.service}: {line.what}':40} {line.usd:12,.2f}"
    yield f"  {'total':40} {plan.live.usd:12,.2f}"


def _curve(plan: Plan) -> Iterator[str]:
    yield ""
    yield f"batching window at {plan.flow.shards:,} shards"
    yield f"  {'asked':>6} {'batch covers':>13} {'write units/M':>14} {'$/M events':>11}"
    most = max((each.bill.usd_per_million_events for each in plan.curve), default=0) or 1
    for each in plan.curve:
        usd = each.bill.usd_per_million_events
        units = each.flow.write_units_per_s / plan.load.events_per_s * 1e6
        mark = "<" if each.batching_window_s == plan.batching_window_s else " "
        bar = "█" * max(1, round(30 * usd / most))
        yield f"  {each.batching_window_s:4} s {each.flow.batch_s:11.1f} s {units:14,.0f} {usd:11.4f} {mark} {bar}"


def _paste(plan: Plan) -> Iterator[str]:
    yield ""
    yield "parameters of infra/template/template.yaml"
    yield "  " + " ".join(f"{name}={value}" for name, value in plan.parameters.items())
    if plan.load.parallelization_factor == 1:
        yield "  ParallelizationFactor 1: order holds a shard, and progress costs one write a batch; add shards instead"
    capacity = plan.capacity
    if capacity.parameters:
        told = " ".join(f"{name}={value}" for name, value in capacity.parameters.items())
        yield (
            f"  {told}: reads and writes for {capacity.usd:,.2f} instead of {capacity.on_demand_usd:,.2f} "
            f"({capacity.usd / capacity.on_demand_usd - 1:+.0%})"
        )
        yield f"    if the load stays within {plan.load.peak:g} x the average and rises over minutes; analysts' reads are not in it"


def _warnings(plan: Plan) -> Iterator[str]:
    if plan.warnings:
        yield ""
    yield from (f"warning: {each}" for each in plan.warnings)


def _notes(prices: PriceTable) -> Iterator[str]:
    yield ""
    yield f"list prices of {prices.region}, {prices.checked}, without free tier"
    yield f"unconfirmed: {', '.join(prices.unconfirmed)}"
