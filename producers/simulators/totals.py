"""What a pipeline should answer for known events: an oracle, written without anything the pipeline computes with.

No fold, no measures, no scaling of theirs: dictionaries, ``decimal``, and a loop over the windows of every event.
"""

import json
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path
from typing import Any

from streamgage.definition.pipeline import Pipeline
from streamgage.errors import ConfigError
from streamgage.expressions.expression import Expression
from streamgage.formats.avro import Event

_EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN)

Row = tuple[tuple[str, ...], str, int]
"""(key in the order of the rollup's, as text; window label; window start in ms)."""


@dataclass(slots=True)
class FieldTotals:
    """The totals of one field's values, nulls left out. ``first`` and ``last`` are by event time.

    Of events at the same time, first is the first that was generated, last the last. ``first_tied`` and ``last_tied`` tell
    that there were several, with different values: where they went to several shards, any of them may be meant.
    """

    count: int = 0
    sum: Decimal = Decimal(0)
    min: Decimal | None = None
    max: Decimal | None = None
    first: Decimal | None = None
    last: Decimal | None = None
    first_ms: int = 0
    last_ms: int = 0
    first_tied: bool = False
    last_tied: bool = False

    def add(self, other: "FieldTotals") -> None:
        """Count what *other* counted, of other events, after those that are counted here."""
        if not other.count:
            return
        if not self.count:
            for name in self.__slots__:
                setattr(self, name, getattr(other, name))
            return
        self.count, self.sum = self.count + other.count, _EXACT.add(self.sum, other.sum)
        self.min = min(each for each in (self.min, other.min) if each is not None)
        self.max = max(each for each in (self.max, other.max) if each is not None)
        if other.first_ms == self.first_ms:
            self.first_tied |= other.first_tied or other.first != self.first
        elif other.first_ms < self.first_ms:
            self.first, self.first_ms, self.first_tied = other.first, other.first_ms, other.first_tied
        if other.last_ms == self.last_ms:
            self.last_tied |= other.last_tied or other.last != self.last
            self.last = other.last
        elif other.last_ms > self.last_ms:
            self.last, self.last_ms, self.last_tied = other.last, other.last_ms, other.last_tied


@dataclass(slots=True)
class WindowTotals:
    """The totals of one key in one window."""

    events: int = 0
    fields: dict[str, FieldTotals] = field(default_factory=dict)


Totals = dict[str, dict[Row, WindowTotals]]


def add_totals(totals: Totals, more: Totals) -> None:
    """Count in *totals* what *more* counted, of other events. It may take rows of *more* for its own."""
    for rollup, rows in more.items():
        known = totals.setdefault(rollup, {})
        for key, row in rows.items():
            mine = known.setdefault(key, row)
            if mine is not row:
                mine.events += row.events
                for name, each in row.fields.items():
                    mine.fields.setdefault(name, FieldTotals()).add(each)


