"""A Kinesis data plane for one machine: durable, reshard-correct, with real limits and injectable faults.

No installable emulator is both fast and right about resharding, and none throttles; this one is the local
stack's Kinesis. From the inside out::

    sequence, shards     arithmetic: 56-digit sequence numbers, the shard map and how it is resharded
    storage              the ports that the model writes through, and their in-memory form
    segment, log, disk   their durable form: append-only segments, one metadata file, one owner
    stream, model        where a record goes, what a reader sees, how streams change, on an injected clock
    api, data, control   actions of the AWS API, from plain values to plain values
    limits, faults       per-shard token buckets; seeded faults
    wire, cbor           bodies: JSON for boto3 and the native KPL, CBOR for the Java SDK
    sts                  whose account it is, for the KPL before 1.1
    http1, server, tls   connections

``python -m infra.local.kinesis --port 4567 --data DIR`` runs it. In process, for a simulation::

    api = KinesisApi(KinesisModel(clock_ms=clock, storage=MemoryStorage()))
    api.call("CreateStream", {"StreamName": "s", "ShardCount": 2})
"""
