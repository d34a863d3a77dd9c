"""What is watched: the alarms and the dashboard of the pipeline, as values. The one place where they are stated.

``python -m infra.template.monitoring_section --write`` writes them into infra/template/template.yaml (between its two ``monitoring`` marks);
docs/operations.md has a section for each alarm, under its name. A test compares all three, and the names of our own
metrics with processors/aggregate/report.py.

Text values of dimensions are those of ``Fn::Sub``: ``${Stream}`` is the resource of the template.

Source: the metrics of each service, as its developer guide lists them: Lambda's are in monitoring-metrics-types.html,
Kinesis' in monitoring-with-cloudwatch.html, DynamoDB's in metrics-dimensions.html, SQS' in
sqs-available-cloudwatch-metrics.html (checked 2026-11-21), an HTTP API's in http-api-metrics.html, a WebSocket API's in
apigateway-websocket-api-logging.html, CloudFront's in programming-cloudwatch-metrics.html (2026-11-29).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from processors.aggregate.report import NAMESPACE, Metric

Statistic = Literal["Sum", "Maximum", "Average", "p99"]
RUNBOOK = "docs/operations.md"
AGGREGATE, API = "Aggregate", "ApiFunction"  # the functions, as the template calls them
SOCKET, PUSH = "SocketFunction", "PushFunction"
COLLECTOR = "CollectorFunction"
FILTERED = "streamgage/http"  # the namespace of what the template's metric filter counts
COLLECTING = "Collecting"  # the condition under which events are taken by HTTP
SERVED = "Served"  # the condition under which there is an HTTP API
PAGED = "Paged"  # and that under which there is the page
LIVE = "Live"  # that under which there are live updates


@dataclass(frozen=True, slots=True)
class Series:
    """One metric in CloudWatch, and how its values of one period become one. ``dimensions`` are (name, value)."""

    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: Statistic = "Sum"


@dataclass(frozen=True, slots=True)
class Percentage:
    """``100 * part / whole`` of each period, and 0 where there is no whole."""

    part: Series
    whole: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """It rings when ``measure`` is ``threshold`` or more in ``periods`` of the last ``of`` periods; no data is quiet.

    ``of`` is ``periods``, where it is 0: all in a row. ``name`` is the end of the alarm's name and the heading of its section in the runbook; ``says`` what the threshold
    is to a person; ``rolls_back`` the function of which a deployment, during which it rings, is taken back. It exists where
    the template's condition ``only_if`` holds.
    """

    name: str
    measure: Series | Percentage
    threshold: int
    says: str
    why: str
    period_s: int = 300
    periods: int = 1
    of: int = 0
    rolls_back: str = ""
    only_if: str = ""

    @property
    def logical_id(self) -> str:
        """The alarm's name in the template."""
        return "".join(each.capitalize() for each in self.name.split("-")) + "Alarm"

    @property
    def runbook(self) -> str:
        """Where a person reads what to do."""
        return f"{RUNBOOK}#{self.name}"


def ours(metric: Metric, statistic: Statistic = "Sum") -> Series:
    """Return the series of a metric of ours, with exactly the dimensions that processors/aggregate/report.py gives it."""
    return Series(NAMESPACE, metric, (("service", "${Aggregate}"),), statistic)


def _function(metric: str, statistic: Statistic = "Sum", *, of: str = AGGREGATE) -> Series:
    return Series("AWS/Lambda", metric, (("FunctionName", f"${{{of}}}"),), statistic)


def _http(metric: str, statistic: Statistic = "Sum") -> Series:
    return Series("AWS/ApiGateway", metric, (("ApiId", "${HttpApi}"),), statistic)


def _edge(metric: str, statistic: Statistic = "Sum") -> Series:
    # CloudFront is in no region: its metrics are in us-east-1, of the region "Global".
    return Series(
        "AWS/CloudFront", metric, (("Region", "Global"), ("DistributionId", "${PageDistribution}")), statistic
    )


def _refused() -> Series:
    # A metric filter of the template reads it from the access log: an HTTP API's own metrics are of all its routes.
    return Series(FILTERED, "CollectorUnavailable", (("ApiId", "${HttpApi}"),))


def _socket(metric: str) -> Series:
    return Series("AWS/ApiGateway", metric, (("ApiId", "${LiveApi}"),))


def _mapping(metric: str) -> Series:
    # SAM names the mapping after the function and its event; its Ref is the UUID.
    return Series("AWS/Lambda", metric, (("EventSourceMappingUUID", "${AggregateTelemetry}"),))


