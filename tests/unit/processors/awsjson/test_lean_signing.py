"""What the lean client signs is what botocore signs, byte for byte."""

from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.awsjson.credentials import Credentials
from processors.awsjson.signing import Signer

_SET_BY_THE_SIGNER = {
    "date",
    "x-amz-date",
    "x-amz-security-token",
    "authorization",
    "host",
    "x-amz-content-sha256",
}
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True).filter(
    lambda name: name not in _SET_BY_THE_SIGNER and name not in SIGNED_HEADERS_BLACKLIST
)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40) | st.sampled_from(
    ["a  b\tc", "  padded ", ""]
)
TOKENS = st.just("") | st.text("ABCxyz019+/=", min_size=1, max_size=60)
KEYS = st.text("ABCxyz019+/", min_size=1, max_size=40)
TIMES = st.integers(0, 4_102_444_800)
HOSTS = st.sampled_from(
    ["dynamodb.eu-central-1.amazonaws.com", "sqs.us-east-1.amazonaws.com", "127.0.0.1:4566"]
)


def boto_headers(
    headers: dict[str, str], body: bytes, *, credentials: Credentials, now_s: float, service: str, region: str
) -> dict[str, str]:
    """Return what botocore makes of the same request."""
    request = AWSRequest("POST", f"https://{headers['host']}/", headers=headers, data=body)
    boto = BotoCredentials(credentials.access_key, credentials.secret_key, credentials.session_token or None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(now_s, UTC))
        SigV4Auth(boto, service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(deadline=None, max_examples=200)
@given(
    headers=st.dictionaries(NAMES, VALUES, max_size=6),
    host=HOSTS,
    body=st.binary(max_size=200),
    credentials=st.builds(Credentials, KEYS, KEYS, TOKENS),
    now_s=TIMES,
    service=st.sampled_from(["dynamodb", "sqs"]),
    region=st.sampled_from(["eu-central-1", "us-gov-west-1", "cn-north-1"]),
)
def test_every_header_is_what_botocore_sends(  # noqa: PLR0917 - what hypothesis varies
    headers: dict[str, str],
    host: str,
    body: bytes,
    credentials: Credentials,
    now_s: int,
    service: str,
    region: str,
) -> None:
    unsigned = {**headers, "host": host}
    ours = Signer(service=service, region=region).sign(unsigned, body, credentials=credentials, now_s=now_s)
    theirs = boto_headers(
        unsigned, body, credentials=credentials, now_s=now_s, service=service, region=region
    )
    assert ours == theirs


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.builds(Credentials, st.just("a"), st.sampled_from(["s", "t"])), TIMES | st.integers(0, 172_800)
        ),
        min_size=2,
        max_size=6,
    )
)
def test_the_key_of_a_day_never_signs_for_another_day_or_secret(calls: list[tuple[Credentials, int]]) -> None:
    kept = Signer(service="sqs", region="eu-central-1")
    for credentials, now_s in calls:
        new = Signer(service="sqs", region="eu-central-1")
        assert kept.sign({"host": "h"}, b"", credentials=credentials, now_s=now_s) == new.sign(
            {"host": "h"}, b"", credentials=credentials, now_s=now_s
        )


def test_a_secret_does_not_show_in_a_repr() -> None:
    assert "secret" not in repr(Credentials("key", "secret", "secret token"))


@settings(deadline=None, max_examples=50)
@given(
    body=st.binary(max_size=200),
    key=st.text(min_size=1, max_size=30).filter(lambda key: not key.startswith("/")),
    by_path=st.booleans(),
    credentials=st.builds(Credentials, KEYS, KEYS, TOKENS),
    now_s=TIMES,
)
def test_an_object_is_put_as_botocore_signs_it(
    *, body: bytes, key: str, by_path: bool, credentials: Credentials, now_s: int
) -> None:
    host = "127.0.0.1:4566" if by_path else "bucket.s3.eu-central-1.amazonaws.com"
    path = f"{'/bucket' if by_path else ''}/{quote(key)}"
    headers = {
        "host": host,
        "content-type": "application/gzip",
        "x-amz-content-sha256": sha256(body).hexdigest(),
    }
    ours = Signer(service="s3", region="eu-central-1").sign(
        headers, body, credentials=credentials, now_s=now_s, method="PUT", path=path
    )
    request = AWSRequest("PUT", f"https://{host}{path}", headers=headers, data=body)
    boto = BotoCredentials(credentials.access_key, credentials.secret_key, credentials.session_token or None)
    request.context["payload_signing_enabled"] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(now_s, UTC))
        S3SigV4Auth(boto, "s3", "eu-central-1").add_auth(request)
    assert ours == {name.lower(): value for name, value in request.headers.items()}
