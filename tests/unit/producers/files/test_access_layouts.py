"""Access logs as servers really write them: each layout by its structure, its neighbours refused."""

import io
import json

import pytest

from producers.files.access_log import AccessLog, parse_line, read_access_log
from producers.files.lines import read_lines
from producers.files.rows import BadRow, BlankLine, Row

TIME = "[12/Apr/2026:09:00:01 +0000]"
REQUEST = f'{TIME} "GET /a?b=c HTTP/1.1" 200 512'
AGENT = '"http://r.example/" "curl/8.5.0"'
CLIENT = "203.0.113.7"
CADDY = {
    "level": "info",
    "ts": 1775984401.25,
    "logger": "http.log.access",
    "request": {
        "remote_ip": "10.0.0.9",
        "client_ip": CLIENT,
        "method": "GET",
        "host": "www.example.org",
        "uri": "/a?b=c",
        "headers": {"User-Agent": ["curl/8.5.0"]},
    },
    "size": 512,
    "status": 200,
}
TRAEFIK = {
    "ClientHost": CLIENT,
    "RequestMethod": "GET",
    "RequestPath": "/a?b=c",
    "DownstreamStatus": 200,
    "DownstreamContentSize": 512,
    "StartUTC": "2026-04-12T09:00:01.5Z",
}
ALB = (
    f"h2 2026-04-12T09:00:01.186641Z app/lb/50dc6c495c0c9188 {CLIENT}:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 512 "
    '"GET https://www.example.org:443/a?b=c HTTP/2.0" "curl/8.5.0" ECDHE TLSv1.2 arn:aws:elb "Root=1-58337262-36d2" '
    '"www.example.org" "-" 0 2026-04-12T09:00:01.100000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-"'
)
ELB = (
    f"2026-04-12T09:00:01.945958Z my-lb {CLIENT}:2817 10.0.0.1:80 0.00007 0.001 0.00005 200 200 0 512 "
    '"GET http://www.example.org:80/a?b=c HTTP/1.1" "curl/8.5.0" - -'
)
S3 = (
    f'{"ab" * 32} bucket {TIME} {CLIENT} {"cd" * 32} 3E57427F3EXAMPLE REST.GET.OBJECT a "GET /a?b=c HTTP/1.1" '
    '200 - 512 512 7 6 "-" "curl/8.5.0" - s9lzHYrFp= SigV4 ECDHE AuthHeader bucket.s3.amazonaws.com TLSV1.2 - -'
)
HAPROXY = (
    f"{CLIENT}:33317 [12/Apr/2026:09:00:01.655] http-in static/srv1 10/0/30/69/109 200 512 - - ---- 1/1/1/1/0 0/0 "
    '{1wt.eu} {} "GET /a?b=c HTTP/1.1"'
)
INGRESS = (
    f"{CLIENT} - - {REQUEST} {AGENT} 342 0.005 [default-web-80] [] 10.1.1.1:80, 10.1.1.2:80 0, 512 0.001, 0.004 502, 200 "
    "0123456789abcdef0123456789abcdef"
)


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("common", f"{CLIENT} - - {REQUEST}"),
        ("combined", f"{CLIENT} - - {REQUEST} {AGENT}"),
        ("combined", f'{CLIENT} - "" {REQUEST} {AGENT}'),
        ("combined", f'{CLIENT} - \\"bob\\" {REQUEST} {AGENT}'),
        ("combined", f"{CLIENT} frank bob {REQUEST} {AGENT}"),
        ("nginx", f'{CLIENT} - - {REQUEST} {AGENT} "-"'),
        ("nginx", f'{CLIENT} - - {REQUEST} {AGENT} "198.51.100.4, 10.0.0.9"'),
        ("combinedio", f"{CLIENT} - - {REQUEST} {AGENT} 300 812"),
        ("traefik", f'{CLIENT} - - {REQUEST} {AGENT} 15 "web@docker" "http://172.1.1.1:80" 12ms'),
        ("ingress_nginx", INGRESS),
        ("vhost_common", f"www.example.org {CLIENT} - - {REQUEST}"),
        ("vhost_combined", f"www.example.org:443 {CLIENT} - bob {REQUEST} {AGENT}"),
        ("lighttpd", f"{CLIENT} www.example.org - {REQUEST} {AGENT}"),
        ("haproxy", HAPROXY),
        ("alb", ALB),
        ("alb", ALB.replace("Root=1-58337262-36d2", "Self=1-67891234-12456789;Root=1-58337262-36d2")),
        ("alb", ALB.replace("Root=1-58337262-36d2", "-")),
        ("elb", ELB),
        ("s3", S3),
        ("caddy", json.dumps(CADDY)),
        ("traefik_json", json.dumps(TRAEFIK)),
    ],
)
def test_each_layout_is_recognised_and_its_client_is_who_asked(layout: str, line: str) -> None:
    log = AccessLog()
    values = log.parse(line + "\n")
    assert values is not None
    assert list(log.layouts) == [layout]
    found = [values[each] for each in ("visitor_id", "page", "status", "bytes", "action")]
    assert found == [CLIENT, "/a", 200, 512, "view"]
    assert str(values["ts"]).startswith("2026-04-12T09:00:01")
    assert dict(values["properties"])["query"] == "b=c"  # type: ignore[call-overload]  # a map of texts
    assert AccessLog(layout).parse(line) == values


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("Apr 12 09:00:01 web1 nginx: ", "syslog"),
        ("Apr  2 09:00:01 web1 nginx[321]: ", "syslog"),
        ("<190>Apr 12 09:00:01 web1 nginx: ", "syslog"),
        ("2026-04-12T09:00:01.5+02:00 web1 nginx: ", "syslog"),
        ("<190>1 2026-04-12T09:00:01Z web1 nginx 321 - - ", "syslog"),
        ("2026-04-12T09:00:01.123456789Z stdout F ", "container"),
        ("web-1  | ", "container"),
        ("[pod/web-7f/nginx] ", "container"),
    ],
)
@pytest.mark.parametrize("line", [f"{CLIENT} - - {REQUEST} {AGENT}", HAPROXY, json.dumps(CADDY)])
def test_a_prefix_of_a_shipper_is_cut_off_and_never_the_client(prefix: str, name: str, line: str) -> None:
    log = AccessLog()
    values = log.parse(prefix + line)
    assert values is not None
    assert values["visitor_id"] == CLIENT
    assert [each.partition(" behind ")[2] for each in log.layouts] == [name]


