"""API Gateway's management of WebSocket connections: a message to one of them, signed and sent by the lean client's parts.

Source: https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html
"""

import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote

from processors.awsjson.connections import Connections
from processors.awsjson.credentials import CredentialSource
from processors.awsjson.endpoint import Endpoint
from processors.awsjson.http1 import BrokenAnswerError
from processors.awsjson.retry import Retries
from processors.awsjson.signing import Signer
from streamgage.errors import ConfigError, RetryableError

Posted = Literal["sent", "gone", "refused"]
_GONE, _THROTTLED = 410, 429


class Management:
    """Thread-safe. *endpoint* is the stage's: ``https://{api}.execute-api.{region}.amazonaws.com/{stage}``."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        signer: Signer,
        credentials: CredentialSource,
        connections: Connections,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        if "?" in endpoint.path:
            raise ConfigError(f"SOCKET_ENDPOINT has a query: {endpoint.path}")
        self._base = endpoint.path.rstrip("/")
        self._signer, self._credentials, self._now_s = signer, credentials, now_s
        self._connections = connections
        self._headers = {"host": endpoint.authority, "content-type": "application/json"}

    def post(self, connection_id: str, body: bytes, retries: Retries) -> Posted:
        """Send *body* to a connection; "gone" where it has ended, "refused" where no later try would do.

        A message whose answer was lost is sent again: the client may get it twice.

        Raises:
            RetryableError: throttled, unreachable or out of time; it may have been sent.
            ConfigError: no credentials, or a certificate that is not trusted.
        """
        path = f"{self._base}/@connections/{quote(connection_id, safe='')}"
        while True:
            if retries.deadline.has_passed:
                raise RetryableError("@connections: no time left")
            request = self._request(path, body, retries)
            try:
                status = self._connections.exchange(request, deadline=retries.deadline).status
            except (OSError, BrokenAnswerError) as error:
                retries.pause(f"@connections: {error or type(error).__name__}", error)
                continue
            if status == 200:
                return "sent"
            if status == _GONE:
                return "gone"
            if status < 500 and status != _THROTTLED:
                return "refused"
            retries.pause(f"@connections: HTTP {status}")

    def close(self) -> None:
        """Close the connections to the service that nobody uses."""
        self._connections.close()

    def _request(self, path: str, body: bytes, retries: Retries) -> bytes:
        signed = self._signer.sign(
            self._headers,
            body,
            credentials=self._credentials(retries.deadline),
            now_s=self._now_s(),
            path=quote(path, safe="/~"),  # of all services but S3 the path is encoded once more to be signed
        )
        lines = "".join([f"{name}: {value}\r\n" for name, value in signed.items()])
        head = f"POST {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n"
        return head.encode("latin-1") + body
