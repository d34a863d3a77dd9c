"""Questions to the tables of one machine: how long an answer takes and what it reads, by what became of the stream."""

import math
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.events import START_MS, STREAM_ARN, variant_pipeline
from benchmarks.function import CountingStore
from benchmarks.harness import Headline, Progress, Result, Series, Table, WrongAnswerError
from benchmarks.peers.table_engines import engines, running
from benchmarks.sandbox import function_over
from processors.query.answer import Answer, Shape, answer
from processors.query.cells import DynamoPartialStore
from processors.query.question import Question
from processors.query.shape import Column
from streamgage.definition.pipeline import Pipeline
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord

QUESTION = "How long does an answer take, what does it read, and what do ten reshards add?"
CALM, SPLITS, REPLACED = "no reshard", "ten splits", "ten times all shards replaced"
HISTORIES = (CALM, SPLITS, REPLACED)
"""What became of the stream within the range that is asked for: a split takes one shard, UpdateShardCount takes all."""
_RESHARDS = 10
_TABLE = "aggregates"
_MEASURES = ("count", "sum", "min", "max", "mean", "variance", "first", "last")
_ROLLUP = "rollup_0"
_TARGET = "after ten reshards < 10 times"
_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_MIDNIGHT_MS = START_MS // _DAY_MS * _DAY_MS
_RECORDS = 10_000  # a batch
_PUTS = 25  # of a BatchWriteItem
_MOST_ASKS = 100
_ENOUGH_S = 8.0

_Place = tuple[str, str]
"""A question, and what became of the stream."""


def run(*, quick: bool, seed: int, progress: Progress) -> Result:  # noqa: ARG001 - nothing is drawn here
    """Measure each question over HTTP, asked one after the other, on tables of both histories."""
    keys, minutes, per_minute = (60, 30, 5) if quick else (10_000, 1_440, 100)
    pipeline = variant_pipeline(windows=["1m", "1d"], measures=_MEASURES)
    asked = _questions(pipeline, keys, minutes)
    latencies: dict[_Place, list[float]] = {}
    units: dict[_Place, float] = {}
    answers: dict[str, Answer] = {}
    items: dict[str, int] = {}
    for history in HISTORIES:
        progress(f"{history}: filling the tables")
        made = {
            **_fill(pipeline, keys=keys, minutes=_RESHARDS + 1, history=history, first=1),
            **_fill(pipeline, keys=per_minute, minutes=minutes, history=history, first=2),
        }
        items[history] = len(made)
        with _tables(made) as client:
            for label, (question, shape) in asked.items():
                progress(f"{history}: {label}")
                store = DynamoPartialStore(client, _TABLE)
                ask = partial(answer, store, question, shape, applied_ms=2**42, now_ms=0)
                given = ask()
                units[label, history] = store.read_units
                if answers.setdefault(label, given) != given or len(given.rows) != _expected(
                    label, keys, minutes
                ):
                    raise WrongAnswerError(f"{label}, {history}: {len(given.rows)} rows, or others")
                latencies[label, history] = _timed(ask, asks=2 if quick else _MOST_ASKS)
    return _result(latencies, units, items, keys=keys, minutes=minutes, per_minute=per_minute)


ONE_KEY = "one key, a day of minutes"
ALL_KEYS = "all keys of a day"
TOP = "the first ten of all keys of a day"


