"""A Producer among threads, across forks, interrupted between any two lines, and at the end of its process."""

import gc
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from producers import DeliveryError, Producer, ProducerConfig, RetryConfig
from streamgage.definition.pipeline import Pipeline
from streamgage.records import SealedRecord
from support.counting import CountingStream
from support.interrupts import CtrlC, Interrupt
from support.paths import ROOT
from support.sending import BLOCKS, ROWS, numbers_of, producer_over, reading

LONG_S = 120.0
THREADS = 8
EVENTS = 30
TRACED = tuple(
    str(ROOT / each)
    for each in (
        "producers/client/",
        "producers/sending/",
        "streamgage/formats/kpl_builder.py",
        "streamgage/formats/blocks/builder.py",
    )
)


def work_in_threads(pipeline: Pipeline, puts: int) -> None:
    stream = CountingStream()
    producer = producer_over(stream, pipeline=pipeline)
    together = threading.Barrier(THREADS)

    def work(thread: int) -> None:
        together.wait()
        mine = range(thread * puts, (thread + 1) * puts)
        for number in mine[: puts // 2]:
            producer.put("reading", reading(number))
        producer.put_many("reading", [reading(number) for number in mine[puts // 2 :]])
        producer.commit(LONG_S)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(THREADS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    producer.close()
    assert numbers_of(stream.counts) == dict.fromkeys(range(THREADS * puts), 1)
    assert producer.stats.events_put == producer.stats.events_stored == THREADS * puts


@pytest.mark.parametrize("pipeline", [ROWS, BLOCKS])
def test_eight_threads_put_and_each_event_is_stored_once(pipeline: Pipeline) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        work_in_threads(pipeline, 1_000)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.slow
def test_eight_threads_put_a_hundred_thousand_each() -> None:
    work_in_threads(BLOCKS, 100_000)


def test_a_fork_in_mid_buffer_leaves_the_parent_what_it_put_and_the_child_a_producer_of_its_own() -> None:
    stream = CountingStream()
    producer = producer_over(stream, pipeline=BLOCKS, config=ProducerConfig(linger_ms=3_600_000))
    for number in range(50):
        producer.put("reading", reading(number))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)  # a child that hangs is killed
            stream._lock = threading.Lock()
            for number in range(50, 60):
                producer.put("reading", reading(number))
            producer.close()
            assert numbers_of(stream.counts) == dict.fromkeys(range(50, 60), 1)
            assert producer.stats.events_stored == 10
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    producer.close()
    assert numbers_of(stream.counts) == dict.fromkeys(range(50), 1)


def run(at: int | None, *, many: bool, seed: int) -> Interrupt:
    """Put numbers with an interrupt, as who knows only ``events_put``; check what was counted."""
    dice, stream = random.Random(seed), CountingStream()
    stream.fate = lambda _: dice.choice(("stored", "stored", "refused", "lost answer", "lost request"))
    config = ProducerConfig(linger_ms=1, retries=RetryConfig(max_attempts=3, base_ms=1, cap_ms=2))
    producer = producer_over(
        stream, pipeline=BLOCKS if many else ROWS, config=config, rng=random.Random(seed)
    )
    given_up: list[SealedRecord] = []
    noted: list[DeliveryError] = []

    def call(do: Callable[[], None]) -> bool:
        """Return whether it went through; whatever was handed back is noted."""
        try:
            do()
        except (DeliveryError, CtrlC) as error:
            found: BaseException | None = error
            while found is not None:
                if isinstance(found, DeliveryError) and not any(found is each for each in noted):
                    noted.append(found)
                    given_up.extend(found.sealed)
                found = found.__context__
            return isinstance(error, DeliveryError)
        return True

    def put(numbers: range) -> None:
        if many:
            producer.put_many("reading", [reading(number) for number in numbers])
        else:
            producer.put("reading", reading(numbers[0]))

    interrupt = Interrupt(at, TRACED)
    gc.collect()
    gc.disable()  # nobody is told of an interrupt in a finalizer: those of the producers before would run here
    sys.settrace(interrupt)
    try:
        number = 0
        while number < EVENTS:
            before = producer._engine.stats.events_put
            call(lambda number=number: put(range(number, min(number + 7, EVENTS))))  # type: ignore[misc]
            number += producer._engine.stats.events_put - before
            if number % 10 == 9:
                call(producer.flush)
        while not call(producer.close):
            pass
    finally:
        sys.settrace(None)
        gc.enable()
    stats = producer.stats
    assert (stats.events_put, stats.events_stored + stats.events_undelivered) == (EVENTS, EVENTS)
    assert stats.events_undelivered == sum(each.events for each in given_up)
    stream.fate = lambda _: "stored"
    with producer_over(stream, rng=random.Random(seed + 1)) as again:
        again.put_sealed(given_up)
    assert numbers_of(stream.counts) == dict.fromkeys(range(EVENTS), 1)
    return interrupt


def interrupt_everywhere(many: bool, positions: int, seed: int) -> None:  # noqa: FBT001 - a test's parameter
    calm, rng = run(None, many=many, seed=seed), random.Random(seed)
    places = [rng.choice(moments) for moments in calm.where.values()]
    places = rng.sample(places, min(positions, len(places))) + rng.choices(
        range(1, calm.lines), k=positions // 4
    )
    came = 0
    gc.freeze()  # what stands here by now is not looked through again before each run
    try:
        for at in places:
            try:
                came += run(at, many=many, seed=seed).came
            except BaseException as error:
                error.add_note(f"interrupted before line {at} of {calm.lines}, seed {seed}")
                raise
    finally:
        gc.unfreeze()
    assert came > len(places) // 2  # threads make the rest miss the end


@pytest.mark.parametrize("many", [False, True])
def test_an_interrupt_between_any_two_lines_loses_nothing_and_doubles_nothing(many: bool) -> None:  # noqa: FBT001
    interrupt_everywhere(many, positions=60, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("many", [False, True])
def test_an_interrupt_between_any_two_lines_at_many_places(many: bool, seed: int) -> None:  # noqa: FBT001
    interrupt_everywhere(many, positions=2_000, seed=seed)


SCRIPT = """
import os, signal, sys, threading
from support.counting import CountingStream
from support.sending import numbers_of, producer_over, reading

class Told(CountingStream):
    def put_records(self, entries):
        results = super().put_records(entries)
        os.write(1, b"".join(b"%d\\n" % n for e in entries for n in numbers(e)))
        return results

def numbers(entry):
    return numbers_of({each.data: 1 for each in entry.records})

from producers import ProducerConfig
producer = producer_over(Told(), config=ProducerConfig(linger_ms=3_600_000))
for number in range(100):
    producer.put("reading", reading(number))
"""


def ends(script: str, *, signalled: bool = False) -> tuple[int, Counter[int], str]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))},
    )
    assert process.stdout is not None
    if signalled:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=LONG_S)
    return process.returncode, Counter(map(int, out.split())), err


