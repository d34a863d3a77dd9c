"""What must hold of infra/template/template.yaml as CloudFormation gets it: one rule a function, each yields its problems.

Rules speak of types and properties, never of logical ids of SAM's making.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.aws.cost.capacity import USE
from infra.local.mapping.config import from_properties
from processors.aggregate.settings import Settings
from processors.live.settings import Settings as ApiSettings
from processors.pipeline_files import load_pipeline
from support.paths import ROOT

STREAM, TABLE, QUEUE, BUCKET = (
    "AWS::Kinesis::Stream",
    "AWS::DynamoDB::Table",
    "AWS::SQS::Queue",
    "AWS::S3::Bucket",
)
FUNCTION, MAPPING, VERSION = (
    "AWS::Lambda::Function",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Version",
)
ALARM = "AWS::CloudWatch::Alarm"
DATA = (STREAM, TABLE, QUEUE, BUCKET)
KEY = "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555"
# A value for each parameter that turns its conditions over.
TURNED = {
    "StreamMode": "ON_DEMAND",
    "ParallelizationFactor": "10",
    "Tracing": "Active",
    "AlarmEmail": "someone@example.com",
    "KeyArn": KEY,
    "WriteCapacity": "112",
    "IotTopic": "telemetry/+",
    "DeletionProtection": "false",
}
# Those of a stack beside another: each alone and together, with all of the above and with none.
BESIDE = {
    "SharedStreamArn": "arn:aws:kinesis:eu-central-1:111122223333:stream/plant-7-Stream-1",
    "SharedTable": "plant-7-Aggregates-1",
    "StartAt": "1764370800",
}
# What an HTTP API may be, each with all of the above and with none.
ISSUER = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc"
TOKENS = {"JwtIssuer": ISSUER, "JwtAudience": "charts,notebooks"}
SERVED = (
    {"Api": "false"},
    TOKENS,
    {**TOKENS, "JwtScopes": "streamgage/read"},
    {"ApiOrigins": "https://charts.example.com,https://example.org"},
    {"ApiConcurrency": "5"},
)
# The page, plain and with all that it may have.
PAGE = {"Page": "true", "SignIn": "cognito"}
NAMED = {
    **PAGE,
    "PageDomain": "telemetry.example.com",
    "PageCertificateArn": "arn:aws:acm:us-east-1:111122223333:certificate/11111111-2222-3333-4444-555555555555",
    "PageWebAclArn": "arn:aws:wafv2:us-east-1:111122223333:global/webacl/guard/11111111-2222-3333-4444-555555555555",
}
PAGED = (PAGE, NAMED)
UNTOLD = {"LiveUpdates": "false"}  # of a stack with a table of its own
COLLECTED = ({"Collector": "false"}, {"CollectorConcurrency": "5"})  # of a stack with a stream of its own
COUNTS, ANSWERS = "processors.aggregate.function.handler", "processors.live.function.handler"
SOCKET, PUSH = "processors.live.socket.handler", "processors.live.push.handler"
COLLECTS = "producers.collector.function.handler"
CANARIES = (
    COUNTS,
    ANSWERS,
    COLLECTS,
)  # whose new versions are canaries: what the others lose is asked for again
_NOTHING = object()
_ID = "LogicalId"  # beside Type and Properties


@dataclass(frozen=True, slots=True)
class Deployed:
    """The template for one choice of parameters: conditions decided, references to resources as they are."""

    parameters: Mapping[str, str]
    resources: Mapping[str, dict[str, Any]]
    outputs: Mapping[str, Any]
    declared: Mapping[str, dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the resources of type *kind*."""
        return [each for each in self.resources.values() if each["Type"] == kind]

    def lasting(self, kind: str) -> list[dict[str, Any]]:
        """Return the resources of type *kind*, but those of the live updates and of the collector."""
        return [each for each in self.of(kind) if not _is_live(each) and not _is_of_collector(each)]

    def only(self, kind: str) -> dict[str, Any]:
        """Return the properties of the one resource of type *kind*, beside those of the live updates."""
        (resource,) = self.lasting(kind)
        properties: dict[str, Any] = resource["Properties"]
        return properties

    def live(self, kind: str) -> list[dict[str, Any]]:
        """Return the properties of the resources of type *kind* that are of the live updates."""
        return [each["Properties"] for each in self.of(kind) if _is_live(each)]

    def collecting(self, kind: str) -> list[dict[str, Any]]:
        """Return the properties of the resources of type *kind* that are of the collector."""
        return [each["Properties"] for each in self.of(kind) if _is_of_collector(each)]

    def function(self, handler: str = COUNTS) -> dict[str, Any]:
        """Return the properties of the function with that *handler*."""
        (found,) = [
            each["Properties"] for each in self.of(FUNCTION) if each["Properties"]["Handler"] == handler
        ]
        properties: dict[str, Any] = found
        return properties

    def has(self, handler: str) -> bool:
        """Tell whether there is to be the function with that *handler*."""
        return {ANSWERS: self.serves, COLLECTS: self.collects}.get(handler, True)

    def version(self, handler: str = COUNTS) -> dict[str, Any]:
        """Return the properties of the version that is published of it."""
        (name,) = [
            name
            for name, each in self.resources.items()
            if each["Type"] == FUNCTION and each["Properties"]["Handler"] == handler
        ]
        versions = [each["Properties"] for each in self.of(VERSION)]
        (found,) = [each for each in versions if each["FunctionName"] == {"Ref": name}]
        properties: dict[str, Any] = found
        return properties

    @property
    def serves(self) -> bool:
        """Whether there is an HTTP API."""
        return self.parameters["Api"] == "true"

    @property
    def collects(self) -> bool:
        """Whether events come in by HTTP: into a stream of its own."""
        wanted = self.serves and self.parameters["Collector"] == "true"
        return wanted and not self.parameters["SharedStreamArn"]

    @property
    def pages(self) -> bool:
        """Whether there is the page."""
        return self.parameters["Page"] == "true"

    @property
    def tells(self) -> bool:
        """Whether there are live updates: of a table of its own."""
        return self.serves and self.parameters["LiveUpdates"] == "true" and not self.parameters["SharedTable"]

    @property
    def takes_tickets(self) -> bool:
        """Whether who connects has shown a token before: the API takes tokens."""
        return self.tells and (self.pages or bool(self.parameters["JwtIssuer"]))

    def own(self, kind: str) -> dict[str, Any] | None:
        """Return the properties of the one resource of type *kind*; None where it is another stack's."""
        shared = {STREAM: "SharedStreamArn", TABLE: "SharedTable"}[kind]
        if not self.parameters[shared]:
            return self.only(kind)
        return None


