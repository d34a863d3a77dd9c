"""Where an answer begins and ends, whatever the cuts; http.client is the reference."""

import http.client
import io
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.awsjson.http1 import Answer, AnswerParser, BrokenAnswerError

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-LENGTH: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 9\r\n\r\n"
    b"3\r\nhel\r\n02;name=value\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
)
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + LENGTH


class FakeSocket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def cut(data: bytes, cuts: set[int]) -> list[bytes]:
    edges = [0, *sorted(at for at in cuts if 0 < at < len(data)), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def parse(data: bytes, cuts: set[int] = frozenset(), *, end: bool = False) -> Answer | None:  # type: ignore[assignment] # read only
    parser = AnswerParser()
    for part in cut(data, cuts):
        answer = parser.feed(part)
        if answer is not None:
            return answer
    return parser.feed(b"") if end else None


CUTS = st.sets(st.integers(0, 200))


@settings(deadline=None)
@given(data=st.sampled_from([LENGTH, CHUNKED, CONTINUED]), cuts=CUTS)
def test_an_answer_is_the_same_in_any_cuts(data: bytes, cuts: set[int]) -> None:
    assert parse(data, cuts) == Answer(200, b"hello", reusable=True)


@settings(deadline=None)
@given(cuts=CUTS)
def test_an_answer_without_a_length_ends_with_its_connection(cuts: set[int]) -> None:
    assert parse(UNTIL_CLOSE, cuts) is None
    assert parse(UNTIL_CLOSE, cuts, end=True) == Answer(200, b"hello", reusable=False)


@pytest.mark.parametrize("data", [LENGTH, CHUNKED, CONTINUED], ids=["length", "chunked", "continued"])
def test_a_connection_that_ends_early_is_never_an_answer(data: bytes) -> None:
    for stop in range(len(data)):
        with pytest.raises(BrokenAnswerError):
            parse(data[:stop], {stop // 2}, end=True)


@settings(deadline=None)
@given(
    status=st.sampled_from([200, 204, 304, 400, 500]),
    body=st.binary(max_size=300),
    chunks=st.none() | st.lists(st.integers(1, 50), min_size=1, max_size=5),
    cuts=CUTS,
)
def test_http_client_reads_the_same(
    status: int, body: bytes, chunks: list[int] | None, cuts: set[int]
) -> None:
    if status in {204, 304}:
        body, chunks = b"", None
    head = f"HTTP/1.1 {status} Some Reason\r\nX-Amzn-RequestId: ABC\r\n".encode()
    if chunks is None:
        data = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    else:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n"
        at = 0
        for size in [*chunks, len(body)]:
            part = body[at : at + size]
            at += len(part)
            data += b"%x\r\n%b\r\n" % (len(part), part) if part else b""
        data += b"0\r\n\r\n"
    reference = http.client.HTTPResponse(FakeSocket(data))  # type: ignore[arg-type] # a socket for reading
    reference.begin()
    assert parse(data, cuts) == Answer(reference.status, reference.read(), reusable=True)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nconnection: x-token, close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", True),
    ],
)
def test_a_connection_is_used_again_where_both_sides_keep_it(head: bytes, reusable: bool) -> None:  # noqa: FBT001 - a table
    assert parse(head + b"Content-Length: 2\r\n\r\n{}") == Answer(200, b"{}", reusable=reusable)


def test_a_connection_that_says_more_than_was_asked_is_not_used_again() -> None:
    assert parse(LENGTH + b"x") == Answer(200, b"hello", reusable=False)
    assert parse(CHUNKED + b"x") == Answer(200, b"hello", reusable=False)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nhel\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhel\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
    ],
    ids=lambda data: str(data[:60]),
)
def test_what_is_not_an_answer_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BrokenAnswerError):
        parse(data)


def test_any_number_of_interim_answers_is_skipped() -> None:
    assert parse(b"HTTP/1.1 100 \r\n\r\n" * 5000 + LENGTH) == Answer(200, b"hello", reusable=True)
