"""Items below the roots: neighbours are read by one Query, and never for more read units than each by itself."""

from hypothesis import given
from hypothesis import strategies as st

from infra.aws.cost.counting import CountedReads
from processors.query.fetch import Span, fetch, spans_of
from streamgage.fold.items import ItemKey, StoredItem, chunk_name, sort_key

LANES = [f"telemetry/shardId-{number:012d}" for number in range(3)]
SKS = [sort_key(minute * 60_000, lane) for minute in range(20) for lane in LANES]
PK = "device_metrics.1|1m|"


def item(size_bytes: int = 700) -> StoredItem:
    return StoredItem(10**55, "counts", bytes(size_bytes), 2**33)


def key(among: int, number: int, sk: str) -> ItemKey:
    return ItemKey(PK + chunk_name(among, number), sk)


def test_the_items_of_one_chunk_are_read_by_one_query_for_what_they_weigh_together() -> None:
    wanted = {key(100, 7, sk): 100 for sk in SKS}
    store = CountedReads({each: item() for each in wanted})

    found = fetch(store, wanted, dict.fromkeys(SKS, 100))

    assert found == store.items
    assert (store.requests, store.read_units) == (1, 13)
    assert CountedReads(store.items).get(list(wanted)) == found
    each = CountedReads(store.items)
    each.get(list(wanted))
    assert each.read_units == 60


def test_windows_whose_keys_go_on_among_others_are_no_strangers() -> None:
    """Windows in a row go on among 99 to 101 chunks, as their states happen to shrink: each chunk has every third."""
    roots = {sk: 99 + number % 3 for number, sk in enumerate(SKS)}
    wanted = {key(among, 7, sk): among for sk, among in roots.items()}

    spans, alone = spans_of(wanted, roots)

    assert len(spans) == 3
    assert alone == []


def test_between_few_keys_that_went_on_stand_many_that_nobody_asks_for() -> None:
    """Most windows held the key in their roots; what others have below theirs is not read for it."""
    asked = SKS[::10]
    store = CountedReads({key(2, 1, sk): item() for sk in SKS})
    wanted = {key(2, 1, sk): 2 for sk in asked}

    spans, alone = spans_of(wanted, dict.fromkeys(SKS, 2))
    found = fetch(store, wanted, dict.fromkeys(SKS, 2))

    assert (spans, alone) == ([], list(wanted))
    assert found.keys() == wanted.keys()
    assert (store.requests, store.read_units) == (1, len(asked))


def test_a_few_strangers_between_are_read_with_the_others_and_no_more() -> None:
    near, far = SKS[::4], SKS[::5]
    assert spans_of({key(2, 1, sk): 2 for sk in near}, dict.fromkeys(SKS, 2)) == (
        [Span(PK + "2.1", near[0], near[-1])],
        [],
    )
    assert spans_of({key(2, 1, sk): 2 for sk in far}, dict.fromkeys(SKS, 2)) == (
        [],
        [key(2, 1, sk) for sk in far],
    )


def test_strangers_are_those_too_whose_chunks_stand_further_below() -> None:
    far = SKS[::5]
    spans, alone = spans_of({key(8, 1, sk): 8 for sk in far}, dict.fromkeys(SKS, 2))
    assert (spans, len(alone)) == ([], len(far))


CHUNKS = [(2, 0), (2, 1), (4, 3), (5, 4), (8, 6)]
CELLS = st.lists(st.sampled_from([True, True, False]), min_size=len(SKS), max_size=len(SKS))


@given(
    onwards=st.lists(st.sampled_from([0, 2, 2, 2, 4, 5]), min_size=len(SKS), max_size=len(SKS)),
    exist=st.tuples(*[CELLS] * len(CHUNKS)),
    asked=st.tuples(*[CELLS] * len(CHUNKS)),
    size_bytes=st.integers(0, 800),
)
def test_whatever_is_wanted_is_found_and_costs_no_more_than_each_by_itself(
    onwards: list[int], exist: tuple[list[bool], ...], asked: tuple[list[bool], ...], size_bytes: int
) -> None:
    roots = dict(zip(SKS, onwards, strict=True))

    def places(chosen: tuple[list[bool], ...]) -> dict[ItemKey, int]:
        return {
            key(among, number, sk): among
            for (among, number), cells in zip(CHUNKS, chosen, strict=True)
            for (sk, onward), is_chosen in zip(roots.items(), cells, strict=True)
            if is_chosen and onward and among % onward == 0
        }

    wanted = places(asked)
    store = CountedReads(dict.fromkeys(places(exist), item(size_bytes)))

    assert fetch(store, wanted, roots) == {each: store.items[each] for each in wanted if each in store.items}
    alone = CountedReads(store.items)
    alone.get(list(wanted))
    assert store.read_units <= alone.read_units
    spans, left = spans_of(wanted, roots)
    for each in wanted:
        lies_in = [one for one in spans if one.pk == each.pk and one.first_sk <= each.sk <= one.last_sk]
        assert len(lies_in) + (each in left) == 1
