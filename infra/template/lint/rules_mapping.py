"""Rules on how batches reach a function: what of a mapping would lose events, count them twice or stand still."""

import math
from collections.abc import Iterator

from infra.template.lint.rule import Problem, Rules
from infra.template.lint.subject import StreamMapping, Subject, environment, properties, whole
from streamgage.durations import format_duration

RULES = Rules()
_POSITIONS = ("TRIM_HORIZON", "LATEST", "AT_TIMESTAMP")
_WITHOUT_PAYLOAD = ("AWS::SQS::Queue", "AWS::SNS::Topic")
_FRESHNESS_METRICS = ("Behind", "IteratorAge")


@RULES.add(
    "SG001",
    "error",
    what="ParallelizationFactor > 1 with lanes by shard",
    why="Lambda then keeps order per partition key only: a batch that overtakes another moves the fence past it, and its "
    "events are taken for counted",
    mend="set STREAMGAGE_LANES to partition_key, by a condition on the factor; or ParallelizationFactor to 1",
)
def lanes_follow_the_factor(subject: Subject) -> Iterator[Problem]:
    """Lanes are what Lambda delivers in order."""
    for each in subject.mappings:
        if each.is_ours and each.function is not None and each.factor > 1:
            variables = environment(each.function)
            lanes = variables.get("STREAMGAGE_LANES", "shard")
            if lanes != "partition_key":
                what = f"ParallelizationFactor is {each.factor}, and STREAMGAGE_LANES {lanes!r}"
                yield Problem.at(each.node, what, "ParallelizationFactor")


@RULES.add(
    "SG002",
    "warning",
    what="ParallelizationFactor > 1 with a rollup across partition keys",
    why="each partition key writes a partial of its own: as many items and writes a window as there are devices",
    mend="add shards in place of the factor, or put the source's partition_key into the rollup's key",
)
def rollups_stay_within_a_lane(subject: Subject) -> Iterator[Problem]:
    """A rollup whose key lacks the partition key has a partial of every lane."""
    if subject.pipeline is None:
        return
    sources = subject.pipeline.sources
    across = [
        name
        for name, each in subject.pipeline.rollups.items()
        if sources[each.source].partition_key not in each.key
    ]
    for each in subject.mappings:
        if across and each.is_ours and each.factor > 1:
            what = (
                f"ParallelizationFactor is {each.factor}, and across partition keys go: {', '.join(across)}"
            )
            yield Problem.at(each.node, what, "ParallelizationFactor")


@RULES.add(
    "SG003",
    "error",
    what="no on-failure destination",
    why="a batch that Lambda gives up on, or that expires while it is tried, is gone without a trace",
    mend="add DestinationConfig: OnFailure to an S3 bucket",
)
def discarded_batches_go_somewhere(subject: Subject) -> Iterator[Problem]:
    """What is discarded is kept."""
    for each in subject.mappings:
        if each.destination is None:
            yield Problem.at(each.node, "discarded batches go nowhere", "DestinationConfig")


@RULES.add(
    "SG004",
    "error",
    what="retries without bound",
    why="one batch that always fails holds its shard until its records expire; then they, and what waited behind them, are lost",
    mend="set MaximumRecordAgeInSeconds, to less than the stream's retention",
)
def retries_end(subject: Subject) -> Iterator[Problem]:
    """Age or attempts have a bound."""
    for each in subject.mappings:
        if each.age_s == -1 and each.attempts == -1:
            yield Problem.at(each.node, "neither age nor attempts have a bound", "MaximumRecordAgeInSeconds")


@RULES.add(
    "SG005",
    "error",
    what="an on-failure destination that keeps no payload",
    why="SQS and SNS get shard and sequence numbers only: when the stream's retention is over, the records are lost",
    mend="name an S3 bucket, which gets the records",
)
def the_destination_keeps_the_records(subject: Subject) -> Iterator[Problem]:
    """Only S3 gets the records themselves."""
    for each in subject.mappings:
        resource = subject.at(each.destination)
        kind = None if resource is None else resource["Type"]
        by_arn = isinstance(each.destination, str) and each.destination.split(":")[2:3] in (["sqs"], ["sns"])
        if kind in _WITHOUT_PAYLOAD or by_arn:
            what = f"discarded batches go to {kind or each.destination}, without their records"
            yield Problem.at(each.node, what, "DestinationConfig", "OnFailure", "Destination")


@RULES.add(
    "SG006",
    "error",
    what="FunctionResponseTypes lacks ReportBatchItemFailures",
    why="Lambda does not read the function's answer: what it reports as not durable is taken for done, and lost",
    mend="add FunctionResponseTypes: [ReportBatchItemFailures]",
)
def the_answer_is_read(subject: Subject) -> Iterator[Problem]:
    """Our function reports failures in its answer."""
    for each in subject.mappings:
        if each.is_ours and not each.reports_failures:
            yield Problem.at(each.node, "the function's answer is not read", "FunctionResponseTypes")


