"""Load balancers and buckets: HAProxy's ``option httplog``, AWS ALB and Classic ELB, S3 server access logs.

Source: https://docs.haproxy.org/2.8/configuration.html#8.2.3,
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

import re

from producers.files.access.fields import (
    QUOTED,
    Hit,
    event_values,
    iso_time,
    split_request,
    unescape,
    without_port,
)

_HAPROXY = re.compile(
    rf"(\S++) \[([0-9]{{2}}/[A-Z][a-z]{{2}}/[0-9:.]++)\] \S++ [^\s/]++/\S++ (?:-?[0-9]++/){{4}}\+?-?[0-9]++ "
    rf"(-1|[0-9]{{3}}) \+?([0-9]{{1,18}}) \S++ \S++ \S{{4}} (?:[0-9]++/){{4}}\+?[0-9]++ [0-9]++/[0-9]++ "
    rf"(?:\{{[^{{}}\"]*+\}} ){{0,2}}+{QUOTED}[ \r\n]*+"
)
# time, balancer, client:port, target:port, three durations, two statuses, received and sent bytes, request, agent
_ELB_CORE = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]++Z) \S++ (\S++) (?:\S++) (?:-?[0-9.]++ ){3}([0-9]{3}|-) (?:[0-9]{3}|-) "
    rf"(?:[0-9]++) ([0-9]{{1,18}}) {QUOTED} {QUOTED} \S++ \S++"
)
_ALB = re.compile(rf"(?:https?|h2|grpcs?|wss?) {_ELB_CORE} \S++ \"[^\"]*+\" .*+[\r\n]*+")
_ELB = re.compile(rf"{_ELB_CORE}[ \r\n]*+")
_S3 = re.compile(
    r"[0-9a-f]{64} \S++ \[([^\]]++)\] (\S++) \S++ \S++ [A-Z0-9]++(?:\.[A-Za-z0-9_]++)++ \S++ "
    rf"(?:{QUOTED}|-) ([0-9]{{3}}|-) \S++ ([0-9]{{1,18}}|-) (?:[0-9]++|-) (?:[0-9]++|-) (?:[0-9]++|-) "
    rf"(?:{QUOTED}|-) (?:{QUOTED}|-)(?: .*+)?[ \r\n]*+"
)
LAYOUTS = ("haproxy", "alb", "elb", "s3")


def parse_balancer(text: str) -> Hit | None:
    """Return what *text* says, None where it is in none of these layouts. Raises: ValueError, see parse_apache."""
    if match := _HAPROXY.fullmatch(text):
        return _haproxy(match)
    if match := _ALB.fullmatch(text):
        return _elb("alb", match)
    if match := _ELB.fullmatch(text):
        return _elb("elb", match)
    if match := _S3.fullmatch(text):
        return _s3(match)
    return None


def _haproxy(match: re.Match[str]) -> Hit:
    client, time, status, size, request = match.groups()
    method, target = split_request(unescape(request))
    return Hit(
        "haproxy",
        event_values(
            client=without_port(client),
            time=iso_time(
                time, zoned=False
            ),  # the accept date is the machine's local time, without its offset
            method=method,
            target=target,
            status=None if status == "-1" else status,
            size=size,
        ),
    )


def _elb(layout: str, match: re.Match[str]) -> Hit:
    time, client, status, size, request, agent = match.groups()
    method, target = split_request(unescape(request), absolute=True)
    return Hit(
        layout,
        event_values(
            client=without_port(client),
            time=time,
            method=method,
            target=target,
            status=status,
            size=size,
            agent=unescape(agent),
        ),
    )


def _s3(match: re.Match[str]) -> Hit:
    time, client, request, status, size, referrer, agent = match.groups()
    if request is None or client == "-":
        raise ValueError("S3 did this by itself (a lifecycle rule, say): no client asked for it")
    method, target = split_request(unescape(request))
    return Hit(
        "s3",
        event_values(
            client=client,
            time=iso_time(time),
            method=method,
            target=target,
            status=status,
            size=size,
            referrer=None if referrer is None else unescape(referrer),
            agent=None if agent is None else unescape(agent),
        ),
    )
