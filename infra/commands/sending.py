"""From parsed arguments to jobs: what each subcommand of `streamgage send` and `streamgage simulate` does."""

import argparse
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from infra.commands.places import aws_stack, find_aws_target, find_target
from infra.commands.send_files import read_options
from infra.commands.world import World
from producers.files.delivery import Sink
from producers.files.follow import Follow, PositionFile
from producers.files.inputs import find_files
from producers.files.lines import read_lines
from producers.files.progress import Progress, show_progress
from producers.files.send import SendJob, send_tables, send_undelivered
from producers.files.tables import FileTables
from producers.files.times import time_parser
from producers.files.verdict import ConsumerRules
from producers.simulators.fleet import FleetConfig, fleet_events
from producers.simulators.simulate import SimulateJob, simulate
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.definition.pipeline import Pipeline, Source
from streamgage.definition.pipeline_toml import load_pipeline
from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.formats.avro import Event


def run_send(args: argparse.Namespace, kind: str, world: World) -> int:
    """Run `streamgage send csv|ndjson|access-log`; return the exit code. Raises: ConfigError."""
    pipeline = load_pipeline(world.pipeline_path(args.pipeline))
    source = _source(pipeline, args.source)
    maps, constants = _check_send(args)
    options = read_options(args, kind, maps, constants)
    names = find_files(args.file, world.folder)
    base = "stdin" if names == ["-"] else Path(names[0]).name if len(names) == 1 else kind
    follow = position = None
    if args.follow:
        position = PositionFile(world.folder / f"{base}.position.json")
        follow = Follow(world.folder / names[0], position.load(), clock=world.clock)
        position = None if args.dry_run else position
    with ExitStack() as stack:
        stdin = world.stdin
        if args.shift_to_now and names == ["-"]:
            stdin = _spooled(world, stack)
        tables = FileTables(
            names, options, source, folder=world.folder, stdin=stdin, warn=world.warn, follow=follow
        )
        tables.check()
        job = SendJob(
            source=source,
            rejects=world.folder / (args.rejects or f"{base}.rejects.ndjson"),
            undelivered=world.folder / f"{base}.undelivered.ndjson",
            limit=args.limit,
            shift_to_now=args.shift_to_now,
            speed=args.speed,
            open_sink=None if args.dry_run else _sink_opener(args, world),
            warn=world.warn,
            rules=ConsumerRules(pipeline, source),
            follow=follow,
            position=position,
        )
        return send_tables(
            job, tables, clock=world.clock, progress=_progress(world, base, tables.total_bytes), out=world.out
        )


def run_send_undelivered(args: argparse.Namespace, world: World) -> int:
    """Run `streamgage send undelivered`; return the exit code. Raises: ConfigError."""
    with ExitStack() as stack:
        stream, name = _open(args.file, world, stack)
        sink = stack.enter_context(_sink_opener(args, world)())
        base = "stdin" if args.file == "-" else Path(args.file).name
        return send_undelivered(
            read_lines(stream, name),
            name=name,
            sink=sink,
            rejects=world.folder / (args.rejects or f"{base}.rejects.ndjson"),
            undelivered=world.folder / base,  # it is there, so a second failure makes …-2.ndjson
            out=world.out,
            warn=world.warn,
        )


def run_simulate_fleet(args: argparse.Namespace, world: World) -> int:
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
    return _run_simulate(args, "reading", fleet_events(fleet), world)


def run_simulate_visitors(args: argparse.Namespace, world: World) -> int:
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
    return _run_simulate(args, "click", visitor_events(visitors), world)


def _run_simulate(args: argparse.Namespace, source: str, events: Iterable[Event], world: World) -> int:
    pipeline = load_pipeline(world.pipeline_path(args.pipeline))
    _source(pipeline, source)
    offline = args.dry_run or args.out
    job = SimulateJob(
        pipeline=pipeline,
        source=source,
        events=events,
        totals_path=world.folder / args.totals if args.totals else None,
        out_path=world.folder / args.out if args.out else None,
        undelivered=world.folder / f"simulated-{source}.undelivered.ndjson",
        rate_per_s=_rate(args.rate),
        open_sink=None if offline else _sink_opener(args, world),
        warn=world.warn,
    )
    return simulate(
        job, clock=world.clock, progress=_progress(world, f"simulate {source}", args.events), out=world.out
    )


def _sink_opener(args: argparse.Namespace, world: World) -> Callable[[], AbstractContextManager[Sink]]:
    name = aws_stack(args)
    if name is not None:
        by_itself = [f"--{each}" for each in ("stream", "endpoint-url") if vars(args)[each.replace("-", "_")]]
        if by_itself:
            raise ConfigError(
                f"{' and '.join(by_itself)} beside --target aws: the stack's own stream is meant, or another"
            )
        target = find_aws_target(name, region=args.region)
    else:
        target = find_target(
            stream=args.stream,
            endpoint_url=args.endpoint_url,
            region=args.region,
            environ=world.environ,
            folder=world.folder,
        )
    if args.one_key_per_record:
        target = replace(target, one_key_per_record=True)

    def open_sink() -> AbstractContextManager[Sink]:
        print(f"sending to {target}", file=world.err)
        return world.open_sink(target)

    return open_sink


def _progress(world: World, label: str, total: int | None) -> Progress:
    return show_progress(label, total, out=world.err, now_ms=world.clock.now_ms)


def _source(pipeline: Pipeline, name: str) -> Source:
    source = pipeline.sources.get(name)
    if source is None:
        raise ConfigError(
            f"the pipeline has no source {name!r}; its sources are {', '.join(pipeline.sources)}"
        )
    return source


def _check_send(args: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    problems: list[str] = []
    maps = _pairs("--map", args.map, problems)
    constants = _pairs("--set", args.set, problems)
    if args.limit is not None and args.limit < 1:
        problems.append(f"--limit {args.limit}: at least 1")
    if args.speed is not None and not (0 < args.speed < math.inf):
        problems.append(f"--speed {args.speed}: a number above 0; 1 is as fast as it was recorded")
    if problems:
        raise ConfigError(*problems)
    return maps, constants


def _pairs(option: str, texts: Sequence[str], problems: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or (option == "--map" and not value):
            problems.append(
                f"{option} {text}: write {option} FIELD={'COLUMN' if option == '--map' else 'VALUE'}"
            )
        elif name in pairs:
            problems.append(f"{option} {text}: {name} is given twice")
        pairs[name] = value
    return pairs


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


def _open(file: str, world: World, stack: ExitStack) -> tuple[BinaryIO, str]:
    """Return the opened file, and its name in messages."""
    if file == "-":
        return world.stdin, "standard input"
    path = world.folder / file
    try:
        return stack.enter_context(path.open("rb")), file
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from error


def _spooled(world: World, stack: ExitStack) -> BinaryIO:
    """Return standard input in a file, so that it can be read twice."""
    spool = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    shutil.copyfileobj(world.stdin, spool)
    spool.seek(0)
    return spool
