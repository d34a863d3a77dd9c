"""The model of wide items beside the code that makes them: how many items, how many a batch touches, in which units."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from benchmarks.events import variant_pipeline
from benchmarks.sandbox import counting_of
from infra.aws.cost.chunks import SAMPLE, Level, _beyond, levels, read_for_group, touched
from infra.aws.cost.counting import Consumed, CountingTable
from infra.aws.cost.weigh import body_bytes, bytes_together
from processors.query.question import Question, ask
from processors.query.selection import Selection
from processors.sink.attributes import stored_item
from processors.sink.fenced import AggregateSink, SinkLimits
from streamgage.fold.cells import FOREVER_S, Cell
from streamgage.fold.items import ItemKey, StoredItem, key_hash
from streamgage.fold.states import Key
from streamgage.measures.catalogue import MEASURES
from streamgage.measures.layout import EventColumns, plan_of
from support.fakes import PLENTY

START_MS = 1_767_225_600_000
PIPELINE = variant_pipeline(windows=("1d",), measures=list(MEASURES))
(ROLLUP,) = PIPELINE.rollups.values()


def cell_of(numbers: list[int], *, fence: int, events: int, dice: random.Random, together: int = 0) -> Cell:
    """Return what a batch adds that has *events* events of each of the keys numbered *numbers*.

    Each *together* of them are of one device, whose keys stand together.
    """
    groups: list[range] = []
    values: list[int] = []
    times: list[int] = []
    for number in numbers:
        groups.append(range(len(values), len(values) + events))
        values += [(2_000 + number % 5_000 + dice.randrange(400)) * 10**7 for _ in range(events)]
        times += [START_MS + dice.randrange(86_400_000) for _ in range(events)]
    plan = plan_of(ROLLUP.layout)
    table = plan.fold(EventColumns((values,), (False,), times), groups)
    texts = [f"device-{number:05d}|temperature" for number in numbers]
    if together:
        texts = [f"device-{number // together:05d}|metric-{number % together:04d}" for number in numbers]
    rollup = replace(ROLLUP, together=("device_id",) if together else ())
    return Cell(
        rollup,
        rollup.windows[0],
        plan,
        counting_of(PIPELINE).counts[ROLLUP.name],
        START_MS,
        "telemetry/shardId-000000000000",
        fence,
        0,
        FOREVER_S,
        lambda _cell, _fence: None,
        keys=[Key(text, key_hash(rollup, text)) for text in texts],
        firsts=[fence] * len(texts),
        table=table,
    )


@pytest.mark.parametrize(
    ("keys", "first", "by_batch"),
    [
        (3, 3, 3),
        (25, 25, 25),
        (200, 200, 200),
        (2_500, 2_500, 2_500),
        (2_500, 2_500, 250),
        (2_500, 2_500, 20),
        (2_500, 250, 250),  # they come little by little
        (4_000, 40, 40),
        (300, 1, 1),
    ],
)
def test_a_batch_writes_what_the_model_says(keys: int, first: int, by_batch: int) -> None:
    dice = random.Random(7)
    table = CountingTable()
    sink = AggregateSink(table, limits=SinkLimits(concurrency=1))
    numbers = dice.sample(range(100_000), keys)
    batches = [numbers[:first]]
    batches += [numbers[at : at + by_batch] for at in range(first, keys, by_batch)]
    batches += [numbers[at : at + 250] for at in range(0, keys, 250)]  # and all of them again
    repeated = 20
    batches += [dice.sample(numbers, by_batch) for _ in range(repeated)]
    for fence, batch in enumerate(batches, start=1):
        if fence == len(batches) - repeated + 1:
            table.items = Consumed()
        cell = cell_of(batch, fence=fence, events=4, dice=dice)
        sink.apply({cell.root: cell.contribution()}, deadline=PLENTY)

    one, many = (
        {ROLLUP.name: cell_of(numbers[:SAMPLE], fence=1, events=events, dice=dice)} for events in (1, 16)
    )
    bytes_ = body_bytes(one, many, {})[ROLLUP.name]
    said = touched(keys, bytes_, first=first, first_events=4, by_batch=by_batch, events=100)

    assert table.items.writes / repeated == pytest.approx(said.items, rel=0.15)
    assert table.items.write_units / repeated == pytest.approx(said.units, rel=0.2)
    assert len(table.rows) == pytest.approx(said.standing, rel=0.2, abs=1)


@pytest.mark.parametrize(
    ("keys", "together", "first", "by_batch"),
    [
        (2_500, 5, 2_500, 2_500),
        (2_500, 5, 2_500, 250),
        (2_500, 10, 250, 250),
        (2_400, 60, 2_400, 2_400),  # more than an item has room for
        (2_400, 120, 240, 240),
    ],
)
def test_where_keys_stand_together_a_batch_writes_and_a_question_reads_what_the_model_says(
    keys: int, together: int, first: int, by_batch: int
) -> None:
    dice = random.Random(7)
    table = CountingTable()
    sink = AggregateSink(table, limits=SinkLimits(concurrency=1))
    devices = dice.sample(range(20_000), keys // together)
    numbers = [device * together + metric for device in devices for metric in range(together)]
    batches = [numbers[:first]]
    batches += [numbers[at : at + by_batch] for at in range(first, keys, by_batch)]
    batches += [numbers[at : at + 250] for at in range(0, keys, 250)]
    repeated = 20
    batches += [dice.sample(numbers, by_batch) for _ in range(repeated)]
    for fence, batch in enumerate(batches, start=1):
        if fence == len(batches) - repeated + 1:
            table.items = Consumed()
        cell = cell_of(batch, fence=fence, events=4, dice=dice, together=together)
        sink.apply({cell.root: cell.contribution()}, deadline=PLENTY)

    one, many = (
        {ROLLUP.name: cell_of(numbers[:240], fence=1, events=events, dice=dice, together=together)}
        for events in (1, 16)
    )
    bytes_ = bytes_together(one, many, {})[ROLLUP.name]
    said = touched(
        keys, bytes_, first=first, first_events=4, by_batch=by_batch, events=100, together=together
    )
    read = sum(items_read(table, cell, device) for device in devices[:40]) / len(devices[:40])

    assert table.items.write_units / repeated == pytest.approx(said.units, rel=0.25)
    assert len(table.rows) == pytest.approx(said.standing, rel=0.25)
    assert read == pytest.approx(
        read_for_group(keys, bytes_, first=first, first_events=4, together=together), rel=0.25
    )


def items_read(table: CountingTable, cell: Cell, device: int) -> int:
    """Return how many items a question about all keys of *device* reads."""
    asked: list[ItemKey] = []

    class Rows:
        def range(self, pk: str, first_sk: str, last_sk: str) -> Iterator[tuple[str, StoredItem]]:
            assert first_sk < cell.root.sk < last_sk
            return iter([(key.sk, item) for key, item in self.get([ItemKey(pk, cell.root.sk)]).items()])

        def get(self, keys: Sequence[ItemKey]) -> Mapping[ItemKey, StoredItem]:
            asked.extend(key for key in keys if key in table.rows)
            return {key: stored_item(table.rows[key]) for key in keys if key in table.rows}

    selection = Selection.of(cell.rollup, {"device_id": f"device-{device:05d}"})
    question = Question(
        cell.rollup, cell.counts, None, cell.windows, START_MS, START_MS + 1, selection=selection
    )
    assert list(ask(Rows(), question, applied_ms=0, now_ms=START_MS))
    return len(asked)


def test_chunks_hold_every_key_once() -> None:
    for keys, first in ((5, 5), (5_000, 5_000), (5_000, 20), (300_000, 100)):
        made = list(levels(keys, first=first, room=30, key_bytes=20))
        held = sum(each.chunks * each.mean for each in made) - sum(beyond(each) for each in made)
        assert held == pytest.approx(keys, rel=0.001)


def beyond(level: Level) -> float:
    """Return how many keys a level has no room for: it sends them on, where they are counted again."""
    return level.chunks * _beyond(level.mean, level.room)[0] if level.chunks > 1 else 0.0
