"""A sender as a process of its own: ``python -m infra.load``.

It reads its job (a line of JSON) from standard input, says ``ready``, reads when to begin, and sends each event when it
is due. Twice a second it says what it has done so far; another line, or the end of its input, ends it before its time. What it
sent it tallies at the end, and leaves the totals where the job says. All that it says are lines of JSON.
"""

import json
import random
import sys
import threading
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import IO, Any

from hdrh.histogram import HdrHistogram

from infra.load.job import LONGEST_MS, Job
from processors.pipeline_files import load_pipeline
from producers.client.batcher import BatcherConfig
from producers.client.core import CoreConfig, ProducerCore
from producers.client.identity import Identity
from producers.client.kinesis import open_boto
from producers.clock import MonotonicClock
from producers.load.events import LoadEvents, sources_of
from producers.load.sending import Latencies, Sent, WallTimer, Watch, WatchedKinesis, send_load
from producers.simulators.totals import Tally, write_totals

_TELL_S = 0.5


def open_producer(job: Job, watch: Watch) -> ProducerCore:
    """Return the producer that the load goes through. The one place that knows how one is made."""
    config, dice = (
        CoreConfig(batching=BatcherConfig(one_key_per_record=job.one_key_per_record)),
        random.SystemRandom(),
    )
    port = open_boto(
        job.stream,
        endpoint_url=job.endpoint_url,
        region=job.region,
        credentials=job.credentials,
        concurrency=config.concurrency,
    )
    return ProducerCore(
        WatchedKinesis(port, now_ms=WallTimer().now_ms, watch=watch),
        clock=MonotonicClock(),
        rng=dice,
        config=config,
        tags_for=Identity(dice).tags_for,
    )


def main() -> int:
    """Send the load that standard input describes; return the exit status."""
    # Unbuffered: who reads on in a thread when the interpreter ends must not hold a buffer's lock.
    told = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - standard input, until the end
    job = Job.of_line(told.readline().decode())
    pipeline = load_pipeline(Path(job.pipeline)).of_consumer(job.consumer)
    events = LoadEvents(pipeline, sources_of(pipeline, job.sources), job.share, job.profile)
    latencies: Latencies

    def watch(number: int, count: int, stored_ms: float) -> None:
        latencies.note(number, count, stored_ms)

    producer = open_producer(job, watch)
    _say("ready", peak_per_s=events.schedule.peak_per_s, events=events.schedule.events)
    start_ms = int(told.readline() or 0)
    if not start_ms:
        return 1
    latencies = Latencies(events.schedule, start_ms, HdrHistogram(1, LONGEST_MS, 3))
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(told, ended), name="ends", daemon=True).start()
    told_s = 0.0

    def tell(sent: Sent, word: str = "at") -> None:
        stats = producer.stats
        _say(
            word,
            **asdict(sent),
            stored=stats.events_stored,
            failed=stats.entries_failed,
            throttled=stats.entries_throttled,
            bytes=stats.bytes_stored,
            records=stats.entries_stored,
            latencies=latencies.encoded(),
        )

    def is_over(sent: Sent) -> bool:
        nonlocal told_s
        if time.monotonic() - told_s > _TELL_S:
            told_s = time.monotonic()
            tell(sent)
        return ended.is_set()

    sent = send_load(
        events.all(start_ms),
        events.schedule,
        producer,
        start_ms=start_ms,
        timer=WallTimer(),
        give_up_s=job.give_up_s,
        is_over=is_over,
    )
    ended_ms = WallTimer().now_ms()
    producer.close()
    tell(sent, "sent")
    tally = Tally(pipeline)
    for source, event in islice(events.all(start_ms), sent.events):
        tally.add(source.name, event)
    write_totals(tally.totals, Path(job.totals))
    _say("done", ended_ms=ended_ms, cpu_s=time.process_time())
    return 0


def _wait_for_end(told: IO[bytes], ended: threading.Event) -> None:
    told.readline()
    ended.set()


def _say(word: str, **more: Any) -> None:
    print(json.dumps({"word": word, **more}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
