"""A whole batch through the aggregate function's handler, without a network; and what one write costs each client."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from benchmarks.events import (
    STREAM_ARN,
    Workload,
    kinesis_records,
    readings,
    reference_pipeline,
    variant_pipeline,
)
from benchmarks.harness import (
    Headline,
    Progress,
    Result,
    Series,
    Table,
    WrongAnswerError,
    per_event_us,
    take_turns,
    timed,
    timed_after,
)
from benchmarks.sandbox import function_over
from benchmarks.stub_server import stub_server
from processors.aggregate.batch import Aggregate, BatchReport
from processors.awsjson.client import AwsJsonClient
from processors.awsjson.credentials import credential_source
from processors.deadline import Deadline
from processors.sink.lean_dynamodb import TARGET, LeanDynamoItemStore
from processors.sink.writes import WRITTEN, Outcome, Write
from producers.client.encoder import encoder_of
from streamgage.definition.pipeline import Pipeline
from streamgage.fold.chunk import Chunk, decode_chunk, encode_chunk
from streamgage.fold.items import ItemKey, StoredItem, window_start_ms
from streamgage.formats.kinesis_event import encode_event
from streamgage.measures.layout import StateLayout

QUESTION = "What does a batch cost in the handler, and a write in each client?"
HANDLER = "streamgage"
LEAN = "lean client"
STATEMENTS = "lean client, 25 statements a request"
BOTO3 = "boto3"
_LAYOUT = "value@9:n,sum,max"
_EARLIER = 10**40  # sequence numbers
_ENVIRONMENT = {
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_SESSION_TOKEN": "x" * 400,  # as long as Lambda's
}


def run(*, quick: bool, seed: int, progress: Progress) -> Result:
    """Measure the handler by batch size, keys and rollups; then the clients."""
    whole = 1_500 if quick else 60_000
    rounds = 1 if quick else 5
    reference = reference_pipeline()
    sizes = (300, 1_500) if quick else (1_000, 10_000, 60_000)
    by_size = {
        size: _Batch.of(reference, events=size, devices=max(whole // 60, 5), seed=seed) for size in sizes
    }
    devices = (5, 50) if quick else (10, 100, 1_000, 10_000)
    by_keys = {each * 3: _Batch.of(reference, events=whole, devices=each, seed=seed) for each in devices}
    by_rollups = {
        count: _Batch.of(
            variant_pipeline(windows=["1m", "1h"], measures=["count", "sum", "max"], rollups=count),
            events=whole,
            devices=max(whole // 60, 5),
            seed=seed,
        )
        for count in (1, 2, 4)
    }
    tables = (
        _table("by events in a batch", by_size, rounds=rounds, progress=progress),
        _table("by keys in a batch", by_keys, rounds=rounds, progress=progress),
        _table(
            "by keys in a batch, whose items are there", by_keys, rounds=rounds, progress=progress, warm=True
        ),
        _table("by rollups", by_rollups, rounds=rounds, progress=progress),
        _clients(20 if quick else 300, rounds=rounds, progress=progress),
    )
    boto3 = tables[-1].median_of(BOTO3)
    return Result(
        name="function",
        question=QUESTION,
        method=(
            "Handler, readings in rows: from the JSON-decoded Lambda event to its answer (decode, fold, merge, encode the state, progress), with "
            "a store that counts writes; every item is new, or where a table says so, the sandbox wrote each one batch "
            "before. Clients: conditional PutItem of one item each, one after the "
            "other, against a server on loopback that accepts everything; CPU of the client's process, without TLS."
        ),
        tables=tables,
        configuration={"events": whole, "definition": "count, sum, max of one field, windows 1m and 1h"},
        facts={
            "states by keys": {str(keys): batch.expected_states for keys, batch in by_keys.items()},
        },
        headlines=tuple(
            Headline(
                what=f"CPU of a conditional write, {label}, against boto3",
                ours=f"{ours:.0f} µs",
                peer=f"{boto3:.0f} µs",
                ratio=boto3 / ours,
                target="≤ 150 µs",
            )
            for label in (LEAN, STATEMENTS)
            if boto3 and (ours := tables[-1].median_of(label))
        ),
        limits=("TLS costs some µs a request more, the same in both clients.",),
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """One Lambda event, and what must come of it; ``before`` is one of the same keys that came earlier."""

    pipeline: Pipeline
    event: dict[str, Any]
    before: dict[str, Any]
    events: int
    expected_states: int

    @classmethod
    def of(cls, pipeline: Pipeline, *, events: int, devices: int, seed: int) -> "_Batch":
        made = readings(events=events, devices=devices, seed=seed)
        end_ms = max(each["ts"] for each in made)
        user_records = list(map(encoder_of(pipeline.sources["reading"]).user_record, made))
        records, earlier = (
            kinesis_records(user_records, end_ms=end_ms, seed=each) for each in (seed, seed + 1)
        )
        before = [replace(each, sequence_number=each.sequence_number - _EARLIER) for each in earlier]
        states = len(Workload(pipeline, made, records).totals()) * len(pipeline.rollups)
        event, earlier_event = (encode_event(each, stream_arn=STREAM_ARN) for each in (records, before))
        return cls(pipeline, event, earlier_event, events, states)


@dataclass(slots=True)
class CountingStore:
    """An ItemStore without a network: it keeps what is written, and how often."""

    batch = 25
    items: dict[ItemKey, StoredItem] = field(default_factory=dict)
    writes: int = 0

    def get(self, keys: Sequence[ItemKey], *, deadline: Deadline) -> Mapping[ItemKey, StoredItem]:  # noqa: ARG002 - it takes no time
        """Return those of *keys* that exist."""
        return {key: self.items[key] for key in keys if key in self.items}

    def put_many(self, writes: Sequence[Write], *, deadline: Deadline) -> Sequence[Outcome]:  # noqa: ARG002 - the same
        """Write each of *writes*: nobody else does."""
        self.items.update({write.key: write.item for write in writes})
        self.writes += len(writes)
        return [WRITTEN] * len(writes)


_Function = tuple[Aggregate, CountingStore, list[BatchReport]]


def _function(pipeline: Pipeline) -> _Function:
    store, reports = CountingStore(), list[BatchReport]()
    now_ms = 1_767_225_600_000
    function = function_over(store, pipeline, stream_arn=STREAM_ARN, now_ms=now_ms, report=reports.append)
    return function, store, reports


def _warm_function(batch: _Batch) -> _Function:
    made = _function(batch.pipeline)
    made[0].handle(batch.before, remaining_ms=lambda: 60_000)
    return made


def _table(
    title: str, batches: Mapping[int, _Batch], *, rounds: int, progress: Progress, warm: bool = False
) -> Table:
    contestants = {
        str(at): timed_after(
            partial(_warm_function, batch) if warm else partial(_function, batch.pipeline),
            partial(_handle, batch),
        )
        for at, batch in batches.items()
    }
    seconds = take_turns(
        contestants,
        rounds=rounds,
        check=lambda label, answer: _check_batch(batches[int(label)], answer),
        progress=lambda what: progress(f"{title}, {what}"),
    )
    series = tuple(
        Series(HANDLER, "ours", per_event_us(seconds[str(at)], batch.events), at=at)
        for at, batch in batches.items()
    )
    return Table(
        title=f"A batch through the handler, {title}",
        unit="µs of CPU an event",
        series=series,
        x=title.removeprefix("by "),
        log_x=max(batches) > 10 * min(batches),
    )


def _handle(batch: _Batch, made: _Function) -> tuple[Any, CountingStore, BatchReport]:
    function, store, reports = made
    return function.handle(batch.event, remaining_ms=lambda: 60_000), store, reports[-1]


def _check_batch(batch: _Batch, answer: tuple[Any, CountingStore, BatchReport]) -> None:
    response, store, report = answer
    states = sum(_states(key, item, batch.pipeline) for key, item in store.items.items())
    if (
        response != {"batchItemFailures": []}
        or states != batch.expected_states
        or report.user_records != batch.events
    ):
        raise WrongAnswerError(
            f"the handler answered {response} for {report.user_records} of {batch.events} events, with {states} of "
            f"{batch.expected_states} states"
        )


def _states(key: ItemKey, item: StoredItem, pipeline: Pipeline) -> int:
    """Return how many keys an item holds the states of."""
    if key.pk.startswith("~"):
        return 0
    layout = pipeline.rollups[key.pk.partition(".")[0]].layout
    return len(decode_chunk(item.body, layout, start_ms=window_start_ms(key.sk)).keys)


def _clients(writes: int, *, rounds: int, progress: Progress) -> Table:
    """Return what a conditional write costs each client, against a server that accepts everything."""
    with stub_server() as url:
        environment = {**_ENVIRONMENT, "AWS_ENDPOINT_URL": url}
        client = AwsJsonClient.of_environment(
            "dynamodb", TARGET, environment=environment, credentials=credential_source(environment), tls=None
        )
        store = LeanDynamoItemStore(client, "aggregates")
        ways = {
            LEAN: _writer(store, writes, at_once=1),
            STATEMENTS: _writer(store, writes, at_once=25),
            BOTO3: _boto3_writer(_boto3_client(url), writes),
        }
        seconds = take_turns(
            {label: timed(ways[label]) for label in (LEAN, STATEMENTS, BOTO3)},
            rounds=rounds,
            check=lambda label, answer: _check_writes(label, answer, writes),
            progress=lambda what: progress(f"writes, {what}"),
        )
        client.close()
    series = tuple(
        Series(label, "peer" if label == BOTO3 else "ours", per_event_us(each, writes))
        for label, each in seconds.items()
    )
    return Table(
        title="One conditional write", unit="µs of CPU a write", series=series, baseline=LEAN, log_x=True
    )


def _boto3_client(url: str) -> Any:
    import boto3  # noqa: PLC0415 - most of a second, and only this part needs it
    from botocore.config import Config  # noqa: PLC0415 - the same

    return boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=_ENVIRONMENT["AWS_REGION"],
        aws_access_key_id=_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=_ENVIRONMENT["AWS_SESSION_TOKEN"],
        config=Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "max_attempts": 3}),
    )


def _writer(store: LeanDynamoItemStore, writes: int, *, at_once: int) -> Callable[[], int]:
    """Return the work of *writes* writes of items that do not exist yet, as large as the reference definition's."""
    each = [Write(key, item, None) for key, item in _items(writes)]
    requests = [each[start : start + at_once] for start in range(0, writes, at_once)]

    def write() -> int:
        return sum(
            outcome == WRITTEN
            for request in requests
            for outcome in store.put_many(request, deadline=Deadline.after(60))
        )

    return write


