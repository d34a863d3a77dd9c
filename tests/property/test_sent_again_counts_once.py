"""What was not delivered is sent again, any number of times, by anyone: the consumer counts each event once."""

import random
import shutil
import tempfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.client.batcher import BatcherConfig
from producers.client.core import CoreConfig, ProducerCore
from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.outbox import RetryConfig
from producers.client.undelivered import UndeliveredFile, UndeliveredReader
from producers.files.delivery import Delivery
from producers.files.stop import Patience, Stop
from producers.files.undelivered import ResendJob, send_undelivered
from streamgage.errors import ConfigError
from streamgage.formats.mark import KEPT_MS
from streamgage.records import SealedRecord, UserRecord
from support.counting import CountingStream

FATES = ("stored", "refused", "lost answer", "lost request")


class Ticking:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.time_ms = 0

    def now_ms(self) -> int:
        return self.time_ms

    def sleep_ms(self, duration_ms: int) -> None:
        self.time_ms += duration_ms


def a_producer(
    stream: CountingStream,
    seed: int,
    *,
    attempts: int = 2,
    concurrency: int = 1,
    aggregate_bytes: int = 200,
    clock: Ticking | None = None,
) -> ProducerCore:
    rng = random.Random(seed)
    return ProducerCore(
        stream,
        clock=clock or Ticking(),
        rng=rng,
        config=CoreConfig(
            batching=BatcherConfig(aggregate_bytes=aggregate_bytes, request_bytes=2_000, linger_ms=0),
            retries=RetryConfig(max_attempts=attempts, base_ms=1),
            concurrency=concurrency,
        ),
        tags_for=Identity(rng).tags_for,
    )


def resend(path: Path, stream: CountingStream, seed: int, *, now_ms: int = 5, force: bool = False) -> int:
    clock = Ticking()
    clock.time_ms = now_ms
    with path.open("rb") as file, Path("/dev/null").open("w", encoding="utf-8") as out:
        job = ResendJob(
            stream=file,
            name=path.name,
            path=path,
            rest=path.with_name("u.rest"),
            rejects=path.with_name("u.rejects"),
            force=force,
            warn=lambda _: None,
        )
        return send_undelivered(
            job,
            lambda: a_producer(stream, seed, clock=clock),
            patience=Patience(clock, Stop()),
            noting=nullcontext,
            out=out,
        )


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_whatever_is_lost_and_however_often_it_is_sent_again_each_event_counts_once(
    seed: int, events: int, copies: int
) -> None:
    rng, stream = random.Random(seed), CountingStream()
    stream.fate = lambda _: rng.choice(FATES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "u.ndjson"
        clock = Ticking()
        delivery = Delivery(
            a_producer(stream, seed, clock=clock),
            UndeliveredFile(path, lambda: 1),
            warn=lambda _: None,
            patience=Patience(clock, Stop()),
        )
        put = [UserRecord(f"k{n % 7}", b"%06d" % n) for n in range(events)]
        for record in put:
            delivery.put(record)
        delivery.flush()
        delivery.file.close()
        assert sum(stream.counts.values()) >= delivery.delivered
        # A copy of the file is sent too, and the file again after a crash that came before it was removed.
        for copy in range(copies if path.exists() else 0):
            other = Path(folder) / f"copy{copy}.ndjson"
            shutil.copy(path, other)
            resend(other, stream, seed + 1 + copy)
        tries = 0
        while path.exists():
            tries += 1
            stream.fate = (lambda _: rng.choice(FATES)) if tries < 4 else (lambda _: "stored")
            resend(path, stream, seed + 10 + tries)
        assert stream.counts == Counter(record.data for record in put)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 60))
@settings(deadline=None, max_examples=40)
def test_what_is_diverted_in_midst_of_requests_under_way_counts_once(
    seed: int, events: int, diverted_at: int
) -> None:
    rng, stream, kept = random.Random(seed), CountingStream(), list[SealedRecord]()
    stream.fate = lambda _: rng.choice(("stored", "lost answer", "lost request"))
    producer = a_producer(stream, seed, attempts=1_000, concurrency=2)
    put = [UserRecord(f"k{n % 7}", b"%06d" % n) for n in range(events)]
    for number, record in enumerate(put):
        if number == diverted_at:
            producer.divert(kept.extend)
        producer.put(record)
    producer.divert(kept.extend)
    producer.flush()
    assert producer.stats.events_undelivered == sum(each.events for each in kept)
    assert producer.stats.events_stored + producer.stats.events_undelivered == events
    stream.fate = lambda _: "stored"
    with a_producer(stream, seed + 1) as again:
        for each in kept:
            again.put_sealed(each)
    producer.close()
    assert stream.counts == Counter(record.data for record in put)


def test_what_is_left_after_a_failure_is_all_that_the_file_holds(tmp_path: Path) -> None:
    path, stream = tmp_path / "u.ndjson", CountingStream()
    file = UndeliveredFile(path, lambda: 1)
    for number in range(5):
        file.keep([SealedRecord("k", b"%d" % number)])
    file.close()
    stream.fate = lambda entry: "refused" if entry.data in (b"1", b"3") else "stored"
    assert resend(path, stream, 1) == 1
    with path.open("rb") as left:
        kept = [each.data for each in UndeliveredReader(left, "u") if isinstance(each, SealedRecord)]
    assert set(kept) >= {b"1", b"3"}
    assert {b"0", b"1", b"2", b"3", b"4"} == set(kept) | set(stream.counts)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["u.ndjson"]
    stream.fate = lambda _: "stored"
    assert resend(path, stream, 2) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_crash_before_the_end_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path, stream = tmp_path / "u.ndjson", CountingStream()
    file = UndeliveredFile(path, lambda: 1)
    file.keep([SealedRecord("k", b"%d" % number) for number in range(5)])
    file.close()
    before = path.read_bytes()

    def crash(entry: PutEntry) -> str:
        if entry.data == b"3":
            raise KeyboardInterrupt
        return "stored"

    stream.fate = crash
    with pytest.raises(KeyboardInterrupt):
        resend(path, stream, 1)
    assert path.read_bytes() == before


def test_what_is_older_than_anybody_remembers_is_refused_unless_forced(tmp_path: Path) -> None:
    path, stream = tmp_path / "u.ndjson", CountingStream()
    file = UndeliveredFile(path, lambda: 1)
    file.keep([SealedRecord("k", b"x")])
    file.close()
    with pytest.raises(ConfigError, match=r"holds records of 400 days ago.*--force"):
        resend(path, stream, 1, now_ms=2 + KEPT_MS)
    assert stream.counts == Counter()
    assert resend(path, stream, 1, now_ms=2 + KEPT_MS, force=True) == 0
    assert stream.counts == Counter([b"x"])
