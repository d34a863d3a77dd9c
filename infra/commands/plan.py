"""``streamgage plan``: what a load needs on AWS, what it costs, and what to beware of."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.aws.cost.chunks import REFERENCE_BYTES
from infra.aws.cost.load import Load, Questions, RollupLoad, Speeds, Weights
from infra.commands.arguments import Verbs, add_verb
from producers.terminal import data_out
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.limits import ESM_BATCH_RECORDS

if TYPE_CHECKING:
    from infra.aws.cost.prices import PriceTable

EXAMPLES = """examples:
  streamgage plan --events-per-s 30000 --devices 10000
  streamgage plan --events-per-s 30000 --devices 10000 --windows 1m,1h,1d --freshness-s 120 --blocks
  streamgage plan --events-per-s 500 --devices 200 --pipeline pipeline.toml --source reading
  streamgage plan --events-per-s 30000 --devices 10000 --shards 4 --batching-window-s 30 --format json
  streamgage plan --events-per-s 30000 --devices 10000 --plot cost.svg
  streamgage plan --events-per-s 30000 --devices 10000 --questions-per-s 2 --question-units 4
  streamgage plan --events-per-s 3000 --devices 10000 --by-http 20

Without --pipeline it plans for readings of devices x metrics with all eight measures, kept 90 days. Prices are list prices
of infra/aws/cost/prices.toml, without free tier; formulas and what they leave out: docs/cost.md."""
_ITEM_KEEP = "90d"
_BLOCK_SHRINKS = 10  # cautious: the readings of the reference load shrink to a fourteenth

_MOST = 10**12  # of whatever is counted or measured: what is more is a slip, or no number


def add_parser(verbs: Verbs) -> None:
    """Add ``plan``."""
    parser = add_verb(
        verbs,
        "plan",
        "plan shards, batching and cost of a load",
        description="Say what a load needs on AWS, what it costs a month and a million events, and what to beware of.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--events-per-s", type=float, required=True, help="the average rate of all devices")
    parser.add_argument("--devices", type=int, required=True, help="how many partition keys send")
    parser.add_argument("--metrics", type=int, default=3, help="keys a device; default: 3")
    parser.add_argument(
        "--windows", metavar="SIZES", help="without --pipeline: such as 1m,1h,1d; default: 1m"
    )
    parser.add_argument("--keep", help=f"without --pipeline: how long items are kept; default: {_ITEM_KEEP}")
    parser.add_argument("--pipeline", metavar="PATH", help="take event and item sizes and windows from it")
    parser.add_argument("--source", metavar="NAME", help="which source of it; needed where it has several")
    parser.add_argument(
        "--keys",
        metavar="ROLLUP=N",
        action="append",
        default=[],
        help="how many keys a rollup has, again for each",
    )
    parser.add_argument(
        "--groups",
        metavar="ROLLUP=N",
        action="append",
        default=[],
        help="how many values the fields have that keep its keys together, again for each",
    )
    parser.add_argument("--event-bytes", type=float, help="of a user record; default: measured")
    parser.add_argument("--blocks", action="store_true", help="producers send compressed blocks of events")
    parser.add_argument("--block-event-bytes", type=float, help="of an event in a block; default: measured")
    parser.add_argument("--no-aggregation", action="store_true", help="each event is a Kinesis record")
    parser.add_argument(
        "--linger-s", type=float, default=0.1, help="producers wait for company; default: 0.1"
    )
    parser.add_argument("--producers", type=int, default=1, help="processes that send; default: 1")
    parser.add_argument(
        "--hottest-share", type=float, help="the part of all events that the busiest device sends"
    )
    parser.add_argument(
        "--peak", type=float, default=1.5, help="the peak rate over the average; default: 1.5"
    )
    parser.add_argument(
        "--freshness-s", type=float, default=60.0, help="from event to aggregate; default: 60"
    )
    parser.add_argument("--shards", type=int, help="default: the cheapest number that carries the peak")
    parser.add_argument("--batching-window-s", type=int, help="default: the longest that keeps the freshness")
    parser.add_argument("--batch-size", type=int, default=ESM_BATCH_RECORDS)
    parser.add_argument("--parallelization-factor", type=int, default=1)
    parser.add_argument("--memory-mb", type=int, default=512)
    parser.add_argument("--timeout-s", type=int, default=60)
    parser.add_argument(
        "--event-us", type=float, default=Speeds().event_us, help="CPU of the function an event"
    )
    parser.add_argument(
        "--conflicts", type=float, default=0.0, help="part of writes that meet another sandbox's; default: 0"
    )
    asked = Questions()
    parser.add_argument(
        "--questions-per-s", type=float, default=0.0, help="over HTTP, of all callers together; default: 0"
    )
    parser.add_argument(
        "--question-units",
        type=float,
        default=asked.read_units,
        help="read units of a question; default: %(default)g, a day by the minute, of one of 10,000 keys",
    )
    parser.add_argument(
        "--question-ms",
        type=float,
        default=asked.ms,
        help="of the function, a question; default: %(default)g",
    )
    parser.add_argument(
        "--question-bytes", type=float, default=asked.answer_bytes, help="of an answer; default: %(default)g"
    )
    parser.add_argument(
        "--by-page", action="store_true", help="questions come by the page's CloudFront (Page=true)"
    )
    parser.add_argument("--api-memory-mb", type=int, default=asked.memory_mb, help="default: %(default)s")
    parser.add_argument(
        "--by-http",
        type=float,
        default=0.0,
        metavar="N",
        help="all events come by the collector, N a request; default: none do",
    )
    parser.add_argument(
        "--listeners",
        type=float,
        default=0.0,
        help="WebSocket connections that hear of changes, on average; default: 0",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw cost over batching window (.svg, .png)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    from infra.aws.cost.collector import Collected
    from infra.aws.cost.plan import make_plan
    from infra.aws.cost.prices import load_prices

    prices = load_prices()
    plan = make_plan(load_of(arguments), prices, questions_of(arguments), Collected(arguments.by_http))
    if arguments.format == "json":
        print(json.dumps({**plan.to_json(), "prices": _about(prices)}, indent=1), file=data_out())
    else:
        from infra.aws.cost.render import render_plan

        print(render_plan(plan, prices))
    if arguments.plot:
        from infra.aws.cost.plot import plot_curve

        plot_curve(plan, arguments.plot)
        print(f"plot: {arguments.plot}", file=sys.stderr)
    return 0


def load_of(arguments: argparse.Namespace) -> Load:
    """Return the load that the command line describes. Raises: ConfigError, with every problem of it."""
    problems = [
        f"--{name.replace('_', '-')} {value}: a number from 0 to {_MOST:,}"
        for name, value in vars(arguments).items()
        if isinstance(value, int | float) and not 0 <= value <= _MOST
    ]
    if problems:
        raise ConfigError(*problems)
    if arguments.devices < 1 or arguments.metrics < 1:
        raise ConfigError("--devices and --metrics are at least 1")
    event_bytes, rollups = _weighed(arguments) if arguments.pipeline else _reference(arguments)
    usual = Weights()
    return Load(
        events_per_s=arguments.events_per_s,
        devices=arguments.devices,
        rollups=rollups,
        weights=Weights(
            event_bytes=event_bytes if arguments.event_bytes is None else arguments.event_bytes,
            block_event_bytes=arguments.block_event_bytes
            or (event_bytes / _BLOCK_SHRINKS if arguments.pipeline else usual.block_event_bytes),
        ),
        speeds=Speeds(event_us=arguments.event_us),
        blocks=arguments.blocks,
        aggregated=not arguments.no_aggregation,
        hottest_share=arguments.hottest_share,
        freshness_s=arguments.freshness_s,
        shards=arguments.shards,
        batching_window_s=arguments.batching_window_s,
        batch_size=arguments.batch_size,
        parallelization_factor=arguments.parallelization_factor,
        memory_mb=arguments.memory_mb,
        timeout_s=arguments.timeout_s,
        linger_s=arguments.linger_s,
        peak=arguments.peak,
        producers=arguments.producers,
        conflicts=arguments.conflicts,
    )


def questions_of(arguments: argparse.Namespace) -> Questions:
    """Return the questions that the command line describes. Raises: ConfigError."""
    return Questions(
        per_s=arguments.questions_per_s,
        read_units=arguments.question_units,
        ms=arguments.question_ms,
        memory_mb=arguments.api_memory_mb,
        answer_bytes=arguments.question_bytes,
        by_page=arguments.by_page,
        listeners=arguments.listeners,
    )


def _reference(arguments: argparse.Namespace) -> tuple[float, tuple[RollupLoad, ...]]:
    if arguments.source or arguments.keys or arguments.groups:
        raise ConfigError("--source, --keys and --groups are about a definition: give --pipeline too")
    try:
        windows_ms = tuple(parse_duration(each) for each in (arguments.windows or "1m").split(","))
        keep_ms = parse_duration(arguments.keep or _ITEM_KEEP)
    except ValueError as error:
        raise ConfigError(f"--windows {arguments.windows}, --keep {arguments.keep}: {error}") from error
    if not all(windows_ms) or not keep_ms:
        raise ConfigError("--windows and --keep are longer than 0")
    rollup = RollupLoad(
        name="device_metrics",
        keys=arguments.devices * arguments.metrics,
        windows_ms=windows_ms,
        bytes=REFERENCE_BYTES,
        keep_s=keep_ms / 1000,
    )
    return Weights().event_bytes, (rollup,)


def _weighed(arguments: argparse.Namespace) -> tuple[float, tuple[RollupLoad, ...]]:
    from infra.aws.cost.weigh import choose_source, weigh
    from processors.pipeline_files import load_pipeline

    if arguments.windows or arguments.keep:
        raise ConfigError(
            "--windows and --keep stand in the definition: leave them out, or leave --pipeline out"
        )
    pipeline = load_pipeline(Path(os.path.expanduser(arguments.pipeline)))  # noqa: PTH111 - Path.expanduser raises
    source = choose_source(pipeline, arguments.source)
    weighed = weigh(
        pipeline,
        source,
        devices=arguments.devices,
        metrics=arguments.metrics,
        keys=_counts("--keys", arguments.keys),
        groups=_counts("--groups", arguments.groups),
    )
    return weighed.event_bytes, weighed.rollups


def _counts(option: str, texts: list[str]) -> dict[str, int]:
    counts = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not name or not number.isdecimal():
            raise ConfigError(f"{option} {text}: write ROLLUP=NUMBER")
        counts[name] = int(number)
    return counts


def _about(prices: "PriceTable") -> dict[str, object]:
    return {"region": prices.region, "checked": prices.checked, "unconfirmed": prices.unconfirmed}
