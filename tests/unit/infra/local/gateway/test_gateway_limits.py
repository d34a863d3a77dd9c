"""Throttling, and what pages of other origins may read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.gateway.cors import Cors
from infra.local.gateway.throttle import Rate, TokenBucket
from infra.local.http.message import Request, Response

MINE = "https://mine.example"


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(Rate(per_s=2, burst=3))
    assert [bucket.take(10) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.4), bucket.take(10.5), bucket.take(10.6)] == [False, True, False]
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(Rate(per_s=1, burst=1))
    assert [bucket.take(now_s) for now_s in (10, 5, 0, 1)] == [True, False, False, True]


def test_a_rate_of_nothing_gives_nothing() -> None:
    assert not TokenBucket(Rate(0, 0)).take(1)


@given(
    per_s=st.floats(0.1, 100),
    burst=st.integers(0, 3),
    pauses=st.lists(st.floats(-1, 2), min_size=5, max_size=60),
)
def test_in_no_time_more_is_taken_than_the_burst_and_what_the_rate_gives_in_it(
    per_s: float, burst: int, pauses: list[float]
) -> None:
    bucket, now_s, forward_s, taken = TokenBucket(Rate(per_s, burst)), 0.0, 0.0, 0
    for pause in pauses:
        now_s += pause
        forward_s += max(pause, 0)
        taken += bucket.take(now_s)
    assert taken <= burst + forward_s * per_s + 1e-6


def request(method: str = "GET", **headers: str) -> Request:
    return Request(method, "/", {name.replace("_", "-"): value for name, value in headers.items()}, b"")


CORS = Cors(origins=(MINE,), methods=("GET",), headers=("a", "b"), exposed=("etag",), max_age_s=60)


def test_a_preflight_of_an_allowed_origin_is_told_what_it_may() -> None:
    asked = request("OPTIONS", origin=MINE, access_control_request_method="GET")
    assert CORS.preflight(asked) == Response(
        204,
        headers={
            "access-control-allow-origin": MINE,
            "vary": "Origin",
            "access-control-expose-headers": "etag",
            "access-control-allow-methods": "GET",
            "access-control-allow-headers": "a,b",
            "access-control-max-age": "60",
        },
    )


@pytest.mark.parametrize("origin", ["https://evil.example", "https://mine.example.evil", "null", ""])
def test_a_preflight_of_another_origin_is_told_nothing(origin: str) -> None:
    assert CORS.preflight(request("OPTIONS", origin=origin, access_control_request_method="GET")) == Response(
        204
    )


@pytest.mark.parametrize(
    "asked",
    [
        request("GET", origin=MINE),
        request("OPTIONS", origin=MINE),
        request("OPTIONS", access_control_request_method="GET"),
    ],
)
def test_what_is_no_preflight_goes_on(asked: Request) -> None:
    assert CORS.preflight(asked) is None


def test_the_functions_own_cors_headers_are_dropped() -> None:
    said = {"Access-Control-Allow-Origin": "*", "etag": '"1"'}
    assert CORS.mark(request(), said) == {"etag": '"1"'}
    assert CORS.mark(request(origin="https://evil.example"), said) == {"etag": '"1"'}
    assert CORS.mark(request(origin=MINE), said)["access-control-allow-origin"] == MINE


@pytest.mark.parametrize(
    ("origins", "credentials", "said"),
    [
        (("*",), False, "*"),
        (("*",), True, MINE),
        (("https://*",), False, MINE),
        (("http://*",), False, None),
    ],
)
def test_a_pattern_allows_what_it_says(origins: tuple[str, ...], credentials: bool, said: str | None) -> None:  # noqa: FBT001 - a column
    cors = Cors(origins=origins, credentials=credentials)
    assert cors.mark(request(origin=MINE), {}).get("access-control-allow-origin") == said
    assert not cors.named_origins


def test_an_answer_that_differs_by_accept_differs_by_it_to_another_origin_too() -> None:
    """Else a browser that keeps an answer gives the JSON of an address to who asks it for CSV."""
    marked = CORS.mark(request(origin=MINE), {"vary": "Accept, Authorization"})
    assert marked["vary"] == "Accept, Authorization, Origin"