ALL = Counter(range(100))


def test_what_is_held_when_the_interpreter_ends_is_sent() -> None:
    assert ends("") == (0, ALL, "")


def test_what_is_held_after_an_error_that_nobody_handles_is_sent() -> None:
    code, numbers, err = ends("raise SystemExit(3)")
    assert (code, numbers, err) == (3, ALL, "")


def test_what_a_thread_puts_after_the_main_thread_ended_is_sent() -> None:
    script = """
def late():
    threading.main_thread().join()
    producer.put("reading", reading(100))
threading.Thread(target=late).start()
"""
    assert ends(script) == (0, ALL + Counter([100]), "")


def test_a_handler_of_sigterm_that_exits_has_all_of_it_sent() -> None:
    script = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
with producer:
    signal.pause()
"""
    assert ends(script, signalled=True) == (7, ALL, "")


def test_what_cannot_be_sent_before_the_interpreter_ends_is_said_on_stderr() -> None:
    script = """
from producers.client.ports import PutFailed
Told.put_records = lambda self, entries: [PutFailed("InternalFailure", "no")] * len(entries)
object.__setattr__(producer.config, "exit_timeout_s", 0.2)
"""
    code, numbers, err = ends(script)
    assert (code, numbers) == (0, Counter())
    assert "a producer was not closed: 100 events" in err


def test_no_thread_is_left_by_a_closed_producer(tmp_path: Path) -> None:
    before = threading.active_count()
    with producer_over(CountingStream()) as producer:
        producer.put("reading", reading(1))
    assert isinstance(producer, Producer)
    assert threading.active_count() == before
