"""What must hold of the template's collector: one rule a function, as in template_rules."""

import json
import re
from collections.abc import Iterator
from typing import Any

from producers.collector.settings import Settings
from support.template_rules import COLLECTS, FUNCTION, TABLE, Deployed, Rule

_API = "AWS::ApiGatewayV2::"
ROUTES = {
    "POST /v1/events", "POST /v1/metrics", "POST /api/v2/write", "OPTIONS /v1/events", "GET /v1/events/health",
    "GET /v1/events/ready",
}  # fmt: skip


def events_come_in_where_they_are_wanted_and_can_be(deployed: Deployed) -> Iterator[str]:
    """None beside another stack, whose stream it is and who collects; none without an API to come in by."""
    handlers = [each["Properties"]["Handler"] for each in deployed.of(FUNCTION)]
    parts = [
        *deployed.collecting(TABLE), *deployed.collecting(f"{_API}Integration"),
        *deployed.collecting("AWS::Lambda::Permission"), *deployed.of("AWS::Logs::MetricFilter"),
        *(each for each in handlers if each == COLLECTS),
    ]  # fmt: skip
    if len(parts) != (5 if deployed.collects else 0):
        yield f"{len(parts)} parts of the collector"
    routes = {each["RouteKey"] for each in deployed.collecting(f"{_API}Route")}
    if routes != (ROUTES if deployed.collects else set()):
        yield f"routes are {sorted(routes)}"


def who_sends_is_asked_by_the_function_and_nobody_else_calls_it(deployed: Deployed) -> Iterator[str]:
    """Devices and pages cannot sign: no authorizer stands before it."""
    if not deployed.collects:
        return
    for each in deployed.collecting(f"{_API}Route"):
        if each.get("AuthorizationType") != "NONE" or each["ApiId"] != {"Ref": "HttpApi"}:
            yield f"{each['RouteKey']} is asked {each.get('AuthorizationType')}"
    (permission,) = deployed.collecting("AWS::Lambda::Permission")
    if permission["Principal"] != "apigateway.amazonaws.com" or "${HttpApi}" not in json.dumps(
        permission["SourceArn"]
    ):
        yield "others than this API may call the function"
    (integration,) = deployed.collecting(f"{_API}Integration")
    if "Aliaslive" not in json.dumps(integration["IntegrationUri"]):
        yield "the API passes the alias by"


def the_collector_is_told_what_it_reads(deployed: Deployed) -> Iterator[str]:
    if not deployed.collects:
        return
    variables = deployed.function(COLLECTS)["Environment"]["Variables"]
    asked: set[str] = set()

    class Recording(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

        def __getitem__(self, name: str) -> str:
            asked.add(name)
            return super().__getitem__(name)

    settings = Settings.of(Recording({name: str(each) for name, each in variables.items()}))
    if asked != variables.keys():
        yield f"set or read, but not both: {sorted(asked ^ variables.keys())}"
    if settings.one_key_per_record is not (deployed.outputs["Lanes"]["Value"] == "partition_key"):
        yield "its records are not those that lanes are made of"
    if variables.get("KEYS_PARAMETER") != deployed.outputs["CollectorKeysParameter"]["Value"]:
        yield "its keys are not those that `streamgage keys` writes"
    if any("CollectorKeys" in json.dumps(each) for each in deployed.of("AWS::SSM::Parameter")):
        yield "CloudFormation would write over the keys"


def collecting_is_bounded(deployed: Deployed) -> Iterator[str]:
    if not deployed.collects:
        return
    parameters, stage = deployed.parameters, deployed.only(f"{_API}Stage")
    limits = {
        "ThrottlingRateLimit": parameters["CollectorRate"],
        "ThrottlingBurstLimit": parameters["CollectorBurst"],
    }
    wanted = {each: limits for each in ROUTES if each.startswith("POST ")}
    if stage.get("RouteSettings") != wanted:
        yield f"routes are throttled by {stage.get('RouteSettings')}"
    if not all(name in json.dumps(stage.get("Description", "")) for name in ("Events", "Metrics", "Lines")):
        yield "the stage does not wait for the routes that it names"
    (integration,) = deployed.collecting(f"{_API}Integration")
    if not int(deployed.function(COLLECTS)["Timeout"]) * 1000 < integration["TimeoutInMillis"] <= 30_000:
        yield "the API does not wait for its function"
    reserved = parameters["CollectorConcurrency"] if int(parameters["CollectorConcurrency"]) else None
    if deployed.function(COLLECTS).get("ReservedConcurrentExecutions") != reserved:
        yield "what is reserved is not the parameter's"


def pages_may_read_when_to_come_again(deployed: Deployed) -> Iterator[str]:
    """Where API Gateway answers pages, what the function lets them read is dropped."""
    for each in deployed.of(f"{_API}Api"):
        cors = each["Properties"].get("CorsConfiguration")
        if isinstance(cors, dict) and "AllowOrigins" in cors and "retry-after" not in cors["ExposeHeaders"]:
            yield "pages of ApiOrigins cannot read Retry-After"


def batches_are_remembered_encrypted_and_forgotten(deployed: Deployed) -> Iterator[str]:
    if not deployed.collects:
        return
    (table,) = deployed.collecting(TABLE)
    if table.get("TimeToLiveSpecification") != {"AttributeName": "expires", "Enabled": True}:
        yield "keys of batches stay for ever"
    encryption = table.get("SSESpecification", {})
    if not encryption.get("SSEEnabled") or encryption.get("KMSMasterKeyId") != (
        deployed.parameters["KeyArn"] or None
    ):
        yield f"the table is encrypted by {encryption}"
    if table.get("BillingMode") != "PAY_PER_REQUEST":
        yield "a burst of batches is throttled"


def what_was_not_durable_is_counted(deployed: Deployed) -> Iterator[str]:
    """The filter names fields that the access log has, and every path of events; the alarm has the filter's metric."""
    if not deployed.collects:
        return
    (found,) = [each["Properties"] for each in deployed.of("AWS::Logs::MetricFilter")]
    written = json.loads(deployed.only(f"{_API}Stage")["AccessLogSettings"]["Format"])
    (made,) = found["MetricTransformations"]
    named = set(re.findall(r"\$\.(\w+)", found["FilterPattern"] + json.dumps(made)))
    yield from (f"the access log has no {each}" for each in named - written.keys())
    for each in ROUTES:
        path = each.partition(" ")[2]
        shown = re.findall(r'\$\.path = "([^"]+)"', found["FilterPattern"])
        if not any(path == one or (one.endswith("*") and path.startswith(one[:-1])) for one in shown):
            yield f"{path} is not looked at"
    if '$.status = "5*"' not in found["FilterPattern"]:
        yield "not what was not durable"
    alarms = [each["Properties"] for each in deployed.of("AWS::CloudWatch::Alarm")]
    if not [
        each
        for each in alarms
        if (each.get("Namespace"), each.get("MetricName")) == (made["MetricNamespace"], made["MetricName"])
        and [one["Name"] for one in each["Dimensions"]] == [one["Key"] for one in made["Dimensions"]]
    ]:
        yield "no alarm rings"


COLLECTOR_RULES: tuple[Rule, ...] = (
    events_come_in_where_they_are_wanted_and_can_be,
    who_sends_is_asked_by_the_function_and_nobody_else_calls_it,
    the_collector_is_told_what_it_reads,
    collecting_is_bounded,
    pages_may_read_when_to_come_again,
    batches_are_remembered_encrypted_and_forgotten,
    what_was_not_durable_is_counted,
)
