"""``streamgage simulate``: telemetry of a fleet of devices or of a web site's visitors, to the stream."""

import argparse
import math
from collections.abc import Iterable

from infra.commands.arguments import Verbs, add_stream_options, add_verb
from infra.commands.sending import progress_of, sink_opener, source_of
from infra.commands.world import World, real_world
from processors.pipeline_files import load_pipeline
from producers.files.stop import Patience
from producers.files.times import time_parser
from producers.simulators.fleet import SENSORS, FleetConfig, fleet_events
from producers.simulators.simulate import SimulateJob, simulate
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event

_SIMULATE_EPILOG = """
The same seed and options give the same events. --start is the first event's time; without it (or with "now") the
simulated time ends now: events later than now would be quarantined. --totals writes what a query should answer.
"""
_FLEET_EXAMPLE = """examples:
  streamgage simulate fleet --devices 500 --events 200000 --seed 1 --period 10s --totals totals.json
  streamgage simulate fleet --devices 3 --events 90 --rate 3/s
  streamgage simulate fleet --devices 3 --events 90 --target aws --stack plant-7
  streamgage simulate fleet --devices 10 --events 1000 --start 2024-01-01 --out readings.ndjson
"""
_VISITORS_EXAMPLE = """examples:
  streamgage simulate visitors --visitors 2000 --events 50000 --seed 1
"""


def add_parser(verbs: Verbs, *, world: World | None = None) -> None:
    """Add ``simulate`` and what it simulates. *world* is this process's own unless a test brings another."""
    simulation = add_verb(
        verbs, "simulate", "send simulated telemetry", epilog=_SIMULATE_EPILOG, allow_abbrev=False
    )
    kinds = simulation.add_subparsers(title="what", required=True, metavar="WHAT")
    fleet = add_verb(
        kinds,
        "fleet",
        "readings of a fleet of devices",
        epilog=_FLEET_EXAMPLE + _SIMULATE_EPILOG,
        allow_abbrev=False,
    )
    fleet.add_argument("--devices", type=int, default=500, metavar="N", help="(500)")
    fleet.add_argument("--events", type=int, default=200_000, metavar="N", help="readings in all (200000)")
    fleet.add_argument(
        "--metrics", type=int, default=3, metavar="N", help=f"a device, 1 to {len(SENSORS)} (3)"
    )
    fleet.add_argument("--period", default="10s", metavar="T", help="between two readings of a metric (10s)")
    fleet.add_argument(
        "--late-share", type=float, default=0.02, metavar="X", help="share out of order (0.02)"
    )
    fleet.add_argument("--late-by", default="2m", metavar="T", help="how far behind those are at most (2m)")
    fleet.set_defaults(run=lambda args: run_fleet(args, world or real_world()))
    visitors = add_verb(
        kinds,
        "visitors",
        "clicks of a web site's visitors",
        epilog=_VISITORS_EXAMPLE + _SIMULATE_EPILOG,
        allow_abbrev=False,
    )
    visitors.add_argument("--visitors", type=int, default=2_000, metavar="N", help="(2000)")
    visitors.add_argument("--events", type=int, default=50_000, metavar="N", help="clicks in all (50000)")
    visitors.add_argument("--pages", type=int, default=200, metavar="N", help="of the site (200)")
    visitors.add_argument("--span", default="6h", metavar="T", help="simulated time, about (6h)")
    visitors.set_defaults(run=lambda args: run_visitors(args, world or real_world()))
    for parser in (fleet, visitors):
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="(1)")
        parser.add_argument("--start", default="now", metavar="TIME", help="ISO 8601 (so that it ends now)")
        parser.add_argument("--rate", metavar="N/s", help="at most so many events a second (no limit)")
        parser.add_argument("--totals", metavar="PATH", help="write the expected totals as JSON")
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--dry-run", action="store_true", help="generate and encode; send nothing")
        where.add_argument("--out", metavar="PATH", help="write NDJSON there; send nothing")
        add_stream_options(parser)


def run_fleet(args: argparse.Namespace, world: World) -> int:
    """Run `streamgage simulate fleet`; return the exit code. Raises: ConfigError."""
    start_ms = _start_ms(args.start)

    def config(start_ms: int) -> FleetConfig:
        return FleetConfig(
            devices=args.devices,
            events=args.events,
            seed=args.seed,
            start_ms=start_ms,
            period_ms=_duration("--period", args.period),
            metrics=args.metrics,
            late_share=args.late_share,
            late_by_ms=_duration("--late-by", args.late_by),
        )

    fleet = config(start_ms or 0)
    if start_ms is None:
        fleet = config(world.clock.now_ms() - fleet.span_ms)
    return _run(args, "reading", fleet_events(fleet), world)


def run_visitors(args: argparse.Namespace, world: World) -> int:
    """Run `streamgage simulate visitors`; return the exit code. Raises: ConfigError."""
    start_ms = _start_ms(args.start)

    def config(start_ms: int) -> VisitorsConfig:
        return VisitorsConfig(
            visitors=args.visitors,
            events=args.events,
            seed=args.seed,
            start_ms=start_ms,
            span_ms=_duration("--span", args.span),
            pages=args.pages,
        )

    visitors = config(start_ms or 0)
    if start_ms is None:  # how long the visits take is known once they are over: so they take place twice
        last_ms = max(event["ts"] for event in visitor_events(visitors))
        visitors = config(world.clock.now_ms() - last_ms - 1)
    return _run(args, "click", visitor_events(visitors), world)


def _run(args: argparse.Namespace, source: str, events: Iterable[Event], world: World) -> int:
    pipeline = load_pipeline(world.pipeline_path(args.pipeline))
    source_of(pipeline, source)
    offline = args.dry_run or args.out
    job = SimulateJob(
        pipeline=pipeline,
        source=source,
        events=events,
        totals_path=world.folder / args.totals if args.totals else None,
        out_path=world.folder / args.out if args.out else None,
        undelivered=world.folder / f"simulated-{source}.undelivered.ndjson",
        rate_per_s=_rate(args.rate),
        open_sink=None if offline else sink_opener(args, world),
        warn=world.warn,
    )
    return simulate(
        job,
        patience=Patience(world.clock, world.stop),
        noting=lambda: world.noting(world.stop),
        progress=progress_of(world, f"simulate {source}", args.events),
        out=world.out,
    )


def _duration(option: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}") from error


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < math.inf:
        raise ConfigError(f"--rate {text}: events a second, such as 100/s")
    return rate


def _start_ms(text: str) -> int | None:
    if text == "now":
        return None
    try:
        return time_parser()(text)
    except ValueError as error:
        raise ConfigError(f"--start {text}: {error}") from error
