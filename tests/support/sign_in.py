"""A small Cognito, for the page's sign-in: authorize, token, revoke and logout, as its guide describes them. Nobody is asked.

Source: authorization-endpoint.html, token-endpoint.html, revocation-endpoint.html and logout-endpoint.html of the Amazon Cognito
developer guide (checked 2026-11-29).
"""

import base64
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

ISSUER, CLIENT = (
    "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc",
    "3n4b5urk1ft4fl3mg5e62d9ado",
)
_OAUTH_ERROR = 400


@dataclass
class Cognito:
    """The pool and its endpoints. A test sets what goes wrong; ``asked`` are the grants and paths, in order.

    ``expires_in`` is in seconds. ``rotates``: each refresh token is good once.
    """

    port: int
    callback: str = ""
    expires_in: int = 3600
    rotates: bool = True
    nonce: str | None = None  # in place of the one that was asked with
    state: str | None = None
    error: str = ""  # authorize answers so
    subject: str = "someone"
    audience: str = CLIENT
    down: bool = False
    asked: list[str] = field(default_factory=list)
    good: set[str] = field(default_factory=set)  # access tokens
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refreshes: dict[str, str] = field(default_factory=dict)  # to nonces
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def config(self, token: str = "access_token") -> bytes:  # noqa: S107 - the name of a kind
        told = {"url": self.url, "issuer": ISSUER, "client_id": CLIENT, "token": token}
        return json.dumps({"sign_in": told}).encode()

    def takes(self, authorization: str | None) -> bool:
        """Tell whether the API's authorizer would let *authorization* in."""
        return (authorization or "").removeprefix("Bearer ") in self.good

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser is sent, signed in at once."""
        self.asked.append("authorize")
        assert query["client_id"] == CLIENT
        assert query["redirect_uri"] == self.callback, query["redirect_uri"]
        assert (query["response_type"], query["code_challenge_method"], query["scope"]) == (
            "code",
            "S256",
            "openid",
        )
        assert len(query["state"]) >= 43
        state = query["state"] if self.state is None else self.state
        if self.error:
            return f"{self.callback}?{urlencode({'error': 'access_denied', 'error_description': self.error, 'state': state})}"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return f"{self.callback}?{urlencode({'code': code, 'state': state})}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(form["grant_type"])
        assert form["client_id"] == CLIENT
        if self.down:
            return 503, {}
        if form["grant_type"] == "authorization_code":
            query = self.codes.pop(form["code"], None)
            if query is None or not _proves(form["code_verifier"], query["code_challenge"]):
                return _OAUTH_ERROR, {"error": "invalid_grant"}
            assert form["redirect_uri"] == query["redirect_uri"]
            return 200, self._tokens(query["nonce"])
        nonce = self.refreshes.pop(form["refresh_token"], None)
        if nonce is None:
            return _OAUTH_ERROR, {"error": "invalid_grant"}
        if not self.rotates:
            self.refreshes[form["refresh_token"]] = nonce
        return 200, self._tokens(nonce)

    def _tokens(self, nonce: str) -> dict[str, Any]:
        access, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.good.add(access)
        claims = {
            "iss": ISSUER,
            "aud": self.audience,
            "sub": self.subject,
            "nonce": self.nonce or nonce,
            "name": "J\u00fcrgen",
        }
        self.good.add(
            id_token := f"e30.{_base64url(json.dumps(claims, ensure_ascii=False).encode())}.{access}"
        )
        answer = {
            "access_token": access,
            "id_token": id_token,
            "expires_in": self.expires_in,
            "token_type": "Bearer",
        }
        if self.rotates or not self.refreshes:
            self.refreshes[refresh] = nonce
            answer["refresh_token"] = refresh
        return answer


def _proves(verifier: str, challenge: str) -> bool:
    return _base64url(hashlib.sha256(verifier.encode()).digest()) == challenge


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def cognito() -> Iterator[Cognito]:
    """Serve a pool in this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    pool = Cognito(server.server_port)
    server.RequestHandlerClass = _handler(pool)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield pool
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(pool: Cognito) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: each[0] for name, each in parse_qs(url.query).items()}
            with pool.lock:
                if url.path == "/oauth2/authorize":
                    return self._go(pool.authorize(query))
                assert url.path == "/logout"
                pool.asked.append("logout")
                assert query == {"client_id": CLIENT, "logout_uri": pool.callback}
                return self._go(query["logout_uri"])

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: each[0] for name, each in parse_qs(body).items()}
            with pool.lock:
                if self.path == "/oauth2/revoke":
                    pool.asked.append("revoke")
                    pool.refreshes.pop(form["token"], None)
                    return self._answer(200, {})
                assert self.path == "/oauth2/token"
                return self._answer(*pool.token(form))

        def _go(self, place: str) -> None:
            self.send_response(302)
            self.send_header("Location", place)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    return Handler
