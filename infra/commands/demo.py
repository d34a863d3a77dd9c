"""``streamgage demo``: the whole pipeline on this machine, and every total compared with what was sent."""

import argparse
import json
import os
import shutil
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra.commands.code import CODE
from infra.local.stack.drain import wait_drained
from infra.local.stack.home import Home, StackInfo
from infra.local.stack.supervisor import Stack, StackOptions, local_client
from infra.local.stack.tables import Engine
from processors.aggregate.progress import SHARDS_PK
from processors.query.question import Question, Row, ask
from processors.query.render import cells, columns, number_text
from processors.sink.dynamodb import stored_item
from producers.client.kinesis import connect
from producers.simulators.fleet import FleetConfig, fleet_events
from producers.simulators.totals import FieldTotals, Tally, Totals
from producers.simulators.visitors import VisitorsConfig, visitor_events
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.definition.pipeline_toml import load_pipeline
from streamgage.fold.items import StoredItem, window_start_ms
from streamgage.formats.avro import Event
from streamgage.measures.windows import MAX_EVENT_TIME_MS

_DRAIN_S = 1_200  # DynamoDB Local syncs every write: 50 to 100 a second on a laptop
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How much is sent. The fleet reads every second: about four one-minute windows a device and metric.

    The emulator writes several hundred items a second, on the cores that everything else runs on too; that, not the
    number of events, bounds the demo. So windows and batches are chosen for some 15,000 items in all.
    """

    home: Home
    readings: int = 200_000
    devices: int = 500
    clicks: int = 50_000
    visitors: int = 2_000
    seed: int = 2026


@dataclass(frozen=True, slots=True)
class Sent:
    """What went in, and when."""

    totals: Totals
    events: int
    kinesis_records: int
    began_s: float
    ended_s: float


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 only where every total is what was sent."""
    home = Home(Path(os.environ.get("STREAMGAGE_HOME") or ".streamgage") / "demo")
    shutil.rmtree(home.root, ignore_errors=True)
    options = DemoOptions(home, arguments.readings, arguments.devices, arguments.clicks, seed=arguments.seed)
    console = Console(width=None if sys.stdout.isatty() else 180)
    pipeline_file = Path(arguments.pipeline)
    pipeline = load_pipeline(pipeline_file)
    console.rule("streamgage demo")
    began_s = time.monotonic()
    with _running(
        StackOptions(
            home,
            pipeline_file,
            CODE,
            aws_port=0,
            kinesis_port=0,
            parameters={"BatchingWindow": "2"},
            dynamodb=Engine(arguments.dynamodb),
        )
    ) as info:
        console.print(
            f"up after {time.monotonic() - began_s:.1f} s: Kinesis on {info.endpoints['kinesis']}, Lambda sandboxes, "
            f"DynamoDB on {info.endpoints['dynamodb']}"
        )
        sent = _send(console, info, pipeline, options)
        drained_s = _drain(console, home, sent)
        items = read_all_items(info)
    differences = compare(pipeline, items, sent.totals)
    _show(console, pipeline, items, sent.totals)
    _figures(console, home, sent, drained_s, items=sum(len(each) for each in items.values()))
    rows = sum(len(each) for each in sent.totals.values())
    if differences:
        for line in differences[:20]:
            console.print(f"[red]different[/] {line}")
        console.print(f"[bold red]{len(differences):,} differences[/] in {rows:,} rows")
        return 1
    console.print(
        f"[bold green]exact[/]: all {rows:,} rows (key and window), each with every measure, equal the simulators' own totals "
        f"of {sent.events:,} events"
    )
    return 0


@contextmanager
def _running(options: StackOptions) -> Iterator[StackInfo]:
    stack, stop = Stack(options), threading.Event()
    stack.start()
    watcher = threading.Thread(target=stack.watch, args=(stop.is_set,), name="watch")
    watcher.start()
    try:
        yield stack.info
    finally:
        stop.set()
        watcher.join()
        stack.stop()


def _send(console: Console, info: StackInfo, pipeline: Pipeline, options: DemoOptions) -> Sent:
    fleet = FleetConfig(
        devices=options.devices,
        events=options.readings,
        seed=options.seed,
        start_ms=0,
        period_ms=1_000,
        metrics=2,
    )
    start_ms = time.time_ns() // 1_000_000 // 60_000 * 60_000 - max(fleet.span_ms, _HOUR_MS) - 60_000
    fleet = FleetConfig(
        devices=options.devices,
        events=options.readings,
        seed=options.seed,
        start_ms=start_ms,
        period_ms=1_000,
        metrics=2,
    )
    visitors = VisitorsConfig(
        visitors=options.visitors,
        events=options.clicks,
        seed=options.seed,
        start_ms=start_ms,
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


def _drain(console: Console, home: Home, sent: Sent) -> float:
    with _progress(console) as progress:
        task = progress.add_task("applying", total=sent.kinesis_records)

        def show(status: dict[str, object]) -> None:
            counters = status.get("counters")
            if isinstance(counters, dict):
                progress.update(task, completed=counters["records_invoked"])

        wait_drained(home, seconds=_DRAIN_S, on_status=show)
    return time.monotonic()


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>9}"),
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