def _questions(pipeline: Pipeline, keys: int, minutes: int) -> dict[str, tuple[Question, Shape]]:
    rollup = pipeline.rollups[_ROLLUP]

    def question(window: str, day: int, key: Mapping[str, str], span_ms: int) -> Question:
        first_ms = _MIDNIGHT_MS + day * _DAY_MS
        return Question.parse(
            pipeline, rollup=_ROLLUP, key=key, window=window, from_ms=first_ms, to_ms=first_ms + span_ms
        )

    one = {"device_id": _device(keys // 200), "metric": "temperature"}
    return {
        ONE_KEY: (question("1m", 2, one, minutes * _MINUTE_MS), Shape()),
        ALL_KEYS: (question("1d", 1, {}, _DAY_MS), Shape()),
        TOP: (question("1d", 1, {}, _DAY_MS), Shape(top=10, by=Column.parse(rollup, "value.sum"))),
    }


def _expected(label: str, keys: int, minutes: int) -> int:
    return {ONE_KEY: minutes, ALL_KEYS: keys, TOP: 10}[label]


def _timed(ask: Any, *, asks: int) -> list[float]:
    """Return how many ms each of *asks* took, of fewer where they take long."""
    took: list[float] = []
    while len(took) < asks and (sum(took) < _ENOUGH_S * 1000 or len(took) < 2):
        began_s = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began_s) * 1000)
    return took


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard takes the keys whose hashes, as shares of all, lie in ``[low, high)``."""

    number: int
    low: float
    high: float


def _generations(history: str) -> list[list[_Shard]]:
    """Return which shards are open before the first reshard, and after each."""
    if history == CALM:
        return [[_Shard(0, 0, 1)]] * (_RESHARDS + 1)
    if history == REPLACED:
        return [[_Shard(number, 0, 1)] for number in range(_RESHARDS + 1)]
    generations = [[_Shard(0, 0, 1)]]
    for number in range(1, 2 * _RESHARDS, 2):
        widest = max(generations[-1], key=lambda each: (each.high - each.low, -each.number))
        middle = (widest.low + widest.high) / 2
        halves = [_Shard(number, widest.low, middle), _Shard(number + 1, middle, widest.high)]
        generations.append([each for each in generations[-1] if each != widest] + halves)
    return generations


@dataclass(slots=True)
class _Log:
    """The records of one day: each key's reading each minute, reshards at equal distances."""

    pipeline: Pipeline
    keys: int
    minutes: int
    history: str
    first_ms: int
    _sequence: int = field(default=10**55)

    def batches(self) -> Iterator[list[StreamRecord]]:
        """Yield batches, none of them of two shards."""
        shares = [zlib.crc32(_device(key).encode()) / 2**32 for key in range(self.keys)]
        for number, shards in enumerate(_generations(self.history)):
            minutes = [
                each for each in range(self.minutes) if each * (_RESHARDS + 1) // self.minutes == number
            ]
            for shard in shards:
                keys = [key for key in range(self.keys) if shard.low <= shares[key] < shard.high]
                records = [self._record(shard, minute, key) for minute in minutes for key in keys]
                yield from (records[start : start + _RECORDS] for start in range(0, len(records), _RECORDS))

    def _record(self, shard: _Shard, minute: int, key: int) -> StreamRecord:
        ts, device = self.first_ms + minute * _MINUTE_MS, _device(key)
        value = (key * 7919 + minute * 104_729) % 100_003 / 100
        event = {"device_id": device, "metric": "temperature", "ts": ts, "value": value}
        self._sequence += 1
        body = self.pipeline.sources["reading"].schema.encode(event)
        return StreamRecord(f"shardId-{shard.number:012d}", self._sequence, device, body, ts + 1_000)


def _device(number: int) -> str:
    return f"device-{number:07d}"


def _fill(
    pipeline: Pipeline, *, keys: int, minutes: int, history: str, first: int
) -> dict[ItemKey, StoredItem]:
    """Return the items that the function itself makes of a day's readings."""
    store = CountingStore()
    first_ms = _MIDNIGHT_MS + first * _DAY_MS
    function = function_over(
        store, pipeline, stream_arn=STREAM_ARN, now_ms=first_ms + _DAY_MS, report=lambda _: None
    )
    for batch in _Log(pipeline, keys, minutes, history, first_ms).batches():
        said = function.handle(encode_event(batch, stream_arn=STREAM_ARN), remaining_ms=lambda: 60_000)
        if said != {"batchItemFailures": []}:
            raise WrongAnswerError(f"the function answered {said}")
    return {key: item for key, item in store.items.items() if not key.pk.startswith("~")}


