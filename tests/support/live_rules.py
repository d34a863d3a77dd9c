"""What must hold of the template's live updates: one rule a function, as in template_rules."""

import json
from collections.abc import Iterator
from typing import Any

from processors.live.live_settings import LiveSettings
from support.template_rules import ANSWERS, FUNCTION, MAPPING, PUSH, SOCKET, TABLE, Deployed, Rule

_API = "AWS::ApiGatewayV2::"
_PERMISSION = "AWS::Lambda::Permission"


def there_are_live_updates_where_they_are_wanted_and_can_be(deployed: Deployed) -> Iterator[str]:
    """None of another stack's table, whose stream it is."""
    handlers = {each["Properties"]["Handler"] for each in deployed.of(FUNCTION)}
    parts = [
        *deployed.live(f"{_API}Api"), *deployed.live(f"{_API}Stage"), *deployed.live(TABLE), *deployed.live(MAPPING),
        *({SOCKET, PUSH} & handlers),
    ]  # fmt: skip
    if len(parts) != (6 if deployed.tells else 0):
        yield f"{len(parts)} parts of live updates"
    table = deployed.own(TABLE)
    wanted = {"StreamViewType": "KEYS_ONLY"} if deployed.tells else None
    if table is not None and table.get("StreamSpecification") != wanted:
        yield f"the table's stream is {table.get('StreamSpecification')}"


def who_connects_is_asked_who_he_is(deployed: Deployed) -> Iterator[str]:
    if not deployed.tells:
        return
    routes = {each["RouteKey"]: each for each in deployed.live(f"{_API}Route")}
    if routes.keys() != {"$connect", "$disconnect", "$default"}:
        yield f"routes are {sorted(routes)}"
    asks = deployed.function(SOCKET)["Environment"]["Variables"]["SOCKET_TICKETS"]
    wanted = ("NONE", "true") if deployed.takes_tickets else ("AWS_IAM", "false")
    if (routes["$connect"].get("AuthorizationType"), asks) != wanted:
        yield "anybody may connect, or nobody"
    kept = deployed.function(ANSWERS)["Environment"]["Variables"]["CONNECTIONS_TABLE"]
    if kept != ({"Ref": "ConnectionsTable"} if deployed.takes_tickets else ""):
        yield f"tickets are given into {kept!r}"
    answers = [each["Properties"]["RouteResponseKey"] for each in deployed.of(f"{_API}RouteResponse")]
    if routes["$default"].get("RouteResponseSelectionExpression") != "$default" or answers != ["$default"]:
        yield "what the function answers does not reach the client"
    (permission,) = deployed.live(_PERMISSION)
    if permission["Principal"] != "apigateway.amazonaws.com" or permission["FunctionName"] != {
        "Ref": "SocketFunction"
    }:
        yield "others than this API may call the function"


def connecting_is_bounded(deployed: Deployed) -> Iterator[str]:
    if not deployed.tells:
        return
    (stage,) = deployed.live(f"{_API}Stage")
    (integration,) = deployed.live(f"{_API}Integration")
    limits = {
        "ThrottlingRateLimit": deployed.parameters["ApiRate"],
        "ThrottlingBurstLimit": deployed.parameters["ApiBurst"],
    }
    if stage.get("DefaultRouteSettings") != limits:
        yield f"it is throttled by {stage.get('DefaultRouteSettings')}"
    if not int(deployed.function(SOCKET)["Timeout"]) * 1000 < integration["TimeoutInMillis"] <= 29_000:
        yield "the API does not wait for its function"


def news_does_not_stay_behind_old_news(deployed: Deployed) -> Iterator[str]:
    """What fails or is old is passed over: nobody waits for it, and it holds up what is new."""
    if not deployed.tells:
        return
    (mapping,) = deployed.live(MAPPING)
    wanted = {
        "StartingPosition": "LATEST", "MaximumBatchingWindowInSeconds": 0, "BatchSize": 1000, "MaximumRetryAttempts": 2,
        "MaximumRecordAgeInSeconds": 60, "BisectBatchOnFunctionError": False, "ParallelizationFactor": 1,
    }  # fmt: skip
    yield from (
        f"{name} is {mapping.get(name)}" for name, each in wanted.items() if mapping.get(name) != each
    )


def who_is_connected_is_encrypted_and_forgotten(deployed: Deployed) -> Iterator[str]:
    if not deployed.tells:
        return
    (table,) = deployed.live(TABLE)
    if table.get("TimeToLiveSpecification") != {"AttributeName": "expires", "Enabled": True}:
        yield "connections stay for ever"
    encryption = table.get("SSESpecification", {})
    if not encryption.get("SSEEnabled") or encryption.get("KMSMasterKeyId") != (
        deployed.parameters["KeyArn"] or None
    ):
        yield f"the table of connections is encrypted by {encryption}"
    if "PointInTimeRecoverySpecification" in table:
        yield "who was connected is kept for 35 days"


def both_functions_are_told_what_they_read(deployed: Deployed) -> Iterator[str]:
    if not deployed.tells:
        return
    for handler in (SOCKET, PUSH):
        asked: set[str] = set()

        class Recording(dict[str, str]):
            def get(self, name: str, default: Any = None) -> Any:
                asked.add(name)  # noqa: B023 - read within this turn
                return super().get(name, default)

        variables = deployed.function(handler)["Environment"]["Variables"]
        LiveSettings.of(
            Recording({name: str(each) for name, each in variables.items()}), pushes=handler == PUSH
        )
        if asked != variables.keys():
            yield f"set or read by {handler}, but not both: {sorted(asked ^ variables.keys())}"
    if "${LiveApi}" not in json.dumps(deployed.function(PUSH)["Environment"]):
        yield "news goes to another API"


LIVE_RULES: tuple[Rule, ...] = (
    there_are_live_updates_where_they_are_wanted_and_can_be,
    who_connects_is_asked_who_he_is,
    connecting_is_bounded,
    news_does_not_stay_behind_old_news,
    who_is_connected_is_encrypted_and_forgotten,
    both_functions_are_told_what_they_read,
)
