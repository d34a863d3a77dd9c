"""One client in a process of its own: what its start takes, and then each event. Prints JSON.

``send_child.py CLIENT URL EVENTS PIPELINE``. With async-kinesis it runs in the peers' virtual environment, and needs nothing
else.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

STREAM, REGION = "events", "eu-west-1"
CHUNK = 1_000


def cpu_ms() -> float:
    """Return the CPU time of this process, from its start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1e3


def most_rss_mb() -> float:
    """Return the most memory that this program had. ``ru_maxrss`` would be its parent's, where that had more."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is not everybody's import
        line = next(each for each in status if each.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def events_of(count: int) -> list[dict[str, Any]]:
    """Return the same readings for all."""
    return [
        {
            "device_id": f"device-{number % 500}",
            "metric": ("temperature", "humidity", "power")[number % 3],
            "ts": 1767614400000 + number,
            "value": number * 37 % 10_007 / 100,
        }
        for number in range(count)
    ]


def main(client: str, url: str, count: int, pipeline: str) -> None:
    """Start *client*, send one event, then *count*; print what each took."""
    bare_ms = cpu_ms()
    if client == "async-kinesis":
        import asyncio  # noqa: PLC0415 - its import is measured

        asyncio.run(_async_kinesis(url, count, bare_ms))
        return
    send_one, send_all, close = _agg(url, pipeline) if client == "agg" else _ours(client, url, pipeline)
    init_ms = cpu_ms() - bare_ms
    send_one()
    rss_mb = most_rss_mb()
    events = events_of(count)
    began_s = time.process_time()
    sent = send_all(events)
    close()
    _tell(init_ms, rss_mb, time.process_time() - began_s, sent)


def _ours(client: str, url: str, pipeline: str) -> tuple[Callable[[], None], Callable[[list[Any]], int], Any]:
    from producers import Producer  # noqa: PLC0415 - its import is measured

    transport, way, *rows = client.split()
    producer = Producer(
        STREAM,
        region=REGION,
        endpoint_url=url,
        credentials=("a", "b"),
        transport=transport,  # type: ignore[arg-type]  # told by the caller
        pipeline=_in_rows(pipeline) if rows else pipeline,
    )

    def one() -> None:
        producer.put("reading", events_of(1)[0])
        producer.flush()

    def every(events: list[Any]) -> int:
        if way == "put":
            for each in events:
                producer.put("reading", each)
        else:
            for at in range(0, len(events), CHUNK):
                producer.put_many("reading", events[at : at + CHUNK])
        producer.flush()
        return producer.stats.events_stored - 1

    return one, every, producer.close


def _in_rows(path: str) -> Any:
    """Return the pipeline without blocks: each event is a user record of its own."""
    from dataclasses import replace  # noqa: PLC0415 - its import is measured

    from processors.pipeline_files import load_pipeline  # noqa: PLC0415 - its import is measured

    pipeline = load_pipeline(path)
    sources = {name: replace(each, blocks=False) for name, each in pipeline.sources.items()}
    return replace(pipeline, sources=sources)


def _agg(url: str, pipeline: str) -> tuple[Callable[[], None], Callable[[list[Any]], int], Any]:
    """Return fastavro, aws_kinesis_agg and boto3, put together as their READMEs show."""
    from io import BytesIO  # noqa: PLC0415 - its import is measured
    from pathlib import Path  # noqa: PLC0415 - its import is measured

    import boto3  # noqa: PLC0415 - its import is measured
    import fastavro  # noqa: PLC0415 - its import is measured
    from aws_kinesis_agg.aggregator import RecordAggregator  # noqa: PLC0415 - its import is measured

    raw = json.loads((Path(pipeline).parent / "schemas" / "reading.avsc").read_text(encoding="utf-8"))
    schema = fastavro.parse_schema(raw)
    kinesis = boto3.client(
        "kinesis",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="a",
        aws_secret_access_key="b",  # noqa: S106 - nobody's
    )
    aggregator = RecordAggregator(50_000)

    def put(full: Any) -> None:
        if full:
            partition_key, _, data = full.get_contents()
            kinesis.put_record(StreamName=STREAM, PartitionKey=partition_key, Data=data)

    def every(events: list[Any]) -> int:
        for each in events:
            out = BytesIO()
            fastavro.schemaless_writer(out, schema, each)
            put(aggregator.add_user_record(each["device_id"], out.getvalue()))
        put(aggregator.clear_and_get())
        return len(events)

    return lambda: (every(events_of(1)), None)[1], every, kinesis.close


async def _async_kinesis(url: str, count: int, bare_ms: float) -> None:
    from kinesis import Producer  # noqa: PLC0415 - its import is measured
    from kinesis.processors import JsonListProcessor  # noqa: PLC0415 - its import is measured

    async with Producer(
        stream_name=STREAM, endpoint_url=url, region_name=REGION, processor=JsonListProcessor()
    ) as producer:
        init_ms = cpu_ms() - bare_ms
        await producer.put(events_of(1)[0])
        await producer.flush()
        rss_mb = most_rss_mb()
        events = events_of(count)
        began_s = time.process_time()
        for each in events:
            await producer.put(each)
        await producer.flush()
        _tell(init_ms, rss_mb, time.process_time() - began_s, len(events))


def _tell(init_ms: float, rss_mb: float, cpu_s: float, sent: int) -> None:
    print(json.dumps({"init_ms": init_ms, "rss_mb": rss_mb, "cpu_s": cpu_s, "sent": sent}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
