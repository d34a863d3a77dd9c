"""What the sink does when writes fail: nothing writes behind its back, a broken table has its rest, memory is bounded."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from threading import Event, Lock

import pytest

from processors.deadline import Deadline
from processors.sink.breaker import Breaker, BreakerLimits
from processors.sink.fenced import AggregateSink, SinkLimits
from processors.sink.writes import WRITTEN, Outcome, Unsure, Write
from streamgage.errors import ConfigError, RetryableError
from streamgage.fold.batch import BatchFold
from streamgage.fold.cells import Contribution
from streamgage.fold.items import ItemKey, StoredItem
from streamgage.records import StreamRecord, UserRecord
from support.fakes import LANES, PLENTY, Clock, fearless
from support.strategies import ARRIVAL_MS, MINUTE_MS, aggregated, pipeline, reading
from support.tables import Items, fold, states_folded, states_of

Answer = Callable[[Write], Outcome]


class Table:
    """An ItemStore that does what a test says with each write, and takes note of its calls."""

    def __init__(self, answer: Answer = lambda _: WRITTEN, *, batch: int = 25) -> None:
        self.batch, self.answer = batch, answer
        self.rows: Items = {}
        self.calls = list[tuple[str, int]]()
        self.under_way = self.ended = 0
        self._lock = Lock()

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:  # noqa: ARG002 - the port's
        self.calls.append(("get", len(keys)))
        return {key: self.rows[key] for key in keys if key in self.rows}

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:  # noqa: ARG002 - the port's
        with self._lock:
            self.calls.append(("put", len(writes)))
            self.under_way += 1
        try:
            return [self._put(each) for each in writes]
        finally:
            with self._lock:
                self.under_way -= 1
                self.ended += 1

    def _put(self, write: Write) -> Outcome:
        outcome = self.answer(write)
        if outcome == WRITTEN:
            self.rows[write.key] = write.item
        return outcome

    @property
    def puts(self) -> int:
        return sum(kind == "put" for kind, _ in self.calls)


def sink_of(table: Table, *, concurrency: int = 1, breaker: Breaker | None = None) -> AggregateSink:
    return AggregateSink(table, breaker=breaker or fearless(), limits=SinkLimits(concurrency=concurrency))


def records_of(events: Sequence[tuple[str, int]], *, per_record: int = 1_000) -> list[StreamRecord]:
    """Return records of *events*: devices, and the minutes ago of their readings."""
    schema = pipeline().sources["reading"].schema
    users = [
        UserRecord("k", schema.encode(reading(device, "m", ARRIVAL_MS - ago * MINUTE_MS, 1.0)))
        for device, ago in events
    ]
    return [
        StreamRecord("s", 100 + number, "p", aggregated(users[at : at + per_record]), ARRIVAL_MS)
        for number, at in enumerate(range(0, len(users), per_record))
    ]


def minutes(number: int) -> list[tuple[str, int]]:
    """Return events of one key in so many windows of a minute: as many roots."""
    return [("d", ago) for ago in range(number)]


def folded(records: Sequence[StreamRecord], *, room_bytes: int = 800) -> Mapping[ItemKey, Contribution]:
    return fold(BatchFold(pipeline(), LANES), pipeline(), records, room_bytes=room_bytes).items


@pytest.mark.parametrize("error", [ConfigError("the table is gone"), KeyboardInterrupt()])
def test_nothing_is_written_any_more_when_apply_raises(error: BaseException) -> None:
    """Pool threads went on writing while the next invocation read."""
    raised, begun = Event(), count()

    def answer(_: Write) -> Outcome:
        if next(begun) == 0:
            raised.set()
            raise error
        raised.wait(30)
        Event().wait(0.1)  # what a write may take; it is no rule of the test
        return WRITTEN

    table = Table(answer, batch=1)
    with pytest.raises(type(error)):
        sink_of(table, concurrency=4).apply(folded(records_of(minutes(60))), deadline=PLENTY)
    assert (table.under_way, table.ended) == (0, table.puts)
    assert table.puts < 20, "what waited for its turn never began"


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_table_that_takes_no_write_is_left_alone_and_the_lowest_record_is_named(concurrency: int) -> None:
    """54,000 statements were tried, one after the other, of a table that was throttled."""
    table, clock = Table(lambda _: Unsure("throttled"), batch=1), Clock()
    breaker = Breaker(clock=clock, random=lambda: 0.0, limits=BreakerLimits(failures=3))
    sink = sink_of(table, concurrency=concurrency, breaker=breaker)
    items = folded(records_of(minutes(200), per_record=2))
    assert len(items) > 200
    applied = sink.apply(items, deadline=PLENTY)
    assert 3 <= table.puts < 3 + concurrency
    assert (applied.failed_from, applied.writes, len(applied.errors)) == (100, 0, len(items))
    assert {"left alone" in each or "throttled" in each for each in applied.errors} == {True}
    table.answer = lambda _: WRITTEN
    assert sink.apply(items, deadline=PLENTY).failed_from == 100, "it is left alone for a while"
    clock.now_s += 60
    again = sink.apply(items, deadline=PLENTY)
    assert again.failed_from is None
    assert again.writes == len(items)


def test_requests_that_fail_between_others_that_work_say_nothing_against_the_table() -> None:
    number = count()
    table = Table(lambda _: Unsure("this one") if next(number) % 2 else WRITTEN, batch=1)
    breaker = Breaker(clock=Clock(), random=lambda: 0.0, limits=BreakerLimits(failures=2))
    applied = sink_of(table, breaker=breaker).apply(folded(records_of(minutes(90))), deadline=PLENTY)
    assert applied.errors == ["this one"] * (applied.items // 2)
    assert applied.writes == applied.items - len(applied.errors)


def test_a_batch_of_many_items_is_read_and_written_a_portion_at_a_time() -> None:
    table = Table()
    items = folded(records_of(minutes(4_500), per_record=500))
    applied = sink_of(table).apply(items, deadline=PLENTY)
    assert (applied.failed_from, applied.writes) == (None, len(items))
    reads = [size for kind, size in table.calls if kind == "get"]
    assert sum(reads) == len(items)
    assert max(reads) <= 2_000
    assert len(reads) >= 3
    last_read = max(at for at, (kind, _) in enumerate(table.calls) if kind == "get")
    assert "put" in [kind for kind, _ in table.calls[:last_read]], (
        "what is written is not held until all is read"
    )


def test_where_the_table_stops_answering_all_that_was_not_written_is_named() -> None:
    table, items = Table(), folded(records_of(minutes(4_500), per_record=500))
    reads = count()

    class Failing(Table):
        def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:
            if next(reads) == 1:
                raise RetryableError("throttled")
            return super().get(keys, deadline=deadline)

    table = Failing()
    applied = sink_of(table).apply(items, deadline=PLENTY)
    left = [each.first for key, each in items.items() if key not in table.rows]
    assert 0 < len(left) < len(items)
    assert applied.failed_from == min(left)
    assert applied.writes == len(items) - len(left)


# --- chunks: what goes on goes on behind what it comes from ---

CROWD = [(f"d{number}", 0) for number in range(60)]


def chunk_of(key: ItemKey) -> str:
    return key.pk.rpartition("|")[2]


def is_above(one: ItemKey, other: ItemKey) -> bool:
    """Tell whether the keys of *other* were sent on by *one*, or by what it sent them on to."""
    (among, number), (of, its) = (
        tuple(map(int, f"{chunk_of(each)}.0".split(".")[:2])) for each in (one, other)
    )
    return among == 0 or its * among // of == number


def losing_a_root(*, took_effect: bool) -> Table:
    """Return a table that loses the answer of the first write of the root of minutes."""
    table, lost = Table(batch=1), list[ItemKey]()

    def answer(write: Write) -> Outcome:
        if chunk_of(write.key) != "0" or "|1m|" not in write.key.pk or lost:
            return WRITTEN
        lost.append(write.key)
        if took_effect:
            table.rows[write.key] = write.item
        return Unsure("lost")

    table.answer = answer
    return table


@pytest.mark.parametrize("took_effect", [True, False])
def test_nothing_goes_on_from_an_item_whose_write_may_not_have_happened(took_effect: bool) -> None:  # noqa: FBT001 - a table
    """It would stand where no reader looks for it, or be counted where the root takes the key itself."""
    table = losing_a_root(took_effect=took_effect)
    records = records_of(CROWD, per_record=20)
    items = folded(records, room_bytes=150)
    sink = sink_of(table)
    applied = sink.apply(items, deadline=PLENTY)
    assert applied.failed_from == 100
    below = [key for key in table.rows if "|1m|" in key.pk and chunk_of(key) != "0"]
    assert below == []
    assert sink.apply(folded(records, room_bytes=150), deadline=PLENTY).failed_from is None
    assert states_of(table.rows, pipeline()) == states_folded(
        fold(BatchFold(pipeline(), LANES), pipeline(), records), pipeline()
    )


def test_a_chunk_is_written_after_the_one_that_sends_its_keys_on() -> None:
    table, order = Table(batch=1), list[ItemKey]()

    def answer(write: Write) -> Outcome:
        order.append(write.key)
        return WRITTEN

    table.answer = answer
    sink = sink_of(table)
    for record in records_of(CROWD, per_record=4):
        assert sink.apply(folded([record], room_bytes=30), deadline=PLENTY).failed_from is None
    first = {key: order.index(key) for key in order}
    levels = {key: int(chunk_of(key).partition(".")[0]) for key in order if "|1m|" in key.pk}
    assert len(set(levels.values())) > 2
    for key, level in levels.items():
        above = [other for other, its in levels.items() if its < level and is_above(other, key)]
        assert all(first[key] > first[other] for other in above)
        assert bool(above) == (level > 0)


def test_a_chunk_that_fails_names_the_first_record_of_its_keys_and_its_siblings_are_durable() -> None:
    records = records_of(CROWD, per_record=20)
    table = Table(batch=1)
    lost = list[ItemKey]()

    def answer(write: Write) -> Outcome:
        if "|1m|" in write.key.pk and chunk_of(write.key) != "0" and not lost:
            lost.append(write.key)
            return Unsure("lost")
        return WRITTEN

    table.answer = answer
    applied = sink_of(table).apply(folded(records, room_bytes=150), deadline=PLENTY)
    (key,) = lost
    table.answer = lambda _: WRITTEN
    whole = Table(batch=1)
    sink_of(whole).apply(folded(records, room_bytes=150), deadline=PLENTY)
    assert whole.rows.keys() - table.rows.keys() == {key}
    names = {place[2] for place in states_of({key: whole.rows[key]}, pipeline())}
    first = min(
        record.sequence_number
        for record in records
        if names
        & {
            place[2]
            for place in states_folded(fold(BatchFold(pipeline(), LANES), pipeline(), [record]), pipeline())
        }
    )
    assert applied.failed_from == first
