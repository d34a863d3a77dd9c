"""Kept-alive connections to one endpoint, shared by threads."""

import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from processors.awsjson.endpoint import Endpoint
from processors.awsjson.http1 import Answer, AnswerParser
from processors.awsjson.names import Addresses
from processors.deadline import Deadline
from streamgage.errors import ConfigError

_RECV_BYTES = 64 * 1024  # of plain HTTP; over TLS, a record, which has 16 kB
_LEAST_TIMEOUT_S = 0.001  # 0 would mean: do not block


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait where the deadline is not sooner.

    ``connect_s`` each to find a host, to reach an address of it, and for the TLS handshake; ``read_s`` for each piece of
    an answer. A connection that rested for ``idle_s`` is not used again: NAT gateways forget in silence.
    """

    connect_s: float = 1.0
    read_s: float = 1.5
    idle_s: float = 60.0


class Connections:
    """Never more connections than threads that call at once; the one used last is used next.

    *tls* is needed where the endpoint speaks it. *addresses* are the endpoint's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None,
        timeouts: Timeouts,
        addresses: Addresses | None = None,
    ) -> None:
        if endpoint.tls and tls is None:
            raise ConfigError(f"{endpoint.authority} speaks TLS, and no TLS context was given")
        self._endpoint, self._tls, self._timeouts = endpoint, tls, timeouts
        self._addresses = addresses or Addresses(endpoint.host, endpoint.port)
        self._idle: deque[_Connection] = deque()  # its append and pop are atomic

    def exchange(self, request: bytes, *, deadline: Deadline) -> Answer:
        """Send *request* and return the answer; nothing is sent, and nothing waited for, after *deadline*.

        A server may close a kept-alive connection at any time, also while the request is on its way. Where one that
        was used before ends before the first byte of the answer, the request is sent once more, on a new one. It may
        have taken effect then: what is sent must bear that.

        Raises:
            OSError: not found, not connected, timed out, or the connection was reset.
            BrokenAnswerError: what came is not an answer.
            ConfigError: the server's certificate is not trusted.
        """
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if deadline.clock() - connection.rests_since > self._timeouts.idle_s:
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

    def _use(self, connection: "_Connection", request: bytes, deadline: Deadline) -> Answer:
        reusable = False
        try:
            answer = connection.exchange(request, self._timeouts.read_s, deadline)
            reusable = answer.reusable
        finally:
            if reusable:
                connection.rests_since = deadline.clock()
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    def _connect(self, deadline: Deadline) -> "_Connection":
        plain = self._reach(deadline)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._endpoint.tls or self._tls is None:
                return _Connection(plain)
            _wait_at_most(plain, self._timeouts.connect_s, deadline)  # the handshake as a whole
            host = self._endpoint.host.encode("ascii")  # as text it would go through the IDNA codec
            return _Connection(self._tls.wrap_socket(plain, server_hostname=host))
        except ssl.SSLCertVerificationError as error:
            plain.close()
            raise ConfigError(
                f"the certificate of {self._endpoint.authority} is not trusted: {error.verify_message}"
            ) from error
        except BaseException:
            plain.close()
            raise

    def _reach(self, deadline: Deadline) -> socket.socket:
        """Return a socket that is connected to the first address that takes it."""
        failure: OSError = TimeoutError("no time left")
        for family, place in self._addresses.by(deadline.sooner(self._timeouts.connect_s)):
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                _wait_at_most(plain, self._timeouts.connect_s, deadline)
                plain.connect(place)
            except OSError as error:
                plain.close()
                failure = error
            except BaseException:
                plain.close()
                raise
            else:
                return plain
        self._addresses.forget()
        raise failure


class _StaleError(Exception):
    """A connection that was used before ended before the first byte of the answer."""


class _Connection:
    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._used = False
        self.rests_since = 0.0

    def exchange(self, request: bytes, read_s: float, deadline: Deadline) -> Answer:
        used, self._used = self._used, True
        parser = AnswerParser()
        try:
            self._send(request, read_s, deadline)
            data = self._receive(read_s, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            if used:
                raise _StaleError from error
            raise
        if used and not data:
            raise _StaleError
        while (answer := parser.feed(data)) is None:
            data = self._receive(read_s, deadline)
        return answer

    def close(self) -> None:
        self._socket.close()

    def _send(self, request: bytes, read_s: float, deadline: Deadline) -> None:
        left = memoryview(request)
        while left:  # not sendall: over TLS it has the whole timeout again for each part
            _wait_at_most(self._socket, read_s, deadline)
            left = left[self._socket.send(left) :]

    def _receive(self, read_s: float, deadline: Deadline) -> bytes:
        _wait_at_most(self._socket, read_s, deadline)
        return self._socket.recv(_RECV_BYTES)


def _wait_at_most(connected: socket.socket, seconds: float, deadline: Deadline) -> None:
    """Let the next call of *connected* wait so long, and not beyond *deadline*. Raises: TimeoutError, it has passed."""
    left_s = deadline.left_s()
    if left_s <= 0:
        raise TimeoutError("no time left")
    seconds = max(min(seconds, left_s), _LEAST_TIMEOUT_S)
    if seconds != connected.gettimeout():  # to set it is a system call
        connected.settimeout(seconds)


def tls_context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that verifies, by the certificates of AWS_CA_BUNDLE where it is set, else OpenSSL's own.

    Loading the usual 140 roots takes tens of ms: share it.
    """
    return ssl.create_default_context(cafile=environment.get("AWS_CA_BUNDLE") or None)
