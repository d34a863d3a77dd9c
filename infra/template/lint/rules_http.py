"""Rules on an HTTP or WebSocket API: who may call it, how often, and who waits for whom."""

from collections.abc import Iterator

from infra.template.lint.rule import Problem, Rules
from infra.template.lint.subject import Subject, properties, whole

RULES = Rules()
_API = "AWS::ApiGatewayV2::"
_LONGEST_MS = 30_000  # of an integration, where it says nothing; there is no more
# Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html (checked 2026-11-29)


@RULES.add(
    "SG060",
    "error",
    what="a route that everybody may call",
    why="whoever finds the address reads every aggregate, and each question is paid for",
    mend="set AuthorizationType to AWS_IAM, or to JWT with an AuthorizerId",
)
def routes_are_for_somebody(subject: Subject) -> Iterator[Problem]:
    """CloudFormation's default is NONE. Of a WebSocket API only $connect is asked: the others are of who is connected.

    Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-control-access-iam.html
    """
    for name, each in subject.of_type(f"{_API}Route"):
        node = properties(each)
        api = subject.at(node.get("ApiId"))
        by_socket = api is not None and properties(api).get("ProtocolType") == "WEBSOCKET"
        asked = not by_socket or node.get("RouteKey") == "$connect"
        if asked and node.get("AuthorizationType", "NONE") == "NONE":
            yield Problem.at(node, f"{name} asks for no authorization", "AuthorizationType")


@RULES.add(
    "SG061",
    "error",
    what="an authorizer that takes tokens for anybody",
    why="a token that the issuer gave to another application opens this one, too",
    mend="name in JwtConfiguration: Audience for whom tokens must be",
)
def tokens_are_for_this_api(subject: Subject) -> Iterator[Problem]:
    """There is an audience."""
    for name, each in subject.of_type(f"{_API}Authorizer"):
        node = properties(each)
        if node.get("AuthorizerType") == "JWT" and not node.get("JwtConfiguration", {}).get("Audience"):
            yield Problem.at(node, f"{name} names no audience", "JwtConfiguration")


@RULES.add(
    "SG062",
    "warning",
    what="a function that may take longer than its API waits",
    why="the caller is told 504 and asks again, while the function works on at what nobody will read",
    mend="set the function's Timeout below TimeoutInMillis of the integration, which is 30 s at most",
)
def functions_answer_while_somebody_waits(subject: Subject) -> Iterator[Problem]:
    """Both are known where the template has them."""
    for _, each in subject.of_type(f"{_API}Integration"):
        node = properties(each)
        function = subject.functions.get(subject.function_of(node.get("IntegrationUri")) or "")
        waits_ms = whole(node.get("TimeoutInMillis"), _LONGEST_MS)
        if function is not None and 1000 * whole(function.get("Timeout"), 3) > waits_ms:
            what = (
                f"the function has {whole(function.get('Timeout'), 3)} s, and the API waits for {waits_ms} ms"
            )
            yield Problem.at(function, what, "Timeout")


@RULES.add(
    "SG063",
    "warning",
    what="a stage without a throttle",
    why="a client in a loop gets all that the account allows, 10,000 requests a second: it takes the sandboxes of the function "
    "that counts, and everything gets late",
    mend="set DefaultRouteSettings: {ThrottlingRateLimit: …, ThrottlingBurstLimit: …}",
)
def callers_are_throttled(subject: Subject) -> Iterator[Problem]:
    """Rate and burst, of all routes."""
    for name, each in subject.of_type(f"{_API}Stage"):
        node = properties(each)
        settings = node.get("DefaultRouteSettings", {})
        if not settings.get("ThrottlingRateLimit") or not settings.get("ThrottlingBurstLimit"):
            yield Problem.at(node, f"{name} takes whatever comes", "DefaultRouteSettings")
