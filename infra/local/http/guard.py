"""Who is obeyed: nobody but the owner of the home, and never a web page.

A page in a browser on this machine can send to any port of it: a form needs no preflight, and a name of its own that
resolves to 127.0.0.1 (DNS rebinding) even makes the answer readable. So every face of the stack asks three things, before
it takes a body:

- ``Host`` is a loopback name or address. A rebinding page cannot set it: it is the name that the person visited.
- there is no ``Origin``, and ``Sec-Fetch-Site`` does not tell of another site, unless a person asked for that origin.
- the request names the access key of the home, as AWS's clients do in what they sign: a random secret that only files
  of mode 0600 hold. A face for people and their browsers has a secret as the first part of its paths instead.

The key is compared, the signature over the request is not: it would tell of a request changed on its way through the
kernel's loopback, which only root can do, and cost a hash of every body. Source of the header's form:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html (checked 2026-11-28).
"""

import hmac
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from infra.local.http.message import Request, Response
from infra.local.http.secret import read_credentials

HEALTH = "/health"
HINT = 'this stack has credentials of its own: eval "$(streamgage env)"'
_CREDENTIAL = re.compile(r"[ ,]Credential=([^/,\s]+)/")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?", re.ASCII)
_SAME = ("none", "same-origin")
_SENT = ("POST", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What one face asks of a request.

    ``access_key``: None where the face has no secret. ``open_paths`` need no key: health. ``origins`` are the pages that
    a person let in, as browsers name them (``https://example.org``). ``hosts`` are names beside loopback's, in lower case.
    ``base``: the secret that every path begins with, but for ``open_paths``. Such a face has a page: its own pages may ask
    it, links lead to it, and what pages of ``origins`` may read is its handler's to say. Pages of any origin may POST to
    ``page_paths`` under the base, and ask before: their handler has keys, and says which origins they are for.
    """

    access_key: str | None = None
    base: str | None = None
    open_paths: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    page_paths: frozenset[str] = frozenset()

    def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is not obeyed, or None."""
        headers = request.headers
        if not self._is_ours(headers.get("host", "")):
            return _refused(request, "AccessDeniedException", "the Host is not a loopback name or address")
        origin = headers.get("origin")
        if origin not in self.origins:
            is_foreign = origin is not None or headers.get("sec-fetch-site", "none") not in _SAME
            is_let = self.base is not None and (_is_of_its_page(headers) or self._takes_pages(request))
            if is_foreign and not is_let:
                return _refused(request, "AccessDeniedException", "requests of web pages are not taken")
        elif request.method == "OPTIONS" and self.base is None:  # a preflight never carries credentials
            return self.mark(request, Response(204, headers=_PREFLIGHT))
        is_open = request.method == "GET" and request.path in self.open_paths
        return None if is_open else self._without_secret(request)

    def _without_secret(self, request: Request) -> Response | None:
        """Return the refusal of a request that does not know the secret, where there is one."""
        if self.base is not None:
            first = request.path[1:].partition("/")[0]
            is_known = hmac.compare_digest(first.encode(), self.base.encode())
            return None if is_known else Response(403, _WRONG_BASE)
        if self.access_key is None:
            return None
        named = access_key_of(request)
        if named is None or not hmac.compare_digest(named.encode(), self.access_key.encode()):
            return _refused(
                request, "UnrecognizedClientException", f"not the access key of this home: {HINT}"
            )
        return None

    def mark(self, request: Request, response: Response) -> Response:
        """Return *response* as a page of a wanted origin may read it; the same where it came from no page."""
        origin = request.headers.get("origin")
        if origin is None or origin not in self.origins or self.base is not None:
            return response
        headers = {**response.headers, "Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return replace(response, headers=headers)

    def _takes_pages(self, request: Request) -> bool:
        """Tell whether it is one that pages send: what is asked for by GET may have another handler, which has no keys."""
        path = f"/{request.path[1:].partition('/')[2]}"
        return request.method in _SENT and path in self.page_paths

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1].strip("[]")
        if name == "localhost" or name.endswith(".localhost") or name in self.hosts:
            return True  # a browser resolves names under .localhost to loopback itself (RFC 6761)
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _is_of_its_page(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser asks for a page of this face, or by one: its Host is loopback's, so its Origin is ours.

    A link or bookmark may lead here from anywhere: who follows it leaves the page that it was on, which cannot read this one.
    """
    if (origin := headers.get("origin")) is not None:
        return origin == f"http://{headers['host']}"
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


_WRONG_BASE = b"this is not the address of this stack's page; `streamgage status` says it\n"
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, PATCH",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Max-Age": "600",
}


def owner_guard(host: str, credentials: Path | None, *, origins: Iterable[str] = ()) -> Guard:
    """Return the guard of a face on *host* that obeys the access key in *credentials*, or any where that is None.

    Raises:
        ConfigError: the file does not hold credentials.
    """
    key = read_credentials(credentials).access_key if credentials else None
    return Guard(
        access_key=key,
        open_paths=frozenset({HEALTH}),
        origins=frozenset(origins),
        hosts=frozenset({host.lower()}),
    )


def access_key_of(request: Request) -> str | None:
    """Return the access key that a request was signed with: in its header, or in its query where it is presigned."""
    header = request.headers.get("authorization")
    if header is not None:
        match = _CREDENTIAL.search(header)
        return match[1] if match and header.startswith("AWS4-") else None
    if "?" not in request.target:
        return None
    try:
        query = parse_qs(request.target.partition("?")[2], max_num_fields=100)
    except ValueError:
        return None
    for name in ("X-Amz-Credential", "AWSAccessKeyId"):
        if name in query:
            return query[name][0].partition("/")[0]
    return None


def _refused(request: Request, code: str, why: str) -> Response:
    """Return a refusal as an AWS client understands it: JSON, or XML where it speaks the query protocol or S3's."""
    if request.headers.get("x-amz-target") is not None:
        body = json.dumps({"__type": code, "message": why}).encode()
        return Response(403, body, "application/x-amz-json-1.1", {"x-amzn-ErrorType": code})
    text = f"<Type>Sender</Type><Code>{code}</Code><Message>{escape(why, quote=False)}</Message>"
    return Response(403, f"<ErrorResponse><Error>{text}</Error></ErrorResponse>".encode(), "text/xml")