@contextmanager
def _tables(items: Mapping[ItemKey, StoredItem]) -> Iterator[Any]:
    """Run our own engine with *items* in its table; yield a client of it."""
    import boto3  # noqa: PLC0415 - most of a second, and only this needs it

    with (
        tempfile.TemporaryDirectory(prefix="streamgage-query-") as folder,
        running(engines()[0], Path(folder) / "tables") as (address, _),
    ):
        client = boto3.client(
            "dynamodb", endpoint_url=f"http://{address}", region_name="eu-central-1",
            aws_access_key_id="benchmark", aws_secret_access_key="benchmark",  # noqa: S106 - of no account
        )  # fmt: skip
        names = {"pk": "HASH", "sk": "RANGE"}
        client.create_table(
            TableName=_TABLE,
            KeySchema=[{"AttributeName": name, "KeyType": role} for name, role in names.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            BillingMode="PAY_PER_REQUEST",
        )
        written = [{"PutRequest": {"Item": _attributes(key, item)}} for key, item in items.items()]
        for start in range(0, len(written), _PUTS):
            left = client.batch_write_item(RequestItems={_TABLE: written[start : start + _PUTS]})
            if left.get("UnprocessedItems"):
                raise WrongAnswerError("items were not taken")
        yield client
        client.close()


def _attributes(key: ItemKey, item: StoredItem) -> dict[str, Any]:
    return {
        "pk": {"S": key.pk},
        "sk": {"S": key.sk},
        "fence": {"S": str(item.fence)},
        "counts": {"S": item.counts},
        "body": {"B": item.body},
        "expires": {"N": str(item.expires_s)},
    }


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the least of *samples* that is not exceeded by *share* of them."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def _result(
    latencies: Mapping[_Place, list[float]],
    units: Mapping[_Place, float],
    items: Mapping[str, int],
    *,
    keys: int,
    minutes: int,
    per_minute: int,
) -> Result:
    def table(title: str, unit: str, of: Mapping[_Place, Sequence[float]]) -> Table:
        series = tuple(
            Series(f"{label}, {history}", "ours", tuple(each)) for (label, history), each in of.items()
        )
        return Table(title=title, unit=unit, series=series)

    def told(label: str, history: str) -> str:
        took = latencies[label, history]
        return (
            f"{percentile(took, 0.5):,.0f} ms (p99 {percentile(took, 0.99):,.0f}), "
            f"{units[label, history]:,g} read units"
        )

    def headline(label: str, what: str) -> Headline:
        after = "; ".join(f"after {history} {told(label, history)}" for history in HISTORIES[1:])
        return Headline(what, f"{told(label, CALM)}; {after}", "", None, _TARGET)

    return Result(
        name="query",
        question=QUESTION,
        method=(
            f"The function itself makes the items of two days: one of {keys:,} keys that are heard of {_RESHARDS + 1} times, "
            f"one of {per_minute} keys that are each minute; eight measures. They stand in our own tables, and are asked for by "
            "boto3 over HTTP on the same machine, one question after the other, up to an answer of plain values, read "
            "consistently. The stream begins with one shard. All ten reshards lie within the range that is asked for, and each "
            "key is heard of between any two: the worst case. Reshards before a range add nothing to it, for a closed shard has "
            "items only of the windows that its events lie in. The answers of all histories are compared."
        ),
        tables=(
            table("An answer", "ms", latencies),
            table("What an answer reads", "read units", {place: (each,) for place, each in units.items()}),
        ),
        configuration={"keys": keys, "minutes": minutes, "keys a minute": per_minute, "measures": _MEASURES},
        facts={
            "items": dict(items),
            "p50 and p99, ms": {
                ", ".join(place): [round(percentile(each, share), 1) for share in (0.5, 0.99)]
                for place, each in latencies.items()
            },
            "answers measured": {", ".join(place): len(each) for place, each in latencies.items()},
        },
        headlines=(
            headline(ONE_KEY, f"an answer: {minutes:,} windows of one key"),
            headline(ALL_KEYS, f"an answer: all {keys:,} keys of a window"),
            headline(TOP, f"an answer: the first 10 of {keys:,} keys of a window"),
        ),
        limits=(
            "DynamoDB itself is not the machine of who asks, and answers a page of 1 MB in some 10 to 30 ms.",
            (
                "A key's state of a closed shard is read each time: where all shards were replaced n times within a window, "
                "n + 1 of each key are merged. The items of one chunk are read by one Query, for a quarter of the read units."
            ),
        ),
    )
