"""What the events and items of a pipeline definition weigh: made, encoded and folded by the real code."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra.aws.cost.chunks import FULL, MANY, SAMPLE, BodyBytes
from infra.aws.cost.counting import attributes_of
from infra.aws.cost.item_size import item_size_bytes
from infra.aws.cost.load import RollupLoad, Together
from producers.client.encoder import encoder_of
from producers.load.values import histograms
from streamgage.definition.fingerprint import counts_of
from streamgage.definition.pipeline import Pipeline, Rollup, Source
from streamgage.errors import ConfigError, StreamgageError
from streamgage.fold.batch import BatchFold, Counting
from streamgage.fold.cells import Cell, ChunkContribution
from streamgage.fold.chunk import Chunk, encode_chunk
from streamgage.fold.items import Lanes, StoredItem
from streamgage.formats.kpl_builder import AggregateBuilder
from streamgage.measures.named import is_sketch
from streamgage.records import StreamRecord

_NOW_MS = 1_767_225_600_000
_KEYS = 240  # that are looked at
_SHARD = "shardId-000000000000"
_SPAN_MS = 50_000
_FOR_EVER_MS = 365 * 86_400_000  # what is kept for ever is planned as it is after a year
_SEQUENCE_NUMBER = 49590338271490256608559692538361571095921575989136588898
_TEXT = "sample-00012"  # 12 characters, where nothing is known of a text
_NUMBERS = 100_000  # different texts
_SPREAD = 400  # of one key's values, around a level of its own
_TABLE_ENTRY_BYTES = 4  # of the partition key table, where a device sends a few events a record


@dataclass(frozen=True, slots=True)
class Weighed:
    """One source: the bytes of a user record in an aggregated one, and its rollups with the bytes of their bodies."""

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
    pipeline: Pipeline,
    source: Source,
    *,
    devices: int,
    metrics: int,
    keys: Mapping[str, int],
    groups: Mapping[str, int] | None = None,
) -> Weighed:
    """Return what readings of many keys weigh, and how many keys each rollup has.

    A rollup by the partition key alone has *devices* keys, one by more fields *devices* x *metrics*; of any other only
    *keys* can say. Keys that stand together by the partition key alone do so in *devices* groups; of others only *groups*
    can say.

    Raises:
        ConfigError: the schema has a type that no sample is made of; a rollup's keys are not known, or not a rollup's.
    """
    spread = {each.name: each.key for each in pipeline.rollups_of(source.name)}
    together = {each.name: each.together for each in pipeline.rollups_of(source.name) if each.together}
    groups = {
        **{name: devices for name, fields in together.items() if fields == (source.partition_key,)},
        **(groups or {}),
    }
    pipeline = _whole(pipeline)
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
        if source.partition_key not in spread[each.name] and each.name not in keys
    ]
    problems += [
        f"--groups {name}: {source.name} has no such rollup whose keys stand together"
        for name in groups
        if name not in together
    ]
    problems += [f"--groups {name}={count}: at least 1" for name, count in groups.items() if count < 1]
    problems += [
        f"keys of {name} stand together by {', '.join(fields)}: say how many values that has with --groups {name}=N"
        for name, fields in together.items()
        if name not in groups
    ]
    if problems:
        raise ConfigError(*problems)
    try:
        few, many = (_record(source, rollups, metrics, each) for each in (1, MANY))
        full = _record(source, rollups, metrics, FULL, keys=SAMPLE) if any(map(_grows, rollups)) else b""
    except (ValueError, StreamgageError) as error:
        raise ConfigError(
            f"no sample event of {source.name} could be made ({error}); say --event-bytes"
        ) from error
    of_one, of_many = _cells(pipeline, few), _cells(pipeline, many)
    of_full = _cells(pipeline, full) if full else {}
    apart = body_bytes(of_one, of_many, of_full)
    bytes_ = apart | bytes_together(of_one, of_many, of_full)
    return Weighed(
        source.name,
        len(many) / (_KEYS * MANY) + _TABLE_ENTRY_BYTES,
        tuple(
            RollupLoad(
                name=each.name,
                keys=keys.get(each.name) or _keys(each, devices=devices, metrics=metrics),
                windows_ms=tuple(window.size_ms for window in each.windows),
                bytes=bytes_[each.name],
                keep_s=(_FOR_EVER_MS if each.keep_ms is None else each.keep_ms) / 1000,
                spread=source.partition_key not in spread[each.name],
                together=Together(
                    together[each.name],
                    groups[each.name],
                    apart[each.name],
                    spread=source.partition_key not in together[each.name],
                )
                if each.name in together
                else None,
            )
            for each in rollups
        ),
    )


def _whole(pipeline: Pipeline) -> Pipeline:
    """Return *pipeline* as if each rollup took every event: a sample may not be what a filter takes.

    A derived part of a key is weighed as the partition key is: what it would be of samples says nothing of its length.
    """
    rollups = {}
    for name, each in pipeline.rollups.items():
        source = pipeline.sources[each.source]
        derived = source.derived.expressions if source.derived else {}
        key = dict.fromkeys(source.partition_key if part in derived else part for part in each.key)
        rollups[name] = replace(each, where=None, key=tuple(key), together=_still_together(each, tuple(key)))
    return replace(pipeline, rollups=rollups)


def _still_together(rollup: Rollup, key: tuple[str, ...]) -> tuple[str, ...]:
    """Return which fields of *key*, that stands for the rollup's, keep keys together; none where all that do are derived."""
    together = tuple(each for each in rollup.together if each in key)
    return () if set(together) == set(key) else together