def _is_live(resource: Mapping[str, Any]) -> bool:
    """Tell whether it is one of the WebSocket API, its table, or what reads the table's stream."""
    properties = resource["Properties"]
    return (
        properties.get("ProtocolType") == "WEBSOCKET"
        or properties.get("ApiId") == {"Ref": "LiveApi"}
        or resource[_ID] == "ConnectionsTable"
        or '"StreamArn"' in json.dumps(properties.get("EventSourceArn", ""))
        or "${LiveApi}" in json.dumps(properties.get("SourceArn", ""))
    )


def _is_of_collector(resource: Mapping[str, Any]) -> bool:
    """Tell whether it is a route that leads to the collector, its permission, or its table."""
    properties = resource["Properties"]
    leads = json.dumps([properties.get(each) for each in ("Target", "IntegrationUri", "FunctionName")])
    return resource[_ID] == "IdempotencyTable" or "Collector" in leads


def combinations() -> list[dict[str, str]]:
    """Return each combination of what turns a condition over, 2 ** 8; of a stack beside another, 2 * 7; and each API and page."""
    beside = [{**turned, **each} for turned in ({}, TURNED) for each in _subsets(BESIDE) if each]
    served = [{**turned, **each} for turned in ({}, {**TURNED, **BESIDE}) for each in (*SERVED, *PAGED)]
    untold = [{**each, **UNTOLD} for each in ({}, TURNED, TOKENS, PAGE)]
    collected = [{**turned, **each} for turned in ({}, TURNED) for each in COLLECTED]
    return _subsets(TURNED) + beside + served + untold + collected


def _subsets(values: Mapping[str, str]) -> list[dict[str, str]]:
    choices = [[{}, {name: value}] for name, value in values.items()]
    return [
        dict(itertools.chain(*(each.items() for each in chosen))) for chosen in itertools.product(*choices)
    ]


