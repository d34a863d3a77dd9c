"""Every rollup that a load fed, asked as anybody asks, beside what was sent: to the digit, both ways."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from infra.local.comparison import tallied
from processors.query.cells import PartialStore
from processors.query.question import Question, Row, ask
from producers.load.events import is_own
from producers.simulators.totals import FieldTotals, Totals, WindowTotals
from producers.simulators.totals import Row as Place
from streamgage.definition.fingerprint import counts_of
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.durations import parse_duration

_SUMMED = ("count", "sum")


@dataclass(slots=True)
class Verified:
    """What was compared. ``rows`` are windows of keys; ``values`` the numbers in them; ``events`` those of each rollup's smallest windows.

    ``differences`` has a line for each number that is not what was sent. ``unsure`` values were not compared: of events of
    one moment that went to several shards, nobody can say which is first.
    """

    rows: int = 0
    values: int = 0
    unsure: int = 0
    events: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


def shared_rows(pipeline: Pipeline, store: PartialStore, *, from_ms: int, to_ms: int) -> Totals:
    """Return what already stands in the rows that a load from *from_ms* to *to_ms* may add to and that are not its own.

    A key without a text cannot hold the load's mark. Only events, counts and sums are of use: the rest is left out.
    """
    totals: Totals = {}
    for rollup in pipeline.rollups.values():
        if is_own(pipeline, rollup):
            continue
        rows: dict[Place, WindowTotals] = {}
        for windows in rollup.windows:
            for row in _ask(store, _question(pipeline, rollup, windows.label), from_ms, to_ms):
                fields = {name: _field(measures) for name, measures in row.values.items()}
                rows[row.key, windows.label, row.window.start_ms] = WindowTotals(row.events, fields)
        totals[rollup.name] = rows
    return totals


def _field(measures: Mapping[str, int | Decimal | None]) -> FieldTotals:
    return FieldTotals(count=int(measures.get("count") or 0), sum=Decimal(measures.get("sum") or 0))


def verify(
    pipeline: Pipeline, store: PartialStore, totals: Totals, *, mark: str, before: Totals | None = None
) -> Verified:
    """Compare each row that the load fed with *totals*, of which *before* stood there already.

    In rows that are the load's own, and hold the *mark*, each measure that a tally has is compared (events, count, sum, min, max,
    first, last), and there is no other row, nor any in a rollup that should have none. In shared ones that held something,
    events, count and sum.
    """
    found = Verified()
    every = [start for rows in totals.values() for _, _, start in rows]
    for rollup in pipeline.rollups.values():
        wanted, own = totals.get(rollup.name, {}), is_own(pipeline, rollup)
        if not every or not (wanted or own):
            continue
        smallest = rollup.windows[0].label
        if wanted:
            found.events[rollup.name] = sum(
                each.events for (_, label, _), each in wanted.items() if label == smallest
            )
        earlier = (before or {}).get(rollup.name, {})
        one_shard = pipeline.sources[rollup.source].partition_key in rollup.key
        for windows in rollup.windows:
            label = windows.label
            rows = {(key, start): each for (key, its, start), each in wanted.items() if its == label}
            starts, size_ms = [start for _, start in rows], parse_duration(label)
            first_ms = min(starts) if starts else max(min(every) - size_ms, 0)
            last_ms = max(starts or every) + size_ms
            for row in _ask(store, _question(pipeline, rollup, label), first_ms, last_ms):
                place = row.key, row.window.start_ms
                want = rows.pop(place, None)
                where = f"{rollup.name} {' '.join(row.key)} {label} from {row.window.start_ms}"
                if want is not None:
                    known = earlier.get((row.key, label, row.window.start_ms))
                    found.differences += _compare(found, where, row, want, known, one_shard=one_shard)
                elif own and any(_holds(part, mark) for part in row.key):
                    found.differences.append(f"{where}: {row.events} events that were not sent")
            found.differences += [
                f"{rollup.name} {' '.join(key)} {label} from {start}: missing" for key, start in rows
            ]
    return found


def _holds(part: str, mark: str) -> bool:
    return part.startswith(f"{mark}-")


def _compare(
    found: Verified,
    where: str,
    row: Row,
    want: WindowTotals,
    known: WindowTotals | None,
    *,
    one_shard: bool,
) -> Iterator[str]:
    found.rows += 1
    found.values += 1
    events = want.events + (known.events if known else 0)
    if row.events != events:
        yield f"{where}: {row.events} events, {events} were sent"
    for name, measure, value in tallied(row):
        sent = want.fields.get(name)
        if sent is None:
            continue
        is_shared = known is not None and measure not in _SUMMED
        if is_shared or (not one_shard and getattr(sent, f"{measure}_tied", False)):
            found.unsure += 1
            continue
        wanted = getattr(sent, measure)
        if known is not None:
            wanted += getattr(known.fields[name], measure)
        found.values += 1
        if value != wanted:
            yield f"{where}: {name}.{measure} is {value}, {wanted} was sent"


def _question(pipeline: Pipeline, rollup: Rollup, label: str) -> Question:
    windows = rollup.window_named(label)
    if windows is None:
        raise KeyError(label)
    return Question(rollup, counts_of(pipeline, rollup), None, windows, 0, 1)


def _ask(store: PartialStore, question: Question, from_ms: int, to_ms: int) -> Iterator[Row]:
    return iter(ask(store, replace(question, from_ms=from_ms, to_ms=to_ms), applied_ms=0, now_ms=0))