def _keys(rollup: Rollup, *, devices: int, metrics: int) -> int:
    return devices * (metrics if len(rollup.key) > 1 else 1)


def _grows(rollup: Rollup) -> bool:
    """Tell whether its states grow with their events."""
    return any(is_sketch(part) for each in rollup.layout.fields for part in each.parts)


def _record(
    source: Source, rollups: Sequence[Rollup], metrics: int, events: int, *, keys: int = _KEYS
) -> bytes:
    """Return an aggregated record of as many *keys* as are looked at, each of so many *events*."""
    span_ms = min(_SPAN_MS, *(each.size_ms for rollup in rollups for each in rollup.windows))
    dice = random.Random(1)  # noqa: S311 - samples, the same each time
    devices = [dice.randrange(_NUMBERS) for _ in range(keys)]
    names = [
        {
            **{name: _part_number(rollups, source, name, at % metrics, dice) for name in _parts(rollups)},
            source.partition_key: devices[at // metrics],
        }
        for at in range(keys)
    ]
    levels = [dice.randrange(_NUMBERS) for _ in range(keys)]
    measured = {each.field for rollup in rollups for each in rollup.layout.fields}
    builder, encoder = AggregateBuilder(), encoder_of(source)
    for number in range(keys * events):
        numbers, level = names[number % keys], levels[number % keys]
        event = {
            name: histograms(dice.random)
            if name in source.histograms
            else _measured(_known(kind), level + dice.randrange(_SPREAD))
            if name in measured
            else _value(kind, level + dice.randrange(_SPREAD))
            for name, kind in source.schema.fields.items()
        }
        event[source.event_time] = _NOW_MS + dice.randrange(span_ms)
        for name, of_key in numbers.items():
            event[name] = _part(source.schema.fields[name], of_key, event[name])
        builder.add(encoder.user_record(event))
    return builder.build()


def _parts(rollups: Sequence[Rollup]) -> set[str]:
    return {name for rollup in rollups for name in rollup.key}


def _part_number(
    rollups: Sequence[Rollup], source: Source, name: str, metric: int, dice: random.Random
) -> int:
    """Return which value a part of a key has: of what a device has several, its *metric*; else any."""
    of_device = any(name in each.key and source.partition_key in each.key for each in rollups)
    return metric if of_device else dice.randrange(_NUMBERS)


def _measured(kind: Any, number: int) -> Any:
    """Return a value of a measured field: of a text one of many, for they are told apart."""
    return f"sample-{number % _NUMBERS:05d}" if kind == "string" else _value(kind, number)


def _known(kind: Any) -> Any:
    """Return what a measured field mostly holds: a value."""
    return next(each for each in kind if each != "null") if isinstance(kind, list) else kind


def _cells(pipeline: Pipeline, data: bytes) -> dict[str, Cell]:
    """Return a cell of each rollup that *data*, an aggregated record, makes."""
    counting = Counting({name: counts_of(pipeline, each) for name, each in pipeline.rollups.items()})
    record = StreamRecord(_SHARD, _SEQUENCE_NUMBER, "sample", data, _NOW_MS + _SPAN_MS)
    folded = BatchFold(pipeline, Lanes("telemetry")).fold([record], lambda *_: False, counting)
    if folded.poison:
        raise ConfigError(f"a sample event was refused: {folded.poison[0].refused[0].reason}")
    cells: dict[str, Cell] = {}
    for contribution in folded.items.values():
        assert isinstance(contribution, ChunkContribution)  # noqa: S101 - a fold makes no other
        cell = contribution.cell
        known = cells.get(cell.rollup.name)
        if known is None or cell.windows.size_ms > known.windows.size_ms:
            cells[cell.rollup.name] = cell
    return cells


def body_bytes(
    of_one: Mapping[str, Cell], of_many: Mapping[str, Cell], of_full: Mapping[str, Cell]
) -> dict[str, BodyBytes]:
    """Return what the bodies of each rollup take, encoded by the real code: of keys that came together, and of others.

    *of_full* holds cells of SAMPLE keys of FULL events, where states grow so long.
    """
    return {
        name: _body_bytes(of_one[name], cell, _at_random(cell), of_full.get(name))
        for name, cell in of_many.items()
    }


def bytes_together(
    of_one: Mapping[str, Cell], of_many: Mapping[str, Cell], of_full: Mapping[str, Cell]
) -> dict[str, BodyBytes]:
    """Return the same of the rollups whose keys stand together, for such keys: their names shrink more."""
    return {
        name: _body_bytes(of_one[name], cell, _side_by_side(cell), of_full.get(name))
        for name, cell in of_many.items()
        if cell.rollup.together
    }


def _at_random(cell: Cell) -> list[int]:
    keys = min(len(cell.keys), SAMPLE)
    return random.Random(1).sample(range(len(cell.keys)), keys)  # noqa: S311 - as a hash would


def _side_by_side(cell: Cell) -> list[int]:
    return sorted(range(len(cell.keys)), key=lambda row: cell.keys[row].hash)[:SAMPLE]


def _body_bytes(of_one: Cell, cell: Cell, chosen: Sequence[int], whole: Cell | None) -> BodyBytes:
    keys = len(chosen)
    few_bytes, all_bytes = _body(cell, chosen[: keys // 3]), _body(cell, chosen)
    many = (all_bytes - few_bytes) / (keys - keys // 3)
    head = max(0.0, all_bytes - many * keys)
    one = (_body(of_one, chosen) - head) / keys
    sampled = _body(cell, range(keys)) / keys
    item = StoredItem(cell.fence, cell.counts, b"", cell.expires_s)
    around = item_size_bytes(attributes_of(cell.item_key(100, 10), item))
    names = sum(len(key.text.encode()) for key in cell.keys) / len(cell.keys)
    full = _full_bytes(whole) if whole is not None and _grows(cell.rollup) else None
    return BodyBytes(head, min(one, many), many, sampled, names, around, full)


def _full_bytes(whole: Cell) -> float:
    """Return the bytes of one more key in *whole*."""
    every = range(len(whole.keys))
    few = every[: len(every) // 3]
    return (_body(whole, every) - _body(whole, few)) / (len(every) - len(few))


def _body(cell: Cell, rows: Sequence[int]) -> int:
    chunk = Chunk(0, cell.plan.empty())
    cell.add(chunk, rows)
    return len(encode_chunk(chunk, cell.rollup.layout, start_ms=cell.start_ms))


def _part(kind: Any, number: int, otherwise: Any) -> Any:
    """Return a part of a key: a text of a usual length, or a number, which tells keys apart."""
    text = str(kind)
    if "string" in text:
        return f"sample-{number:05d}"
    return number if "long" in text or "int" in text else otherwise


def _value(kind: Any, number: int) -> Any:
    """Return a value of an Avro type, of a usual length: a nullable one is null, as optional fields mostly are."""
    if isinstance(kind, list):
        return None if "null" in kind else _value(kind[0], number)
    if isinstance(kind, dict):
        return _complex_value(kind, number)
    values = {
        "null": None,
        "boolean": True,
        "int": number,
        "long": number,
        "float": number / 4,
        "double": number / 100,
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