def decide(translated: Mapping[str, Any], parameters: Mapping[str, str]) -> Deployed:
    """Return the *translated* template for *parameters*, the others by default."""
    declared = translated["Parameters"]
    values = {name: str(each["Default"]) for name, each in declared.items()} | dict(parameters)
    conditions = translated["Conditions"]

    def holds(expression: Any) -> bool:
        ((operator, operands),) = expression.items()
        if operator == "Condition":
            return holds(conditions[operands])
        if operator == "Fn::Equals":
            left, right = (str(decided(each)) for each in operands)
            return left == right
        each = [holds(operand) for operand in operands]
        return {"Fn::Not": not each[0], "Fn::And": all(each), "Fn::Or": any(each)}[operator]

    def decided(value: Any) -> Any:
        if isinstance(value, list):
            return [each for each in map(decided, value) if each is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return decided(then if holds(conditions[condition]) else otherwise)
        if value.keys() == {"Ref"}:
            return _NOTHING if value["Ref"] == "AWS::NoValue" else values.get(value["Ref"], value)
        return {
            key: each for key, each in ((k, decided(v)) for k, v in value.items()) if each is not _NOTHING
        }

    there = {
        name: {**decided(each), _ID: name}
        for name, each in translated["Resources"].items()
        if "Condition" not in each or holds(conditions[each["Condition"]])
    }
    outputs = {
        name: each
        for name, each in translated["Outputs"].items()
        if "Condition" not in each or holds(conditions[each["Condition"]])
    }
    return Deployed(values, there, decided(outputs), declared)


def data_outlives_the_stack(deployed: Deployed) -> Iterator[str]:
    for kind in DATA:
        for each in deployed.lasting(kind):
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if each.get(policy) != "Retain":
                    yield f"{kind}: {policy} is {each.get(policy)}"
    if table := deployed.own(TABLE):
        if table["DeletionProtectionEnabled"] is not (deployed.parameters["DeletionProtection"] == "true"):
            yield "the table's deletion protection is not the parameter's"
        if not table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]:
            yield "the table has no point-in-time recovery"
    for log in deployed.of("AWS::Logs::LogGroup"):
        if log["Properties"].get("RetentionInDays") != deployed.parameters["LogRetentionDays"]:
            yield "logs are kept for ever"


def data_is_encrypted(deployed: Deployed) -> Iterator[str]:
    own = deployed.parameters["KeyArn"]
    stream, table, queue = deployed.own(STREAM), deployed.own(TABLE), deployed.only(QUEUE)
    batches = deployed.of(BUCKET)[0]["Properties"]  # the page's: page_rules
    (rule,) = batches.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [{}])
    bucket = rule.get("ServerSideEncryptionByDefault", {})
    keys = {
        QUEUE: queue.get("KmsMasterKeyId"),
        BUCKET: bucket.get("KMSMasterKeyID"),
    }
    if stream is not None:
        keys[STREAM] = stream.get("StreamEncryption", {}).get("KeyId")
    if table is not None:
        keys[TABLE] = table.get("SSESpecification", {}).get("KMSMasterKeyId")
    for kind, key in keys.items():
        if key != (own or ("alias/aws/kinesis" if kind == STREAM else None)):
            yield f"{kind}: its key is {key}"
    if stream is not None and stream.get("StreamEncryption", {}).get("EncryptionType") != "KMS":
        yield "the stream is not encrypted"
    if table is not None and not table.get("SSESpecification", {}).get("SSEEnabled"):
        yield "the table is not encrypted with KMS"
    if not own and queue.get("SqsManagedSseEnabled") is not True:
        yield "the queue is not encrypted"
    if bucket.get("SSEAlgorithm") != ("aws:kms" if own else "AES256"):
        yield "the bucket is not encrypted"