def _table(metric: str) -> Series:
    return Series("AWS/DynamoDB", metric, (("TableName", "${Aggregates}"),))


def _stream(metric: str) -> Series:
    return Series("AWS/Kinesis", metric, (("StreamName", "${Stream}"),))


def _queue(metric: str) -> Series:
    return Series("AWS/SQS", metric, (("QueueName", "${Quarantine.QueueName}"),), "Maximum")


ALARMS = (
    Alarm(
        name="iterator-age",
        measure=_function("IteratorAge", "Maximum"),
        threshold=3_600_000,
        periods=2,
        says="a record waited an hour before Lambda handed it over",
        why="The function fails, is throttled or is too slow. Records older than MaxRecordAgeSeconds go to the bucket of "
        "failed batches, and older than RetentionHours are lost.",
    ),
    Alarm(
        name="freshness",
        measure=ours("Behind", "Maximum"),
        threshold=900_000,
        periods=3,
        says="what is applied arrived 15 minutes ago or longer",
        why="Analysts see old numbers. Batches get through, but more arrives than is applied.",
    ),
    Alarm(
        name="errors",
        measure=_function("Errors"),
        threshold=1,
        period_s=60,
        periods=2,
        of=5,
        says="invocations failed in two of five minutes",
        why="A bug, a timeout or too little memory: the mapping bisects the batch and tries again. What DynamoDB, SQS or S3 "
        "refuse is no error of the function: see partial-failures.",
        rolls_back=AGGREGATE,
    ),
    Alarm(
        name="throttles",
        measure=_function("Throttles"),
        threshold=1,
        periods=3,
        says="invocations are throttled for 15 minutes",
        why="The account's (or the function's) concurrency is used up. Nothing is lost, and everything gets late.",
    ),
    Alarm(
        name="partial-failures",
        measure=ours("PartialFailures"),
        threshold=1,
        periods=3,
        says="batches are redelivered in part for 15 minutes",
        why="DynamoDB, SQS or S3 refuses, or a batch does not end in time.",
    ),
    Alarm(
        name="quarantine-depth",
        measure=_queue("ApproximateNumberOfMessagesVisible"),
        threshold=1,
        says="a record is in quarantine",
        why="An event could not be read, is from the future or too late. The rest of its batch is applied. A message may "
        "stand for many: it then points to an object.",
    ),
    Alarm(
        name="quarantine-age",
        measure=_queue("ApproximateAgeOfOldestMessage"),
        threshold=864_000,
        period_s=3_600,
        says="a record is in quarantine for ten days",
        why="SQS deletes it on the 14th. The objects of the bucket stay for 90 days.",
    ),
    Alarm(
        name="poison-ratio",
        measure=Percentage(ours("Poison"), ours("UserRecords")),
        threshold=1,
        period_s=60,
        periods=2,
        of=5,
        says="one event in a hundred was poison in two of five minutes",
        why="Not a single bad device: a bad deploy, here or of a producer.",
        rolls_back=AGGREGATE,
    ),
    Alarm(
        name="failed-batches",
        measure=_mapping("OnFailureDestinationDeliveredEventCount"),
        threshold=1,
        says="Lambda gave up on a record",
        why="Its batch is in the bucket of failed batches, with payload, and not in the aggregates.",
    ),
    Alarm(
        name="dropped-records",
        measure=_mapping("DroppedEventCount"),
        threshold=1,
        says="Lambda gave up on a record, and kept no copy",
        why="It could not write to the bucket of failed batches. The record is in the stream until RetentionHours is over.",
    ),
    Alarm(
        name="delivery-failures",
        measure=_function("DestinationDeliveryFailures"),
        threshold=1,
        says="Lambda could not write to the bucket of failed batches",
        why="The function's role, the bucket or its key has changed.",
    ),
    Alarm(
        name="write-throttles",
        measure=_table("WriteThrottleEvents"),
        threshold=1,
        periods=3,
        says="DynamoDB throttles writes for 15 minutes",
        why="One partition takes 1,000 write units a second; a table on demand doubles its peak only every 30 minutes; "
        "one with WriteCapacity takes minutes to scale.",
        only_if="OwnTable",
    ),
    Alarm(
        name="producers-throttled",
        measure=_stream("WriteProvisionedThroughputExceeded"),
        threshold=1,
        periods=3,
        says="the stream refuses records for 15 minutes",
        why="A shard takes 1 MB/s or 1,000 records/s. Producers of ours keep what was refused and send it again; others "
        "may lose it.",
        only_if="OwnStream",
    ),
    Alarm(
        name="iot-failures",
        measure=Series("AWS/Logs", "IncomingLogEvents", (("LogGroupName", "${IotErrors}"),)),
        threshold=1,
        says="the IoT rule could not write to the stream",
        why="Each message that it gave up on is in the log group of the rule's errors, with its payload.",
        only_if="Iot",
    ),
    Alarm(
        name="api-function-errors",
        measure=_function("Errors", of=API),
        threshold=1,
        period_s=60,
        periods=2,
        of=5,
        says="questions over HTTP failed in two of five minutes",
        why="A bug, a timeout or too little memory of the API's function. Nothing that is counted suffers.",
        rolls_back=API,
        only_if=SERVED,
    ),
    Alarm(
        name="api-errors",
        measure=_http("5xx"),
        threshold=5,
        period_s=60,
        periods=2,
        of=5,
        says="the API answered five requests and more with 5xx in two of five minutes",
        why="The function fails, is throttled or takes longer than its time, DynamoDB refuses it, or the API may not call it.",
        rolls_back=API,
        only_if=SERVED,
    ),
    Alarm(
        name="api-latency",
        measure=_http("Latency", "p99"),
        threshold=5_000,
        periods=3,
        says="one answer in a hundred takes 5 s or longer, for 15 minutes",
        why="Questions are large, sandboxes start cold, or DynamoDB is slow. Whoever looks at a dashboard waits.",
        only_if=SERVED,
    ),
    Alarm(
        name="api-throttles",
        measure=_function("Throttles", of=API),
        threshold=1,
        periods=3,
        says="the API's function is throttled for 15 minutes",
        why="ApiConcurrency, or the account's concurrency, is used up. Callers get 5xx.",
        only_if=SERVED,
    ),
    Alarm(
        name="collector-errors",
        measure=_function("Errors", of=COLLECTOR),
        threshold=1,
        period_s=60,
        periods=2,
        of=5,
        says="requests that send events failed in two of five minutes",
        why="A bug, a timeout or too little memory of the collector's function. Who sends is told 5xx, and has to send again.",
        rolls_back=COLLECTOR,
        only_if=COLLECTING,
    ),
    Alarm(
        name="collector-unavailable",
        measure=_refused(),
        threshold=5,
        period_s=60,
        periods=2,
        of=5,
        says="the collector could not make events durable, five requests and more in two of five minutes",
        why="The stream, the table of idempotency or the keys do not answer, or the function is not there. Who sends is told "
        "503: what sends again loses nothing, what does not is lost.",
        rolls_back=COLLECTOR,
        only_if=COLLECTING,
    ),
    Alarm(
        name="collector-latency",
        measure=_function("Duration", "p99", of=COLLECTOR),
        threshold=5_000,
        periods=3,
        says="one request in a hundred takes the collector 5 s or longer, for 15 minutes",
        why="The stream refuses records and they are put again, or bodies are large. Clients give up, and send again.",
        only_if=COLLECTING,
    ),
    Alarm(
        name="collector-throttles",
        measure=_function("Throttles", of=COLLECTOR),
        threshold=1,
        periods=3,
        says="the collector's function is throttled for 15 minutes",
        why="CollectorConcurrency, or the account's concurrency, is used up. Who sends is told 5xx, and has to send again.",
        only_if=COLLECTING,
    ),
    Alarm(
        name="socket-errors",
        measure=_function("Errors", of=SOCKET),
        threshold=1,
        period_s=60,
        periods=2,
        of=5,
        says="connections or subscriptions failed in two of five minutes",
        why="A bug, a timeout, or DynamoDB refuses. Pages and programs ask every few seconds in place of being told.",
        only_if=LIVE,
    ),
    Alarm(
        name="push-errors",
        measure=_function("Errors", of=PUSH),
        threshold=1,
        period_s=60,
        periods=2,
        of=5,
        says="news was not told in two of five minutes",
        why="A bug, a timeout, or DynamoDB refuses. Who is connected hears of changes up to 30 s late. Nothing that is "
        "counted suffers.",
        only_if=LIVE,
    ),
    Alarm(
        name="push-age",
        measure=_function("IteratorAge", "Maximum", of=PUSH),
        threshold=30_000,
        periods=3,
        says="news is half a minute old when it is told, for 15 minutes",
        why="The function fails, is throttled, or has more connections than it reaches in time.",
        only_if=LIVE,
    ),
)


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph of the dashboard. ``label`` is of its left axis. It is there where the condition ``only_if`` holds.

    ``region`` is where CloudWatch keeps its metrics. A graph may show another region's; an alarm cannot watch them.
    """

    title: str
    label: str
    series: tuple[Series, ...]
    stacked: bool = False
    only_if: str = ""
    region: str = "${AWS::Region}"


_CODES = tuple(each for each in get_args(Metric) if each.startswith("Poison") and each != "Poison")

GRAPHS = (
    Graph("Freshness", "ms", (ours("Behind", "Maximum"), _function("IteratorAge", "Maximum"))),
    Graph(
        "Events", "in 5 minutes", (ours("UserRecords"), ours("RepeatedRecords"), ours("RedeliveredRecords"))
    ),
    Graph("Poison, by code", "events", tuple(ours(each) for each in ("Poison", *_CODES)), stacked=True),
    Graph(
        "Quarantine and failed batches",
        "records",
        (
            _queue("ApproximateNumberOfMessagesVisible"),
            _mapping("OnFailureDestinationDeliveredEventCount"),
            _mapping("DroppedEventCount"),
        ),
    ),
    Graph(
        "Function",
        "in 5 minutes",
        (
            _function("Invocations"),
            _function("Errors"),
            _function("Throttles"),
            ours("PartialFailures"),
            ours("ColdStart"),
        ),
    ),
    Graph("Duration", "ms", (_function("Duration", "Average"), _function("Duration", "Maximum"))),
    Graph(
        "Writes",
        "in 5 minutes",
        (
            ours("Writes"),
            ours("WriteConflicts"),
            _table("ConsumedWriteCapacityUnits"),
            _table("WriteThrottleEvents"),
        ),
    ),
    Graph(
        "Stream",
        "records",
        (
            _stream("IncomingRecords"),
            _stream("GetRecords.Records"),
            _stream("WriteProvisionedThroughputExceeded"),
        ),
    ),
    Graph("Stream, bytes", "bytes", (_stream("IncomingBytes"),)),
    Graph(
        "HTTP API",
        "requests in 5 minutes",
        (
            _http("Count"),
            _http("4xx"),
            _http("5xx"),
            _function("Errors", of=API),
            _function("Throttles", of=API),
        ),
        only_if=SERVED,
    ),
    Graph(
        "HTTP API, latency",
        "ms",
        (_http("Latency", "p99"), _http("IntegrationLatency", "p99"), _http("Latency", "Average")),
        only_if=SERVED,
    ),
    Graph(
        "HTTP API, sandboxes",
        "at a time",
        (_function("ConcurrentExecutions", "Maximum", of=API),),
        only_if=SERVED,
    ),
    Graph(
        "Collector",
        "in 5 minutes",
        (
            _function("Invocations", of=COLLECTOR),
            _function("Errors", of=COLLECTOR),
            _function("Throttles", of=COLLECTOR),
            _refused(),
        ),
        only_if=COLLECTING,
    ),
    Graph(
        "Collector, duration",
        "ms",
        (_function("Duration", "p99", of=COLLECTOR), _function("Duration", "Average", of=COLLECTOR)),
        only_if=COLLECTING,
    ),
    Graph(
        "Collector, sandboxes",
        "at a time",
        (_function("ConcurrentExecutions", "Maximum", of=COLLECTOR),),
        only_if=COLLECTING,
    ),
    Graph(
        "Live updates",
        "in 5 minutes",
        (
            _socket("ConnectCount"),
            _socket("MessageCount"),
            _socket("ClientError"),
            _socket("IntegrationError"),
            _function("Errors", of=SOCKET),
        ),
        only_if=LIVE,
    ),
    Graph(
        "Live updates, age of news",
        "ms",
        (_function("IteratorAge", "Maximum", of=PUSH), _function("Duration", "Maximum", of=PUSH)),
        only_if=LIVE,
    ),
    Graph("Page", "requests in 5 minutes", (_edge("Requests"),), only_if=PAGED, region="us-east-1"),
    Graph(
        "Page, errors",
        "% of requests",
        (_edge("4xxErrorRate", "Average"), _edge("5xxErrorRate", "Average")),
        only_if=PAGED,
        region="us-east-1",
    ),
)
