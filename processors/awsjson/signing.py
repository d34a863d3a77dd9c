"""AWS Signature Version 4 of requests without a query, the body in one piece: the JSON services' ``POST /``, S3's PUT.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import time
from collections.abc import Mapping
from hashlib import sha256
from hmac import digest

from processors.awsjson.credentials import Credentials

_ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """Signs for one service in one region. Thread-safe: the key of the day is replaced as one value."""

    def __init__(self, *, service: str, region: str) -> None:
        self._region, self._service = region, service
        self._derived = ("", "", b"")  # secret key, day, signing key

    def sign(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        credentials: Credentials,
        now_s: float,
        method: str = "POST",
        path: str = "/",
    ) -> dict[str, str]:
        """Return *headers* and those that authenticate the request; every one is signed.

        Args:
            headers: names in lower case, ``host`` among them; what is sent must be what is signed.
            body: what is sent, to the byte.
            credentials: who sends it.
            now_s: since the epoch; AWS refuses what is more than 5 minutes off.
            method: of HTTP.
            path: as it is sent, percent-encoded once. (All services but S3 would have it encoded again.)
        """
        amz_date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
        day = amz_date[:8]
        signed = {**headers, "x-amz-date": amz_date}
        if credentials.session_token:
            signed["x-amz-security-token"] = credentials.session_token
        names = sorted(signed)
        name_list = ";".join(names)
        canonical = "".join([f"{name}:{' '.join(signed[name].split())}\n" for name in names])
        request = f"{method}\n{path}\n\n{canonical}\n{name_list}\n{sha256(body).hexdigest()}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        to_sign = f"{_ALGORITHM}\n{amz_date}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = digest(self._signing_key(credentials.secret_key, day), to_sign.encode(), "sha256").hex()
        signed["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={name_list}, Signature={signature}"
        )
        return signed

    def _signing_key(self, secret_key: str, day: str) -> bytes:
        cached_secret, cached_day, key = self._derived
        if cached_day != day or cached_secret != secret_key:
            key = f"AWS4{secret_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = digest(key, part.encode(), "sha256")
            self._derived = (secret_key, day, key)
        return key
