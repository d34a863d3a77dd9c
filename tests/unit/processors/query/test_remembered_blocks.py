"""What a sandbox remembers of windows: it is not decoded again, is bounded, and takes about as much as it is said to."""

import tracemalloc

import pytest

from processors.query import cells
from processors.query.blocks import Block, BlockMemory, Kept
from streamgage.fold.chunk import decode_chunk
from support.fakes import InMemoryItemStore, Reads
from support.promql import MINUTE_MS, Prometheus

SERIES = 'load_value_mean{window="1m"}'


class RememberingReads(Reads):
    """Items, with a memory beside them."""

    def __init__(self, store: InMemoryItemStore, most_bytes: int) -> None:
        super().__init__(store)
        self.blocks = BlockMemory(most_bytes)


def kept(size_bytes: int, *, until_ms: int = 2**63) -> Kept:
    return Kept([], [], Block(()), 5, until_ms, size_bytes)


def counted(minutes: int) -> Prometheus:
    prometheus = Prometheus()
    prometheus.load({(f"d{device}", "m"): [device / 8 + 1] * minutes for device in range(10)})
    return prometheus


def ask(prometheus: Prometheus, minutes: int) -> None:
    span = ("start", "60"), ("end", str(minutes * 60)), ("step", "60")
    assert len(prometheus.data("query_range", ("query", SERIES), *span)["result"]) == 10


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bodies, as they are decoded."""
    bodies: list[bytes] = []
    decode = decode_chunk

    def noting(body: bytes, *arguments: object, **more: object) -> object:
        bodies.append(body)
        return decode(body, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(cells, "decode_chunk", noting)
    return bodies


def test_of_a_range_that_is_asked_again_only_blocks_with_another_item_are_decoded(
    decoded: list[bytes],
) -> None:
    prometheus = counted(200)
    prometheus.store = RememberingReads(prometheus.world.store, 10_000_000)
    ask(prometheus, 200)
    assert len(decoded) == 200
    ask(prometheus, 200)
    assert len(decoded) == 200
    late = {"device_id": "d1", "metric": "m", "ts": 70 * MINUTE_MS, "value": 1.0, "tags": None}
    prometheus.send("reading", [late])
    ask(prometheus, 200)
    assert len(decoded) == 200 + 64


def test_where_there_is_no_memory_all_is_decoded_again(decoded: list[bytes]) -> None:
    prometheus = counted(20)
    for times in (1, 2):
        ask(prometheus, 20)
        assert len(decoded) == 20 * times


def test_those_are_forgotten_that_nobody_asked_for_the_longest() -> None:
    memory = BlockMemory(1_000)
    assert (memory.takes(125), memory.takes(126)) == (True, False)
    for name in "abcdefgh":
        memory.keep(name, kept(125))
    found = memory.find("a", 5)
    assert found is not None
    memory.touch("a", found)
    memory.keep("i", kept(125))
    assert [name for name in "abcdefghi" if memory.find(name, 5)] == [*"acdefghi"]


def test_what_is_not_kept_any_more_is_not_found() -> None:
    memory = BlockMemory(1_000)
    memory.keep("a", kept(1, until_ms=10))
    assert [memory.find("a", now_ms) is not None for now_ms in (4, 5, 9, 10)] == [False, True, True, False]


def test_a_memory_takes_about_as_many_bytes_as_it_counts() -> None:
    prometheus = counted(640)
    store = RememberingReads(prometheus.world.store, 50_000_000)
    prometheus.store = store
    ask(prometheus, 64)  # what is there once
    tracemalloc.start()
    try:
        ask(prometheus, 640)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    told_bytes = sum(each.size_bytes for each in store.blocks._kept.values())
    assert 0.3 * told_bytes < held_bytes < told_bytes