def nothing_is_public(deployed: Deployed) -> Iterator[str]:
    for bucket in deployed.of(BUCKET):
        blocked = bucket["Properties"].get("PublicAccessBlockConfiguration", {})
        wanted = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        yield from (f"{BUCKET}: {each} is not set" for each in wanted if blocked.get(each) is not True)
    for name, statement in statements(deployed):
        anyone = "*" in json.dumps(statement.get("Principal", ""))
        if statement["Effect"] == "Allow" and anyone:
            yield f"{name} allows anyone"
    for kind, holder in (("AWS::S3::BucketPolicy", BUCKET), ("AWS::SQS::QueuePolicy", QUEUE)):
        denying = [
            any(
                each["Effect"] == "Deny"
                and each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
                for each in policy["Properties"]["PolicyDocument"]["Statement"]
            )
            for policy in deployed.of(kind)
        ]
        if not all(denying) or len(denying) != len(deployed.of(holder)):
            yield f"{holder} can be reached without TLS"
    if deployed.only(QUEUE).get("RedriveAllowPolicy") != {"redrivePermission": "denyAll"}:
        yield "other queues may make the quarantine their dead-letter queue"


def statements(deployed: Deployed) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (logical id, statement) of every policy."""
    for name, resource in deployed.resources.items():
        properties = resource["Properties"]
        documents = [
            properties[key] for key in ("PolicyDocument", "AssumeRolePolicyDocument") if key in properties
        ]
        if resource["Type"] == "AWS::IAM::Role":
            documents += [each["PolicyDocument"] for each in properties.get("Policies", [])]
        yield from ((name, each) for document in documents for each in document["Statement"])


def roles_are_exact(deployed: Deployed) -> Iterator[str]:
    """X-Ray's know no resource, and CodeDeploy may ask for any alarm. Which calls a role needs: tests/infra/test_least_privilege.py."""
    for name, statement in statements(deployed):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if statement["Effect"] != "Allow":
            continue
        unbound = all(each.startswith("xray:") or each == "cloudwatch:DescribeAlarms" for each in actions)
        if statement.get("Resource") == "*" and not unbound:
            yield f"{name}: {actions} on everything"
        yield from (f"{name}: {each}" for each in actions if "*" in each)
    for role in deployed.of("AWS::IAM::Role"):
        yield from (f"a managed policy: {each}" for each in role["Properties"].get("ManagedPolicyArns", []))
    if not deployed.parameters["KeyArn"] and any(
        "kms:" in json.dumps(each) for _, each in statements(deployed)
    ):
        yield "a right to a key where there is none"


def batches_are_never_lost_in_silence(deployed: Deployed) -> Iterator[str]:
    mapping = deployed.only(MAPPING)
    if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        yield "what the function reports as failed counts as done"
    if mapping.get("BisectBatchOnFunctionError") is not True:
        yield "a bad record holds up its whole batch"
    destination = mapping.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    buckets = [name for name, each in deployed.resources.items() if each["Type"] == BUCKET]
    if destination not in [{"Fn::GetAtt": [each, "Arn"]} for each in buckets]:
        yield "a batch that Lambda gives up on is not kept with its payload"
    age_s = int(mapping["MaximumRecordAgeInSeconds"])
    stream, told = deployed.own(STREAM), deployed.function()["Environment"]["Variables"]
    hours = int(told["STREAMGAGE_RETENTION_HOURS"])
    if stream is not None and int(stream["RetentionPeriodHours"]) != hours:
        yield "the function is told another retention than the stream has"
    if not 60 <= age_s < hours * 3600:
        yield f"a batch is tried for {age_s} s, and the stream keeps it for {hours} h"
    if not -1 < mapping["MaximumRetryAttempts"] <= 10_000:
        yield "attempts are not bounded"
    if mapping.get("MetricsConfig") != {"Metrics": ["EventCount"]}:
        yield "the mapping does not count what it gives up on"
    keeps_ms = [
        each.keep_ms for each in load_pipeline(ROOT / "pipeline.toml").rollups.values() if each.keep_ms
    ]
    if keeps_ms and hours * 3_600_000 >= min(keeps_ms):
        yield f"the stream delivers again after {hours} h what the table may have forgotten"


