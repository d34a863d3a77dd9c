"""As whom to call: from Lambda's environment, or from the endpoint that SnapStart gives, refreshed in time.

Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html and
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from processors.awsjson.aside import Aside, Spawn, on_a_daemon_thread
from processors.awsjson.connections import Connections, Timeouts, tls_context
from processors.awsjson.endpoint import Endpoint
from processors.awsjson.http1 import Answer, BrokenAnswerError
from processors.deadline import Deadline
from streamgage.errors import ConfigError, RetryableError

_TRIES = 3
_WAIT_S = 2.0  # for one answer; what botocore waits for the same endpoint


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key, its secret, and the session token where they are temporary."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


class CredentialSource(Protocol):
    """Where credentials come from. Called for each request, from several threads at once."""

    def __call__(self, deadline: Deadline, /) -> Credentials:
        """Return credentials that are valid now.

        Raises:
            RetryableError: there are none by *deadline*.
        """


def credential_source(environment: Mapping[str, str]) -> CredentialSource:
    """Return the source that *environment* names: the keys themselves, else AWS_CONTAINER_CREDENTIALS_FULL_URI.

    Raises:
        ConfigError: it names none.
    """
    access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        fixed = Credentials(access_key, secret_key, environment.get("AWS_SESSION_TOKEN", ""))
        return lambda _: fixed
    url = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if url:
        return ContainerCredentials(
            Endpoint.parse(url), authorization=environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        )
    raise ConfigError(
        "no credentials: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
    )


class ContainerCredentials:
    """Credentials of an HTTP endpoint, asked for again ``refresh_s`` before they expire.

    Until their last ``least_s`` nobody waits for that: all go on with those at hand. A refresh that failed is begun again
    ``again_s`` later. Then all wait for new ones, each until his deadline. *now_s* is the time of day.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        authorization: str,
        now_s: Callable[[], float] = time.time,
        spawn: Spawn = on_a_daemon_thread,
        refresh_s: float = 300.0,
        least_s: float = 30.0,
        again_s: float = 10.0,
    ) -> None:
        self._connections = Connections(
            endpoint,
            tls=tls_context({}) if endpoint.tls else None,
            timeouts=Timeouts(connect_s=_WAIT_S, read_s=_WAIT_S),
        )
        head = f"GET {endpoint.path} HTTP/1.1\r\nhost: {endpoint.authority}\r\naccept: application/json\r\n"
        if authorization:
            if not authorization.isascii() or not authorization.isprintable():
                raise ConfigError("AWS_CONTAINER_AUTHORIZATION_TOKEN is not fit for a header")
            head += f"authorization: {authorization}\r\n"
        self._request = f"{head}connection: close\r\n\r\n".encode("ascii")
        self._now_s, self._refresh_s, self._least_s, self._again_s = now_s, refresh_s, least_s, again_s
        self._refresh = Aside(self._ask, spawn=spawn)
        self._refreshed_s = 0.0  # when it was last begun ahead of time
        self._current: tuple[Credentials, float] | None = None  # and when they expire, s since the epoch

    def __call__(self, deadline: Deadline, /) -> Credentials:
        """Return credentials that are valid now. Raises: RetryableError."""
        current, now_s = self._current, self._now_s()
        left_s = 0.0 if current is None else current[1] - now_s
        if current is None or left_s <= self._least_s:
            try:
                return self._refresh.result(deadline)
            except TimeoutError as error:
                raise RetryableError("the credentials endpoint: no answer in time") from error
        if left_s <= self._refresh_s and not 0 <= now_s - self._refreshed_s < self._again_s:
            self._refreshed_s = now_s
            self._refresh.begin()
        return current[0]

    def _ask(self) -> Credentials:
        current = self._current
        if current is not None and current[1] - self._now_s() > self._refresh_s:
            return current[0]  # those that came between the question and now
        failure: Exception | None = None
        for _ in range(_TRIES):
            try:
                answer = self._connections.exchange(self._request, deadline=Deadline.after(2 * _WAIT_S))
                credentials, expires_s = _decode(answer)
            except (OSError, BrokenAnswerError, ValueError, KeyError, TypeError) as error:
                failure = error
                continue
            finally:
                self._connections.close()  # the next time is in hours
            if expires_s > self._now_s():
                self._current = (credentials, expires_s)
                return credentials
            failure = ValueError("it gives credentials that have expired")
        raise RetryableError(f"the credentials endpoint: {failure or 'no answer'}") from failure


def _decode(answer: Answer) -> tuple[Credentials, float]:
    if answer.status != 200:
        raise ValueError(f"HTTP {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}")
    decoded = json.loads(answer.body)
    expires_s = datetime.fromisoformat(decoded["Expiration"]).timestamp()
    return Credentials(
        decoded["AccessKeyId"], decoded["SecretAccessKey"], decoded.get("Token") or ""
    ), expires_s
