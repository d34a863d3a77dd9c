"""Objects in S3: PutObject, for what of the quarantine is large or many. Loaded when the first object is written.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html (how a request is signed) and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html (where a bucket is)
"""

import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from urllib.parse import quote

from processors.awsjson.client import ServiceError
from processors.awsjson.connections import Connections, Timeouts
from processors.awsjson.credentials import CredentialSource
from processors.awsjson.endpoint import Endpoint, region_of, service_endpoint
from processors.awsjson.http1 import Answer, BrokenAnswerError
from processors.awsjson.retry import RetryPolicy
from processors.awsjson.signing import Signer
from processors.deadline import Deadline
from streamgage.errors import RetryableError

_CODE = re.compile(rb"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,500})</Message>")
_BUDGET_S = 10.0  # for all tries; the deadline is mostly sooner
_TIMEOUTS = Timeouts(read_s=5.0)  # S3 answers once it has all of it
# Besides those of AWS JSON. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_TRANSIENT = frozenset({"OperationAborted", "SlowDown", "KMS.ThrottlingException"})


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a bucket is: the endpoint, and what stands before a key in the path."""

    endpoint: Endpoint
    path: str

    @classmethod
    def of(cls, bucket: str, environment: Mapping[str, str]) -> "BucketPlace":
        """Return where *bucket* is: by host at AWS, by path at an endpoint that *environment* names. Raises: ConfigError.

        By path, too, where its name has dots: the certificate of S3 is for one label.
        """
        endpoint = service_endpoint("s3", environment)
        named = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
        if named or "." in bucket:
            return cls(endpoint, f"/{bucket}")
        return cls(replace(endpoint, host=f"{bucket}.{endpoint.host}"), "")


class S3Objects:
    """The objects of one bucket. *now_s* is the time of day, for signatures."""

    def __init__(
        self,
        bucket: str,
        *,
        place: BucketPlace,
        signer: Signer,
        credentials: CredentialSource,
        tls: ssl.SSLContext | None = None,
        policy: RetryPolicy | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.bucket = bucket
        self._place, self._signer, self._credentials, self._now_s = place, signer, credentials, now_s
        self._policy = policy or RetryPolicy(budget_s=_BUDGET_S)
        self._connections = Connections(place.endpoint, tls=tls, timeouts=_TIMEOUTS)

    @classmethod
    def of_environment(
        cls,
        bucket: str,
        *,
        environment: Mapping[str, str],
        credentials: CredentialSource,
        tls: ssl.SSLContext | None,
    ) -> "S3Objects":
        """Return the objects of *bucket* where *environment* says it is. Raises: ConfigError."""
        return cls(
            bucket,
            place=BucketPlace.of(bucket, environment),
            signer=Signer(service="s3", region=region_of(environment)),
            credentials=credentials,
            tls=tls,
        )

    def put(self, key: str, body: bytes, *, content_type: str, deadline: Deadline) -> None:
        """Write the object *key*, over the one that stands there. S3 has all of it, or nothing.

        Raises:
            ServiceError: refused, for good.
            RetryableError: throttled, unreachable, timed out or out of time; it may or may not have been written.
            ConfigError: no credentials, or a certificate that is not trusted.
        """
        call = f"S3 PutObject {self.bucket}/{key}"
        retries = self._policy.start(deadline)
        while True:
            if retries.deadline.has_passed:
                raise RetryableError(f"{call}: no time left in this invocation")
            request = self._request(key, body, content_type, retries.deadline)
            try:
                answer = self._connections.exchange(request, deadline=retries.deadline)
            except (OSError, BrokenAnswerError) as error:
                retries.pause(f"{call}: {error or type(error).__name__}", error)
                continue
            if answer.status == 200:
                return
            refusal = _refusal(call, answer)
            if not refusal.is_transient and refusal.error not in _TRANSIENT:
                raise refusal
            retries.pause(str(refusal), refusal)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._connections.close()

    def _request(self, key: str, body: bytes, content_type: str, deadline: Deadline) -> bytes:
        path = f"{self._place.path}/{quote(key)}"
        headers = {
            "host": self._place.endpoint.authority,
            "content-type": content_type,
            "x-amz-content-sha256": sha256(body).hexdigest(),
        }
        credentials = self._credentials(deadline)
        signed = self._signer.sign(
            headers, body, method="PUT", path=path, credentials=credentials, now_s=self._now_s()
        )
        lines = "".join([f"{name}: {value}\r\n" for name, value in signed.items()])
        return f"PUT {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body


def _refusal(call: str, answer: Answer) -> ServiceError:
    """Return the error of *answer*: ``<Error><Code>AccessDenied</Code><Message>…</Message>…``."""
    code, message = _CODE.search(answer.body), _MESSAGE.search(answer.body)
    said = message[1] if message else answer.body[:200]
    return ServiceError(
        call,
        status=answer.status,
        error=code[1].decode("utf-8", "replace") if code else "",
        answer={"message": said.decode("utf-8", "replace")},
    )
