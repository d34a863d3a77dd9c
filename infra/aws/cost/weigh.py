"""What the events and items of a pipeline definition weigh: made, encoded and folded by the real code."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamgage.fold.folder import Folder

from infra.aws.cost.counting import CountingTable
from infra.aws.cost.item_size import item_size_bytes
from infra.aws.cost.load import RollupLoad
from processors.sink.fenced import AggregateSink, SinkLimits
from producers.client.encoder import encoder_of
from streamgage.definition.pipeline import Pipeline, Rollup, Source
from streamgage.errors import ConfigError, StreamgageError
from streamgage.formats.avro import Event
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.records import StreamRecord

_NOW_MS = 1_767_225_600_000
_EVENTS = 60
_FOR_EVER_MS = 365 * 86_400_000  # what is kept for ever is planned as it is after a year
_SEQUENCE_NUMBER = 49590338271490256608559692538361571095921575989136588898
_TEXT = "sample-00012"  # 12 characters, where nothing is known of a text
_TABLE_ENTRY_BYTES = 4  # of the partition key table, where a device sends a few events a record


@dataclass(frozen=True, slots=True)
class Weighed:
    """One source: the bytes of a user record in an aggregated one, and its rollups with the bytes of their items."""

    source: str
    event_bytes: float
    rollups: tuple[RollupLoad, ...]


def choose_source(pipeline: Pipeline, name: str | None) -> Source:
    """Return the source called *name*, or the only one. Raises: ConfigError."""
    if name is None and len(pipeline.sources) == 1:
        return next(iter(pipeline.sources.values()))
    if name not in pipeline.sources:
        said = "several sources; say which with --source" if name is None else f"no source {name!r}"
        raise ConfigError(f"the definition has {said}: {', '.join(pipeline.sources)}")
    return pipeline.sources[name]


def weigh(
    pipeline: Pipeline, source: Source, *, devices: int, metrics: int, keys: Mapping[str, int]
) -> Weighed:
    """Return what one minute of readings of one key weighs, and how many keys each rollup has.

    A rollup by the partition key alone has *devices* keys, one by more fields *devices* x *metrics*; of any other only
    *keys* can say.

    Raises:
        ConfigError: the schema has a type that no sample is made of; a rollup's keys are not known, or not a rollup's.
    """
    rollups = list(pipeline.rollups_of(source.name))
    problems = [
        f"--keys {name}: {source.name} has no such rollup"
        for name in keys
        if name not in {r.name for r in rollups}
    ]
    problems += [f"--keys {name}={count}: at least 1" for name, count in keys.items() if count < 1]
    problems += [
        f"rollup {each.name} is not by {source.partition_key}: say how many keys it has with --keys {each.name}=N"
        for each in rollups
        if source.partition_key not in each.key and each.name not in keys
    ]
    if problems:
        raise ConfigError(*problems)
    try:
        events = [_sample(source, number) for number in range(_EVENTS)]
        builder = AggregateBuilder()
        for event in events:
            builder.add(encoder_of(source).user_record(event))
    except (ValueError, StreamgageError) as error:
        raise ConfigError(
            f"no sample event of {source.name} could be made ({error}); say --event-bytes"
        ) from error
    data = builder.build()
    sizes = _item_bytes(pipeline, data)
    return Weighed(
        source.name,
        len(data) / _EVENTS + _TABLE_ENTRY_BYTES,
        tuple(
            RollupLoad(
                name=each.name,
                keys=keys.get(each.name) or _keys(each, devices=devices, metrics=metrics),
                windows_ms=tuple(window.size_ms for window in each.windows),
                item_bytes=sizes[each.name],
                keep_s=(_FOR_EVER_MS if each.keep_ms is None else each.keep_ms) / 1000,
                spread=source.partition_key not in each.key,
            )
            for each in rollups
        ),
    )


def _keys(rollup: Rollup, *, devices: int, metrics: int) -> int:
    return devices * (metrics if len(rollup.key) > 1 else 1)


def _item_bytes(pipeline: Pipeline, data: bytes) -> dict[str, float]:
    """Return the largest item of each rollup that one aggregated record makes."""
    folded = Folder(pipeline).fold(
        [StreamRecord("shardId-000000000000", _SEQUENCE_NUMBER, "sample", data, _NOW_MS + 60_000)]
    )
    if folded.poison:
        raise ConfigError(f"a sample event was refused: {folded.poison[0].refused[0].reason}")
    table = CountingTable()
    sink = AggregateSink(table, now_s=lambda: _NOW_MS // 1000, limits=SinkLimits(concurrency=1))
    sink.apply(folded.items, remaining_ms=lambda: 60_000)
    sizes: dict[str, float] = {}
    for (pk, _), item in table.rows.items():
        rollup = pk.partition(".")[0]
        sizes[rollup] = max(sizes.get(rollup, 0), item_size_bytes(item))
    return sizes


def _sample(source: Source, number: int) -> Event:
    event = {name: _value(kind, number) for name, kind in source.schema.fields.items()}
    event[source.event_time] = _NOW_MS + number * 1000
    event[source.partition_key] = _first(source.schema.fields[source.partition_key], _TEXT, 12_345)
    return event


def _first(kind: Any, text: str, number: int) -> Any:
    return text if "string" in str(kind) else number


def _value(kind: Any, number: int) -> Any:
    """Return a value of an Avro type, of a usual length: a nullable one is null, as optional fields mostly are."""
    if isinstance(kind, list):
        return None if "null" in kind else _value(kind[0], number)
    if isinstance(kind, dict):
        return _complex_value(kind, number)
    values = {
        "null": None,
        "boolean": True,
        "int": 12_345 + number,
        "long": 12_345 + number,
        "float": 1013.25 + number,
        "double": 1013.25 + number * 0.37,
        "bytes": _TEXT.encode(),
        "string": _TEXT,
    }
    if kind not in values:
        raise ValueError(f"no sample is made of the Avro type {kind!r}")
    return values[kind]


def _complex_value(kind: dict[str, Any], number: int) -> Any:
    match kind:
        case {"type": "enum", "symbols": [first, *_]}:
            return first
        case {"type": "array"}:
            return []
        case {"type": "map"}:
            return {}
        case {"type": "fixed", "size": size}:
            return b"\0" * size
        case {"type": "record", "fields": fields}:
            return {each["name"]: _value(each["type"], number) for each in fields}
        case _:
            return _value(kind["type"], number)
