"""Store and forward: records a second onto the disk by how many callers share a transaction, their CPU, and out again."""

import random
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Headline, Progress, Result, Series, Table, WrongAnswerError
from producers.client.core import CoreConfig, ProducerCore
from producers.client.entry import PutEntry
from producers.client.ports import PutResult, PutStored
from producers.clock import MonotonicClock
from producers.spool import PATIENT, Forwarder
from producers.spool.spool import Spool
from streamgage.records import SealedRecord
from streamgage.shards import Shard

QUESTION = "How many records a second does a spool take, and give back?"
CALLERS = (1, 4, 16, 64)
SIZES = {"1 kB": 1_000, "50 kB": 50_000}
_EVENT_BYTES = 8  # of a reading in a block; see the benchmark producer
_QUICK, _WHOLE = 64, 4_096  # records a turn, of 1 kB
_SHARD = Shard("shardId-000000000000", 0, 2**128 - 1)


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure appends of several threads, and a drain."""
    measuring = _Measuring(
        rounds=1 if quick else 5, records=_QUICK if quick else _WHOLE, seed=seed, progress=progress
    )
    rates, cpu = [], []
    for size in SIZES:
        for fsync in (True, False):
            label = f"{size}, {'fsync' if fsync else 'no fsync'}"
            for callers in CALLERS:
                walls_s, cpus_s, records = measuring.appended(size, callers=callers, fsync=fsync)
                rates.append(Series(label, "ours", tuple(records / each for each in walls_s), at=callers))
                cpu.append(Series(label, "ours", tuple(each / records * 1e6 for each in cpus_s), at=callers))
    drains = tuple(Series(size, "ours", measuring.drained(size)) for size in SIZES)
    return Result(
        name="spool",
        question=QUESTION,
        method=(
            "Threads append one sealed record a call and wait until it is on the disk; those that wait at one time share a "
            "transaction and its fsync. The drain is a forwarder, a producer and a port that stores everything at no cost, until the "
            "spool is empty. Wall time, but for the CPU of the process. What is in the spool is counted after each turn."
        ),
        tables=(
            Table(
                "Appends",
                "records/s",
                tuple(rates),
                better="more",
                x="callers at once",
                log_x=True,
                log_y=True,
            ),
            Table("CPU of an append", "µs of CPU a record", tuple(cpu), x="callers at once", log_x=True),
            Table("Drain", "records/s", drains, better="more"),
        ),
        configuration={"records a turn": measuring.records, "seed": seed, "callers": list(CALLERS)},
        facts={"a record of 50 kB is, in blocks, so many events": SIZES["50 kB"] // _EVENT_BYTES},
        headlines=(
            Headline(
                "Spool: records of 1 kB a second, on the disk, 64 callers",
                f"{_median(rates, '1 kB, fsync', 64):,.0f}",
                "",
                None,
            ),
        ),
        limits=(
            "A disk's fsync decides, here of the folder of temporary files; that of a virtual disk may be faster than any device's.",
            "No peer: none of them keeps sealed records.",
        ),
    )


def _median(series: Sequence[Series], label: str, at: int) -> float:
    return next(each.median for each in series if (each.label, each.at) == (label, at))


class _Measuring:
    """One spool a turn, in a new folder."""

    def __init__(self, *, rounds: int, records: int, seed: int, progress: Progress) -> None:
        self._rounds, self.records, self._progress = rounds, records, progress
        self._rng = random.Random(seed)  # noqa: S311 - seeded

    def appended(
        self, size: str, *, callers: int, fsync: bool
    ) -> tuple[tuple[float, ...], tuple[float, ...], int]:
        """Return the seconds of each round, of the wall and of CPU, and for how many records."""
        records = self._records_of(size, callers=callers if fsync else 64)
        walls_s, cpus_s = [], []
        for number in range(self._rounds):
            self._progress(
                f"append {size}, {callers} callers, {'fsync' if fsync else 'no fsync'}, round {number + 1}"
            )
            with (
                tempfile.TemporaryDirectory() as folder,
                Spool.open(Path(folder) / "spool.db", max_bytes=1 << 33, fsync=fsync) as spool,
            ):
                shares = [records[first::callers] for first in range(callers)]
                threads = [threading.Thread(target=_append, args=(spool, each)) for each in shares]
                began_s, cpu_s = time.perf_counter(), time.process_time()
                for each in threads:
                    each.start()
                for each in threads:
                    each.join()
                walls_s.append(time.perf_counter() - began_s)
                cpus_s.append(time.process_time() - cpu_s)
                _check(spool.stats.records, len(records))
        return tuple(walls_s), tuple(cpus_s), len(records)

    def drained(self, size: str) -> tuple[float, ...]:
        """Return the records a second of each round."""
        records, rates = self._records_of(size, callers=64), []
        for number in range(self._rounds):
            self._progress(f"drain {size}, round {number + 1}")
            with (
                tempfile.TemporaryDirectory() as folder,
                Spool.open(Path(folder) / "spool.db") as spool,
            ):
                spool.append(records)
                stream = _Stream()
                core = ProducerCore(
                    stream, clock=MonotonicClock(), rng=self._rng, config=CoreConfig(retries=PATIENT)
                )
                forwarder = Forwarder(spool, core)
                began_s = time.perf_counter()
                while spool.stats.records:
                    forwarder.step()
                rates.append(len(records) / (time.perf_counter() - began_s))
                forwarder.stop()
                core.close()
                _check(stream.stored, len(records))
        return tuple(rates)

    def _records_of(self, size: str, *, callers: int) -> list[SealedRecord]:
        """Return fewer of those that wait longer, so that a turn takes a second or so."""
        count = max(callers, 8, self.records * callers // 64 // (8 if SIZES[size] > 10_000 else 1))
        data = self._rng.randbytes(SIZES[size])
        return [SealedRecord(f"device {each}", b"%08d" % each + data, None, 1) for each in range(count)]


class _Stream:
    """Stores everything, at no cost."""

    def __init__(self) -> None:
        self.stored = 0

    def list_shards(self) -> Sequence[Shard]:
        """Return one shard."""
        return (_SHARD,)

    def put_records(self, entries: Sequence[PutEntry]) -> Sequence[PutResult]:
        """Count *entries*."""
        self.stored += len(entries)
        return [PutStored(_SHARD.shard_id, 1)] * len(entries)


def _append(spool: Spool, records: Sequence[SealedRecord]) -> None:
    for each in records:
        spool.append([each])


def _check(found: int, wanted: int) -> None:
    if found != wanted:
        raise WrongAnswerError(f"{found} records, not {wanted}")
