"""Peer: async-kinesis encodes and aggregates readings. A script of the peers' virtual environment.

Written as its README shows a producer, with the in-memory stand-in of its own ``kinesis.testing``: the same processor,
no network and no rate limit. Of its aggregating processors, ``JsonListProcessor`` (the fastest in its README's
benchmark) or ``JsonLineProcessor``; its KPL processor leaves aggregation to aws_kinesis_agg, which is a peer itself.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from kinesis import processors
from kinesis.testing import MockProducer


def main(source: Path, destination: Path, name: str) -> None:
    """Send what *source* holds through the processor *name*; write CPU time and what arrived to *destination*."""
    content = json.loads(source.read_text())
    processor = getattr(processors, name)(max_size=content["max_size_kib"])
    cpu_s, stream = asyncio.run(send(content["events"], processor))
    datas = [data for shard in stream.shards for data in stored(shard)]
    parsed: list[Any] = [item for data in datas for item in processor.parse(data)]
    events = [event for item in parsed for event in (item if isinstance(item, list) else [item])]
    answer = {
        "events": len(events),
        "sum": sum(round(event["value"] * 10**4) for event in events),
        "kinesis_records": len(datas),
        "bytes": sum(map(len, datas)),
    }
    destination.write_text(json.dumps({"cpu_s": cpu_s, "answer": answer}))


async def send(events: list[Any], processor: Any) -> tuple[float, Any]:
    """Return CPU seconds, and the stream that the events are in."""
    began_s = time.process_time()
    async with MockProducer("readings", processor=processor, create_stream=True) as producer:
        for event in events:
            await producer.put(event)
        await producer.flush()
        return time.process_time() - began_s, producer.stream


def stored(shard: Any) -> list[bytes]:
    """Return the data of the Kinesis records in a shard of the in-memory stream."""
    return [data for _, data, _ in shard.records]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
