"""Combined and Common Log Format."""

import contextlib
import time

import pytest

from producers.files.access_log import parse_line

TIME = "[17/May/2015:10:05:03 +0000]"
COMBINED = (
    f'83.1.2.3 - - {TIME} "GET /a/b.png?x=1&y=2 HTTP/1.1" 200 203023 "http://r.example/" "Mozilla/5.0 (X)"\n'
)


def test_a_combined_line_is_read_whole() -> None:
    assert parse_line(COMBINED) == {
        "visitor_id": "83.1.2.3",
        "page": "/a/b.png",
        "referrer": "http://r.example/",
        "action": "view",
        "ts": "2015-05-17T10:05:03+0000",
        "status": 200,
        "bytes": 203023,
        "properties": {"method": "GET", "user_agent": "Mozilla/5.0 (X)", "query": "x=1&y=2"},
    }


def test_a_common_line_has_no_referrer_and_no_agent() -> None:
    values = parse_line(f'::1 - frank {TIME} "POST /f HTTP/1.0" 404 -')
    assert values["visitor_id"] == "::1"
    assert values["referrer"] is None
    assert values["bytes"] is None
    assert values["properties"] == {"method": "POST"}


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", "view"), ("HEAD", "view"), ("POST", "post"), ("OPTIONS", "options"), ("M-SEARCH", "m-search")],
)
def test_what_asks_for_a_page_is_a_view_and_the_rest_goes_by_its_method(method: str, action: str) -> None:
    assert parse_line(f'h - - {TIME} "{method} / HTTP/1.1" 200 1')["action"] == action


def test_dashes_are_null() -> None:
    values = parse_line(f'h - - {TIME} "GET / HTTP/1.1" 304 - "-" "-"')
    assert (values["bytes"], values["referrer"], values["properties"]) == (None, None, {"method": "GET"})


def test_escaped_quotes_and_backslashes_are_read_and_unknown_bytes_stay_escaped() -> None:
    values = parse_line(
        f'h - - {TIME} "GET /say\\"hi\\" HTTP/1.1" 200 1 "http://\\xe4\\xe5/" "a \\"quoted\\" \\\\ agent"'
    )
    assert values["page"] == '/say"hi"'
    assert values["referrer"] == "http://\\xe4\\xe5/"
    assert values["properties"] == {"method": "GET", "user_agent": 'a "quoted" \\ agent'}


def test_a_target_may_hold_blanks_and_http_09_names_no_protocol() -> None:
    assert parse_line(f'h - - {TIME} "GET /a b c HTTP/1.1" 200 1')["page"] == "/a b c"
    assert parse_line(f'h - - {TIME} "GET /old" 200 1')["page"] == "/old"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (COMBINED.rstrip()[:-1], "a quote is not closed"),
        (COMBINED.rstrip() + " extra", "in no layout that is known"),
        (f'h - - {TIME} "-" 408 -', "is not METHOD PAGE PROTOCOL"),
        (f'h - - {TIME} "\\x16\\x03\\x01" 400 226', "is not METHOD PAGE PROTOCOL"),
        (f'h - - {TIME} "GET ?q=1 HTTP/1.1" 200 1', "names no page"),
        ('h - - [17/Mai/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1', "is not a time"),
        ("nonsense", "in no layout that is known"),
        ("", "in no layout that is known"),
    ],
)
def test_a_line_in_neither_format_says_what_is_wrong(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_line(line)


@pytest.mark.parametrize(
    "line",
    [
        f'h - - {TIME} "' + "\\" * 1_000_001,
        f'h - - {TIME} "' + '\\"' * 500_000,
        "h - " + "- " * 500_000,
        "h - - " + "[" * 1_000_000,
        f"h - - {TIME} " + '"a" ' * 250_000,
        f'h - - {TIME} "GET / HTTP/1.1" 200 1 "' + "a " * 500_000,
        f'h - - {TIME} "GET / HTTP/1.1" 200 1' + " " * 1_000_000 + "x",
        f'h - - {TIME} "GET ' + " " * 1_000_000 + '" 200 1',
    ],
    ids=range(8),
)
def test_a_hostile_line_of_a_megabyte_takes_no_longer_than_reading_it(line: str) -> None:
    began_s = time.process_time()
    with contextlib.suppress(ValueError):
        parse_line(line)
    assert time.process_time() - began_s < 1.0
