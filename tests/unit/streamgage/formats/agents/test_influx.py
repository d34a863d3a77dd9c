"""InfluxDB's line protocol, rule by rule."""

import pytest

from streamgage.formats.agents.influx import Line, lines_of
from streamgage.formats.agents.items import Refused


def only(text: str) -> Line:
    (line,) = lines_of(text.encode())
    assert isinstance(line, Line), line
    return line


def reasons(text: str | bytes) -> list[str]:
    found = lines_of(text.encode() if isinstance(text, str) else text)
    return [each.reason for each in found if isinstance(each, Refused)]


def test_a_line_has_a_series_fields_of_every_type_and_a_time() -> None:
    line = only('weather,host=a,room=1 f=1.5,i=-2i,u=3u,s="x, y=z",t=T,no=false,e=1e3 1767614400000000001')
    assert line.series == {
        "measurement": "weather",
        "tags": {"host": "a", "room": "1"},
        "tag:host": "a",
        "tag:room": "1",
    }
    assert dict(line.fields) == {
        "f": 1.5,
        "i": -2,
        "u": 3,
        "s": "x, y=z",
        "t": True,
        "no": False,
        "e": 1000.0,
    }
    assert [type(each) for each in line.fields.values()] == [float, int, int, str, bool, bool, float]
    assert line.time == 1767614400000000001


@pytest.mark.parametrize(
    ("text", "measurement", "tags", "fields"),
    [
        (r"my\ m\,x,k\ 1=a\=b\,c f\=1=1", "my m,x", {"k 1": "a=b,c"}, {"f=1": 1.0}),
        (r"m,path=C:\temp\new f=1", "m", {"path": r"C:\temp\new"}, {"f": 1.0}),
        (r'm f="say \"hi\" \\ C:\n"', "m", {}, {"f": r'say "hi" \ C:\n'}),
        ('m,q="a" f="b"', "m", {"q": '"a"'}, {"f": "b"}),
        ("wätter,ort=Köln grad=1", "wätter", {"ort": "Köln"}, {"grad": 1.0}),
        ('m f="two\nlines",g=2 ', "m", {}, {"f": "two\nlines", "g": 2.0}),
        ("  m   f=1   ", "m", {}, {"f": 1.0}),
    ],
)
def test_what_is_escaped_or_quoted_is_read_as_influxdb_reads_it(
    text: str, measurement: str, tags: dict[str, str], fields: dict[str, object]
) -> None:
    line = only(text)
    assert (line.series["measurement"], line.series["tags"], dict(line.fields)) == (measurement, tags, fields)


def test_comments_and_empty_lines_are_no_lines_and_each_line_knows_its_number() -> None:
    found = list(lines_of(b"# a comment\n\nm f=1\r\n  \nm f=2 5\n"))
    assert [(each.number, each.fields["f"]) for each in found if isinstance(each, Line)] == [
        (3, 1.0),
        (5, 2.0),
    ]


def test_a_line_after_a_text_over_two_lines_knows_its_number() -> None:
    found = list(lines_of(b'm f="a\nb"\nm f=2\n'))
    assert [each.number for each in found if isinstance(each, Line)] == [1, 3]


@pytest.mark.parametrize(
    "text",
    [
        "m", "m f", "m f=", "m =1", "m f=1,", "m f=1 g=2", "m,f=1", "m,t= f=1", "m,=v f=1", ",t=v f=1", "m f=1 12x", "m f=1 1.5",
        "m f=NaN", "m f=Inf", "m f=1_0", "m f=0x10", "m f=i", "m f=1.5i", "m f=-1u", "m f=9223372036854775808i", "m f=yes",
        "m f=18446744073709551616u", "m f=1 9999999999999999999", "m,a=1,a=2 f=1", "m f=1,f=2", "m,a=b=c f=1", "m f=٣", "m f=٣i",
        "m f=1 ٣", "m f=1\\",
    ],
)  # fmt: skip
def test_what_is_no_line_is_refused_by_itself_with_its_number(text: str) -> None:
    found = list(lines_of(f"good f=1\n{text}\ngood f=2\n".encode()))
    assert [isinstance(each, Refused) for each in found] == [False, True, False], found
    assert reasons(text)[0].startswith("line 1: ")


def test_bytes_that_are_not_utf8_are_refused_in_their_line_only() -> None:
    found = list(lines_of(b"m f=1\nm,t=\xff f=2\nm f=3\n"))
    assert [isinstance(each, Refused) for each in found] == [False, True, False]
    assert reasons(b"m,t=\xff f=2") == ["line 1: not UTF-8"]


def test_behind_a_quote_that_is_never_closed_nothing_is_taken_for_a_line() -> None:
    found = list(lines_of(b'm f=1\nm f="open\nm f=2\nm f=3\n'))
    assert isinstance(found[0], Line)
    assert [type(each) for each in found[1:]] == [Refused, Refused]
    assert "cannot be told" in reasons(b'm f="open\nm f=2\nm f=3\n')[1]


@pytest.mark.parametrize(
    "piece", ["\\", '"', ",", "=", " ", "\n", 'a="', "a=1,", "m f=", '\\"', "# ", "1", "m f=1 "]
)
def test_the_work_grows_with_the_bytes(piece: str) -> None:
    found = list(lines_of(("m f=1\n" + piece * 60_000).encode()))
    assert isinstance(found[0], Line)
