"""The pipeline definition: what is sent, and what analysts get. ``pipeline.toml`` is its one source."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from streamgage.durations import parse_duration
from streamgage.errors import ConfigError
from streamgage.formats.avro import AvroSchema
from streamgage.measures.layout import FieldLayout, StateLayout
from streamgage.measures.parts import HISTOGRAM, TEXT
from streamgage.measures.windows import TumblingWindows

if TYPE_CHECKING:
    from streamgage.definition.derived import Derived
    from streamgage.expressions.expression import Expression
    from streamgage.formats.agents.mapping import AgentMapping
    from streamgage.formats.json_event import TimeUnit

# The types of Avro that a key, an event time or a measure may have.
KEY_TYPES = frozenset({"string", "int", "long", "boolean", "enum"})
TIME_TYPES = frozenset({"long"})
INTEGER_TYPES = frozenset({"int", "long"})
NUMBER_TYPES = INTEGER_TYPES | {"float", "double"}
TEXT_TYPES = frozenset({"string", "enum"})
DEFAULT_SCALE = 9  # decimal places kept of a float; an integer has none
DEFAULT_CONSUMER = "main"


class DeferredMappings(Collection["AgentMapping"]):
    """The mappings of a source, of which there are some, read when one first looks into them: it may be never.

    *read* returns them all, the same each time.
    """

    def __init__(self, read: "Callable[[], tuple[AgentMapping, ...]]") -> None:
        self._read = read
        self._found: tuple[AgentMapping, ...] | None = None

    def _all(self) -> "tuple[AgentMapping, ...]":
        if self._found is None:
            self._found = self._read()
        return self._found

    def __bool__(self) -> bool:
        """There are some: nothing is read for this."""
        return True

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> "Iterator[AgentMapping]":
        return iter(self._all())

    def __contains__(self, mapping: object) -> bool:
        return mapping in self._all()

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, tuple | DeferredMappings) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of event: its schemas, and which of its fields say when and by whom.

    ``max_future_ms`` and ``max_lateness_ms`` bound event time against arrival time; None is no bound. ``scales`` holds
    the decimal places of each numeric field. ``blocks``: our producers send its events in blocks, many a user record.
    ``derived`` are fields that are computed of an event. ``histograms`` names the fields whose values are histograms.
    ``time_unit`` is that of event times which are numbers in JSON and in files; in Avro they are ms. ``paths`` are the
    files of ``schema`` and of each of ``writers``, relative to the definition. ``agents`` say what of an agent's format are
    its events.
    """

    name: str
    schema: AvroSchema
    writers: tuple[AvroSchema, ...]
    partition_key: str
    event_time: str
    max_future_ms: int | None
    max_lateness_ms: int | None
    scales: dict[str, int]
    blocks: bool = False
    time_unit: "TimeUnit | None" = None
    derived: "Derived | None" = None
    paths: tuple[str, ...] = ()
    agents: "Collection[AgentMapping]" = ()
    histograms: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        """Hash by name: a dict of scales has none, and two sources of one name are rare."""
        return hash(self.name)

    @property
    def prefixes(self) -> frozenset[bytes]:
        """The first ten bytes of each event of this source in Avro, by any of its schemas."""
        return frozenset(each.prefix for each in (self.schema, *self.writers))


@dataclass(frozen=True, slots=True)
class Rollup:
    """One table of aggregates: per key and window, the measures of some fields.

    ``keep_ms`` is how long an item is kept after the end of its window; None is for ever. A changed ``generation`` starts
    the rollup afresh, beside the old. ``consumer`` names who counts it: rollups of one consumer share one progress.
    Of the source's events it counts those of which ``where`` is true; None: all. Keys that share the fields ``together``,
    which are some of the key's in its order, stand in the same items; of none, each stands by itself.
    """

    name: str
    source: str
    key: tuple[str, ...]
    windows: tuple[TumblingWindows, ...]
    keep_ms: int | None
    generation: int
    measures: dict[str, tuple[str, ...]]
    layout: StateLayout
    consumer: str = DEFAULT_CONSUMER
    where: "Expression | None" = None
    together: tuple[str, ...] = ()

    def window_named(self, label: str) -> TumblingWindows | None:
        """Return the windows of this rollup that *label* (``"1h"``, ``"60m"``) names."""
        try:
            size_ms = parse_duration(label)
        except ValueError:
            return None
        return next((each for each in self.windows if each.size_ms == size_ms), None)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The whole definition, valid: names are unique, fields exist and have fitting types.

    ``deploy`` holds parameters of the template by name, as text; the template judges the names. ``passed_over`` are the
    sources whose events are in the stream and none of this consumer's business: see ``of_consumer``.
    """

    sources: dict[str, Source]
    rollups: dict[str, Rollup]
    deploy: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, Source] = field(default_factory=dict)

    @property
    def consumers(self) -> tuple[str, ...]:
        """The names of the consumers, in the order in which rollups name them."""
        return tuple(dict.fromkeys(each.consumer for each in self.rollups.values()))

    def of_consumer(self, name: str) -> "Pipeline":
        """Return what the consumer *name* counts: its rollups, and the sources that these read.

        The others are passed over: their events are known, so they are no poison, but they are neither read nor judged.
        Whoever counts them refuses what is wrong with them, once.

        Raises:
            ConfigError: no rollup names this consumer.
        """
        rollups = {key: each for key, each in self.rollups.items() if each.consumer == name}
        if not rollups:
            raise ConfigError(f"no rollup has the consumer {name!r}; there are: {', '.join(self.consumers)}")
        known = {**self.sources, **self.passed_over}
        read = {each.source for each in rollups.values()}
        return replace(
            self,
            sources={key: each for key, each in known.items() if key in read},
            rollups=rollups,
            passed_over={key: each for key, each in known.items() if key not in read},
        )

    def consumer_for(self, named: str | None) -> str:
        """Return the consumer that is meant: *named*, or the only one that there is.

        Raises:
            ConfigError: there is none of that name, or none is named and there are several.
        """
        consumers = self.consumers
        if named is None and len(consumers) > 1:
            raise ConfigError(
                f"rollups name several consumers: {', '.join(consumers)}. Say which one this is: Consumer = NAME in "
                "[deploy], or as a parameter"
            )
        name = consumers[0] if named is None else named
        self.of_consumer(name)
        return name

    def rollups_of(self, source: str) -> Iterator[Rollup]:
        """Yield the rollups that read *source*."""
        return (each for each in self.rollups.values() if each.source == source)


def branches(avro_type: Any) -> set[str]:
    """Return the names of the types that a field of *avro_type* may hold."""
    if isinstance(avro_type, list):
        return {name for each in avro_type for name in branches(each)}
    if isinstance(avro_type, dict):
        return branches(avro_type["type"])
    return {str(avro_type)}


def default_scale(avro_type: Any) -> int:
    """Return the decimal places of a numeric field where the definition names none."""
    return 0 if branches(avro_type) - {"null"} <= INTEGER_TYPES else DEFAULT_SCALE


def layout_of(
    measures: dict[str, tuple[str, ...]], scales: dict[str, int], histograms: frozenset[str] = frozenset()
) -> StateLayout:
    """Return the layout of a rollup's state: its measured fields by name."""
    known = {**scales, **dict.fromkeys(histograms, HISTOGRAM)}
    return StateLayout(
        tuple(FieldLayout.of(name, known.get(name, TEXT), measures[name]) for name in sorted(measures))
    )
