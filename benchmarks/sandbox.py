"""The real function without a network: progress, fold and fenced sink over a store in memory."""

from collections.abc import Callable, Sequence

from processors.aggregate.batch import Aggregate, BatchReport
from processors.aggregate.progress import ProgressReader, Reader
from processors.deadline import Deadline
from processors.sink.fenced import AggregateSink, ItemStore, SinkLimits
from streamgage.definition.fingerprint import counts_of, reader_counts
from streamgage.definition.pipeline import DEFAULT_CONSUMER, Pipeline
from streamgage.fold.batch import BatchFold, Counting, Folded
from streamgage.fold.items import Lanes
from streamgage.reading.poison import Poison
from streamgage.records import StreamRecord


def function_over(
    store: ItemStore,
    pipeline: Pipeline,
    *,
    stream_arn: str,
    now_ms: int,
    report: Callable[[BatchReport], None],
    limits: SinkLimits | None = None,
) -> Aggregate:
    """Return the function with an empty memory, writing one item after the other into *store*."""
    lanes = Lanes(stream_arn.rpartition("/")[2])
    sink = AggregateSink(store, limits=limits or SinkLimits(concurrency=1))
    reader = Reader(DEFAULT_CONSUMER, lanes, reader_counts(DEFAULT_CONSUMER, stream_arn))
    return Aggregate(
        fold=BatchFold(pipeline, lanes),
        counting=counting_of(pipeline),
        progress=ProgressReader(sink, _NoLineage(), reader),
        sink=sink,
        quarantine=_NoQuarantine(),
        now_ms=lambda: now_ms,
        report=report,
    )


def counting_of(pipeline: Pipeline) -> Counting:
    """Return how items are counted: whole, from the stream's first record on."""
    return Counting({name: counts_of(pipeline, each) for name, each in pipeline.rollups.items()})


class PlainFold:
    """The fold of batches alone, none of whose records is a repeat."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._fold, self._counting = BatchFold(pipeline, Lanes("telemetry")), counting_of(pipeline)

    def fold(self, records: Sequence[StreamRecord]) -> Folded:
        """Return what each item gets."""
        return self._fold.fold(records, lambda _record, _mark: False, self._counting)


class _NoLineage:
    def parents_of(self, shard_id: str, *, deadline: Deadline) -> Sequence[str]:  # noqa: ARG002 - the port's
        return ()

    def is_read_from_its_first_record(self, *, deadline: Deadline) -> bool:  # noqa: ARG002 - the same
        return True


class _NoQuarantine:
    def send(self, poison: Sequence[Poison], *, deadline: Deadline) -> None:  # noqa: ARG002 - the same
        if poison:
            raise ValueError(f"the workload has poison: {poison[0].refused[0].reason}")