Items = dict[str, list[tuple[str, StoredItem]]]


def read_all_items(info: StackInfo) -> Items:
    """Return every aggregate of the table by pk: the comparison must see also what should not be there."""
    items: Items = defaultdict(list)
    pages = (
        local_client("dynamodb", info.endpoints["dynamodb"], info.credentials)
        .get_paginator("scan")
        .paginate(TableName=info.table, ConsistentRead=True)
    )
    for page in pages:
        for item in page["Items"]:
            pk = item["pk"]["S"]
            if pk.partition("|")[0] != SHARDS_PK:
                items[pk].append((item["sk"]["S"], stored_item(item)))
    for each in items.values():
        each.sort(key=lambda pair: pair[0])
    return items


class _Read:
    """A PartialStore over what was read already."""

    def __init__(self, items: Items) -> None:
        self._items = items
        self.asked: set[str] = set()

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        self.asked.add(pk)
        return ((sk, item) for sk, item in self._items.get(pk, ()) if first_sk <= sk <= last_sk)


def compare(pipeline: Pipeline, items: Items, totals: Totals) -> list[str]:
    """Return a line for each difference between what the table says and *totals*, both ways; [] where there is none."""
    store, differences = _Read(items), []
    for rollup in pipeline.rollups.values():
        expected = dict(totals[rollup.name])
        for key, label in sorted({(key, label) for key, label, _ in expected}):
            for row in ask(store, question_of(rollup, key, label), applied_ms=0):
                want = expected.pop((key, label, row.window.start_ms), None)
                where = f"{rollup.name} {' '.join(key)} {label} from {row.window.start_ms}"
                if want is None:
                    differences.append(f"{where}: {row.events} events that were not sent")
                else:
                    differences += [
                        f"{where}: {each}" for each in _differences(row, want.events, want.fields)
                    ]
        differences += [
            f"{rollup.name} {key} {label} from {start}: missing" for key, label, start in expected
        ]
    unasked = items.keys() - store.asked
    differences += [
        f"{pk} at {window_start_ms(items[pk][0][0])}: a key that was not sent" for pk in sorted(unasked)
    ]
    return differences


def _differences(row: Row, events: int, fields: dict[str, FieldTotals]) -> Iterator[str]:
    if row.events != events:
        yield f"{row.events} events, {events} were sent"
    for field, measures in row.values.items():
        for name, value in measures.items():
            if name in ("mean", "variance"):  # derived from the sums, which are compared
                continue
            want = getattr(fields[field], name)
            if value != want:
                yield f"{field}.{name} is {value}, {want} was sent"


def question_of(rollup: Rollup, key: tuple[str, ...], label: str) -> Question:
    """Return the question for the whole history of *key* in windows of *label*."""
    windows = rollup.window_named(label)
    if windows is None:
        raise KeyError(label)
    return Question(rollup, key, windows, 0, MAX_EVENT_TIME_MS)


def _show(console: Console, pipeline: Pipeline, items: Items, totals: Totals) -> None:
    """Show what an analyst would ask: one device by the minute, the pages that are looked at most."""
    store, rollup = _Read(items), pipeline.rollups["device_metrics"]
    key = min(key for key, _, _ in totals[rollup.name])
    question = question_of(rollup, key, rollup.windows[0].label)
    names = columns(question)
    shown = [n for n in range(len(rollup.key), len(names)) if names[n] not in ("window_end", "may_change")]
    _table(
        console,
        f"streamgage query device_metrics device_id={key[0]} metric={key[1]} --window {question.windows.label}",
        [names[n] for n in shown],
        [[number_text(cells(question, row)[n]) for n in shown] for row in ask(store, question, applied_ms=0)],
    )
    rollup = pipeline.rollups["page_views"]
    label = rollup.windows[-1].label
    pages = [
        (row.events, key[0], row)
        for key in {key for key, each, _ in totals[rollup.name] if each == label}
        for row in ask(store, question_of(rollup, key, label), applied_ms=0)
    ]
    _table(
        console,
        f"the five pages looked at most in a window of {label}",
        ["page", "events", "bytes.sum"],
        [
            [page, f"{events:,}", number_text(row.values["bytes"]["sum"])]
            for events, page, row in sorted(pages, key=lambda each: (-each[0], each[1]))[:5]
        ],
    )


def _table(console: Console, title: str, names: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _figures(console: Console, home: Home, sent: Sent, drained_s: float, *, items: int) -> None:
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


def batch_lines(home: Home) -> Iterator[dict[str, int]]:
    """Yield what the function logged of each batch."""
    for line in (home.logs / "function.log").read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and '"batch applied' in line:
            yield json.loads(line)
