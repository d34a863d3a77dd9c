"""Answers of a sandbox that remembers what it decoded are those of one that does not, whatever was written in between."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest

from processors.live.scope import Scope
from processors.query import cells, fetch
from processors.query.blocks import BlockMemory
from processors.query.cells import PartialStore
from processors.query.question import Question, Row, ask
from support.examples import examples
from support.fakes import InMemoryItemStore, Reads
from support.promql import MINUTE_MS, ROLLUP, Prometheus, pipeline_of

DEVICES, METRICS, SHARDS = ("d1", "d2", "e|1"), ("m", "n"), ("shardId-0", "shardId-1")
KEPT = pipeline_of(ROLLUP.replace("[rollups.measures]", 'keep = "2h"\n[rollups.measures]'))
PIPELINES = (pipeline_of(ROLLUP), KEPT)
MINUTES = 300
QUERIES = (
    'load_value_mean{window="1m"}',
    'load_value_mean{window="1m",metric="m"}',
    'load_events{window="1m",device_id=~"d.",metric="m"} + load_value_sum{window="1m"}',
    'load_value_max{window="1m",device_id="d1",metric=~"m|n"}',
    'sum by (metric) (increase(load_events{window="1m"}[10m]))',
    'load_value_sum{window="30m"}',
    'histogram_quantile(0.5, sum_over_time(load_value_histogram{window="1m"}[5m]))',
)
KEYS: Sequence[Mapping[str, str] | None] = (
    None,
    {"device_id": "d1", "metric": "m"},
    {"device_id": "d2", "metric": "m"},
    {"device_id": "d*"},
    {"metric": "n"},
)


class RememberingReads(Reads):
    """The same items, with a memory beside them."""

    def __init__(self, store: InMemoryItemStore, most_bytes: int) -> None:
        super().__init__(store)
        self.blocks = BlockMemory(most_bytes)
        self.read_units = 0.0

    def eventually(self) -> "RememberingReads":
        return self


def rows(prometheus: Prometheus, store: PartialStore, key: Mapping[str, str] | None, how: int) -> list[Row]:
    """Return an answer of rows: of minutes, of half an hour, of a key in all, of a metric, of a moving hour."""
    of_kind = (
        {"window": "1m"},
        {"window": "30m"},
        {"window": "1m", "total": True},
        {"window": "1m", "group_by": ["metric"]},
        {"window": "1m", "moving": 3},
    )[how]
    parse = partial(
        Question.parse, prometheus.pipeline, rollup="load", from_ms=MINUTE_MS, to_ms=prometheus.now_ms
    )
    question = parse(key=key, **of_kind)
    return list(ask(store, question, applied_ms=prometheus.now_ms, now_ms=prometheus.now_ms))


@dataclass(frozen=True, slots=True)
class Told:
    """A stack, and who answers of it: with a memory, and without; of all keys, and of a metric's alone."""

    prometheus: Prometheus
    plain: Reads
    remembering: RememberingReads
    scoped: PartialStore

    def series(self, query: str, first: int, last: int) -> None:
        """Ask by PromQL."""
        params = ("query", query), ("start", str(first * 60)), ("end", str(last * 60)), ("step", "60")
        with undivided():
            self.prometheus.store = self.plain
            right = self.prometheus.ask("query_range", *params)
        self.prometheus.store = self.remembering
        assert self.prometheus.ask("query_range", *params) == right

    def rows(self, key: Mapping[str, str] | None, how: int) -> None:
        """Ask for rows."""
        with undivided():
            right = rows(self.prometheus, self.plain, key, how)
        assert rows(self.prometheus, self.remembering, key, how) == right

    def limited(self, how: int) -> None:
        """Ask for rows, as who may see one metric."""
        with undivided():
            right = rows(self.prometheus, self.plain, {"metric": "m"}, how)
        assert rows(self.prometheus, self.scoped, None, how) == right


@contextmanager
def undivided() -> Iterator[None]:
    """Read a range at once, as one block."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((fetch, "_SPAN_WINDOWS"), (cells, "_ROOTS"), (cells, "_BLOCK_WINDOWS")):
            patch.setattr(module, name, 10**6)
        yield


@pytest.mark.parametrize("seed", range(examples(8, whole=200)))
def test_answers_are_those_without_a_memory_whatever_is_written_in_between(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(fetch, "_SPAN_WINDOWS", chance.choice([20, 256]))
    monkeypatch.setattr(cells, "_ROOTS", chance.choice([5, 500]))
    monkeypatch.setattr(cells, "_BLOCK_WINDOWS", chance.choice([16, 64]))
    prometheus = Prometheus(PIPELINES[seed % 2], now_ms=MINUTES * MINUTE_MS)
    prometheus.world.room_bytes = chance.choice([60, 800])
    remembering = RememberingReads(prometheus.world.store, chance.choice([100_000, 10_000_000, 10_000_000]))
    scoped = Scope({"metric": frozenset("m")}).store(remembering, prometheus.pipeline)
    told = Told(prometheus, Reads(prometheus.world.store), remembering, scoped)
    send(chance, prometheus, events=200)
    asks: list[Callable[[], None]] = [
        *(partial(told.rows, key, chance.randrange(5)) for key in KEYS),
        *(partial(told.series, query, 60, MINUTES + 30) for query in QUERIES),
        *(partial(told.series, chance.choice(QUERIES), chance.randrange(200), 250) for _ in range(2)),
        partial(told.limited, chance.randrange(5)),
    ]
    for _ in range(6):
        write(chance, prometheus)
        for ask_again in chance.sample(asks, len(asks) // 2):
            ask_again()


def write(chance: random.Random, prometheus: Prometheus) -> None:
    """Let nothing happen, or time pass, an item expire, or some events arrive, most of them late."""
    held = prometheus.world.store.rows
    what = chance.randrange(5)
    if what == 0:
        prometheus.now_ms += chance.choice([MINUTE_MS, 3_000_000])
    elif what == 1:
        prometheus.world.store.delete(chance.choice(sorted(held)))
    elif what > 2:
        send(chance, prometheus, events=chance.choice([1, 1, 20]))


def send(chance: random.Random, prometheus: Prometheus, *, events: int) -> None:
    """Let one shard count some events, old and new."""
    drawn = []
    for _ in range(events):
        minute = chance.randrange(0, MINUTES, 9)  # few, so that keys meet in them
        devices = DEVICES if minute > MINUTES // 2 else DEVICES[:-1]  # one begins late
        drawn.append(
            {
                "device_id": chance.choice(devices),
                "metric": chance.choice(METRICS),
                "ts": minute * MINUTE_MS,
                "value": chance.randint(-50, 50) / 8,
                "tags": None,
            }
        )
    prometheus.send("reading", drawn, shard=chance.choice(SHARDS))