@RULES.add(
    "SG007",
    "warning",
    what="failed batches are not bisected",
    why="one record that the function fails on takes the whole batch, up to 10,000 records, to the failed ones",
    mend="set BisectBatchOnFunctionError to true",
)
def batches_are_bisected(subject: Subject) -> Iterator[Problem]:
    """A bug is isolated by halving."""
    for each in subject.mappings:
        if str(each.node.get("BisectBatchOnFunctionError", False)).lower() != "true":
            yield Problem.at(each.node, "a failed batch is not split", "BisectBatchOnFunctionError")


@RULES.add(
    "SG008",
    "error",
    what="records are tried as long as the stream keeps them, or longer",
    why="a record that expires in the stream never reaches the on-failure destination",
    mend="set MaximumRecordAgeInSeconds to less than the retention, or RetentionPeriodHours to more",
)
def retries_end_before_retention(subject: Subject) -> Iterator[Problem]:
    """The bound on age comes first."""
    for each in subject.mappings:
        if each.age_s >= each.retention_s:
            what = f"records are tried for {_told(each.age_s)}, and kept for {_told(each.retention_s)}"
            yield Problem.at(each.node, what, "MaximumRecordAgeInSeconds")


@RULES.add(
    "SG009",
    "error",
    what="a rollup's keep is not longer than the longest redelivery",
    why="an item that TTL removed has lost its fence: records that come again are counted twice",
    mend="set keep in pipeline.toml to more than retention and record age together, or shorten the retention",
)
def items_outlive_redelivery(subject: Subject) -> Iterator[Problem]:
    """The fence is kept for as long as records may come again: retention + age."""
    rollups = () if subject.pipeline is None else subject.pipeline.rollups.values()
    for each in subject.mappings:
        longest_ms = 1000 * (each.retention_s + max(each.age_s, 0))
        for rollup in rollups:
            if each.is_ours and rollup.keep_ms is not None and rollup.keep_ms <= longest_ms:
                what = (
                    f"rollup {rollup.name} is kept for {format_duration(rollup.keep_ms)}, and records may come again for "
                    f"{format_duration(longest_ms)}"
                )
                node, keys = (
                    (each.node, ()) if each.stream is None else (each.stream, ("RetentionPeriodHours",))
                )
                yield Problem.at(node, what, *keys)


@RULES.add(
    "SG010",
    "error",
    what="the record age leaves no time to bisect a batch that times out",
    why="each halving may take the function's whole timeout: good records are discarded beside the bad one",
    mend="raise MaximumRecordAgeInSeconds to timeout x (halvings + 1), or lower Timeout or BatchSize",
)
def there_is_time_to_bisect(subject: Subject) -> Iterator[Problem]:
    """Formula: age ≥ timeout x (⌈log2 batch⌉ + 1)."""
    for each in subject.mappings:
        tries = math.ceil(math.log2(each.batch_records)) + 1
        if 0 <= each.age_s < tries * each.timeout_s:
            what = f"{tries} tries of {_told(each.timeout_s)} each do not fit into {_told(each.age_s)}"
            yield Problem.at(each.node, what, "MaximumRecordAgeInSeconds")


@RULES.add(
    "SG011",
    "warning",
    what="attempts end before the record age",
    why="an outage of a table that is shorter than the age discards batches which would have gone through a little later",
    mend="set MaximumRetryAttempts to 10000 and let MaximumRecordAgeInSeconds be the bound",
)
def age_is_the_bound(subject: Subject) -> Iterator[Problem]:
    """Formula: attempts x timeout ≥ age."""
    for each in subject.mappings:
        if each.attempts >= 0 and each.attempts * each.timeout_s < each.age_s:
            what = f"{each.attempts} retries are over long before {_told(each.age_s)}"
            yield Problem.at(each.node, what, "MaximumRetryAttempts")


@RULES.add(
    "SG012",
    "error",
    what="reserved concurrency below shards x factor",
    why="shards wait for each other: the function is throttled for good, and records get old",
    mend="reserve at least shards x ParallelizationFactor, or nothing",
)
def every_shard_has_a_sandbox(subject: Subject) -> Iterator[Problem]:
    """One invocation a shard, x factor."""
    for each in subject.mappings:
        wanted = each.shards * each.factor
        reserved = (
            wanted
            if each.function is None
            else whole(each.function.get("ReservedConcurrentExecutions"), wanted)
        )
        if each.function is not None and reserved < wanted:
            what = f"{reserved} are reserved, and {each.shards} shards x {each.factor} want {wanted}"
            yield Problem.at(each.function, what, "ReservedConcurrentExecutions")


