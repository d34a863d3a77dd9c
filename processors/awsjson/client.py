"""Calls of one AWS JSON service: signed, sent over kept-alive connections, tried again where that may help."""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from processors.awsjson.connections import Connections, Timeouts
from processors.awsjson.credentials import CredentialSource
from processors.awsjson.endpoint import Endpoint, region_of, service_endpoint
from processors.awsjson.http1 import Answer, BrokenAnswerError
from processors.awsjson.retry import Retries, RetryPolicy, may_pass
from processors.awsjson.signing import Signer
from processors.deadline import Deadline
from streamgage.errors import RetryableError, StreamgageError


class ServiceError(StreamgageError):
    """A service refused a call, and would refuse it again. ``error`` is AWS's code, ``answer`` the whole JSON."""

    code = "service_error"

    def __init__(self, call: str, *, status: int, error: str, answer: Mapping[str, Any]) -> None:
        self.status, self.error, self.answer = status, error, answer
        message = answer.get("message") or answer.get("Message") or "no message"
        super().__init__(f"{call}: {error or 'no error code'} (HTTP {status}): {message}")

    @property
    def is_transient(self) -> bool:
        """Whether a later try may not meet it again."""
        return self.status >= 500 or self.status == 429 or may_pass(self.error)


class AwsJsonClient:
    """Thread-safe. *target* is the service's prefix of X-Amz-Target; *now_s* the time of day, for signatures.

    *json_version* is the protocol's: 1.0 for DynamoDB and SQS, 1.1 for Kinesis.
    """

    def __init__(
        self,
        target: str,
        *,
        endpoint: Endpoint,
        signer: Signer,
        credentials: CredentialSource,
        tls: ssl.SSLContext | None = None,
        timeouts: Timeouts | None = None,
        policy: RetryPolicy | None = None,
        now_s: Callable[[], float] = time.time,
        json_version: str = "1.0",
    ) -> None:
        self._target, self._signer, self._credentials, self._now_s = target, signer, credentials, now_s
        self._policy = policy or RetryPolicy()
        self._connections = Connections(endpoint, tls=tls, timeouts=timeouts or Timeouts())
        self._headers = {
            "host": endpoint.authority,
            "content-type": f"application/x-amz-json-{json_version}",
            "accept-encoding": "identity",
        }

    @classmethod
    def of_environment(
        cls,
        service: str,
        target: str,
        *,
        environment: Mapping[str, str],
        credentials: CredentialSource,
        tls: ssl.SSLContext | None,
        json_version: str = "1.0",
    ) -> "AwsJsonClient":
        """Return a client of *service* where *environment* says it is. Raises: ConfigError."""
        return cls(
            target,
            endpoint=service_endpoint(service, environment),
            signer=Signer(service=service, region=region_of(environment)),
            credentials=credentials,
            tls=tls,
            json_version=json_version,
        )

    def retries(self, deadline: Deadline) -> Retries:
        """Return the retries of a piece of work that takes one call or several, and ends by *deadline*."""
        return self._policy.start(deadline)

    def call(self, operation: str, body: str, retries: Retries) -> bytes:
        """Return what *operation* answers to the JSON *body*, by the deadline of *retries*.

        A call whose answer was lost is sent again: *operation* may take effect more than once.

        Raises:
            ServiceError: refused, for good.
            RetryableError: throttled, unreachable, timed out or out of time; it may or may not have taken effect.
            ConfigError: no credentials, or a certificate that is not trusted.
        """
        payload = body.encode()
        headers = {**self._headers, "x-amz-target": f"{self._target}.{operation}"}
        while True:
            if retries.deadline.has_passed:
                raise RetryableError(f"{self._target} {operation}: no time left")
            request = self._request(headers, payload, retries.deadline)
            try:
                answer = self._connections.exchange(request, deadline=retries.deadline)
            except (OSError, BrokenAnswerError) as error:
                retries.pause(f"{self._target} {operation}: {error or type(error).__name__}", error)
                continue
            if answer.status == 200:
                return answer.body
            refusal = _refusal(f"{self._target} {operation}", answer)
            if not refusal.is_transient:
                raise refusal
            retries.pause(str(refusal), refusal)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._connections.close()

    def _request(self, headers: Mapping[str, str], payload: bytes, deadline: Deadline) -> bytes:
        credentials = self._credentials(deadline)
        signed = self._signer.sign(headers, payload, credentials=credentials, now_s=self._now_s())
        lines = "".join([f"{name}: {value}\r\n" for name, value in signed.items()])
        return f"POST / HTTP/1.1\r\n{lines}content-length: {len(payload)}\r\n\r\n".encode("latin-1") + payload


def _refusal(call: str, answer: Answer) -> ServiceError:
    """Return the error of *answer*: ``{"__type": "com.amazonaws.dynamodb.v20120810#TheCode", "message": …}``.

    Source: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html (operation error serialization)
    """
    try:
        decoded = json.loads(answer.body)
    except ValueError:
        decoded = {"message": answer.body[:200].decode("utf-8", "replace")}
    if not isinstance(decoded, dict):
        decoded = {"message": str(decoded)[:200]}
    error = str(decoded.get("__type") or decoded.get("code") or "").rpartition("#")[2].partition(":")[0]
    return ServiceError(call, status=answer.status, error=error, answer=decoded)
