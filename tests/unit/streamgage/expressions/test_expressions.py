"""What expressions say, what is refused of them, and that nobody makes one costly."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from streamgage.expressions.expression import exact, parse, parse_filter
from streamgage.expressions.functions import FUNCTIONS, browser
from streamgage.expressions.kinds import ExpressionError, Kind
from support.paths import ROOT

NAMES = {
    "status": Kind.NUMBER,
    "value": Kind.NUMBER,
    "bytes.sum": Kind.NUMBER,
    "page": Kind.TEXT,
    "agent": Kind.TEXT,
    "ok": Kind.BOOLEAN,
    "tags": Kind.MAP,
    "odd name": Kind.TEXT,
    "ts": Kind.NUMBER,
}
ROW: dict[str, Any] = {
    "status": 503,
    "value": 0.1,
    "bytes.sum": 1000,
    "page": "/a/b.html",
    "agent": None,
    "ok": True,
    "tags": {"site": "north", "the-rack": "7"},
    "odd name": "x",
    "ts": 1_431_857_103_000,
}


def value(text: str, row: Mapping[str, Any] = ROW) -> Any:
    (found,) = parse(text, NAMES).column({name: [each] for name, each in row.items()}, 1)
    return found


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("status >= 500", True),
        ("status = 503 and page = '/a/b.html'", True),
        ("status = 503 AND NOT ok", False),
        ("not not ok", True),
        ("status < 500 or ok", True),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 - 3 - 4", -5),
        ("- -2", 2),
        ("-(1 + 1)", -2),
        ("7 / 2", 3.5),
        ("7 % 4", 3),
        ("-7 % 4", -3),
        ("7 % -4", 3),
        ("-7.5 % 4", -3.5),
        ("7 / 0", None),
        ("7 % 0", None),
        ("bytes.sum / 8", 125),
        ("value = 0.1", True),
        ("'it''s'", "it's"),
        ("page || '!' || page", "/a/b.html!/a/b.html"),
        ('"odd name"', "x"),
        ("tags.site", "north"),
        ("tags['the-rack']", "7"),
        ("tags.nothing", None),
        ("tags.nothing is null", True),
        ("tags.site is not null", True),
        ("agent is null", True),
        ("agent = 'x'", None),
        ("agent = 'x' or ok", True),
        ("agent = 'x' and not ok", False),
        ("agent = 'x' and ok", None),
        ("not (agent = 'x')", None),
        ("null = null", None),
        ("-null = 1", None),
        ("-null is null", True),
        ("status in (500, 503)", True),
        ("status not in (500, 502)", True),
        ("agent in ('x')", None),
        ("status in (503, null)", True),
        ("status in (502, null)", None),
        ("status not in (502, null)", None),
        ("value in (-1, 0.1)", True),
        ("page like '/a/%'", True),
        ("page like '%.html'", True),
        ("page like '/_/b.html'", True),
        ("page like '/a'", False),
        ("page not like '%b%'", False),
        ("page like '%.%.%'", False),
        ("status between 500 and 599", True),
        ("status not between 500 and 599", False),
        ("agent between 'a' and 'b'", None),
        ("status between null and 1000", None),
        ("status between null and 1", False),
        ("status not between 1000 and null", True),
        ("coalesce(agent, 'none')", "none"),
        ("coalesce(agent, null)", None),
        ("if(status >= 500, 'bad', 'good')", "bad"),
        ("if(agent = 'x', 1, 2)", 2),
        ("lower('ÄB')", "äb"),
        ("length(page)", 9),
        ("part(page, '/', 2)", "a"),
        ("part(page, '.', -1)", "html"),
        ("part(page, '/', 9)", None),
        ("host('HTTPS://me:pw@Example.ORG:8443/x?y#z')", "example.org"),
        ("host('//cdn.example.org/x')", "cdn.example.org"),
        ("host('http://[2001:db8::1]:80/')", "2001:db8::1"),
        ("host('/just/a/path')", None),
        ("path('http://example.org')", "/"),
        ("path('/a/b?q=//x#f')", "/a/b"),
        ("path('https://example.org/a?b')", "/a"),
        ("path('/a//b')", "/a//b"),
        ("hour(ts)", 10),
        ("hour(ts, 'Europe/Berlin')", 12),
        ("weekday(ts)", 7),
        ("day(ts)", "2015-05-17"),
        ("hour(-1)", None),
        ("abs(-3)", 3),
        ("bucket(status, 100)", 500),
        ("bucket(-1, 100)", -100),
    ],
)
def test_what_it_says(text: str, right: Any) -> None:
    assert value(text) == right


@pytest.mark.parametrize(
    ("text", "problem", "at"),
    [
        ("", "something is missing", 1),
        ("status >", "something is missing", 9),
        ("status >= '500'", "a number and a text cannot be compared", 8),
        ("page + 1", "'+' is of numbers, and this is a text", 1),
        ("page and ok", "'and' joins what is true or false, and this is a text", 1),
        ("not page", "'not' is of what is true or false", 5),
        ("-page", "'-' is of a number", 2),
        ("status || 'x'", "is of texts", 1),
        ("staus = 1", "'staus' is not known here; these are: agent, bytes.sum", 1),
        ("bytes.summ = 1", "'bytes.summ' is not known", 1),
        ("tags", "a map is no value", 1),
        ("tags = 'x'", "a map is no value", 1),
        ("tags[1]", "named by a text", 6),
        ("ok ok", "'ok' is not expected", 4),
        ("(ok", "')' is expected", 4),
        ("ok)", "')' is not expected", 3),
        ("status in ()", "')' is not expected", 12),
        ("status in (value)", "holds numbers or texts", 12),
        ("status in ('a')", "cannot be compared", 12),
        ("status not", "comes in, like or between", 11),
        ("page like page", "comes a text", 11),
        ("status like 'a'", "'like' is of a text", 1),
        ("nothing(1)", "no function 'nothing'; there are: abs", 1),
        ("lower()", "takes (text), and is given 0", 1),
        ("lower(1)", "lower takes a text here, and this is a number", 7),
        ("part(page, page, 1)", "as it is written here", 12),
        ("part(page, '', 1)", "separator is empty", 1),
        ("part(page, '/', 0)", "counted from 1", 1),
        ("bucket(1, 0)", "more than 0", 1),
        ("hour(ts, 'Mars/Base')", "no time zone", 1),
        ("hour(ts, '../../etc/passwd')", "no time zone", 1),
        ("if(ok, 1)", "if takes", 1),
        ("if(ok, 1, 'a')", "of one kind", 1),
        ("coalesce()", "of one kind", 1),
        ("'no end", "a text that does not end", 1),
        ("a ; b", "';' means nothing here", 3),
        ("12ab", "'1' means nothing here", 1),
        ("__import__('os')", "no function '__import__'", 1),
        ("page.__class__", "'page.__class__' is not known", 1),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, problem: str, at: int) -> None:
    with pytest.raises(ExpressionError) as error:
        parse(text, NAMES)
    assert problem in str(error.value)
    assert error.value.at == at - 1


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 1_000,
        "1" + "+1" * 1_900,
        "if(ok," * 200,
        "a" * 5_000,
        "'" + "x" * 3_990,
        "9" * 3_000,
    ],
)
def test_however_long_or_deep_it_ends_at_once(text: str) -> None:
    with pytest.raises(ExpressionError) as error:
        parse(text, NAMES)
    assert len(str(error.value)) < 300


def test_signs_and_nots_need_no_depth() -> None:
    assert value("-" * 3_000 + "1") == 1
    assert value("not " * 900 + "ok") is True


def test_a_pattern_looks_through_a_text_once_a_mark() -> None:
    assert parse("page like '" + "%a" * 900 + "b'", NAMES).column({"page": ["a" * 20_000]}, 1) == [False]


def test_what_no_number_can_hold_is_null() -> None:
    row = {**ROW, "status": 10**400, "value": 1e308}
    assert value("status * value", row) is None
    assert value("status * 0.5 > 1", row) is None
    assert value("bucket(value * 100, 3) > 1", {**ROW, "value": float("nan")}) in (False, None)


@pytest.mark.parametrize("kind", [int, float, Decimal])
@pytest.mark.parametrize(
    ("value", "left", "below"), [(-7, -3, -8), (-8, 0, -8), (-1, -1, -4), (0, 0, 0), (7, 3, 4)]
)
def test_what_is_left_and_what_is_below_are_the_same_of_every_kind_of_number(
    kind: type[Any], value: int, left: int, below: int
) -> None:
    for text, right in (("value % 4", left), ("value % -4", left), ("bucket(value, 4)", below)):
        assert parse(text, NAMES, number=exact).value({"value": kind(value)}) == right


def test_decimals_stay_exact_where_columns_hold_them() -> None:
    half = parse("bytes.sum / 3 > 0.1 and value = 0.1", NAMES, number=exact)
    assert half.column({"bytes.sum": [1, None], "value": [Decimal("0.1")] * 2}, 2) == [True, None]


def test_it_tells_what_it_reads() -> None:
    found = parse("coalesce(tags.site, page) = 'x' or status > 1", NAMES)
    assert (found.kind, found.names) == (Kind.BOOLEAN, frozenset({"tags", "page", "status"}))


def test_a_filter_is_true_or_false() -> None:
    assert parse_filter("ok", NAMES).kind is Kind.BOOLEAN
    with pytest.raises(ExpressionError, match="a filter is true or false, and this is a number"):
        parse_filter("status", NAMES)


@pytest.mark.parametrize(
    ("agent", "family"),
    [
        ("Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.107 Safari/537.36", "Chrome"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.73.11 Version/7.0.1 Safari/537.73.11", "Safari"),
        ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:25.0) Gecko/20100101 Firefox/25.0", "Firefox"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537.36 Edg/120.0", "Edge"),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", "Internet Explorer"),
        ("curl/8.5.0", "program"),
        ("-", "other"),
    ],
)  # fmt: skip
def test_browsers_by_their_families(agent: str, family: str) -> None:
    assert browser(agent) == family


def test_the_page_has_every_function() -> None:
    """To renew it: what is asserted, between the marks of docs/expressions.md."""
    rows = [
        f"| `{name}({', '.join(each.takes)})` | {each.gives} | {each.says} |"
        for name, each in FUNCTIONS.items()
    ]
    _, _, rest = (
        (ROOT / "docs" / "expressions.md").read_text(encoding="utf-8").partition("<!-- functions -->\n")
    )
    assert rest.partition("\n<!-- end -->")[0] == "\n".join(
        ["| function | gives | what |", "|---|---|---|", *rows]
    )