def _boto3_writer(client: Any, writes: int) -> Callable[[], int]:
    """Return the same work, a PutItem a write."""
    items = _items(writes)

    def write() -> int:
        for key, item in items:
            client.put_item(
                TableName="aggregates",
                Item={
                    "pk": {"S": key.pk},
                    "sk": {"S": key.sk},
                    "fence": {"S": str(item.fence)},
                    "counts": {"S": item.counts},
                    "body": {"B": item.body},
                    "expires": {"N": str(item.expires_s)},
                },
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        return len(items)

    return write


def _items(count: int) -> list[tuple[ItemKey, StoredItem]]:
    chunk = Chunk(0, [[60], [60], [1_234_567_890_123], [21_000_000_000]], ["device-00001|temperature"])
    body = encode_chunk(chunk, StateLayout.parse(_LAYOUT), start_ms=1_767_225_600_000)
    item = StoredItem(10**55 + 7, "fRJNZTwRV4M", body, 1_775_001_600)
    pk, sk = "device_metrics.1|1m|1190.{}", "001767225600000|telemetry/shardId-000000000000"
    return [(ItemKey(pk.format(number), sk), item) for number in range(count)]


def _check_writes(label: str, written: int, writes: int) -> None:
    if written != writes:
        raise WrongAnswerError(f"{label} wrote {written} of {writes} items")
