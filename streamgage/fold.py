"""Decode Kinesis records and fold their events: from a batch to contributions by item and sequence number.

Nothing here depends on how the batch was cut: each verdict and each contribution is a function of one Kinesis record.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Any

from streamgage.avro import HEADER_BYTES, MARKER, AvroReader, Event
from streamgage.decimals import scale_number
from streamgage.errors import PoisonRecord
from streamgage.items import ItemKey, lane_of_shard, partition_prefix, partition_suffix, window_prefix
from streamgage.kpl import decode_aggregate, is_aggregated
from streamgage.measures import Monoid, State, compile_layout
from streamgage.pipeline import Pipeline, Rollup, Source
from streamgage.records import StreamRecord
from streamgage.repeats import Mark, decode_mark
from streamgage.windows import MAX_EVENT_TIME_MS, TumblingWindows

_REMEMBERED_KEYS = 100_000

Groups = dict[tuple[int, str], State]
"""States by (window start in ms, what the pk ends with)."""

Lane = Callable[[str, str], str]
"""``lane(shard_id, partition_key)``: the sequence of records, delivered in order, that a record belongs to."""


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that cannot be counted: what it was, where it stood, and why.

    ``sub_sequence_number`` is the user record's place in its Kinesis record; None where the whole Kinesis record is
    poison. ``data`` is the user record's, or the Kinesis record's.
    """

    shard_id: str
    sequence_number: int
    sub_sequence_number: int | None
    partition_key: str
    arrival_ms: int
    data: bytes
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Contributions:
    """What a batch adds to one item: a state a Kinesis record, in the order of their sequence numbers."""

    rollup: Rollup
    parts: list[tuple[int, State]]

    @property
    def layout(self) -> str:
        """What stands where in a state."""
        return self.rollup.layout.text

    @property
    def keep_ms(self) -> int:
        """How long the item is kept after a write."""
        return self.rollup.keep_ms

    def merge(self, known: State | None, fresh: Sequence[tuple[int, State]]) -> State:
        """Return the fold of *known* (None: nothing yet) and the *fresh* parts."""
        monoid = compile_layout(self.rollup.layout)
        state = monoid.identity()
        if known is not None:
            monoid.merge(state, known)
        for _, part in fresh:
            monoid.merge(state, part)
        return state

    def mend(self) -> str:
        """Say what a person does where an item of another layout stands."""
        return (
            f"The measures of rollup {self.rollup.name} were changed: set generation = {self.rollup.generation + 1} "
            "in pipeline.toml, and it starts afresh beside the old one"
        )


@dataclass(slots=True)
class Folded:
    """A whole batch, folded: contributions by item, poison in order, and what was counted on the way."""

    items: dict[ItemKey, Contributions] = field(default_factory=dict)
    poison: list[Poison] = field(default_factory=list)
    kinesis_records: int = 0
    user_records: int = 0
    repeated_records: int = 0


def _never_repeated(_record: StreamRecord, _mark: "Mark | None") -> bool:
    return False


IsRepeat = Callable[[StreamRecord, Mark | None], bool]
"""Asked of each Kinesis record, in order: was it stored before, under another sequence number?"""


