"""HTTP/1.1 without I/O: what is one request, what is refused, and when a client has taken too long."""

import math

import pytest

from infra.local.http.http1 import Http1
from infra.local.http.message import Limits, Request, Response

HOST = b"Host: localhost\r\n"
POST = b"POST /x?y=1 HTTP/1.1\r\n" + HOST
WHOLE = POST + b"A: 1\r\nContent-Length: 3\r\n\r\nabc"
SMALL = Limits(head_bytes=1000, body_bytes=100)


def take(_: Request) -> None:
    """Admit whatever comes."""


def wire(limits: Limits = SMALL) -> Http1:
    return Http1(limits, take, now_s=0)


def refused(data: bytes, limits: Limits = SMALL) -> bytes:
    """Feed *data* at once, and byte by byte; return the status, which must be the same."""
    statuses = set()
    for step in (len(data), 1):
        one, requests = wire(limits), []
        for at in range(0, len(data), step):
            requests += one.receive(data[at : at + step], now_s=0)
        assert requests == []
        assert one.ended
        statuses.add(one.take_output().split(b" ")[1])
    (status,) = statuses
    return status


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_request_comes_in_any_pieces(step: int) -> None:
    one, found = wire(), []
    for at in range(0, len(WHOLE), step):
        found += one.receive(WHOLE[at : at + step], now_s=0)
    assert found == [
        (1, Request("POST", "/x?y=1", {"host": "localhost", "a": "1", "content-length": "3"}, b"abc"))
    ]
    assert found[0][1].path == "/x"


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    one = wire()
    ((_, first),) = one.receive(WHOLE + WHOLE.replace(b"abc", b"def"), now_s=0)
    assert first.body == b"abc"
    assert one.receive(b"", now_s=0) == []
    ((_, second),) = one.answer(1, Response(200, b"1"), now_s=0)
    assert second.body == b"def"
    assert one.answer(1, Response(200, b"2"), now_s=0) == []
    assert one.take_output().count(b"HTTP/1.1 200 OK") == 2
    assert not one.ended


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length: -3\r\n",
        b"Content-Length: 0x3\r\n",
        b"Content-Length: 3 3\r\n",
        b"Content-Length : 3\r\n",
        b"Content-Length: 99999999999999999999999999999\r\n",
        b"A: b\r\n c\r\nContent-Length: 3\r\n",
        b"A: b\x00c\r\nContent-Length: 3\r\n",
        b"A: b\rContent-Length: 3\r\n",
        b"Host: other\r\nContent-Length: 3\r\n",
    ],
)
def test_a_head_that_two_readers_could_read_differently_is_refused(head: bytes) -> None:
    for limits in (SMALL, Limits(chunked=True)):
        assert refused(POST + head + b"\r\nabc", limits) == b"400"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"\r\n", b"411"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"411"),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n", b"411"),
        (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc", b"501"),
        (POST + b"Content-Length: 101\r\n\r\n", b"413"),
        (POST + b"Content-Length: 999999999999999999\r\n\r\n", b"413"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", b"400"),
        (b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", b"400"),
        (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", b"501"),
        (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", b"400"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00", b"400"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_status(data: bytes, status: bytes) -> None:
    assert refused(data) == status


def test_chunks_are_taken_where_they_are_wanted_and_bounded_there_too() -> None:
    limits = Limits(chunked=True, body_bytes=5)
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    ((_, request),) = wire(limits).receive(head + b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", now_s=0)
    assert request.body == b"abcde"
    assert refused(head + b"6\r\nabcdef\r\n0\r\n\r\n", limits) == b"413"
    assert refused(head.replace(b"chunked", b"xchunked"), limits) == b"411"
    assert refused(head + b"fffffffffffffffffff\r\n", limits) == b"400"


def test_a_post_without_a_length_has_no_body_where_any_client_may_ask() -> None:
    ((_, request),) = wire(Limits(chunked=True)).receive(POST + b"\r\n", now_s=0)
    assert (request.method, request.body) == ("POST", b"")


@pytest.mark.parametrize("piece", [b"A: b\r\n", b"aaaaaaaaaa", b"A" * 2000])
def test_a_head_that_does_not_end_is_refused(piece: bytes) -> None:
    one, fed = wire(), 0
    one.receive(b"GET / HTTP/1.1\r\n", now_s=0)
    while not one.ended:
        one.receive(piece, now_s=0)
        fed += len(piece)
        assert fed < 10_000
    assert one.take_output().startswith(b"HTTP/1.1 431 ")


def test_a_target_that_does_not_end_is_refused() -> None:
    one = wire()
    one.receive(b"GET /" + b"a" * 2000, now_s=0)
    assert one.take_output().startswith(b"HTTP/1.1 431 ")


def test_a_refusal_waits_for_the_answers_of_what_came_before_it() -> None:
    one = wire()
    assert len(one.receive(WHOLE + b"nonsense\r\n\r\n", now_s=0)) == 1
    assert one.take_output() == b""
    one.answer(1, Response(200), now_s=0)
    assert [
        line.split(b" ")[1] for line in one.take_output().split(b"\r\n") if line.startswith(b"HTTP/1.1")
    ] == [
        b"200",
        b"400",
    ]


def test_what_is_not_admitted_is_answered_before_its_body() -> None:
    one = Http1(SMALL, lambda _: Response(403, b"no"), now_s=0)
    assert one.receive(POST + b"Expect: 100-continue\r\nContent-Length: 50\r\n\r\n", now_s=0) == []
    output = one.take_output()
    assert output.startswith(b"HTTP/1.1 403 ")
    assert b"100 Continue" not in output
    assert one.ended


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
def test_an_upgrade_that_is_offered_is_not_taken(upgrade: bytes) -> None:
    one = wire()
    offered = POST.replace(b"POST", b"GET") + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n"
    ((_, first),) = one.receive(offered + WHOLE, now_s=0)
    ((_, second),) = one.answer(1, Response(200), now_s=0)
    assert (first.method, second.body) == ("GET", b"abc")


def test_a_client_of_http_1_0_and_one_that_says_close_are_closed() -> None:
    for data in (
        b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    ):
        one = wire()
        one.receive(data, now_s=0)
        one.answer(1, Response(200), now_s=0)
        assert one.ended
        assert b"Connection: close" in one.take_output()


def test_each_phase_has_its_deadline_and_drops_of_data_do_not_move_it() -> None:
    limits = Limits(head_s=10, body_s=60, idle_s=300)
    one = wire(limits)
    assert one.expires_s == 10
    one.receive(POST, now_s=5)
    one.receive(b"A: b\r\n", now_s=9)
    assert one.expires_s == 15
    one.receive(b"Content-Length: 3\r\n\r\n", now_s=14)
    one.receive(b"a", now_s=70)
    assert one.expires_s == 74
    one.receive(b"bc", now_s=71)
    assert one.expires_s == math.inf
    one.answer(1, Response(200), now_s=100)
    assert one.expires_s == 400


def test_a_request_that_begins_while_another_is_answered_has_the_deadline_of_a_head() -> None:
    one = wire(Limits(head_s=10, idle_s=300))
    one.receive(WHOLE + b"POST / HT", now_s=0)
    one.answer(1, Response(200), now_s=20)
    assert one.expires_s == 30


def test_what_comes_twice_is_joined_and_cookies_as_cookies_are() -> None:
    one = wire()
    ((_, found),) = one.receive(
        b"GET / HTTP/1.1\r\n" + HOST + b"A: 1\r\nA: 2, 3\r\nCookie: a=1\r\ncookie: b=2; c=3\r\n\r\n", now_s=0
    )
    assert found.headers == {"host": "localhost", "a": "1,2, 3", "cookie": "a=1; b=2; c=3"}


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_content_sends_none_that_would_be_taken_for_the_next_answer(status: int) -> None:
    one = wire()
    one.receive(WHOLE + WHOLE, now_s=0)
    one.answer(1, Response(status, b"content", headers={"ETag": '"1"'}), now_s=0)
    head, _, rest = one.take_output().partition(b"\r\n\r\n")
    assert rest == b""
    assert b"Content-" not in head
    assert b'ETag: "1"' in head


def test_each_cookie_is_a_line_of_its_own() -> None:
    one = wire()
    one.receive(WHOLE, now_s=0)
    one.answer(1, Response(200, cookies=("a=1", "b=2; HttpOnly")), now_s=0)
    assert b"Set-Cookie: a=1\r\nSet-Cookie: b=2; HttpOnly\r\n" in one.take_output()
