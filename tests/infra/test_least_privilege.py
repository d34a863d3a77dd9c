"""Each role allows what is made with it, on the resource that it is made on, and nothing else.

The calls are recorded at the lean client while the real function takes batches: new items and known ones, poison, a
redelivery, a sandbox that is lost, a table that takes no statements, a new shard.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

import processors.aggregate.function
import processors.live.function
import processors.live.push
import processors.live.socket
import producers.collector.function
from conftest import REGION, ClientFactory, create_table
from infra.template.lint.resolve import PSEUDO, resolved
from infra.template.lint.subject import target
from infra.template.read import TEMPLATE, parameters_for
from infra.template.translate import translate
from processors.awsjson.client import AwsJsonClient, ServiceError
from processors.awsjson.retry import Retries
from processors.deadline import Deadline
from processors.live.management import Management, Posted
from processors.pipeline_files import load_pipeline
from processors.quarantine.objects import S3Objects
from producers.collector.keys import Keys, keys_text, new_key
from streamgage.formats.kinesis_event import encode_event
from streamgage.records import StreamRecord, UserRecord
from support.fakes import PLENTY_MS
from support.paths import ROOT
from support.policies.audit import missing, too_wide, unused
from support.policies.calls import calls_of, connection_call
from support.policies.names import BUCKET, arns_of, name_of
from support.policies.roles import roles_of, table_stream
from support.policies.statement import Call, Statement
from support.strategies import ARRIVAL_MS, REAL_SEQUENCE, aggregated, reading

pytestmark = pytest.mark.local

KEYS_NAME = f"/streamgage/{PSEUDO['AWS::StackName']}/CollectorKeys"
KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"
TOKENS = {
    "JwtIssuer": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc",
    "JwtAudience": "charts",
}
EVERYTHING = {"Tracing": "Active", "KeyArn": KEY, "IotTopic": "telemetry/+", "StreamMode": "ON_DEMAND"}
SHARDS = ("shardId-000000000000", "shardId-000000000001")

# What is made with a role by others than our functions, which no run here can record: each with who makes it.
MAPPING = "Lambda's event source mapping polls with the function's role: services-kinesis-create.html"
DESTINATION = "Lambda writes discarded batches with the function's role: kinesis-on-failure-destination.html"
LOGS = "Lambda's runtime writes what the function prints: monitoring-cloudwatchlogs.html"
KEYS = (
    "DynamoDB, Kinesis, SQS and S3 ask KMS in the name of who calls them, where the key is the account's own"
)
CODEDEPLOY = "CodeDeploy shifts the alias, and asks for the alarms: AWSCodeDeployRoleForLambdaLimited"
IOT = "IoT Core's rule puts messages into the stream, and its errors into the log: kinesis-rule-action.html"
CHANGES = "Lambda's event source mapping polls a table's stream with the function's role: with-ddb.html"
EXCEPTIONS: Mapping[str, Mapping[str, str]] = {
    "AggregateRole": {
        "kinesis:DescribeStream": MAPPING,
        "kinesis:GetRecords": MAPPING,
        "kinesis:GetShardIterator": MAPPING,
        "s3:ListBucket": DESTINATION,
        "logs:CreateLogStream": LOGS,
        "logs:PutLogEvents": LOGS,
    },
    "ApiRole": {"logs:CreateLogStream": LOGS, "logs:PutLogEvents": LOGS},
    "SocketRole": {"logs:CreateLogStream": LOGS, "logs:PutLogEvents": LOGS},
    "CollectorRole": {"logs:CreateLogStream": LOGS, "logs:PutLogEvents": LOGS},
    "PushRole": {
        **dict.fromkeys(
            (
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
            ),
            CHANGES,
        ),
        "logs:CreateLogStream": LOGS,
        "logs:PutLogEvents": LOGS,
    },
    "DeploymentRole": {
        "lambda:GetAlias": CODEDEPLOY,
        "lambda:GetProvisionedConcurrencyConfig": CODEDEPLOY,
        "lambda:UpdateAlias": CODEDEPLOY,
        "cloudwatch:DescribeAlarms": CODEDEPLOY,
    },
}
# Allowed on everything, although IAM knows a resource for it. The template says the same to `streamgage lint`.
WIDE: Mapping[str, str] = {
    "cloudwatch:DescribeAlarms": "read only; which alarms CodeDeploy asks for at once is not documented",
}
WITH_EVERYTHING: Mapping[str, Mapping[str, str]] = {
    "AggregateRole": {
        **dict.fromkeys(
            (
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
            ),
            KEYS,
        ),
        "xray:PutTelemetryRecords": "Lambda's X-Ray daemon",
        "xray:PutTraceSegments": "Lambda's X-Ray daemon",
    },
    **{
        role: {
            "kms:Decrypt": KEYS,
            "kms:DescribeKey": KEYS,
            "xray:PutTelemetryRecords": "Lambda's X-Ray daemon",
            "xray:PutTraceSegments": "Lambda's X-Ray daemon",
        }
        for role in ("ApiRole", "SocketRole", "PushRole")
    },
    "CollectorRole": {
        "kms:Decrypt": KEYS,
        "kms:DescribeKey": KEYS,
        "kms:GenerateDataKey": KEYS,
        "xray:PutTelemetryRecords": "Lambda's X-Ray daemon",
        "xray:PutTraceSegments": "Lambda's X-Ray daemon",
    },
    "DeploymentRole": {},
    "IotRole": {
        **dict.fromkeys(
            ("kinesis:PutRecord", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"), IOT
        ),
        "kms:GenerateDataKey": KEYS,
    },
}


@dataclass
class Context:
    """A Lambda context, as far as the function asks it."""

    aws_request_id: str = "8f507cfc-0000-4000-8000-ac58fc914c95"

    def get_remaining_time_in_millis(self) -> int:
        return PLENTY_MS


@dataclass
class Recorder:
    """Every call at the lean client, as it is made. *refused* operations meet an engine that does not know them."""

    calls: set[Call] = field(default_factory=set)
    clients: list[AwsJsonClient | S3Objects] = field(default_factory=list)
    refused: frozenset[str] = frozenset()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        real = AwsJsonClient.call

        def call(client: AwsJsonClient, operation: str, body: str, retries: Retries) -> bytes:
            self.clients.append(client)
            self.calls.update(calls_of(client._target, operation, json.loads(body), stream=name_of("Stream")))
            if operation in self.refused:
                raise ServiceError(operation, status=400, error="UnknownOperationException", answer={})
            return real(client, operation, body, retries)

        patch.setattr(AwsJsonClient, "call", call)
        really_put = S3Objects.put

        def put(objects: S3Objects, key: str, body: bytes, *, content_type: str, deadline: Deadline) -> None:
            self.clients.append(objects)
            asked = {"Bucket": objects.bucket, "Key": key}
            self.calls.update(calls_of("S3", "PutObject", asked, stream=""))
            really_put(objects, key, body, content_type=content_type, deadline=deadline)

        patch.setattr(S3Objects, "put", put)


@pytest.fixture(scope="module")
def calls(ministack: ClientFactory) -> Iterator[frozenset[Call]]:
    """What the aggregate function asks of AWS."""
    recorder = Recorder()
    table, queue, stream = map(name_of, ("Aggregates", "Quarantine", "Stream"))
    bucket = name_of("FailedBatches", BUCKET)
    ministack("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    create_table(ministack("dynamodb"), table)
    url = ministack("sqs").create_queue(QueueName=queue)["QueueUrl"]
    ministack("kinesis").create_stream(StreamName=stream, ShardCount=2)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": ministack("sqs").meta.endpoint_url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "STREAMGAGE_LANES": "shard",
            "STREAMGAGE_STREAM": stream,
            "STREAMGAGE_STREAM_ARN": arns_of(translate(TEMPLATE))["Stream"],
            "STREAMGAGE_TABLE": table,
            "STREAMGAGE_QUARANTINE_URL": url,
            "STREAMGAGE_QUARANTINE_BUCKET": bucket,
            "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
        }.items():
            patch.setenv(name, value)
        processors.aggregate.function._credentials.cache_clear()
        recorder.install(patch)
        try:
            run(recorder, patch)
        finally:
            for client in recorder.clients:
                client.close()
            patch.setattr(processors.aggregate.function, "_aggregate", None)
            processors.aggregate.function._credentials.cache_clear()
        yield frozenset(recorder.calls)


def run(recorder: Recorder, patch: pytest.MonkeyPatch) -> None:
    schema = load_pipeline(ROOT / "pipeline.toml").sources["reading"].schema
    good = [schema.encode(reading("d1", "temp", ARRIVAL_MS + n, n / 10)) for n in range(8)]
    large = Random(1).randbytes(300_000)  # larger than a message
    datas = [aggregated([UserRecord("d1", each) for each in (good[0], b"junk", large)]), *good[1:]]

    def handle(shard: str, first: int, last: int) -> None:
        records = [
            StreamRecord(shard, REAL_SEQUENCE + n, "p", datas[n], ARRIVAL_MS) for n in range(first, last)
        ]
        arn = arns_of(translate(TEMPLATE))["Stream"]
        answer = processors.aggregate.function.handler(encode_event(records, stream_arn=arn), Context())
        assert answer == {"batchItemFailures": []}

    for shard, refused in zip(SHARDS, ((), ("BatchExecuteStatement",)), strict=True):
        recorder.refused = frozenset(refused)
        patch.setattr(processors.aggregate.function, "_aggregate", None)
        handle(shard, 0, 3)  # new items, and poison, of which one is large
        handle(shard, 3, 5)  # known items
        patch.setattr(
            processors.aggregate.function, "_aggregate", None
        )  # the sandbox is lost, and with it what it knew
        handle(shard, 2, 8)  # a redelivery that reaches back, and what is new


@pytest.fixture(scope="module")
def questions(ministack: ClientFactory, calls: frozenset[Call]) -> frozenset[Call]:
    """What the API's function asks of AWS, of the table and the stream that the aggregate function was at."""
    recorder, function = Recorder(), processors.live.function
    settings = {
        "AWS_ENDPOINT_URL": ministack("sqs").meta.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "STREAMGAGE_STREAM": name_of("Stream"),
        "STREAMGAGE_TABLE": name_of("Aggregates"),
        "QUARANTINE_QUEUE_URL": ministack("sqs").get_queue_url(QueueName=name_of("Quarantine"))["QueueUrl"],
        "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        recorder.install(patch)
        function._built.cache_clear()
        try:
            for path, query in QUESTIONS:
                for _ in range(_PATIENCE):
                    answer = function.handler(request(path, query), Context())
                    if answer["statusCode"] not in (
                        503,
                        504,
                    ):  # a busy machine's emulator did not answer in time
                        break
                assert answer["statusCode"] == 200, answer
        finally:
            for client in recorder.clients:
                client.close()
            function._built.cache_clear()
    return frozenset(recorder.calls)


@pytest.fixture(scope="module")
def told(ministack: ClientFactory) -> Mapping[str, frozenset[Call]]:
    """What the two functions of the live updates ask of AWS, by their roles."""
    table = name_of("ConnectionsTable")
    ministack("dynamodb").create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    settings = {
        "AWS_ENDPOINT_URL": ministack("dynamodb").meta.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "CONNECTIONS_TABLE": table,
        "SOCKET_ENDPOINT": f"https://{name_of('LiveApi')}.execute-api.us-east-1.amazonaws.com/live",
        "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
    }
    socket, push = Recorder(), Recorder()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        socket.install(patch)
        try:
            for said in ('{"action": "subscribe", "rollups": ["page_views"]}', '{"action": "unsubscribe"}'):
                subscribe("a=", said)
            for connection in ("stays=", "gone="):
                subscribe(connection, '{"action": "subscribe", "rollups": ["page_views"]}')
        finally:
            patch.undo()
        for name, value in settings.items():
            patch.setenv(name, value)
        push.install(patch)

        def post(management: Management, connection_id: str, _: bytes, __: Retries) -> Posted:
            api, stage = name_of("LiveApi"), management._base.strip("/")
            assert management._headers["host"].startswith(f"{api.lower()}.")  # ids of AWS are in lower case
            push.calls.add(connection_call(api, stage, connection_id))
            return "gone" if connection_id == "gone=" else "sent"

        patch.setattr(Management, "post", post)
        processors.live.push._built.cache_clear()
        keys = {"pk": {"S": "page_views.1|1h|0"}, "sk": {"S": "001699999200000|lane"}}
        event = {"Records": [{"eventName": "INSERT", "dynamodb": {"Keys": keys}}]}
        try:
            assert processors.live.push.handler(event, Context()) == {"sent": 1, "gone": 1, "dropped": 0}
        finally:
            for client in (*socket.clients, *push.clients):
                client.close()
            processors.live.push._built.cache_clear()
            processors.live.socket._built.cache_clear()
    return {"SocketRole": frozenset(socket.calls), "PushRole": frozenset(push.calls)}


@pytest.fixture(scope="module")
def ticketed(
    ministack: ClientFactory, questions: frozenset[Call], told: Mapping[str, frozenset[Call]]
) -> Mapping[str, frozenset[Call]]:
    """What is asked of AWS, by role, where who connects has a ticket: beside what is asked without."""
    api, socket, function = Recorder(), Recorder(), processors.live.function
    settings = {
        "AWS_ENDPOINT_URL": ministack("dynamodb").meta.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "STREAMGAGE_STREAM": name_of("Stream"),
        "STREAMGAGE_TABLE": name_of("Aggregates"),
        "CONNECTIONS_TABLE": name_of("ConnectionsTable"),
        "SOCKET_TICKETS": "true",
        "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
    }

    def recorded(recorder: Recorder, act: Callable[[], Any]) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            recorder.install(patch)
            for built in (function._built, processors.live.socket._built):
                built.cache_clear()
            try:
                return act()
            finally:
                for client in recorder.clients:
                    client.close()
                for built in (function._built, processors.live.socket._built):
                    built.cache_clear()

    asked = request("/v1/live/ticket", "")
    asked["requestContext"]["http"]["method"] = "POST"
    answer = recorded(api, lambda: function.handler(asked, Context()))
    place = {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "ticketed="}
    place["connectedAt"] = str(time.time_ns() // 1_000_000)
    ticket = {"ticket": json.loads(answer["body"])["ticket"]}
    event = {"requestContext": place, "queryStringParameters": ticket}
    assert recorded(socket, lambda: processors.live.socket.handler(event, Context())) == {"statusCode": 200}
    recorded(socket, lambda: subscribe("ticketed=", '{"action": "unsubscribe"}'))
    return {
        "ApiRole": questions | api.calls,
        "SocketRole": told["SocketRole"] | socket.calls,
        "PushRole": told["PushRole"],
    }


@pytest.fixture(scope="module")
def collected(ministack: ClientFactory, calls: frozenset[Call]) -> frozenset[Call]:
    """What the collector's function asks of AWS, of the stream that the aggregate function was at."""
    recorder, function = Recorder(), producers.collector.function
    table = name_of("IdempotencyTable")
    ministack("dynamodb").create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    key, presented = new_key("c", bytes(32), made_ms=0)
    ministack("ssm").put_parameter(Name=KEYS_NAME, Value=keys_text(Keys((key,))), Type="String")
    settings = {
        "AWS_ENDPOINT_URL": ministack("sqs").meta.endpoint_url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "STREAM": name_of("Stream"),
        "IDEMPOTENCY_TABLE": table,
        "KEYS_PARAMETER": KEYS_NAME,
        "STREAMGAGE_PIPELINE": str(ROOT / "pipeline.toml"),
    }
    body = json.dumps(
        {"source": "reading", "device_id": "d1", "metric": "temp", "ts": _now_ms(), "value": 1.5}
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        recorder.install(patch)
        function._built.cache_clear()
        try:
            for more in ({}, {"idempotency-key": "a"}, {"idempotency-key": "a"}):
                event = request("/v1/events", "")
                event["requestContext"]["http"]["method"] = "POST"
                headers = {"content-type": "application/json", "x-api-key": presented, **more}
                answer = function.handler({**event, "headers": headers, "body": body}, Context())
                assert answer["statusCode"] == 200, answer
            assert function.handler(request("/v1/events/ready", ""), Context())["statusCode"] == 200
        finally:
            for client in recorder.clients:
                client.close()
            function._built.cache_clear()
    return frozenset(recorder.calls)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def subscribe(connection: str, said: str) -> None:
    """Let *connection* say something."""
    place = {"routeKey": "$default", "eventType": "MESSAGE", "connectionId": connection}
    place["connectedAt"] = str(time.time_ns() // 1_000_000)
    processors.live.socket._built.cache_clear()
    answer = processors.live.socket.handler({"requestContext": place, "body": said}, Context())
    assert "subscribed" in answer["body"], answer


_PATIENCE = 10  # times that a question is asked
QUESTIONS = (
    ("/health", ""),
    ("/v1/status", ""),
    ("/v1/rollups/device_metrics/range", "window=1h&from=0"),
    ("/v1/rollups/device_metrics/range", "window=1h&from=0&key.device_id=d1&key.metric=temp"),
)


def request(path: str, query: str) -> dict[str, Any]:
    """Return the event of a GET, as API Gateway makes it."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {},
        "requestContext": {
            "http": {
                "method": "GET",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "",
            },
            "requestId": "id",
            "stage": "$default",
            "timeEpoch": 0,
        },
        "isBase64Encoded": False,
    }


@dataclass(frozen=True)
class Roles:
    """The roles of the template under some parameters, and what is made with each by others.

    ``questions`` is what the API's function makes; None where it is not here to be seen.
    """

    statements: Mapping[str, Sequence[Statement]]
    exceptions: Mapping[str, Mapping[str, str]]
    arns: frozenset[str]
    questions: frozenset[Call] | None
    told: Mapping[str, frozenset[Call]]


@pytest.fixture(scope="module", params=[{}, EVERYTHING, TOKENS], ids=["defaults", "everything", "tokens"])
def roles(
    request: pytest.FixtureRequest,
    questions: frozenset[Call],
    told: Mapping[str, frozenset[Call]],
    ticketed: Mapping[str, frozenset[Call]],
    collected: frozenset[Call],
) -> Roles:
    template = translate(TEMPLATE)
    parameters = parameters_for(template, deploy={}, given=request.param)
    more = WITH_EVERYTHING if request.param == EVERYTHING else {}
    if request.param == TOKENS:
        questions = ticketed["ApiRole"]
        told = {role: ticketed[role] for role in told}
    names = EXCEPTIONS.keys() | more.keys()
    arns = arns_of(template)
    inside = {  # what is named by a resource, and is none of its own
        f"{arns['Aggregates']}/stream",
        table_stream(arns["Aggregates"]),
        f"arn:aws:ssm:us-east-1:000000000000:parameter{KEYS_NAME}",
        f"arn:aws:execute-api:us-east-1:000000000000:{name_of('LiveApi')}/live/POST/@connections",
    }
    return Roles(
        roles_of(template, parameters),
        {each: {**EXCEPTIONS.get(each, {}), **more.get(each, {})} for each in names},
        frozenset(arns.values()) | inside,
        questions,
        {**told, "CollectorRole": collected},
    )


def made_with(role: str, roles: Roles, calls: frozenset[Call]) -> list[Call]:
    """Return what our functions make with *role*; with the others nothing: they are of services."""
    made = {**roles.told, "AggregateRole": calls, "ApiRole": roles.questions}.get(role) or ()
    return sorted(made, key=lambda each: each.action)


def judge(roles: Roles, calls: frozenset[Call]) -> list[str]:
    return [
        f"{name}: {problem}"
        for name, statements in roles.statements.items()
        if name != "ApiRole" or roles.questions is not None
        for made in [made_with(name, roles, calls)]
        for problem in (
            *missing(statements, made),
            *unused(statements, made, roles.exceptions.get(name, {})),
            *too_wide(statements, roles.arns, WIDE),
        )
    ]


def test_each_role_allows_what_is_made_with_it_and_nothing_else(roles: Roles, calls: frozenset[Call]) -> None:
    assert judge(roles, calls) == []
    assert roles.statements.keys() == roles.exceptions.keys()


def test_the_run_makes_every_kind_of_call(calls: frozenset[Call]) -> None:
    actions = {each.action for each in calls}
    assert {
        "dynamodb:BatchGetItem",
        "dynamodb:PutItem",
        "kinesis:DescribeStreamSummary",
        "kinesis:ListShards",
        "s3:PutObject",
        "sqs:SendMessage",
    } <= actions
    assert actions <= {
        "s3:PutObject",
        "dynamodb:BatchGetItem",
        "dynamodb:PartiQLInsert",
        "dynamodb:PartiQLUpdate",
        "dynamodb:PutItem",
        "kinesis:DescribeStreamSummary",
        "kinesis:ListShards",
        "sqs:SendMessage",
    }


def test_every_function_of_the_template_has_a_role_of_its_own_that_is_judged_here() -> None:
    template = translate(TEMPLATE)
    resources = resolved(template, parameters=parameters_for(template, deploy={}, given={}))
    functions: dict[str, Any] = {
        name: target(each["Properties"]["Role"])
        for name, each in resources.items()
        if each["Type"] == "AWS::Lambda::Function"
    }
    assert functions == {
        "Aggregate": "AggregateRole",
        "ApiFunction": "ApiRole",
        "SocketFunction": "SocketRole",
        "PushFunction": "PushRole",
        "CollectorFunction": "CollectorRole",
    }


def test_who_tells_what_changed_reads_no_item_and_writes_no_aggregate(roles: Roles) -> None:
    aggregates = arns_of(translate(TEMPLATE))["Aggregates"]
    for role in ("SocketRole", "PushRole"):
        on_table = [each for each in roles.statements[role] if aggregates in each.resources]
        assert not on_table
    for call in (each for made in roles.told.values() for each in made):
        assert call.resource != aggregates


@pytest.mark.parametrize(
    ("role", "action"),
    [
        ("SocketRole", "dynamodb:DeleteItem"),
        ("PushRole", "execute-api:ManageConnections"),
        ("PushRole", "dynamodb:Scan"),
    ],
)
def test_who_tells_may_do_what_he_does_and_nothing_else(
    role: str, action: str, roles: Roles, calls: frozenset[Call]
) -> None:
    known = roles.statements[role]
    less = [replace(each, actions=tuple(a for a in each.actions if a != action)) for each in known]
    assert any(f"{action} on" in each for each in judge(changed(roles, role, less), calls))
    more = [
        replace(each, actions=(*each.actions, "dynamodb:UpdateItem")) if each.sid == "Connections" else each
        for each in known
    ]
    assert any("dynamodb:UpdateItem" in each for each in judge(changed(roles, role, more), calls))


@pytest.mark.parametrize(
    "action", ["dynamodb:PutItem", "kinesis:ListShards", "kinesis:PutRecords", "ssm:GetParameter"]
)
def test_the_collector_writes_and_reads_nothing_but_its_keys(
    action: str, roles: Roles, calls: frozenset[Call]
) -> None:
    known = roles.statements["CollectorRole"]
    less = [replace(each, actions=tuple(a for a in each.actions if a != action)) for each in known]
    assert any(f"{action} on" in each for each in judge(changed(roles, "CollectorRole", less), calls))
    allowed = {each for statement in known for each in statement.actions}
    assert {each for each in allowed if each.startswith(("dynamodb:", "kinesis:", "ssm:"))} == {
        "dynamodb:PutItem", "kinesis:ListShards", "kinesis:PutRecords", "ssm:GetParameter",
    }  # fmt: skip


def test_the_api_reads_and_never_writes_but_tickets(roles: Roles) -> None:
    tickets = [each for each in roles.statements["ApiRole"] if each.sid == "Tickets"]
    assert all(each.actions == ("dynamodb:PutItem",) for each in tickets)
    connections = arns_of(translate(TEMPLATE))["ConnectionsTable"]
    for each in tickets:
        assert each.resources == (connections,)
        for item, may in (("ticket#0", True), ("L0SM9cOFvHcCIhw=", False)):
            call = Call("dynamodb:PutItem", connections, {"dynamodb:LeadingKeys": item})
            assert each.is_about(call) is may
    read = [each for each in roles.statements["ApiRole"] if each not in tickets]
    allowed = {action for each in read for action in each.actions}
    assert {each for each in allowed if each.startswith(("dynamodb:", "sqs:", "kinesis:", "s3:"))} == {
        "dynamodb:BatchGetItem",
        "dynamodb:Query",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
        "sqs:GetQueueAttributes",
    }


def test_the_api_makes_every_kind_of_call_that_it_may(
    roles: Roles, calls: frozenset[Call], questions: frozenset[Call]
) -> None:
    known = roles.statements["ApiRole"]
    assert {each.action for each in questions} <= {action for each in known for action in each.actions}
    less = [replace(each, actions=tuple(a for a in each.actions if a != "dynamodb:Query")) for each in known]
    assert any("dynamodb:Query" in each for each in judge(changed(roles, "ApiRole", less), calls))
    more = [
        replace(each, actions=(*each.actions, "dynamodb:PutItem")) if each.sid == "Table" else each
        for each in known
    ]
    assert any("dynamodb:PutItem" in each for each in judge(changed(roles, "ApiRole", more), calls))


def changed(roles: Roles, role: str, statements: Sequence[Statement]) -> Roles:
    return replace(roles, statements={**roles.statements, role: tuple(statements)})


def test_a_role_that_lacks_an_action_which_is_made_is_refused(roles: Roles, calls: frozenset[Call]) -> None:
    known = roles.statements["AggregateRole"]
    for call in calls:
        less = [replace(each, actions=tuple(a for a in each.actions if a != call.action)) for each in known]
        said = judge(changed(roles, "AggregateRole", less), calls)
        assert f"AggregateRole: {call.action} on {call.resource} is made, and not allowed" in said


def test_a_role_whose_resource_is_another_is_refused(roles: Roles, calls: frozenset[Call]) -> None:
    known = roles.statements["AggregateRole"]
    other = [replace(each, resources=tuple(f"{arn}x" for arn in each.resources)) for each in known]
    said = judge(changed(roles, "AggregateRole", other), calls)
    assert {each for each in said if each.endswith("not allowed")} == {
        f"AggregateRole: {call.action} on {call.resource} is made, and not allowed" for call in calls
    }


@pytest.mark.parametrize(
    "widened", ["*", "arn:aws:dynamodb:*:*:table/*", "arn:aws:dynamodb:us-east-1:000000000000:table/*"]
)
def test_a_role_whose_resource_is_wider_is_refused(
    widened: str, roles: Roles, calls: frozenset[Call]
) -> None:
    known = roles.statements["AggregateRole"]
    wide = [replace(each, resources=(widened,)) if each.sid == "Table" else each for each in known]
    assert any(
        f"{widened} (Table) is wider" in each for each in judge(changed(roles, "AggregateRole", wide), calls)
    )


@pytest.mark.parametrize("added", ["dynamodb:DeleteItem", "dynamodb:PutItem*", "dynamodb:*"])
def test_a_role_with_an_action_that_is_never_made_is_refused(
    added: str, roles: Roles, calls: frozenset[Call]
) -> None:
    known = roles.statements["AggregateRole"]
    more = [replace(each, actions=(*each.actions, added)) if each.sid == "Table" else each for each in known]
    assert len(judge(changed(roles, "AggregateRole", more), calls)) == 1


def test_a_resource_that_is_allowed_beside_the_one_that_is_used_is_refused(
    roles: Roles, calls: frozenset[Call]
) -> None:
    known = roles.statements["AggregateRole"]
    second = f"{arns_of(translate(TEMPLATE))['Aggregates']}-backup"
    more = [
        replace(each, resources=(*each.resources, second)) if each.sid == "Table" else each for each in known
    ]
    said = judge(changed(roles, "AggregateRole", more), calls)
    assert said
    assert all(f"on {second} is allowed (Table), and never made" in each for each in said)


def test_a_role_of_a_service_that_is_given_more_is_refused(roles: Roles, calls: frozenset[Call]) -> None:
    known = roles.statements["DeploymentRole"]
    more = [replace(known[0], actions=(*known[0].actions, "lambda:DeleteFunction")), *known[1:]]
    said = judge(changed(roles, "DeploymentRole", more), calls)
    assert said
    assert all("lambda:DeleteFunction" in each for each in said)
