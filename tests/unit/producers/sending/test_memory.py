"""The bound on memory is one on what this process takes, as the operating system counts it."""

import os
import subprocess
import sys

import pytest

from support.paths import ROOT

MOST_MIB = 16
SCRIPT = """
import os, random, sys, threading
from producers import BufferFull, ProducerConfig
from support.counting import CountingStream
from support.sending import BLOCKS, ROWS, producer_over, reading

def rss_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

class Stalled(CountingStream):
    def put_records(self, entries):
        threading.Event().wait()

pipeline = {"rows": ROWS, "blocks": BLOCKS}[sys.argv[1]]
dice = random.Random(1)
more = {
    "small": lambda number: {},
    "keys": lambda number: {"device_id": f"device-{number:09d}"},
    "texts": lambda number: {"metric": f"metric-{dice.random()}"},
    "tags": lambda number: {"value": dice.random(), "tags": {"site": f"s{number % 7}", "rack": f"r{dice.random()}"}},
    "large": lambda number: {"metric": f"{dice.random()}" * 250},
}[sys.argv[2]]
with producer_over(CountingStream(), pipeline=pipeline) as producer:  # what any producer needs once
    for number in range(1_000):
        producer.put("reading", {**reading(number), **more(number)})
config = ProducerConfig(max_memory_bytes=int(sys.argv[3]) * 2**20, when_full="raise")
producer = producer_over(Stalled(), pipeline=pipeline, config=config)
told = [].append if "told" in sys.argv else None
before, number = rss_mib(), 0
try:
    while number < 400_000:
        producer.put("reading", {**reading(number), **more(number)}, on_delivery=told)
        number += 1
except BufferFull:
    pass
print(number, rss_mib() - before, flush=True)
os._exit(0)  # a stream that is stalled lets no interpreter end
"""


def grown_mib(*arguments: str) -> tuple[int, float]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))},
        timeout=600,
    )
    events, grown = done.stdout.split()
    return int(events), float(grown)


SHAPES = [("rows", "small"), ("rows", "keys"), ("rows", "large"), ("blocks", "texts"), ("blocks", "tags")]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="RSS is read as Linux tells it")  # noqa: PTH110
@pytest.mark.parametrize(
    "arguments",
    [
        ("rows", "keys", str(MOST_MIB)),
        ("blocks", "tags", "4"),
        *(pytest.param((*each, "64"), marks=pytest.mark.slow) for each in SHAPES),
        *(pytest.param((*each, "16", "told"), marks=pytest.mark.slow) for each in SHAPES),
    ],
    ids=" ".join,
)
def test_in_front_of_a_stalled_stream_a_process_grows_by_no_more_than_it_was_told(
    arguments: tuple[str, ...],
) -> None:
    events, grown = grown_mib(*arguments)
    print(f"{events:,} events, {grown:.1f} MiB")
    assert grown <= int(arguments[2])
    assert grown > 0.1 or arguments[1] == "large"