def test_dockers_json_is_unpacked() -> None:
    line = json.dumps(
        {"log": f"{CLIENT} - - {REQUEST} {AGENT}\n", "stream": "stdout", "time": "2026-04-12T09:00:02Z"}
    )
    assert parse_line(line)["visitor_id"] == CLIENT


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"198.51.100.4, 10.0.0.9 - - {REQUEST} {AGENT}", "X-Forwarded-For"),
        (f"198.51.100.4,10.0.0.9 - - {REQUEST} {AGENT}", "X-Forwarded-For"),
        (f"198.51.100.4, 10.0.0.8, 10.0.0.9 - - {REQUEST} {AGENT}", "X-Forwarded-For"),
        (f"unknown, 10.0.0.9 - - {REQUEST} {AGENT}", "X-Forwarded-For"),
        (f"web1 nginx: {CLIENT} {REQUEST} {AGENT}", "not CLIENT IDENT USER"),
        (f"Apr 12 09:00:01 {REQUEST} {AGENT}", "which is the client"),
        (f"a b c d {CLIENT} - - {REQUEST} {AGENT}", "a prefix stands before the client: 'a b c d'"),
        (f"www.example.org {CLIENT} - {REQUEST} {AGENT}", "which is the client"),
        (f"{CLIENT} 10.0.0.9 - {REQUEST} {AGENT}", "which is the client"),
        (f"10.0.0.1 {CLIENT} - - {REQUEST} {AGENT}", "which is the client"),
        (f"10.0.0.9 - {CLIENT} {REQUEST} {AGENT}", "not CLIENT IDENT USER"),  # an address is no user
        (f"{CLIENT} - frank smith {REQUEST} {AGENT}", "a user is one word"),
        (f'{CLIENT} - - {REQUEST} {AGENT} "sid=abc"', "not a list of addresses"),
        (f'"{CLIENT}" - - {REQUEST} {AGENT}', "neither|not CLIENT"),
        (f"{CLIENT} - - {REQUEST} {AGENT} 0.005", "a layout of its own"),
        ("1286536309.586    921 192.168.0.68 TCP_MISS/200 507 POST http://e/ - DIRECT/1.1.1.1 -", "Squid"),
        ("2026/04/12 09:00:01 [error] 12#12: *1 open() failed", "error log"),
        (
            f"2026-04-12 09:00:01 W3SVC1 10.0.0.1 GET /a - 80 - {CLIENT} curl 200 0 0 15",
            "without its #Fields",
        ),
        ('{"remote_addr": "203.0.113.7", "request": "GET / HTTP/1.1"}', "send ndjson"),
        (f'{"ab" * 32} bucket {TIME} - svc 3E57 S3.EXPIRE.OBJECT a "-" - - - - - - "-" "-" -', "lifecycle"),
    ],
)
def test_what_is_in_no_layout_is_refused_with_the_likely_one(line: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_line(line)


def test_a_named_layout_takes_nothing_else_and_says_what_it_looks_like() -> None:
    with pytest.raises(ValueError, match="looks like combined: --layout combined"):
        parse_line(f"{CLIENT} - - {REQUEST} {AGENT}", "vhost_combined")
    # What structure alone cannot tell, a name can.
    values = parse_line(f"10.0.0.1 {CLIENT} - - {REQUEST} {AGENT}", "vhost_combined")
    assert values["visitor_id"] == CLIENT


def test_a_status_and_bytes_that_are_dashes_are_null() -> None:
    values = parse_line(f'{CLIENT} - - {TIME} "GET / HTTP/1.1" - - "-" "-"')
    assert (values["status"], values["bytes"]) == (None, None)


CLOUDFRONT = (
    "#Version: 1.0\n"
    "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) "
    "cs(User-Agent) cs-uri-query x-forwarded-for\n"
    f"2026-04-12\t09:00:01\tIAD89\t512\t{CLIENT}\tGET\td.cloudfront.net\t/a\t200\t-\tcurl%208\tb=c\t-\n"
    "2026-04-12\t09:00:02\tIAD89\n"
)
IIS = (
    "#Software: Microsoft Internet Information Services 10.0\n"
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status\n"
    f"2026-04-12 09:00:01 10.0.0.1 GET /a b=c 443 - {CLIENT} curl+8 200\n"
    "#Fields: date time c-ip cs-method cs-uri-stem sc-status sc-bytes\n"
    f"2026-04-12 09:00:02 {CLIENT} GET /b 404 7\n"
)


def test_w3c_logs_are_read_by_their_fields_lines() -> None:
    for text, agent in ((CLOUDFRONT, "curl 8"), (IIS, "curl 8")):
        rows = list(read_access_log(read_lines(io.BytesIO(text.encode()), "f"), "f"))
        first = next(row for row in rows if isinstance(row, Row))
        assert [type(row) for row in rows[:2]] == [BlankLine, BlankLine]
        assert (first.values["visitor_id"], first.values["page"]) == (CLIENT, "/a")
        assert first.values["ts"] == "2026-04-12T09:00:01Z"
        assert dict(first.values["properties"])["user_agent"] == agent  # type: ignore[call-overload]
    bad = [
        row.reason
        for row in read_access_log(read_lines(io.BytesIO(CLOUDFRONT.encode()), "f"), "f")
        if isinstance(row, BadRow)
    ]
    assert bad == ["has 3 parts; its #Fields line names 13"]
    last = list(read_access_log(read_lines(io.BytesIO(IIS.encode()), "f"), "f"))[-1]
    assert isinstance(last, Row)
    assert (last.values["page"], last.values["bytes"]) == ("/b", 7)


def test_caddys_time_in_another_format_is_refused_where_it_could_be_another_unit() -> None:
    with pytest.raises(ValueError, match="time_format"):
        parse_line(json.dumps({**CADDY, "ts": 1775984401250}))
    with pytest.raises(ValueError, match="no offset"):
        parse_line(json.dumps({**CADDY, "ts": "2026/04/12 09:00:01"}))


@pytest.mark.parametrize("client", ["203.0.113.300", "203.0.113", "512", "host.7", "1775984401"])
def test_a_number_is_no_host_name(client: str) -> None:
    with pytest.raises(ValueError, match="is not CLIENT IDENT USER"):
        parse_line(f"{client} - - {REQUEST} {AGENT}")


@pytest.mark.parametrize("value", ["200", 2.5, -1, True, [200]])
def test_a_number_in_json_that_is_none_is_refused_and_not_taken_for_nothing(value: object) -> None:
    for log, name in ((CADDY, "status"), (CADDY, "size"), (TRAEFIK, "DownstreamContentSize")):
        with pytest.raises(ValueError, match=f'"{name}" is .*, not a whole number'):
            parse_line(json.dumps({**log, name: value}))


def test_a_number_that_a_log_does_not_have_is_nothing() -> None:
    values = parse_line(json.dumps({**CADDY, "size": None}))
    assert (values["bytes"], values["status"]) == (None, 200)


@pytest.mark.parametrize(
    ("line", "likely"),
    [
        (
            "192.168.114.201, -, 03/20/26, 7:55:20, W3SVC2, SALES1, 172.21.13.45, 4502, 163, 3223, 200",
            "choose W3C",
        ),
        (f"[2001:db8::1] - - {REQUEST}", "a layout of its own"),
        ('{"remote_addr": "203.0.113.7"}', "JSON of a layout of its own"),
        ('[{"remote_addr": "203.0.113.7"}', "JSON of a layout of its own"),
    ],
)
def test_the_likely_layout_is_the_right_one(line: str, likely: str) -> None:
    with pytest.raises(ValueError, match=likely):
        parse_line(line)
