"""The gateway over a pool that is a fake: where a request goes, and what is answered when something is not as it should be."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.function.outcome import Answered, Failed, NotInvoked, Outcome
from infra.local.function.pool import Invoked
from infra.local.gateway.api import HttpApi, Route, Stage, read_api
from infra.local.gateway.gateway import Gateway
from infra.local.gateway.page import Page
from infra.local.gateway.throttle import Times
from infra.local.http.message import Request, Response
from support.served import resources

BASE = "s3cret"
OK = Answered(b'{"statusCode": 200, "body": "from the function"}')


class FakePool:
    """Answers with *outcome*; keeps the events."""

    def __init__(self, outcome: Outcome = OK) -> None:
        self.outcome, self.events = outcome, list[dict[str, Any]]()
        self.before: Callable[[], object] = bool

    def invoke(self, request_id: str, payload: bytes) -> Invoked:  # noqa: ARG002 - the port's form
        self.events.append(json.loads(payload))
        self.before()
        return Invoked(self.outcome, 1.0, None)


class World:
    def __init__(self, folder: Path, described: dict[str, Any], *, concurrency: int = 2) -> None:
        api = read_api(described)
        assert api is not None
        self.pool, self.said, self.now_s = FakePool(), list[str](), 0.0
        self.gateway = Gateway(
            api, self.pool, Page(folder), base=BASE, port=1, account="000000000000", concurrency=concurrency,
            say=self.said.append, times=Times(now_ms=lambda: 0, steady_s=lambda: self.now_s),
        )  # fmt: skip

    def ask(self, path: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
        named = {"host": "localhost", **{name.replace("_", "-"): each for name, each in headers.items()}}
        return self.gateway(Request(method, f"/{BASE}{path}", named, body))


MakeWorld = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> MakeWorld:
    (tmp_path / "index.html").write_text("the page")
    (tmp_path / "v1").write_text("never served")

    def make(*routes: dict[str, Any], concurrency: int = 2, **options: Any) -> World:
        made = World(tmp_path, resources(*routes, **options), concurrency=concurrency)
        request.addfinalizer(made.gateway.close)
        return made

    return make


def words(response: Response) -> tuple[int, object]:
    return response.status, json.loads(response.body)["message"]


@pytest.mark.parametrize(
    ("path", "is_api"),
    [
        ("/v1/rollups", True),
        ("/v1", True),
        ("/v1?a=1", True),
        ("/%76%31/x", True),
        ("/prometheus/api/v1/query", True),
        ("/health", True),
        ("/", False),
        ("/index.html", False),
        ("/v1x", False),
        ("/healthy", False),
        ("/other", False),
    ],
)
def test_of_what_only_the_default_route_takes_the_api_has_its_paths_and_the_page_the_rest(
    world: MakeWorld, path: str, *, is_api: bool
) -> None:
    here = world()
    response = here.ask(path)
    assert bool(here.pool.events) is is_api
    assert (response.body == b"from the function") is is_api


def test_a_route_that_is_spelled_out_goes_before_the_page(world: MakeWorld) -> None:
    here = world({"RouteKey": "$default"}, {"RouteKey": "GET /index.html"}, {"RouteKey": "GET /pets/{id}"})
    assert here.ask("/index.html").body == b"from the function"
    assert here.ask("/pets/1").status == 200
    assert [each["routeKey"] for each in here.pool.events] == ["GET /index.html", "GET /pets/{id}"]
    assert here.ask("/").body == b"the page"


def test_a_route_of_another_function_goes_to_its_sandboxes_which_are_its_own(
    world: MakeWorld, tmp_path: Path
) -> None:
    mine, other = FakePool(), FakePool(Answered(b'"from the other"'))
    routes = (Route("$default", "one"), Route("POST /v1/events", "two"))
    gateway = Gateway(
        HttpApi("api", routes, (Stage(),)), mine, Page(tmp_path), base=BASE, port=1, account="0", concurrency=1,
        others={"two": other},
    )  # fmt: skip
    try:

        def ask(path: str, method: str = "POST") -> bytes:
            return gateway(Request(method, f"/{BASE}{path}", {"host": "localhost"}, b"{}")).body

        held: list[bytes] = []
        other.before = lambda: held.append(
            ask("/v1/rollups", "GET")
        )  # the one sandbox of the other is at work
        assert ask("/v1/events") == b"from the other"
        assert held == [b"from the function"]
        assert [len(each.events) for each in (mine, other)] == [1, 1]
        assert ask("/v1/events", "GET") == b"from the function"
    finally:
        gateway.close()


def test_the_function_never_learns_the_secret(world: MakeWorld) -> None:
    here = world()
    here.ask("/v1/a?b=1")
    assert here.pool.events[0]["rawPath"] == "/v1/a"
    assert BASE not in json.dumps(here.pool.events)


def test_the_base_alone_leads_to_the_page_with_its_query(world: MakeWorld) -> None:
    response = world().ask("?view=1")
    assert (response.status, response.headers["Location"]) == (308, f"/{BASE}/?view=1")


def test_its_own_health_is_beside_the_base_and_the_functions_under_it(world: MakeWorld) -> None:
    here = world()
    assert here.gateway(Request("GET", "/health", {"host": "localhost"}, b"")).body == b"ok\n"
    assert here.ask("/health").body == b"from the function"


def test_without_a_route_or_a_stage_nothing_is_found(world: MakeWorld) -> None:
    assert words(world({"RouteKey": "GET /a"}).ask("/v1/a")) == (404, "Not Found")
    assert words(world(stage={"StageName": "prod"}).ask("/v1/a")) == (404, "Not Found")


@pytest.mark.parametrize(
    ("outcome", "status", "text", "logged"),
    [
        (
            Failed("ZeroDivisionError: x"),
            500,
            "Internal Server Error",
            "500 to GET /v1/a: ZeroDivisionError: x",
        ),
        (
            NotInvoked("cannot start a sandbox: memory"),
            503,
            "Service Unavailable",
            "503 to GET /v1/a: cannot start",
        ),
        (
            Answered(b'{"statusCode": "x"}'),
            500,
            "Internal Server Error",
            "the function's answer has the statusCode 'x'",
        ),
    ],
)
def test_what_goes_wrong_has_awss_words_for_the_client_and_its_reason_in_the_log(
    world: MakeWorld, outcome: Outcome, status: int, text: str, logged: str
) -> None:
    here = world()
    here.pool.outcome = outcome
    response = here.ask("/v1/a")
    assert words(response) == (status, text)
    assert len(response.headers["Apigw-Requestid"]) == 16
    (line,) = here.said
    assert logged in line


def test_a_strangers_path_writes_no_line_of_its_own_into_the_log(world: MakeWorld) -> None:
    here = world()
    here.pool.outcome = Failed("x\ngateway: forged\x1b[2J")
    here.ask("/v1/%0Agateway:%20forged%1b" + "a" * 5_000)
    (line,) = here.said
    assert "\x1b" not in line
    assert not [each for each in line.splitlines()[1:] if each.startswith("gateway")]
    assert len(line) < 400


def test_the_integrations_time_is_the_gateways_and_the_function_works_on(world: MakeWorld) -> None:
    go_on, done = threading.Event(), threading.Event()
    here = world(timeout_ms=50)
    here.pool.before = lambda: go_on.wait(60) and done.set()  # type: ignore[func-returns-value]  # in turn
    assert words(here.ask("/v1/a")) == (503, "Service Unavailable")
    assert "no answer within the integration's 50 ms; the function works on" in here.said[0]
    go_on.set()
    assert done.wait(60)


def test_where_every_sandbox_is_at_work_a_request_is_given_up_and_never_begun(world: MakeWorld) -> None:
    go_on, entered = threading.Event(), threading.Event()
    here = world(concurrency=1, timeout_ms=50)
    here.pool.before = lambda: entered.set() or go_on.wait(60)  # type: ignore[func-returns-value]  # in turn
    first = threading.Thread(target=here.ask, args=("/v1/first",))
    first.start()
    assert entered.wait(60)
    assert words(here.ask("/v1/second")) == (503, "Service Unavailable")
    assert "every sandbox was at work" in here.said[-1]
    go_on.set()
    first.join()
    here.gateway.close()
    assert [each["rawPath"] for each in here.pool.events] == ["/v1/first"]


def test_a_request_beyond_the_rate_is_throttled_by_route(world: MakeWorld) -> None:
    stage = {
        "DefaultRouteSettings": {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 2},
        "RouteSettings": {"GET /free": {"ThrottlingRateLimit": 100, "ThrottlingBurstLimit": 100}},
    }
    here = world({"RouteKey": "$default"}, {"RouteKey": "GET /free"}, {"RouteKey": "GET /other"}, stage=stage)
    assert [here.ask("/v1/a").status for _ in range(3)] == [200, 200, 429]
    assert words(here.ask("/v1/a")) == (429, "Too Many Requests")
    assert here.ask("/other").status == 200
    assert {here.ask("/free").status for _ in range(50)} == {200}
    assert here.ask("/").body == b"the page"
    here.now_s = 1
    assert [here.ask("/v1/a").status for _ in range(2)] == [200, 429]


def test_the_head_is_bounded_as_on_aws_without_the_base_and_the_names(world: MakeWorld) -> None:
    here = world()
    used = len("GET /v1/a HTTP/1.1") + len("localhost")
    assert here.ask("/v1/a", x_filler="x" * (10_240 - used)).status == 200
    assert words(here.ask("/v1/a", x_filler="x" * (10_241 - used))) == (
        431,
        "Request Header Fields Too Large",
    )


def test_what_lambda_would_not_take_is_too_large(world: MakeWorld) -> None:
    here = world()
    fits, grows = b"x" * 6_290_000, b"x" * 4_800_000
    assert here.ask("/v1/a", method="POST", body=fits, content_type="text/plain").status == 200
    too_large = here.ask("/v1/a", method="POST", body=grows, content_type="application/octet-stream")
    assert words(too_large) == (413, "Request Entity Too Large")
    assert len(here.pool.events) == 1


def test_cors_is_the_apis_to_say(world: MakeWorld) -> None:
    here = world(cors={"AllowOrigins": ["https://mine.example"], "AllowMethods": ["GET"]})
    preflight = here.ask(
        "/v1/a", method="OPTIONS", origin="https://mine.example", access_control_request_method="GET"
    )
    assert preflight.headers["access-control-allow-methods"] == "GET"
    assert not here.pool.events
    assert here.ask("/v1/a", origin="https://mine.example").headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in world().ask("/v1/a", origin="https://mine.example").headers


def test_closed_it_begins_nothing(world: MakeWorld) -> None:
    here = world()
    here.gateway.close()
    assert words(here.ask("/v1/a")) == (503, "Service Unavailable")