def the_mapping_is_whole(deployed: Deployed) -> Iterator[str]:
    """Every parameter of ARCHITECTURE section 5 is set, and our own reading of them takes it."""
    mapping = {key: _number(each) for key, each in deployed.only(MAPPING).items()}
    mapping["DestinationConfig"] = {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}}
    config = from_properties(mapping)
    wanted = {
        "BatchSize",
        "MaximumBatchingWindowInSeconds",
        "ParallelizationFactor",
        "StartingPosition",
        "Enabled",
    }
    yield from (
        f"{each} is left to Lambda's default"
        for each in wanted | {"TumblingWindowInSeconds"}
        if each not in mapping
    )
    start_at = int(deployed.parameters["StartAt"])
    wanted_start = ("AT_TIMESTAMP", start_at * 1000) if start_at else ("TRIM_HORIZON", None)
    if (config.starting_position, config.starting_timestamp_ms) != wanted_start:
        yield "what was sent before the mapping was there is passed over"


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def lanes_follow_the_factor(deployed: Deployed) -> Iterator[str]:
    lanes = deployed.function()["Environment"]["Variables"]["STREAMGAGE_LANES"]
    wanted = "shard" if int(deployed.only(MAPPING)["ParallelizationFactor"]) == 1 else "partition_key"
    if lanes != wanted:
        yield f"the function's lanes are {lanes}"
    if deployed.outputs["Lanes"]["Value"] != wanted:
        yield "producers are told wrong lanes"


# By handler, the parameters that a function depends on.
_OF_VERSIONS = {
    COUNTS: ("MemorySize", "Timeout", "Architecture", "SnapStart", "Tracing", "Consumer", "RetentionHours"),
    ANSWERS: ("ApiMemorySize", "Architecture", "ApiSnapStart", "Tracing", "Consumer", "JwtKeysClaim"),
    COLLECTS: (
        "CollectorMemorySize",
        "Architecture",
        "CollectorSnapStart",
        "Tracing",
        "ParallelizationFactor",
    ),
}


def a_changed_parameter_is_a_new_version(deployed: Deployed) -> Iterator[str]:
    """The alias runs what was published: where nothing is, it keeps the old environment."""
    for handler, wanted in _OF_VERSIONS.items():
        if not deployed.has(handler):
            continue
        text = json.dumps(deployed.version(handler).get("Description", ""))
        if len(re.sub(r"\$\{\w+\}", "x" * 20, text)) > 256:
            yield "the description may be longer than Lambda takes"
        named = set(re.findall(r"\$\{(\w+)\}", text))
        for name in wanted:
            if name not in named:
                yield f"a changed {name} does not reach the alias of {handler}"
    if deployed.serves:
        tickets = "with tickets" if deployed.takes_tickets else "without tickets"
        text, given = deployed.version(ANSWERS)["Description"]["Fn::Sub"]
        if given != {"Tickets": tickets} or "${Tickets}" not in text:
            yield "whether there are tickets does not reach the alias of the API"
    description = deployed.version().get("Description", "")
    named = set(re.findall(r"\$\{(\w+)\}", json.dumps(description)))
    lanes = deployed.function()["Environment"]["Variables"]["STREAMGAGE_LANES"]
    if (
        not isinstance(description, dict)
        or description["Fn::Sub"][1] != {"Lanes": lanes}
        or "Lanes" not in named
    ):
        yield "changed lanes do not reach the alias"


# What API Gateway does on AWS (CorsConfiguration), and the function where it is asked to.
_BY_GATEWAY = {"STREAMGAGE_HTTP_ORIGINS"}


