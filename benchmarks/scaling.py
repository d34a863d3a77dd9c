"""How the cost of an event grows with keys, batch size, windows and measures: the slope is the result."""

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.events import (
    block_records,
    cells_of,
    kinesis_records,
    reference_pipeline,
    variant_pipeline,
)
from benchmarks.harness import (
    Progress,
    Result,
    Series,
    Table,
    WrongAnswerError,
    per_event_us,
    slope,
    take_turns,
    timed,
)
from benchmarks.sandbox import PlainFold
from producers.client.encoder import encoder_of
from streamgage.definition.pipeline import Pipeline
from streamgage.fold.batch import Folded

QUESTION = "How does the cost of an event grow with keys, batch size, windows and measures?"
ROWS = "streamgage, rows"
BLOCKS = "streamgage, blocks"
WINDOWS = ("1m", "5m", "1h", "1d")
MEASURES = ("count", "sum", "max", "min", "first", "last", "mean", "variance")
_MINUTE_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
_SPAN_MS = 60_000  # all events of a batch lie in one minute
_METRIC_VALUES = 10_000


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure decode and fold of a batch along each axis, the others held."""
    events = 1_000 if quick else 60_000
    keys = 100 if quick else 1_000
    reference = reference_pipeline()
    populations = (10, 1_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    sizes = (100, 1_000) if quick else (1_000, 10_000, 60_000)
    axes: dict[str, dict[int, _Batch]] = {
        "keys of the fleet": {
            each: _Batch(reference, events=events, keys=each, seed=seed) for each in populations
        },
        "events in a batch": {each: _Batch(reference, events=each, keys=keys, seed=seed) for each in sizes},
        "windows": {
            count: _Batch(_variant(WINDOWS[:count], MEASURES[:3]), events=events, keys=keys, seed=seed)
            for count in (1, 2, 4)
        },
        "measures": {
            count: _Batch(_variant(("1m", "1h"), MEASURES[:count]), events=events, keys=keys, seed=seed)
            for count in (1, 3, 8)
        },
    }
    tables, slopes = [], {}
    for axis, batches in axes.items():
        table = _table(axis, batches, rounds=1 if quick else 5, progress=progress)
        tables.append(table)
        for label in (ROWS, BLOCKS):
            points = {each.at or 0: each.median for each in table.series if each.label == label}
            slopes[f"{axis}, {label}"] = round(slope(points), 3)
    return Result(
        name="scaling",
        question=QUESTION,
        method=(
            "Decode and fold of one batch of Kinesis records (rows, and blocks), each event's key drawn at random from the keys of the fleet, all "
            "in one minute. One thing grows, the others are held. Slope: the exponent b of cost ~ x^b, fitted in log-log; 0 "
            "is flat, 1 is proportional."
        ),
        tables=tuple(tables),
        configuration={"events": events, "keys": keys, "definition": "count, sum, max; windows 1m and 1h"},
        facts={
            "slopes": slopes,
            "distinct keys in the batch": {
                str(each): batch.distinct for each, batch in axes["keys of the fleet"].items()
            },
        },
        limits=(
            "Shards are not an axis here: they share nothing but the machine; see the pipeline benchmark.",
        ),
    )


def _variant(windows: Sequence[str], measures: Sequence[str]) -> Pipeline:
    return variant_pipeline(windows=windows, measures=measures)


class _Batch:
    """Kinesis records of random readings, and how many keys they are of."""

    def __init__(self, pipeline: Pipeline, *, events: int, keys: int, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - seeded, to be the same in every run
        source = pipeline.sources["reading"]
        drawn = [dice.randrange(keys) for _ in range(events)]
        made = [
            {
                "device_id": f"device-{key:07d}",
                "metric": "temperature",
                "ts": _MINUTE_MS + number * _SPAN_MS // events,
                "value": dice.randrange(_METRIC_VALUES) / 100,
            }
            for number, key in enumerate(drawn)
        ]
        end_ms = _MINUTE_MS + _SPAN_MS
        self.records = {
            ROWS: kinesis_records(map(encoder_of(source).user_record, made), end_ms=end_ms, seed=seed),
            BLOCKS: block_records(source, made, end_ms=end_ms, seed=seed),
        }
        self.events = events
        self.distinct = len(set(drawn))
        self.folder = PlainFold(pipeline)
        self.windows = sum(len(each.windows) for each in pipeline.rollups.values())

    def fold(self, form: str) -> Folded:
        """Return the fold of the batch in rows, or in blocks."""
        return self.folder.fold(self.records[form])

    def check(self, folded: Folded) -> None:
        """Compare the number of keys and of events in them. Raises: WrongAnswerError."""
        cells = cells_of(folded)
        keys, counted = sum(len(each.keys) for each in cells), sum(sum(each.table[0]) for each in cells)
        if keys != self.distinct * self.windows or counted != self.events * self.windows:
            raise WrongAnswerError(
                f"{counted} events of {keys} keys; expected {self.events} x {self.windows} of "
                f"{self.distinct} x {self.windows}"
            )


def _table(axis: str, batches: Mapping[int, _Batch], *, rounds: int, progress: Progress) -> Table:
    turns = {f"{form} at {at}": (form, at) for at in batches for form in (ROWS, BLOCKS)}

    def check(label: str, answer: Any) -> None:
        batches[turns[label][1]].check(answer)

    seconds = take_turns(
        {label: timed(partial(batches[at].fold, form)) for label, (form, at) in turns.items()},
        rounds=rounds,
        check=check,
        progress=lambda what: progress(f"{axis}, {what}"),
    )
    series = tuple(
        Series(form, "ours", per_event_us(seconds[label], batches[at].events), at=at)
        for label, (form, at) in turns.items()
    )
    return Table(
        title=f"Decode and fold, by {axis}",
        unit="µs of CPU an event",
        series=series,
        x=axis,
        log_x=max(batches) > 10 * min(batches),
    )