class Folder:
    """Fold Kinesis records by a pipeline. Holds no state between batches but compiled plans."""

    def __init__(self, pipeline: Pipeline, lane: Lane = lane_of_shard) -> None:
        self._lane = lane
        plans = {
            name: _SourcePlan(source, tuple(pipeline.rollups_of(name)))
            for name, source in pipeline.sources.items()
        }
        self._by_prefix = {prefix: plan for plan in plans.values() for prefix in plan.reader.prefixes}
        self._by_name = plans

    def fold(self, records: Sequence[StreamRecord], is_repeat: IsRepeat = _never_repeated) -> Folded:
        """Return the fold of *records*, in the order of their sequence numbers, each once, without what *is_repeat*."""
        folded = Folded()
        for record in _in_order(records):
            self._fold_record(record, folded, is_repeat)
        return folded

    def _fold_record(self, record: StreamRecord, folded: Folded, is_repeat: IsRepeat) -> None:
        folded.kinesis_records += 1
        mark = None
        try:
            if is_aggregated(record.data):
                aggregate = decode_aggregate(record.data)
                datas, keys, key_indexes = (
                    aggregate.datas,
                    aggregate.partition_keys,
                    aggregate.partition_key_indexes,
                )
                mark = decode_mark(aggregate.tags)
            else:
                datas, keys, key_indexes = [record.data], [record.partition_key], [0]
        except PoisonRecord as poison:
            folded.user_records += 1
            is_repeat(record, None)
            folded.poison.append(_poison(record, None, record.partition_key, record.data, poison))
            return
        if is_repeat(record, mark):
            folded.repeated_records += len(datas)
            return
        folded.user_records += len(datas)
        lane = "|" + self._lane(record.shard_id, record.partition_key)
        groups: dict[_RollupPlan, Groups] = {}
        for sub_sequence_number, data in enumerate(datas):
            try:
                plan, event = self._decode(data)
                plan.add(event, record, sub_sequence_number, groups)
            except PoisonRecord as poison:
                partition_key = keys[key_indexes[sub_sequence_number]]
                folded.poison.append(_poison(record, sub_sequence_number, partition_key, data, poison))
        for rollup_plan, states in groups.items():
            rollup_plan.contribute(states, record.sequence_number, lane, folded.items)

    def _decode(self, data: bytes) -> tuple["_SourcePlan", Event]:
        plan = self._by_prefix.get(data[:HEADER_BYTES])
        if plan is not None:
            return plan, plan.reader.decode(data)
        if data[:1] == b"{":
            return self._decode_json(data)
        if data[:2] == MARKER:
            raise PoisonRecord("unknown_schema", f"no schema has the Avro fingerprint {data[2:10].hex()}")
        raise PoisonRecord(
            "unknown_format",
            f"begins with {data[:4].hex() or 'nothing'}: neither Avro single-object nor JSON",
        )

    def _decode_json(self, data: bytes) -> tuple["_SourcePlan", Event]:
        try:
            event = json.loads(data, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise PoisonRecord("undecodable", f"not valid JSON: {error}") from error
        name = event.pop("source", None)
        plan = self._by_name.get(name) if isinstance(name, str) else None
        if plan is None:
            raise PoisonRecord(
                "unknown_schema", f'"source" is {name!r}; it must be one of: {", ".join(self._by_name)}'
            )
        try:
            return plan, plan.reader.decode(plan.source.schema.encode(event))
        except ValueError as error:
            raise PoisonRecord("undecodable", str(error)) from error


class _SourcePlan:
    """How the events of one source are folded: which values are read, scaled and grouped."""

    def __init__(self, source: Source, rollups: tuple[Rollup, ...]) -> None:
        self.source = source
        self.reader: AvroReader = source.reader
        self._rollups = tuple(_RollupPlan(rollup) for rollup in rollups)

    def add(
        self,
        event: Event,
        record: StreamRecord,
        sub_sequence_number: int,
        groups: dict["_RollupPlan", Groups],
    ) -> None:
        """Fold *event* into each rollup's group, or into none of them.

        Raises:
            PoisonRecord: the event is counted nowhere.
        """
        event_time_ms = event[self.source.event_time]
        self._check_time(event_time_ms, record.arrival_ms)
        prepared = [(plan, plan.suffix_of(event), plan.values_of(event)) for plan in self._rollups]
        for plan, suffix, values in prepared:
            states = groups.get(plan)
            if states is None:
                states = groups[plan] = {}
            group = (event_time_ms - event_time_ms % plan.base_ms, suffix)
            state = states.get(group)
            if state is None:
                state = states[group] = plan.monoid.identity()
            plan.monoid.add(state, values, event_time_ms, record.sequence_number, sub_sequence_number)

    def _check_time(self, event_time_ms: int, arrival_ms: int) -> None:
        source = self.source
        if not 0 <= event_time_ms < MAX_EVENT_TIME_MS:
            raise PoisonRecord(
                "bad_time", f"{source.event_time} is {event_time_ms}, not ms since 1970 before the year 10000"
            )
        if source.max_future_ms is not None and event_time_ms > arrival_ms + source.max_future_ms:
            raise PoisonRecord(
                "future",
                f"{event_time_ms - arrival_ms} ms after its arrival; max_future is {source.max_future_ms} ms",
            )
        if source.max_lateness_ms is not None and event_time_ms < arrival_ms - source.max_lateness_ms:
            raise PoisonRecord(
                "late",
                f"{arrival_ms - event_time_ms} ms before its arrival; max_lateness is {source.max_lateness_ms} ms",
            )


class _RollupPlan:
    """How one rollup groups: events into its smallest windows, larger windows from those that nest in them."""

    def __init__(self, rollup: Rollup) -> None:
        self.rollup = rollup
        self.monoid: Monoid = compile_layout(rollup.layout)
        self.base_ms = math.gcd(*(each.size_ms for each in rollup.windows))
        self._levels = [(windows, partition_prefix(rollup, windows)) for windows in rollup.windows]
        self._measured = tuple((each.field, each.scale) for each in rollup.layout.fields)
        self._suffixes: dict[tuple[Any, ...], str] = {}

    def suffix_of(self, event: Event) -> str:
        """Return what the pk of *event* ends with. Raises: PoisonRecord ``bad_key``."""
        key = tuple([event[name] for name in self.rollup.key])
        suffix = self._suffixes.get(key)
        if suffix is None:
            if len(self._suffixes) >= _REMEMBERED_KEYS:
                self._suffixes.clear()
            suffix = self._suffixes[key] = partition_suffix(self.rollup, key)
        return suffix

    def values_of(self, event: Event) -> list[int | None]:
        """Return the scaled values of the measured fields. Raises: PoisonRecord ``bad_value``."""
        return [
            None if (value := event[name]) is None else scale_number(value, scale)
            for name, scale in self._measured
        ]

    def contribute(
        self, groups: Groups, sequence_number: int, lane: str, items: dict[ItemKey, Contributions]
    ) -> None:
        """Add each group's state, as the contribution of one Kinesis record, to its item of each window size."""
        smaller_ms, states = self.base_ms, groups
        for windows, prefix in self._levels:
            if windows.size_ms % smaller_ms:  # they do not nest: begin again from the groups
                smaller_ms, states = self.base_ms, groups
            if windows.size_ms != smaller_ms:
                smaller_ms, states = windows.size_ms, self._merged(states, windows)
            for (start_ms, suffix), state in states.items():
                key = ItemKey(prefix + suffix, window_prefix(start_ms) + lane)
                contributions = items.get(key)
                if contributions is None:
                    contributions = items[key] = Contributions(self.rollup, [])
                contributions.parts.append((sequence_number, state))

    def _merged(self, smaller: Groups, windows: TumblingWindows) -> Groups:
        """Return the states of *windows*, each the merge of the *smaller* ones that nest in it."""
        states: Groups = {}
        for (start_ms, suffix), state in smaller.items():
            group = (start_ms - start_ms % windows.size_ms, suffix)
            merged = states.get(group)
            if merged is None:
                merged = states[group] = self.monoid.identity()
            self.monoid.merge(merged, state)
        return states


def _in_order(records: Sequence[StreamRecord]) -> Sequence[StreamRecord]:
    """Return *records* as Lambda delivers them; a batch that repeats or reorders a record is put right."""
    if all(a.sequence_number < b.sequence_number for a, b in pairwise(records)):
        return records
    unique = {(each.shard_id, each.sequence_number): each for each in records}
    return sorted(unique.values(), key=attrgetter("sequence_number"))


def _poison(
    record: StreamRecord,
    sub_sequence_number: int | None,
    partition_key: str,
    data: bytes,
    poison: PoisonRecord,
) -> Poison:
    return Poison(
        shard_id=record.shard_id,
        sequence_number=record.sequence_number,
        sub_sequence_number=sub_sequence_number,
        partition_key=partition_key,
        arrival_ms=record.arrival_ms,
        data=data,
        code=poison.code,
        reason=poison.reason,
    )


def _refuse_constant(name: str) -> float:
    raise PoisonRecord("bad_value", f"{name} is not a finite number")
