"""The demo: the whole pipeline on this machine, and every total compared with what was sent."""

import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from infra.local.comparison import Items, ReadItems, compare, question_of, read_all_items
from infra.local.real_time import send_in_real_time
from infra.local.stack.drain import wait_drained
from infra.local.stack.home import Home, StackInfo
from infra.local.stack.leftovers import end_leftovers
from infra.local.stack.lock import Hold, hold
from infra.local.stack.prepare import make_home
from infra.local.stack.running import batch_lines, running
from infra.local.stack.supervisor import Code, StackOptions
from infra.local.stack.tables import Engine
from processors.pipeline_files import load_pipeline
from processors.query.answer import Answer, Shape, answer, answer_of
from processors.query.question import Question, ask
from processors.query.shape import Column
from processors.query.tabled import table_of
from producers.client.kinesis import connect
from producers.screen import Screen
from producers.simulators.fleet import FleetConfig, fleet_events
from producers.simulators.totals import Tally, Totals
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.definition.pipeline import Pipeline
from streamgage.formats.avro import Event
from streamgage.measures.windows import MAX_EVENT_TIME_MS
from streamgage.visible import visible

_DRAIN_S = 1_200
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """How much is sent. The fleet reads every second: about four one-minute windows a device and metric.

    An item holds some thirty keys of one window: all of them are a few hundred. With *keep* the stack runs on after that, and
    a small fleet and a few visitors send to it, until the person stops it.
    """

    home: Home
    pipeline: Path
    code: Code
    dynamodb: Engine
    readings: int = 200_000
    devices: int = 500
    clicks: int = 50_000
    visitors: int = 2_000
    seed: int = 2026
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What went in, and when."""

    totals: Totals
    events: int
    kinesis_records: int
    began_s: float
    ended_s: float


def demonstrate(options: DemoOptions) -> int:
    """Run the demo; 0 only where every total is what was sent. It empties its home first, and leaves no process behind."""
    home = options.home
    make_home(home)
    with hold(home.lock_file, "demo") as held:
        end_leftovers(home)
        _empty(home)
        return _demonstrate(options, held)


def _empty(home: Home) -> None:
    """Remove what the last demo left; the locks stay, for they are held."""
    for each in home.root.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        elif each not in (home.lock_file, home.update_lock_file):
            each.unlink()


def _demonstrate(options: DemoOptions, held: Hold) -> int:
    stays = False
    stack = StackOptions(
        options.home,
        options.pipeline,
        options.code,
        aws_port=0,
        kinesis_port=0,
        dynamodb=options.dynamodb,
        keep_tables=False,
    )
    console = Screen(width=None if sys.stdout.isatty() else 180)
    console.rule("streamgage demo")
    began_s = time.monotonic()
    try:
        with running(stack, held=held) as info:
            console.print(
                f"up after {time.monotonic() - began_s:.1f} s: Kinesis on {info.endpoints['kinesis']}, Lambda sandboxes, "
                f"DynamoDB on {info.endpoints['dynamodb']}"
            )
            _tell_page(console, info)
            is_exact = _compare(console, info, options)
            stays = is_exact and options.keep
            if stays:
                console.print("it goes on sending, some 70 events a second; Ctrl-C ends it")
                _tell_page(console, info)
                send_in_real_time(info, load_pipeline(options.pipeline), seed=options.seed)
    except KeyboardInterrupt:
        if not stays:
            raise
    return 0 if is_exact else 1


def _tell_page(console: Screen, info: StackInfo) -> None:
    if "http" in info.endpoints:
        console.print(f"page: {info.endpoints['http']}/", soft_wrap=True)


def _compare(console: Screen, info: StackInfo, options: DemoOptions) -> bool:
    """Send, and tell whether every total is what was sent; and then what an analyst would ask."""
    pipeline = load_pipeline(options.pipeline)
    sent = _send(console, info, pipeline, options)
    drained_s = _drain(console, options.home, sent)
    items = read_all_items(info)
    differences = compare(pipeline, items, sent.totals)
    _figures(console, options.home, sent, drained_s, items=len(items))
    rows = sum(len(each) for each in sent.totals.values())
    if differences:
        for line in differences[:20]:
            console.print(Text.assemble(("different", "red"), f" {visible(line)}"))
        console.print(Text.assemble((f"{len(differences):,} differences", "bold red"), f" in {rows:,} rows"))
        return False
    console.print(
        Text.assemble(
            ("exact", "bold green"),
            f": all {rows:,} rows (key and window), each with every measure, equal the simulators' own totals of "
            f"{sent.events:,} events",
        )
    )
    _show(console, pipeline, items, sent.totals)
    return True


def _send(console: Screen, info: StackInfo, pipeline: Pipeline, options: DemoOptions) -> Sent:
    fleet = FleetConfig(
        devices=options.devices,
        events=options.readings,
        seed=options.seed,
        start_ms=0,
        period_ms=1_000,
        metrics=2,
    )
    until_ms = time.time_ns() // 1_000_000 // 60_000 * 60_000 - 60_000
    fleet = replace(fleet, start_ms=until_ms - fleet.span_ms)  # the page looks at the last hour first
    visitors = VisitorsConfig(
        visitors=options.visitors,
        events=options.clicks,
        seed=options.seed,
        start_ms=until_ms - _HOUR_MS,
        span_ms=_HOUR_MS,
    )
    events: Iterator[tuple[str, Event]] = chain(
        (("reading", event) for event in fleet_events(fleet)),
        (("click", event) for event in visitor_events(visitors)),
    )
    tally, total = Tally(pipeline), options.readings + options.clicks
    producer = connect(
        info.stream,
        endpoint_url=info.endpoints["kinesis"],
        region=info.region,
        credentials=info.credentials,
    )
    began_s = time.monotonic()
    with _progress(console) as progress, producer:
        task = progress.add_task("sending", total=total)
        for number, (source, event) in enumerate(events, start=1):
            producer.send(pipeline.sources[source], event)
            tally.add(source, event)
            if number % 1_000 == 0:
                progress.update(task, completed=number)
        producer.flush()
        progress.update(task, completed=total)
    return Sent(tally.totals, total, producer.stats.entries_stored, began_s, time.monotonic())


def _drain(console: Screen, home: Home, sent: Sent) -> float:
    with _progress(console) as progress:
        task = progress.add_task("applying", total=sent.kinesis_records)

        def show(status: dict[str, object]) -> None:
            counters = status.get("counters")
            if isinstance(counters, dict):
                progress.update(task, completed=counters["records_invoked"])

        wait_drained(home, seconds=_DRAIN_S, on_status=show)
    return time.monotonic()


def _progress(console: Screen) -> Progress:
    return Progress(
        TextColumn("{task.description:>9}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _show(console: Screen, pipeline: Pipeline, items: Items, totals: Totals) -> None:
    """Show what an analyst would ask, as ``streamgage query`` answers it: one device, and the pages looked at most."""
    store, rollup = ReadItems(items), pipeline.rollups["device_metrics"]
    device, metric = min(key for key, _, _ in totals[rollup.name])
    question = question_of(pipeline, rollup, (device, metric), rollup.windows[0].label)
    _tell(
        console, question, answer_of(question, ask(store, question, applied_ms=MAX_EVENT_TIME_MS, now_ms=0)),
        f"device_metrics device_id={device} metric={metric} --window {question.windows.label}",
    )  # fmt: skip
    label = pipeline.rollups["page_views"].windows[-1].label
    question = Question.parse(
        pipeline, rollup="page_views", key={}, window=label, from_ms=0, to_ms=MAX_EVENT_TIME_MS, total=True
    )
    shape = Shape(top=5, by=Column.parse(question.rollup, "events"))
    _tell(
        console, question, answer(store, question, shape, applied_ms=MAX_EVENT_TIME_MS, now_ms=0),
        f"page_views --window {label} --top 5 --by events",
    )  # fmt: skip


def _tell(console: Screen, question: Question, given: Answer, asked: str) -> None:
    console.print(Text.assemble(("$ ", "dim"), f"streamgage query {asked}"))
    table, said = table_of(question, given, width=console.width, asked=("events",))
    console.print(table)
    for each in said:
        console.print(each)


def _figures(console: Screen, home: Home, sent: Sent, drained_s: float, *, items: int) -> None:
    batches = list(batch_lines(home))
    elapsed_s = drained_s - sent.began_s
    behind = [each["behind_ms"] / 1000 for each in batches]
    cpu_us = (
        sum(each["cpu_ms"] for each in batches) * 1000 / max(sum(each["user_records"] for each in batches), 1)
    )
    console.print(
        f"{sent.events:,} events in {sent.kinesis_records:,} Kinesis records; sent in {sent.ended_s - sent.began_s:.1f} s, "
        f"all applied after {elapsed_s:.1f} s: {sent.events / elapsed_s:,.0f} events/s end to end"
    )
    console.print(
        f"{len(batches)} batches, {items:,} items, {sum(each['writes'] for each in batches):,} writes; "
        f"freshness (oldest event's arrival to the end of its batch): median {statistics.median(behind):.1f} s, "
        f"longest {max(behind):.1f} s; {cpu_us:.0f} µs of CPU an event in the function"
    )
