"""Kept-alive connections to one endpoint, shared by threads."""

import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from processors.awsjson.endpoint import Endpoint
from processors.awsjson.http1 import Answer, AnswerParser
from streamgage.errors import ConfigError

_RECV_BYTES = 16 * 1024  # a TLS record
_LEAST_TIMEOUT_S = 0.001  # 0 would mean: do not block


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait. A connection that rested for ``idle_s`` is not used again: NAT gateways forget in silence."""

    connect_s: float = 1.0
    read_s: float = 1.5
    idle_s: float = 60.0


class Connections:
    """Never more connections than threads that call at once; the one used last is used next.

    *clock* returns seconds, monotonic. *tls* is needed where the endpoint speaks it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None,
        timeouts: Timeouts,
        clock: Callable[[], float],
    ) -> None:
        if endpoint.tls and tls is None:
            raise ConfigError(f"{endpoint.authority} speaks TLS, and no TLS context was given")
        self._endpoint, self._tls, self._timeouts, self._clock = endpoint, tls, timeouts, clock
        self._idle: deque[_Connection] = deque()  # its append and pop are atomic

    def exchange(self, request: bytes, *, deadline: float) -> Answer:
        """Send *request* and return the answer; wait until *deadline* of the clock at most.

        A server may close a kept-alive connection at any time, also while the request is on its way. Where one that
        was used before ends before the first byte of the answer, the request is sent once more, on a new one. It may
        have taken effect then: what is sent must bear that.

        Raises:
            OSError: not connected, timed out, or the connection was reset.
            BrokenAnswerError: what came is not an answer.
            ConfigError: the server's certificate is not trusted.
        """
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if self._clock() - connection.rests_since > self._timeouts.idle_s:
                connection.close()
                continue
            try:
                return self._use(connection, request, deadline)
            except _StaleError:
                break
        return self._use(self._connect(deadline), request, deadline)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _use(self, connection: "_Connection", request: bytes, deadline: float) -> Answer:
        reusable = False
        try:
            answer = connection.exchange(request, self._timeouts.read_s, deadline)
            reusable = answer.reusable
        finally:
            if reusable:
                connection.rests_since = self._clock()
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def _connect(self, deadline: float) -> "_Connection":
        endpoint = self._endpoint
        timeout_s = max(min(self._timeouts.connect_s, deadline - self._clock()), _LEAST_TIMEOUT_S)
        # Bytes: as text, the name would go through the IDNA codec, which takes milliseconds to import.
        host = endpoint.host.encode("ascii")
        plain = socket.create_connection((host, endpoint.port), timeout_s)  # type: ignore[arg-type] # typeshed: str only
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not endpoint.tls or self._tls is None:
                return _Connection(plain, self._clock)
            return _Connection(self._tls.wrap_socket(plain, server_hostname=host), self._clock)
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise ConfigError(
                f"the certificate of {endpoint.authority} is not trusted: {error.verify_message}"
            ) from error
        except BaseException:
            plain.close()
            raise


class _StaleError(Exception):
    """A connection that was used before ended before the first byte of the answer."""


class _Connection:
    def __init__(self, connected: socket.socket, clock: Callable[[], float]) -> None:
        self._socket, self._clock = connected, clock
        self._used = False
        self._timeout_s = connected.gettimeout()
        self.rests_since = 0.0

    def exchange(self, request: bytes, read_s: float, deadline: float) -> Answer:
        used, self._used = self._used, True
        parser = AnswerParser()
        self._wait_at_most(min(read_s, deadline - self._clock()))
        try:
            self._socket.sendall(request)
            data = self._socket.recv(_RECV_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            if used:
                raise _StaleError from error
            raise
        if used and not data:
            raise _StaleError
        while (answer := parser.feed(data)) is None:
            self._wait_at_most(min(read_s, deadline - self._clock()))
            data = self._socket.recv(_RECV_BYTES)
        return answer

    def close(self) -> None:
        self._socket.close()

    def _wait_at_most(self, seconds: float) -> None:
        if seconds <= 0:
            raise TimeoutError("no time left for the answer")
        seconds = max(seconds, _LEAST_TIMEOUT_S)
        if seconds != self._timeout_s:
            self._socket.settimeout(seconds)
            self._timeout_s = seconds


def tls_context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that verifies, by the certificates of AWS_CA_BUNDLE where it is set, else OpenSSL's own.

    Loading the usual 140 roots takes tens of ms: share it.
    """
    return ssl.create_default_context(cafile=environment.get("AWS_CA_BUNDLE") or None)