class Tally:
    """Counts events as they are generated. ``totals`` holds, by rollup, the row of each key and window."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.totals: Totals = {name: {} for name in pipeline.rollups}
        self._derived = {name: source.derived for name, source in pipeline.sources.items()}
        self._time = {name: source.event_time for name, source in pipeline.sources.items()}
        self._plans: dict[str, list[_Plan]] = {name: [] for name in pipeline.sources}
        for rollup in pipeline.rollups.values():
            scales = pipeline.sources[rollup.source].scales
            windows = [(each.label, each.size_ms) for each in rollup.windows]
            steps = [(name, Decimal(1).scaleb(-scales[name])) for name in rollup.measures if name in scales]
            self._plans[rollup.source].append(
                _Plan(self.totals[rollup.name], rollup.key, windows, steps, rollup.where)
            )

    def add(self, source: str, event: Event) -> None:
        """Count *event* of *source* in each of its rollups and windows."""
        ts: int = event[self._time[source]]
        derived = self._derived[source]
        whole = event if derived is None else derived.of_event(event)
        for plan in self._plans[source]:
            if plan.where is None or plan.where.value(event) is True:
                plan.add(whole, ts)


@dataclass(frozen=True, slots=True)
class _Plan:
    rows: dict[Row, WindowTotals]
    key: tuple[str, ...]
    windows: list[tuple[str, int]]
    steps: list[tuple[str, Decimal]]  # each measured field, and the smallest difference that is kept of it
    where: Expression | None = None

    def add(self, event: Event, ts: int) -> None:
        key = tuple(_key_text(event[name]) for name in self.key)
        values = [
            (name, None if event.get(name) is None else _exact(event[name], step))
            for name, step in self.steps
        ]
        for label, size_ms in self.windows:
            row = (key, label, ts // size_ms * size_ms)
            totals = self.rows.get(row)
            if totals is None:
                totals = self.rows[row] = WindowTotals(0, {name: FieldTotals() for name, _ in self.steps})
            totals.events += 1
            for name, value in values:
                if value is not None:
                    _count(totals.fields[name], value, ts)


def _count(totals: FieldTotals, value: Decimal, ts: int) -> None:
    if totals.min is None or value < totals.min:
        totals.min = value
    if totals.max is None or value > totals.max:
        totals.max = value
    if totals.first is None or ts < totals.first_ms:
        totals.first, totals.first_ms, totals.first_tied = value, ts, False
    elif ts == totals.first_ms and value != totals.first:
        totals.first_tied = True
    if totals.last is None or ts >= totals.last_ms:
        is_tie = ts == totals.last_ms and totals.last not in (None, value)
        totals.last_tied = is_tie or (totals.last_tied and ts == totals.last_ms)
        totals.last, totals.last_ms = value, ts
    totals.count += 1
    totals.sum = _EXACT.add(totals.sum, value)


def _exact(value: float, step: Decimal) -> Decimal:
    # The shortest decimal that reads back as the float: what its sender wrote.
    return Decimal(repr(value)).quantize(step, context=_EXACT)


def _key_text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def write_totals(totals: Totals, path: Path) -> None:
    """Write *totals* as JSON; numbers that must stay exact are texts. Raises: ConfigError, *path* is not writable."""
    document = {
        rollup: [
            {
                "key": list(key),
                "window": label,
                "start_ms": start_ms,
                "events": each.events,
                "fields": {name: _encode(totals_of) for name, totals_of in each.fields.items()},
            }
            for (key, label, start_ms), each in sorted(rows.items())
        ]
        for rollup, rows in totals.items()
    }
    try:
        path.write_text(json.dumps(document), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def read_totals(path: Path) -> Totals:
    """Return what ``write_totals`` wrote. Raises: ConfigError, it is not there or something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {
            rollup: {
                (tuple(row["key"]), row["window"], row["start_ms"]): WindowTotals(
                    row["events"], {name: _decode(each) for name, each in row["fields"].items()}
                )
                for row in rows
            }
            for rollup, rows in document.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ConfigError(f"{path}: not a file of totals ({type(error).__name__}: {error})") from error


_DECIMALS = ("sum", "min", "max", "first", "last")


def _encode(totals: FieldTotals) -> dict[str, Any]:
    texts = {
        name: None if (value := getattr(totals, name)) is None else format(value, "f") for name in _DECIMALS
    }
    told = {"count": totals.count, **texts, "first_ms": totals.first_ms, "last_ms": totals.last_ms}
    return told | {name: True for name in ("first_tied", "last_tied") if getattr(totals, name)}


def _decode(raw: dict[str, Any]) -> FieldTotals:
    decimals = {name: None if raw[name] is None else Decimal(raw[name]) for name in _DECIMALS}
    return FieldTotals(
        count=raw["count"],
        sum=Decimal(raw["sum"]),
        min=decimals["min"],
        max=decimals["max"],
        first=decimals["first"],
        last=decimals["last"],
        first_ms=raw["first_ms"],
        last_ms=raw["last_ms"],
        first_tied=raw.get("first_tied", False),
        last_tied=raw.get("last_tied", False),
    )
