"""Ctrl-C between any two lines of the producer: each event was taken whole or not at all, and none is lost or counted twice."""

import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from producers.client.batcher import BatcherConfig
from producers.client.core import CoreConfig, ProducerCore
from producers.client.identity import Identity
from producers.client.outbox import RetryConfig
from streamgage.errors import DeliveryError
from streamgage.formats.blocks.reader import BlockReader
from streamgage.records import SealedRecord, UserRecord
from support.counting import CountingStream
from support.interrupts import CtrlC, Interrupt
from support.paths import ROOT
from support.shares import is_drawn

READING = replace(load_pipeline(ROOT / "pipeline.toml").sources["reading"], blocks=True)
TRACED = tuple(
    str(ROOT / each)
    for each in (
        "producers/client/",
        "streamgage/formats/kpl_builder.py",
        "streamgage/formats/blocks/builder.py",
    )
)
EVENTS = 60
POSITIONS = 30  # of some thousands, of each kind

# An error may be met again: a trace function that raises within a handler has Python 3.11 take its error for the context of
# whatever is raised later.
NOTED: list[DeliveryError] = []

Put = Callable[[ProducerCore, Sequence[int]], None]


class Ticking:
    def __init__(self) -> None:
        self.time_ms = 0

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


def event(number: int) -> dict[str, Any]:
    return {"device_id": f"d{number % 5}", "metric": "m", "ts": number, "value": float(number), "tags": None}


def put_rows(producer: ProducerCore, numbers: Sequence[int]) -> None:
    producer.put(UserRecord(f"d{numbers[0] % 5}", b"%06d" % numbers[0]))


def put_blocks(producer: ProducerCore, numbers: Sequence[int]) -> None:
    producer.send(READING, event(numbers[0]))


def put_lists(producer: ProducerCore, numbers: Sequence[int]) -> None:
    producer.put_many(READING, [event(number) for number in numbers])


def numbers_in(counts: Counter[bytes], *, blocks: bool) -> Counter[int]:
    if not blocks:
        return Counter({int(data): count for data, count in counts.items()})
    reader, found = BlockReader(READING.schema), Counter[int]()
    for data, count in counts.items():
        block = reader.decode(data, ())
        for at in range(block.count):
            found[int(block.event(at)["value"])] += count
    return found


def run(put: Put, at: int | None, *, concurrency: int, seed: int) -> Interrupt:
    """Put numbers with an interrupt, as who knows only ``events_put``; check what was counted; return the lines run."""
    dice, rng, stream = random.Random(seed), random.Random(seed), CountingStream()
    stream.fate = lambda _: dice.choice(("stored", "stored", "refused", "lost answer", "lost request"))
    clock, blocks = Ticking(), put is not put_rows
    producer = ProducerCore(
        stream,
        clock=clock,
        rng=rng,
        config=CoreConfig(
            batching=BatcherConfig(
                aggregate_bytes=150, request_bytes=500, linger_ms=3, block_events=4, block_bytes=2_000
            ),
            retries=RetryConfig(max_attempts=2, base_ms=1, cap_ms=2),
            concurrency=concurrency,
            max_buffered_bytes=1_500,
        ),
        tags_for=Identity(rng).tags_for,
    )
    given_up: list[SealedRecord] = []

    def call(do: Callable[[], None]) -> bool:
        """Return whether it went through; whatever was handed back is noted."""
        try:
            do()
        except (DeliveryError, CtrlC) as error:
            found: BaseException | None = error
            while found is not None:
                if isinstance(found, DeliveryError) and not any(found is each for each in NOTED):
                    NOTED.append(found)
                    given_up.extend(found.sealed)
                found = found.__context__
            return isinstance(error, DeliveryError)
        return True

    interrupt = Interrupt(at, TRACED)
    sys.settrace(interrupt)
    try:
        number = 0
        while number < EVENTS:
            before = producer.stats.events_put
            some = range(number, min(number + (7 if put is put_lists else 1), EVENTS))
            call(lambda some=some: put(producer, some))  # type: ignore[misc]
            number += producer.stats.events_put - before
            clock.time_ms += 1
        while not call(producer.close):
            pass
    finally:
        sys.settrace(None)
    stats = producer.stats
    assert (stats.events_put, stats.events_stored + stats.events_undelivered) == (EVENTS, EVENTS)
    assert stats.events_undelivered == sum(each.events for each in given_up)
    stream.fate = lambda _: "stored"
    with ProducerCore(stream, clock=clock, rng=rng, config=CoreConfig(concurrency=1)) as again:
        for each in given_up:
            again.put_sealed(each)
    assert numbers_in(stream.counts, blocks=blocks) == Counter(range(EVENTS))
    return interrupt


@pytest.mark.parametrize(
    "one_of", [3, pytest.param(1, marks=pytest.mark.slow)]
)  # a share of the lines; all of them
@pytest.mark.parametrize("put", [put_rows, put_blocks, put_lists])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_an_interrupt_between_any_two_lines_loses_nothing_and_doubles_nothing(
    put: Put, concurrency: int, one_of: int
) -> None:
    calm, rng = run(put, None, concurrency=concurrency, seed=7), random.Random(11)
    # Each line once, whenever it was run; and then some at random.
    of = ("sender.py", "outbox.py") if concurrency > 1 else (".py",)  # where a second thread changes anything
    positions = [
        rng.choice(moments)
        for (file, line), moments in calm.where.items()
        if file.endswith(of) and is_drawn(f"{Path(file).name}:{line}", one_of=one_of)
    ]
    positions += rng.sample(range(1, calm.lines), POSITIONS // one_of)
    for at in positions:
        try:
            run(put, at, concurrency=concurrency, seed=7)
        except BaseException as error:
            error.add_note(f"interrupted before line {at} of {calm.lines}")
            raise


def test_an_interrupt_in_a_pause_leaves_what_waits_to_the_next_call() -> None:
    class Sleepless(Ticking):
        def sleep_ms(self, _duration_ms: int) -> None:
            raise CtrlC

    stream = CountingStream()
    stream.fate = lambda _: "refused"
    producer = ProducerCore(
        stream,
        clock=Sleepless(),
        rng=random.Random(3),
        config=CoreConfig(concurrency=1, retries=RetryConfig(base_ms=1_000)),
    )
    producer.put(UserRecord("k", b"x"))
    with pytest.raises(CtrlC):
        producer.flush()
    stream.fate = lambda _: "stored"
    kept: list[SealedRecord] = []
    producer.divert(kept.extend)
    producer.close()
    assert [each.data for each in kept] == [b"x"]
    assert stream.counts == Counter()
