r"""The family of the Common Log Format: what Apache, nginx, lighttpd and Traefik write.

::

    common     %h %l %u %t "%r" %>s %b
    combined   %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"

What differs is what stands before (a virtual host) and what comes behind. So a line is cut at its ``[time] "request"
status bytes``; the words before that, and the whole rest behind it, must each be of a known form.

Source: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html, the log_format of nginx's packages (``main``),
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/ and
https://doc.traefik.io/traefik/observability/access-logs/
"""

import re

from producers.files.access.fields import (
    QUOTED,
    Hit,
    event_values,
    is_address,
    is_client,
    is_virtual_host,
    iso_time,
    split_request,
    unescape,
    without_port,
)

_HEAD = re.compile(
    rf"((?:[^ \t\[\]]++ ){{3,4}}+)\[([^\]]*+)\] {QUOTED} ([0-9]{{3}}|-) ([0-9]{{1,18}}|-)(?=[ \r\n]|$)"
)
_AGENT = rf" {QUOTED} {QUOTED}"
_END = r"[ \r\n]*+"
_TAILS = {
    "common": re.compile(_END),
    "combined": re.compile(_AGENT + _END),
    "nginx": re.compile(rf"{_AGENT} {QUOTED}{_END}"),
    "combinedio": re.compile(rf"{_AGENT} (?:[0-9]++|-) (?:[0-9]++|-){_END}"),
    "traefik": re.compile(rf"{_AGENT} (?:[0-9]++|-) {QUOTED} {QUOTED} [0-9]++ms{_END}"),
    "ingress_nginx": re.compile(rf"{_AGENT} [0-9]++ [0-9.]++ \[[^\]]*+\] \[[^\]]*+\] [^\"\[\]]++"),
}
_VHOST = ("common", "combined")  # the tails that stand behind a virtual host
LAYOUTS = (*_TAILS, *(f"vhost_{each}" for each in _VHOST), "lighttpd")
_WORD = re.compile(r"[^\s:,;=<>|()]++")


def parse_apache(text: str, *, layout: str | None = None) -> Hit | None:
    """Return what *text* says, None where it is not of this family.

    Without a *layout* what could be meant in two ways is refused: who is the client is never guessed.

    Raises:
        ValueError: it is of this family, and something in it is not what it should be.
    """
    head = _HEAD.match(text)
    if head is None:
        return None
    words = head[1].split(" ")[:-1]
    for tail, pattern in _TAILS.items():
        if (behind := pattern.fullmatch(text, head.end())) is None:
            continue
        found, host, client = _who(words, tail, layout)
        more: dict[str, str | None] = {"host": host}
        if tail == "nginx":
            more["forwarded_for"] = _forwarded(behind[3])
        method, target = split_request(unescape(head[3]))
        return Hit(
            found,
            event_values(
                client=client,
                time=iso_time(head[2]),
                method=method,
                target=target,
                status=head[4],
                size=head[5],
                referrer=None if tail == "common" else unescape(behind[1]),
                agent=None if tail == "common" else unescape(behind[2]),
                more=more,
            ),
        )
    return None


def _who(words: list[str], tail: str, wanted: str | None) -> tuple[str, str | None, str]:
    """Return the layout, the virtual host and the client that the *words* before the time tell. Raises: ValueError."""
    if len(words) == 4:
        host, client, ident, _ = words
        if tail not in _VHOST or not is_virtual_host(host) or not is_client(client):
            raise ValueError(_unlike(words))
        if wanted != f"vhost_{tail}" and not (is_address(client) and not is_address(host)):
            raise ValueError(
                f"{host!r} or {client!r}, which is the client? Where the first is the virtual host: "
                f"--layout vhost_{tail}"
            )
        _check_ident(ident, words)
        return f"vhost_{tail}", without_port(host), client
    client, ident, user = words
    if not is_client(client) or is_address(user):
        raise ValueError(_unlike(words))
    if ident == "-" or wanted == tail:
        return tail, None, client
    _check_ident(ident, words)
    # lighttpd writes the virtual host where others write an ident: "%h %V %u"; others write "%v %h %u".
    if wanted != "lighttpd" and (not is_address(client) or is_address(ident)):
        raise ValueError(
            f"{client!r} or {ident!r}, which is the client? Where it is the first: --layout {tail}"
        )
    if tail == "combined" and (wanted == "lighttpd" or "." in ident) and is_virtual_host(ident):
        return "lighttpd", without_port(ident), client
    return tail, None, client


def _check_ident(ident: str, words: list[str]) -> None:
    if not _WORD.fullmatch(ident):
        raise ValueError(_unlike(words))


def _unlike(words: list[str]) -> str:
    shown = " ".join(words)
    if "," in words[0]:
        return (
            f"{shown[:80]!r}: a list of addresses (X-Forwarded-For) stands where the client should. Log $remote_addr "
            "first, or cut the list to the one address that you trust"
        )
    return f"{shown[:80]!r} is not CLIENT IDENT USER, nor a virtual host before them (a user is one word)"


def _forwarded(text: str) -> str:
    """Return the list of X-Forwarded-For in *text*. Raises: ValueError, it is none: the line has a layout of its own."""
    for each in text.split(",") if text not in ("-", "") else ():
        part = each.strip()
        if not (is_client(part) or is_client(without_port(part))):
            raise ValueError(
                f"{text[:80]!r}, behind the user agent, is not a list of addresses (X-Forwarded-For of nginx's "
                "packaged layout); the line has a layout of its own"
            )
    return text
