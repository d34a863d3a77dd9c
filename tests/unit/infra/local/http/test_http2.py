"""HTTP/2 without I/O, spoken to by h2's own client."""

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamReset

from infra.local.http.http2 import PREFACE, Http2
from infra.local.http.message import Limits, Request, Response

HEADERS = [(":method", "POST"), (":path", "/x?y"), (":scheme", "http"), (":authority", "localhost")]


class Pair:
    """A client and a server of one connection."""

    def __init__(self, limits: Limits | None = None, refusal: Response | None = None) -> None:
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.server = Http2(limits or Limits(), lambda _: refusal, now_s=0)
        self.client.initiate_connection()
        self.status: dict[int, str] = {}
        self.body: dict[int, bytes] = {}
        self.reset: set[int] = set()
        self.requests: list[tuple[int, Request]] = []
        self.acknowledging = True
        self.meet()

    def meet(self, now_s: float = 0) -> None:
        """Carry bytes both ways until neither has any."""
        while (sent := self.client.data_to_send()) or (answered := self.server.take_output()):
            if sent:
                self.requests += self.server.receive(sent, now_s=now_s)
                continue
            for event in self.client.receive_data(answered):
                if isinstance(event, ResponseReceived):
                    assert event.stream_id is not None
                    assert event.headers is not None
                    self.status[event.stream_id] = str(
                        {str(name): value for name, value in event.headers}[":status"]
                    )
                elif isinstance(event, DataReceived):
                    assert event.stream_id is not None
                    self.body[event.stream_id] = self.body.get(event.stream_id, b"") + (event.data or b"")
                    if self.acknowledging and event.flow_controlled_length:
                        self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamReset):
                    assert event.stream_id is not None
                    self.reset.add(event.stream_id)

    def send(self, stream: int, body: bytes, *, end: bool = True, headers: object = ()) -> None:
        self.client.send_headers(stream, [*HEADERS, *headers], end_stream=not body and end)  # type: ignore[misc]
        while body:
            size = min(len(body), self.client.local_flow_control_window(stream), 16_384)
            if size == 0:
                self.meet()
                assert self.client.local_flow_control_window(stream) > 0
                continue
            self.client.send_data(stream, body[:size], end_stream=end and size == len(body))
            body = body[size:]
        self.meet()


def test_a_request_and_its_answer_beyond_both_windows() -> None:
    pair = Pair()
    sent = b"s" * 9_000_000
    pair.send(1, sent)
    assert pair.requests == [(1, Request("POST", "/x?y", {"host": "localhost"}, sent))]
    pair.server.answer(1, Response(200, b"r" * 1_000_000, "a/b", {"X-A": "1"}), now_s=0)
    pair.meet()
    assert pair.status == {1: "200"}
    assert pair.body[1] == b"r" * 1_000_000
    assert not pair.server.busy


def test_an_answer_waits_for_a_client_that_does_not_read_and_not_for_ever() -> None:
    pair = Pair(Limits(write_s=60, idle_s=300))
    pair.acknowledging = False
    pair.send(1, b"x")
    pair.server.answer(1, Response(200, b"r" * 1_000_000), now_s=100)
    pair.meet(now_s=100)
    assert len(pair.body[1]) == 65_535
    assert pair.server.expires_s == 160


def test_requests_of_one_connection_are_at_work_together_up_to_the_limit() -> None:
    pair = Pair(Limits(streams=2))
    pair.send(1, b"a")
    pair.send(3, b"b")
    for stream in (1, 3):
        pair.client.reset_stream(stream)  # the work of both goes on
    pair.meet()
    pair.send(5, b"c")
    assert [stream for stream, _ in pair.requests] == [1, 3]
    assert pair.reset == {5}
    for stream in (1, 3):
        pair.server.answer(stream, Response(200), now_s=0)
    pair.send(7, b"d")
    assert [stream for stream, _ in pair.requests] == [1, 3, 7]


@pytest.mark.parametrize("said", [[("content-length", "101")], []])
def test_a_body_too_long_is_refused_and_the_connection_goes_on(said: list[tuple[str, str]]) -> None:
    pair = Pair(Limits(body_bytes=100))
    pair.client.send_headers(1, [*HEADERS, *said])
    pair.client.send_data(1, b"x" * 101, end_stream=True)
    pair.meet()
    assert (pair.requests, pair.status) == ([], {1: "413"})
    pair.send(3, b"x")
    assert [stream for stream, _ in pair.requests] == [3]