@RULES.add(
    "SG013",
    "warning",
    what="a foreign handler behind ReportBatchItemFailures",
    why="to Lambda {}, null and a misspelt batchItemFailures mean success: a failed batch is lost without a word",
    mend="see that the handler returns a typed answer (streamgage.formats.kinesis_event.encode_response), and test that it does",
)
def answers_are_typed(subject: Subject) -> Iterator[Problem]:
    """We know the answer of our own handler only."""
    for each in subject.mappings:
        if each.reports_failures and not each.is_ours:
            handler = "outside the template" if each.function is None else each.function.get("Handler")
            yield Problem.at(
                each.node, f"the answer of handler {handler} is not known", "FunctionResponseTypes"
            )


@RULES.add(
    "SG014",
    "warning",
    what="a batching window as long as an alarm on freshness allows",
    why="the alarm rings although everything works, and nobody listens to it when it matters",
    mend="shorten MaximumBatchingWindowInSeconds, or raise the alarm's threshold",
)
def freshness_alarms_allow_the_window(subject: Subject) -> Iterator[Problem]:
    """Behind and IteratorAge are in ms, and grow by the window."""
    alarms = [properties(each) for _, each in subject.of_type("AWS::CloudWatch::Alarm")]
    for each in subject.mappings:
        for alarm in alarms:
            limit_ms = whole(alarm.get("Threshold"), 0)
            if alarm.get("MetricName") in _FRESHNESS_METRICS and 1000 * each.window_s >= limit_ms:
                what = f"records are gathered for {each.window_s} s; an alarm rings at {limit_ms} ms"
                yield Problem.at(each.node, what, "MaximumBatchingWindowInSeconds")


@RULES.add(
    "SG015",
    "error",
    what="TumblingWindowInSeconds with our function",
    why="Lambda's windows are of arrival time, hold 1 MB a shard and want their state in the answer: ours is refused, "
    "and no batch gets through",
    mend="leave it out: the windows of pipeline.toml are of event time",
)
def windows_are_ours(subject: Subject) -> Iterator[Problem]:
    """No state goes through Lambda."""
    for each in subject.mappings:
        if each.is_ours and whole(each.node.get("TumblingWindowInSeconds"), 0) > 0:
            yield Problem.at(each.node, "Lambda's own windows are on", "TumblingWindowInSeconds")


@RULES.add(
    "SG016",
    "warning",
    what="SnapStart or an alias that the mapping passes by",
    why="SnapStart works for published versions only, and a canary for an alias only: the mapping calls $LATEST, "
    "unsnapped, and a bad bundle gets every batch at once",
    mend="set AutoPublishAlias; SAM then maps the alias",
)
def the_mapping_calls_the_alias(subject: Subject) -> Iterator[Problem]:
    """With SnapStart on, what is mapped is an alias or a version."""
    for each in subject.mappings:
        name = each.node.get("FunctionName")
        if each.function is None or not _snapped(each):
            continue
        mapped = subject.at(name)
        if mapped is None or mapped["Type"] not in ("AWS::Lambda::Alias", "AWS::Lambda::Version"):
            yield Problem.at(each.function, "the mapping calls $LATEST", "SnapStart")


@RULES.add(
    "SG019",
    "error",
    what="a mapping that begins at LATEST, or nowhere",
    why="it begins where the stream is when Lambda first polls, minutes after the mapping was created or enabled: what was "
    "sent before then is never counted, and nothing says how much; where it begins nowhere, the deployment fails",
    mend="set StartingPosition to TRIM_HORIZON, or to AT_TIMESTAMP with a time before the first event that counts",
)
def mappings_begin_at_a_known_place(subject: Subject) -> Iterator[Problem]:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html, polling and stream starting positions."""
    for each in subject.mappings:
        position = each.node.get("StartingPosition")
        if position == "LATEST":
            yield Problem.at(each.node, "the mapping begins at LATEST", "StartingPosition")
        elif isinstance(position, str) and position not in _POSITIONS:
            what = f"StartingPosition is {position!r}, not one of {', '.join(_POSITIONS)}"
            yield Problem.at(each.node, what, "StartingPosition")
        elif position == "AT_TIMESTAMP" and each.node.get("StartingPositionTimestamp") in (None, ""):
            yield Problem.at(
                each.node, "AT_TIMESTAMP has no StartingPositionTimestamp beside it", "StartingPosition"
            )


def _snapped(mapping: StreamMapping) -> bool:
    snap = {} if mapping.function is None else mapping.function.get("SnapStart", {})
    return bool(snap.get("ApplyOn") == "PublishedVersions")


def _told(seconds: int) -> str:
    return format_duration(seconds * 1000)
