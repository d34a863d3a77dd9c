"""Ask for aggregates: the partial items of one key in a range of windows, merged. Never a scan."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any, Protocol

from processors.aggregate.progress import SHARDS_PK
from processors.sink.attributes import stored_item
from streamgage.definition.pipeline import Pipeline, Rollup
from streamgage.errors import ConfigError
from streamgage.fold.items import StoredItem, decode_state, partition_of, window_prefix, window_start_ms
from streamgage.fold.repeats import LaneLog
from streamgage.measures.monoids import compile_layout, read_measures
from streamgage.measures.windows import TumblingWindows, Window


@dataclass(frozen=True, slots=True)
class Row:
    """One window of one key. ``values`` is ``{field: {measure: value}}``.

    ``may_change`` tells that the window was not over, or not all that arrived before its end was applied, when it was
    read. A late event corrects its window even after that.
    """

    window: Window
    events: int
    values: dict[str, dict[str, int | Decimal | None]]
    may_change: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the windows that overlap ``[from_ms, to_ms)`` of one key of one rollup."""

    rollup: Rollup
    key: tuple[str, ...]
    windows: TumblingWindows
    from_ms: int
    to_ms: int

    @classmethod
    def parse(
        cls,
        pipeline: Pipeline,
        *,
        rollup: str,
        key: Mapping[str, str],
        window: str | None,
        from_ms: int,
        to_ms: int,
    ) -> "Question":
        """Return the question, checked against the definition. Raises: ConfigError with every problem."""
        found = pipeline.rollups.get(rollup)
        if found is None:
            raise ConfigError(f"no rollup is named {rollup!r}; there are: {', '.join(pipeline.rollups)}")
        problems = [
            f"{name} is not given; the key of {rollup} is {' '.join(f'{each}=…' for each in found.key)}"
            for name in found.key
            if name not in key
        ]
        problems += [f"{name!r} is not part of the key of {rollup}" for name in key if name not in found.key]
        labels = ", ".join(each.label for each in found.windows)
        windows = found.window_named(window) if window else found.windows[0]
        if windows is None:
            problems.append(f"{rollup} has no windows of {window!r}; it has: {labels}")
        if to_ms <= from_ms:
            problems.append("--to is not after --from")
        if problems or windows is None:
            raise ConfigError(*problems)
        return cls(found, tuple(key[name] for name in found.key), windows, from_ms, to_ms)


class PartialStore(Protocol):
    """Where partial items are read from."""

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield (sk, item) of the partition *pk* with first_sk ≤ sk ≤ last_sk, in the order of sk."""


class DynamoPartialStore:
    """Partial items in DynamoDB, by paginated Query. *client* is a boto3 DynamoDB client."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
        """Yield the items of the range, read consistently."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={":pk": {"S": pk}, ":first": {"S": first_sk}, ":last": {"S": last_sk}},
            ConsistentRead=True,
        )
        for page in pages:
            for item in page["Items"]:
                yield item["sk"]["S"], stored_item(item)


def ask(store: PartialStore, question: Question, *, applied_ms: int) -> Iterator[Row]:
    """Yield a row a window that has events, in the order of time.

    *applied_ms* is the arrival time up to which all events are applied: a window that ends later may still change.
    """
    rollup, windows = question.rollup, question.windows
    first = windows.assign(max(question.from_ms, 0)).start_ms
    # "}" sorts after the "|" that ends a window's prefix; BETWEEN includes both its ends.
    last = window_prefix(max(question.to_ms - 1, 0)) + "}"
    partials = store.range(partition_of(rollup, windows, question.key), window_prefix(first), last)
    monoid = compile_layout(rollup.layout)
    for start_ms, group in groupby(partials, key=lambda partial: window_start_ms(partial[0])):
        state = monoid.identity()
        for sk, item in group:
            if item.counts != rollup.layout.text:
                raise ConfigError(
                    f"{sk} was written with measures {item.counts!r}; pipeline.toml now says {rollup.layout.text!r}. "
                    "Ask with the definition it was written by, or set a new generation"
                )
            monoid.merge(state, decode_state(item.body))
        window = windows.assign(start_ms)
        values = read_measures(state, rollup.layout, rollup.measures)
        yield Row(window, state[0], values, window.end_ms > applied_ms)


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """What a shard's progress item says. ``applied_ms`` is the arrival time of the last record that is applied."""

    shard_id: str
    sequence_number: int
    applied_ms: int
    repeated: int
    forgotten: int


def read_progress(store: PartialStore) -> list[ShardProgress]:
    """Return the progress of every shard, open or closed: one Query. With lanes by partition key there is none."""
    found = []
    for shard_id, item in store.range(SHARDS_PK, "shardId-", "shardId-~"):
        log = LaneLog.of_state(decode_state(item.body))
        found.append(ShardProgress(shard_id, item.fence, log.applied_ms, log.dropped, log.forgotten))
    return found
