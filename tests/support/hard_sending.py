"""Programs that send to a local stack the hard way: ``python -m support.hard_sending WAY HOME COUNT``. They print JSON.

Each sends, of each device that it names, the events 0, 1, … that ``reading_of`` makes.
"""

import base64
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from producers import Producer, ProducerConfig
from streamgage.limits import MIB
from support.interrupts import CtrlC
from support.paths import ROOT

START_MS = 1_767_225_600_000
THREADS = 8
MEMORY_BYTES = 16 * MIB
LARGE_BYTES, LARGE_PER_S = 1_500, 1_750  # some 2 MiB/s: twice what a shard takes
_SHORTEST_S, _LONGEST_S = 1e-5, 1e-3
Event = dict[str, Any]


def reading_of(device: str, number: int) -> Event:
    """Return the *number*-th event of *device*."""
    return {
        "device_id": device,
        "metric": "temperature",
        "ts": START_MS + number,
        "value": number % 999 / 4,
        "tags": None,
    }


def in_threads(open_producer: Callable[..., Producer], count: int) -> Event:
    """Put *count* events in each of eight threads: one by one, in lists, now and then flushed."""

    def work(device: str) -> None:
        for number in range(count // 2):
            producer.put("reading", reading_of(device, number))
        for at in range(count // 2, count, 500):
            producer.put_many(
                "reading", [reading_of(device, each) for each in range(at, min(at + 500, count))]
            )
        producer.flush()

    devices = [f"thread-{count}-{each}" for each in range(THREADS)]
    with open_producer() as producer:
        threads = [threading.Thread(target=work, args=(each,)) for each in devices]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    return {"sent": dict.fromkeys(devices, count)}


def forked(open_producer: Callable[..., Producer], count: int) -> Event:
    """Fork with half of the events in the buffer; both processes go on."""
    with open_producer(config=ProducerConfig(linger_ms=3_600_000)) as producer:
        for number in range(count // 2):
            producer.put("reading", reading_of(f"parent-{count}", number))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(300)  # a child that hangs is killed
                for number in range(count):
                    producer.put("reading", reading_of(f"child-{count}", number))
                producer.close()
                code = 0
            finally:
                os._exit(code)
        for number in range(count // 2, count):
            producer.put("reading", reading_of(f"parent-{count}", number))
        _, status = os.waitpid(pid, 0)
    return {"sent": {f"parent-{count}": count, f"child-{count}": count}, "child": status}


def interrupted(open_producer: Callable[..., Producer], count: int) -> Event:
    """Be interrupted by a signal at whatever bytecode, some hundred times, and go on from what ``stats`` says was taken."""
    dice, came = random.Random(count), 0

    def raise_ctrl_c(*_: object) -> None:
        raise CtrlC

    def arm() -> None:
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(_SHORTEST_S, _LONGEST_S))

    def put_some(producer: Producer) -> None:
        arm()
        while (number := producer.stats.events_put) < count:
            if number % 3:
                producer.put("reading", reading_of(f"interrupted-{count}", number))
            else:
                some = range(number, min(number + 25, count))
                producer.put_many("reading", [reading_of(f"interrupted-{count}", each) for each in some])
            if number % 97 == 0:
                producer.commit()
        signal.setitimer(signal.ITIMER_REAL, 0)

    signal.signal(signal.SIGALRM, raise_ctrl_c)
    with open_producer(config=ProducerConfig(linger_ms=5)) as producer:
        producer.put(
            "reading", reading_of(f"interrupted-{count}", 0)
        )  # an import that is interrupted begins anew
        while producer.stats.events_put < count:
            try:
                put_some(producer)
            except CtrlC:
                came += 1
        came += close_interrupted(producer, arm)
    return {"sent": {f"interrupted-{count}": count}, "interrupts": came}


def close_interrupted(producer: Producer, arm: Callable[[], None]) -> int:
    """Close, however often that is interrupted; return how often."""
    came = 0
    while True:
        try:
            arm()
            producer.close()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except CtrlC:
            came += 1
        else:
            return came


def throttled(open_producer: Callable[..., Producer], seconds: int) -> Event:
    """Offer a stream of one shard twice what it takes."""
    dice, device, number = random.Random(seconds), f"large-{seconds}", 0
    with open_producer(config=ProducerConfig(max_memory_bytes=MEMORY_BYTES)) as producer:
        producer.put("reading", large(dice, device, number))
        producer.flush()  # whatever a client needs once is in memory
        rss_bytes, most_bytes, stored_bytes = _rss_bytes(), 0, producer.stats.bytes_stored
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            number += 1
            producer.put("reading", large(dice, device, number))
            if number % 100 == 0:
                most_bytes = max(most_bytes, _rss_bytes() - rss_bytes)
                time.sleep(max(number / LARGE_PER_S - passed_s, 0))
        stored_bytes = producer.stats.bytes_stored - stored_bytes
    stats = producer.stats
    return {
        "sent": {device: number + 1},
        "offered_share": number / LARGE_PER_S / passed_s,
        "of_the_limit": stored_bytes / passed_s / MIB,
        "grown_mib": most_bytes / MIB,
        "throttled": stats.entries_throttled,
        "stored": stats.entries_stored,
    }


def large(dice: random.Random, device: str, number: int) -> Event:
    """Return an event that does not compress."""
    text = base64.b85encode(dice.randbytes(LARGE_BYTES * 4 // 5)).decode()
    return {**reading_of(device, number), "tags": {"noise": text}}


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


WAYS = {each.__name__: each for each in (in_threads, forked, interrupted, throttled)}


def main(way: str, home: str, count: str) -> None:
    """Send, and print what was sent and seen."""
    print(
        json.dumps(WAYS[way](partial(Producer.to_local, home, pipeline=ROOT / "pipeline.toml"), int(count)))
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