def test_what_is_not_admitted_is_answered_before_its_body() -> None:
    pair = Pair(refusal=Response(403, b"no"))
    pair.send(1, b"x", end=False)
    assert (pair.requests, pair.status, pair.reset) == ([], {1: "403"}, {1})
    assert pair.server.buffered_bytes == 0


def test_a_hung_up_request_is_reset() -> None:
    pair = Pair()
    pair.send(1, b"x")
    pair.server.hang_up(1)
    pair.meet()
    assert pair.reset == {1}


def test_a_body_has_its_deadline_and_drops_do_not_move_it() -> None:
    pair = Pair(Limits(body_s=60, idle_s=300))
    assert pair.server.expires_s == 300
    pair.client.send_headers(1, HEADERS)
    pair.meet(now_s=10)
    pair.client.send_data(1, b"x")
    pair.meet(now_s=65)
    assert pair.server.expires_s == 70


def test_a_client_that_says_the_preface_alone_has_the_deadline_of_a_head() -> None:
    server = Http2(Limits(head_s=10), lambda _: None, now_s=5)
    server.receive(PREFACE, now_s=8)
    assert server.expires_s == 15


def test_a_client_that_begins_and_gives_up_for_ever_is_cut_off() -> None:
    pair = Pair()
    for number in range(1_001):
        pair.client.send_headers(2 * number + 1, HEADERS)
        pair.client.reset_stream(2 * number + 1)
        if pair.server.ended:
            break
        pair.meet()
    assert pair.server.ended


def test_what_breaks_the_protocol_ends_the_connection() -> None:
    server = Http2(Limits(), lambda _: None, now_s=0)
    server.receive(PREFACE + b"\x00\x00\x01\x00\x00\x00\x00\x00\x01x", now_s=0)  # DATA before anything
    assert server.ended
    assert b"\x07\x00" in server.take_output()  # a GOAWAY


def test_two_names_of_the_host_are_refused() -> None:
    pair = Pair()
    pair.client.config.validate_outbound_headers = False
    pair.client.config.normalize_outbound_headers = False
    pair.client.send_headers(1, [*HEADERS, ("host", "evil.example")], end_stream=True)
    pair.meet()
    assert pair.requests == []


@pytest.mark.parametrize("step", [1, 5, 10_000])
def test_a_client_that_goes_away_gets_the_answers_that_are_due(step: int) -> None:
    pair = Pair()
    pair.send(1, b"x")
    window = pair.client.local_settings.initial_window_size
    leaving = bytes.fromhex("000008070000000000") + bytes(8)  # GOAWAY, and then a WINDOW_UPDATE of the stream
    update = bytes.fromhex("000004080000000001") + (10_000).to_bytes(4, "big")
    for at in range(0, len(leaving + update), step):
        assert pair.server.receive((leaving + update)[at : at + step], now_s=0) == []
    assert not pair.server.ended
    pair.server.answer(1, Response(200, b"r" * (window + 9_000)), now_s=0)
    assert pair.server.ended is False
    pair.meet()
    assert pair.body[1] == b"r" * (window + 9_000)
    assert pair.server.ended


def test_a_frame_longer_than_we_allow_ends_the_connection() -> None:
    server = Http2(Limits(), lambda _: None, now_s=0)
    server.receive(PREFACE + bytes.fromhex("ffffff040000000000"), now_s=0)
    assert server.ended


def test_crumbs_of_cookies_are_one_header() -> None:
    pair = Pair()
    pair.send(1, b"", headers=[("cookie", "a=1"), ("cookie", "b=2"), ("a", "1"), ("a", "2")])
    assert pair.requests[0][1].headers == {"host": "localhost", "cookie": "a=1; b=2", "a": "1,2"}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 204), ("POST", 304)])
def test_an_answer_without_content_ends_with_its_head(method: str, status: int) -> None:
    pair = Pair()
    pair.client.send_headers(1, [(":method", method), *HEADERS[1:]], end_stream=True)
    pair.meet()
    pair.server.answer(1, Response(status, b"content", cookies=("a=1", "b=2")), now_s=0)
    pair.meet()
    assert (pair.status, pair.body) == ({1: str(status)}, {})
    assert not pair.server.busy