def the_environment_is_what_the_function_reads(deployed: Deployed) -> Iterator[str]:
    class Recording(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

        def __getitem__(self, name: str) -> str:
            asked.add(name)
            return super().__getitem__(name)

    asked: set[str] = set()
    variables = deployed.function()["Environment"]["Variables"]
    Settings.of(Recording({name: str(each) for name, each in variables.items()}))
    if asked != variables.keys():
        yield f"set or read, but not both: {sorted(asked ^ variables.keys())}"
    if not deployed.serves:
        return
    asked.clear()
    variables = deployed.function(ANSWERS)["Environment"]["Variables"]
    ApiSettings.of(Recording({name: str(each) for name, each in variables.items()}))
    if asked - _BY_GATEWAY != variables.keys():
        yield f"set or read by the API, but not both: {sorted((asked - _BY_GATEWAY) ^ variables.keys())}"


def deployments_are_taken_back(deployed: Deployed) -> Iterator[str]:
    groups = deployed.of("AWS::CodeDeploy::DeploymentGroup")
    functions = [each for each in deployed.of(FUNCTION) if each["Properties"]["Handler"] in CANARIES]
    if len(groups) != len(functions):
        yield "a new version takes over at once"
    for group in groups:
        alarms = [
            each["Name"]["Ref"]
            for each in group["Properties"].get("AlarmConfiguration", {}).get("Alarms", [])
        ]
        if not alarms or not all(deployed.resources[each]["Type"] == ALARM for each in alarms):
            yield "no alarm takes a deployment back"
    for handler, parameter in (
        (COUNTS, "SnapStart"),
        (ANSWERS, "ApiSnapStart"),
        (COLLECTS, "CollectorSnapStart"),
    ):
        if not deployed.has(handler):
            continue
        function = deployed.function(handler)
        if function["SnapStart"] != {"ApplyOn": deployed.parameters[parameter]}:
            yield f"SnapStart of {handler} is not the parameter's"
        if function["Runtime"] != "python3.13" or function["LoggingConfig"]["LogFormat"] != "JSON":
            yield "not the runtime and log format that it is built for"


def every_alarm_tells_somebody(deployed: Deployed) -> Iterator[str]:
    (topic,) = [name for name, each in deployed.resources.items() if each["Type"] == "AWS::SNS::Topic"]
    for alarm in deployed.of(ALARM):
        properties = alarm["Properties"]
        for each in ("AlarmActions", "OKActions"):
            if properties.get(each) != [{"Ref": topic}]:
                yield f"{properties['AlarmName']}: {each} tells nobody"
        if not re.search(r"Runbook: docs/operations\.md#[a-z-]+$", properties["AlarmDescription"]):
            yield f"{properties['AlarmName']}: no runbook"
    mailed = bool(deployed.of("AWS::SNS::Subscription"))
    if mailed is not bool(deployed.parameters["AlarmEmail"]):
        yield "alarms are not mailed as the parameter says"


def devices_reach_the_stream_by_mqtt(deployed: Deployed) -> Iterator[str]:
    rules = deployed.of("AWS::IoT::TopicRule")
    if bool(rules) is not bool(
        deployed.parameters["IotTopic"] and not deployed.parameters["SharedStreamArn"]
    ):
        yield "the rule is not there as the parameter says"
    for rule in rules:
        payload = rule["Properties"]["TopicRulePayload"]
        if "clientid()" not in json.dumps(payload["Actions"][0]["Kinesis"]["PartitionKey"]):
            yield "a device's messages do not stay in one shard"
        if "ErrorAction" not in payload:
            yield "what the rule cannot deliver is lost in silence"


def parameters_explain_themselves(deployed: Deployed) -> Iterator[str]:
    for name, each in deployed.declared.items():
        if "Default" not in each or len(each.get("Description", "")) < 10:
            yield f"{name}: no default or description"
        bounded = (
            {"MinValue", "MaxValue"} <= each.keys() or "AllowedValues" in each or "AllowedPattern" in each
        )
        if not bounded:
            yield f"{name}: takes anything"


def outputs_are_those_that_are_read(deployed: Deployed) -> Iterator[str]:
    wanted = {
        "StreamName", "TableName", "QuarantineUrl", "FailedBatchesBucket", "FunctionName", "FunctionAlias", "Lanes",
        "DashboardName", "AlarmTopicArn", "StreamArn", "Consumer", "Definition",
    }  # fmt: skip
    if deployed.serves:
        wanted |= {"HttpApiUrl", "ApiFunctionName"}
    if deployed.collects:
        wanted |= {"CollectorFunctionName", "IdempotencyTableName", "CollectorKeysParameter"}
    if deployed.pages:
        wanted |= {"PageUrl", "PageHost", "PageBucketName", "PageClientId", "SignInUrl", "UserPoolId"}
    if deployed.tells:
        wanted |= {"LiveApiUrl"}
    if deployed.outputs.keys() != wanted:
        yield f"outputs: {sorted(deployed.outputs.keys() ^ wanted)}"


def another_stacks_data_is_used_and_not_made(deployed: Deployed) -> Iterator[str]:
    """Beside another stack: its stream and table everywhere, its alarms left to it."""
    variables = deployed.function()["Environment"]["Variables"]
    text = json.dumps([deployed.resources, deployed.outputs], default=str)
    watched = {each["Properties"].get("MetricName") for each in deployed.of(ALARM)}
    for kind, name, parameter, metric in (
        (STREAM, "Stream", "SharedStreamArn", "WriteProvisionedThroughputExceeded"),
        (TABLE, "Aggregates", "SharedTable", "WriteThrottleEvents"),
    ):
        shared = bool(deployed.parameters[parameter])
        if bool(deployed.lasting(kind)) is shared:
            yield f"a {kind} of its own beside another's, or none at all"
        referred = re.search(rf'"Ref": "{name}"|"Fn::GetAtt": \["{name}"|\$\{{{name}[.}}]', text)
        if shared and referred:
            yield f"something refers to a {kind} that is not there"
        if (metric in watched) is shared:
            yield f"the {kind} is not watched by the stack that has it, alone"
    read = [deployed.only(MAPPING)["EventSourceArn"], deployed.outputs["StreamArn"]["Value"]]
    if any(each != variables["STREAMGAGE_STREAM_ARN"] for each in read):
        yield "the mapping, the function and who comes beside take different streams"
    table = deployed.parameters["SharedTable"]
    if table and [variables["STREAMGAGE_TABLE"], deployed.outputs["TableName"]["Value"]] != [table, table]:
        yield "the table is not the other stack's"
    if deployed.serves:
        asked = deployed.function(ANSWERS)["Environment"]["Variables"]
        if any(asked[each] != variables[each] for each in ("STREAMGAGE_TABLE", "STREAMGAGE_STREAM")):
            yield "what is asked is not what is counted"


def capacity_follows_the_load(deployed: Deployed) -> Iterator[str]:
    """On demand, or provisioned with reads and writes that scale: never a fixed capacity, which throttles for good."""
    written = int(deployed.parameters["WriteCapacity"])
    table, targets = deployed.own(TABLE), deployed.of("AWS::ApplicationAutoScaling::ScalableTarget")
    policies = [each["Properties"] for each in deployed.of("AWS::ApplicationAutoScaling::ScalingPolicy")]
    if table is None or not written:
        if targets or policies:
            yield "a table on demand, or of another stack, is scaled"
        if table is not None and (table["BillingMode"], table.get("ProvisionedThroughput")) != (
            "PAY_PER_REQUEST",
            None,
        ):
            yield "the table is not on demand, as the parameter says"
        return
    units = {
        "ReadCapacityUnits": deployed.parameters["ReadCapacity"],
        "WriteCapacityUnits": str(written),
    }
    if (table["BillingMode"], table.get("ProvisionedThroughput")) != ("PROVISIONED", units):
        yield "the table does not have the capacity that the parameters say"
    least = {
        each["Properties"]["ScalableDimension"]: each["Properties"]["MinCapacity"]
        for each in targets
        if each["Properties"]["ResourceId"] == {"Fn::Sub": "table/${Aggregates}"}
    }
    if least != {f"dynamodb:table:{name}": each for name, each in units.items()}:
        yield f"it is scaled from {least}"
    scaled = {
        (
            deployed.resources[each["ScalingTargetId"]["Ref"]]["Properties"]["ScalableDimension"],
            each["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"][
                "PredefinedMetricType"
            ],
        )
        for each in policies
    }
    wanted = {(f"dynamodb:table:{name}", f"DynamoDB{name[:-5]}Utilization") for name in units}
    if scaled != wanted:
        yield f"scaled by another's use: {sorted(scaled ^ wanted)}"
    if {each["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for each in policies} != {100 * USE}:
        yield "it is not used as the plan says"


Rule = Callable[[Deployed], Iterator[str]]
RULES: tuple[Rule, ...] = (
    data_outlives_the_stack,
    data_is_encrypted,
    nothing_is_public,
    roles_are_exact,
    batches_are_never_lost_in_silence,
    the_mapping_is_whole,
    lanes_follow_the_factor,
    a_changed_parameter_is_a_new_version,
    the_environment_is_what_the_function_reads,
    deployments_are_taken_back,
    every_alarm_tells_somebody,
    devices_reach_the_stream_by_mqtt,
    parameters_explain_themselves,
    outputs_are_those_that_are_read,
    another_stacks_data_is_used_and_not_made,
    capacity_follows_the_load,
)
