"""What a sandbox remembers of the chunks that it wrote: by their bytes, within a bound, and never more than the table says."""

import tracemalloc
from typing import Any

import pytest

from streamgage.fold import cells
from streamgage.fold.chunk import Chunk, decode_chunk, encode_chunk
from streamgage.fold.chunk_memory import CellName, ChunkMemory
from streamgage.measures.catalogue import MEASURES
from streamgage.measures.layout import EventColumns, FieldLayout, StateLayout, plan_of
from streamgage.measures.parts import TEXT
from streamgage.records import StreamRecord, UserRecord
from support.fakes import World, invoke
from support.strategies import ARRIVAL_MS, aggregated, pipeline, reading

LAYOUT = StateLayout((FieldLayout.of("value", 9, tuple(MEASURES)),))
PLAN = plan_of(LAYOUT)
CELL: CellName = (PLAN, 60_000, 0)
KEYS = 40


def chunk(number: int, *, keys: int = KEYS) -> Chunk:
    values = [number * 10**9 + 10**8 * at for at in range(2 * keys)]
    times = [10**12 + each for each in range(2 * keys)]
    table = PLAN.fold(EventColumns((values,), (False,), times), [[2 * at, 2 * at + 1] for at in range(keys)])
    return Chunk(0, table, [f"device-{number:05d}-{at:03d}|temperature" for at in range(keys)])


def test_a_chunk_is_found_by_its_bytes_and_its_cell_and_by_nothing_else() -> None:
    memory, one = ChunkMemory(), chunk(1)
    memory.put(CELL, b"body", one)
    others: list[CellName] = [
        (PLAN, 60_000, 60_000),
        (PLAN, 3_600_000, 0),
        (plan_of(StateLayout(())), 60_000, 0),
    ]
    assert [memory.take(other, b"body") for other in others] == [None] * 3
    assert memory.take(CELL, b"another") is None
    assert memory.take(CELL, b"body") is one


def test_who_takes_a_chunk_out_has_it_alone() -> None:
    memory = ChunkMemory()
    memory.put(CELL, b"body", chunk(1))
    assert memory.take(CELL, b"body")
    assert memory.take(CELL, b"body") is None
    assert memory.held_bytes == 0


def test_it_holds_no_more_bytes_than_it_may_and_keeps_what_the_last_batches_used() -> None:
    memory = ChunkMemory(most_bytes=200_000)
    memory.begin_turn()
    for number in range(50):
        memory.put(CELL, b"%d" % number, chunk(number))
    held = [number for number in range(50) if memory.take(CELL, b"%d" % number)]
    assert held == list(range(len(held))), (
        "a second round over more than there is room for finds the first ones"
    )
    assert 3 < len(held) < 15


def test_what_no_batch_used_for_a_while_makes_room() -> None:
    memory = ChunkMemory(most_bytes=50_000)
    memory.begin_turn()
    memory.put(CELL, b"old", chunk(1))
    memory.put(CELL, b"too much", chunk(2))
    assert memory.take(CELL, b"too much") is None
    for _ in range(10):
        memory.begin_turn()
    memory.put(CELL, b"new", chunk(3))
    assert memory.take(CELL, b"old") is None
    assert memory.take(CELL, b"new")


def test_one_that_is_put_twice_is_counted_once() -> None:
    memory = ChunkMemory()
    memory.put(CELL, b"body", chunk(1))
    once = memory.held_bytes
    memory.put(CELL, b"body", chunk(1))
    assert memory.held_bytes == once
    memory.take(CELL, b"body")
    assert memory.held_bytes == 0


@pytest.mark.parametrize("keys", [1, 10, 40])
def test_the_bytes_it_counts_are_about_those_that_a_chunk_takes(keys: int) -> None:
    memory = ChunkMemory()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(200):
            one = chunk(number, keys=keys)
            memory.put(CELL, encode_chunk(one, LAYOUT, start_ms=0), one)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 0.8 < memory.held_bytes / taken < 2


SKETCHES = {
    "p95": 9, "distinct": 0, "time_weighted_mean": 9, "sessions@1s": TEXT, "entry@1s": TEXT, "exit@1s": TEXT,
}  # fmt: skip


@pytest.mark.parametrize("events", [2, 40, 300])
@pytest.mark.parametrize("measure", SKETCHES)
def test_states_that_are_larger_than_numbers_count_by_what_they_hold(measure: str, events: int) -> None:
    """Else a sandbox would remember a hundred times what it may, and end for want of memory."""
    scale = SKETCHES[measure]
    layout = StateLayout((FieldLayout.of("x", scale, (measure,)),))
    plan, memory = plan_of(layout), ChunkMemory(most_bytes=2**30)
    bodies = []
    for number in range(10):
        values: list[Any] = [7**each * 10**9 % (10**12 + number) for each in range(20 * events)]
        if scale == TEXT:
            values = [f"/page/{each % 50}" for each in values]
        times = [1_700_000_000_000 + 3_000 * (each % events) for each in range(20 * events)]
        groups = [range(at * events, (at + 1) * events) for at in range(20)]
        keys = [f"device-{number:05d}-{at:03d}" for at in range(20)]
        one = Chunk(0, plan.fold(EventColumns((values,), (False,), times), groups), keys)
        bodies.append(encode_chunk(one, layout, start_ms=0))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for body in bodies:
            memory.put((plan, 60_000, 0), body, decode_chunk(body, layout, start_ms=0))
        taken = tracemalloc.get_traced_memory()[0] - before + sum(map(len, bodies))
    finally:
        tracemalloc.stop()
    assert 0.5 < memory.held_bytes / taken < 3


def test_a_sandbox_reads_no_body_that_it_wrote_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    world, schema = World(pipeline()), pipeline().sources["reading"].schema
    batches = [
        [
            StreamRecord(
                "shardId-000000000000", 10**55 + number, "p",
                aggregated([UserRecord("k", schema.encode(reading(f"d{device}", "m", ARRIVAL_MS, 1.0))) for device in range(300)]),
                ARRIVAL_MS,
            )
        ]
        for number in range(3)
    ]  # fmt: skip
    sandbox, other = world.sandbox(), world.sandbox()
    assert invoke(sandbox, batches[0]) is None

    def refused(*_: object, **__: object) -> Chunk:
        raise AssertionError("a body is read")

    with monkeypatch.context() as patch:
        patch.setattr(cells, "decode_chunk", refused)
        assert invoke(sandbox, batches[1]) is None
        with pytest.raises(AssertionError, match="a body is read"):
            invoke(other, batches[2])
    assert invoke(other, batches[2]) is None
    rows = world.ask("device_metrics", None, "1m")
    assert {row.events for row in rows} == {3}
    assert len(rows) == 300
