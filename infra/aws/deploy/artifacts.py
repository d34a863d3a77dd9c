"""The bucket of what a deployment hands to CloudFormation: bundles, and templates that are too long to send.

A key holds the hash of its content: the same bundle is uploaded once, and makes no new version of the function.
"""

import hashlib
import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.deploy.ports import Say
from infra.aws.stacks import aws_errors
from streamgage.errors import ConfigError

# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html (checked 2026-11-21):
# a template in a request; one in S3 may have 1 MB.
TEMPLATE_BODY_BYTES = 51_200
_GONE = {"404", "NoSuchBucket", "NoSuchKey", "NotFound"}
_FORBIDDEN = {"403", "AccessDenied", "Forbidden"}


@dataclass(frozen=True, slots=True)
class Account:
    """Who deploys, and where. ``partition`` is aws, aws-cn or aws-us-gov."""

    number: str
    region: str
    partition: str


def account_of(sts: Any) -> Account:
    """Return the account that the credentials belong to. *sts* is a boto3 STS client. Raises: ConfigError."""
    with aws_errors("who am I"):
        identity = sts.get_caller_identity()
    return Account(identity["Account"], str(sts.meta.region_name), identity["Arn"].split(":")[1])


class Artifacts:
    """The bucket of artifacts of one account and region. *s3* is a boto3 S3 client of that region."""

    def __init__(self, s3: Any, *, account: Account, bucket: str | None, say: Say) -> None:
        self._s3, self._account, self._say = s3, account, say
        self._named = bucket is not None
        self.bucket = bucket or f"streamgage-artifacts-{account.number}-{account.region}"
        self._is_there = False

    def put_file(self, path: Path, *, kind: str) -> str:
        """Upload the file *path* unless it is there, and return its s3:// address. Raises: ConfigError."""
        try:
            return self._put(path.read_bytes(), kind, path.suffix)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error

    def put_template(self, body: str) -> str:
        """Upload a template unless it is there, and return the https:// address that CloudFormation takes."""
        key = self._put(body.encode(), "template", ".json").removeprefix(f"s3://{self.bucket}/")
        domain = "amazonaws.com.cn" if self._account.partition == "aws-cn" else "amazonaws.com"
        return f"https://{self.bucket}.s3.{self._account.region}.{domain}/{key}"

    def _put(self, content: bytes, kind: str, suffix: str) -> str:
        self._find_or_make()
        digest = hashlib.sha256(content)
        place = {
            "Bucket": self.bucket,
            "Key": f"streamgage/{kind}/{digest.hexdigest()}{suffix}",
            "ExpectedBucketOwner": self._account.number,
        }
        with aws_errors(f"upload to bucket {self.bucket}"):
            if not self._has(place):
                self._say(f"uploading the {kind}, {len(content):,} bytes, to bucket {self.bucket}")
                self._s3.put_object(
                    **place, Body=content, ChecksumSHA256=b64encode(digest.digest()).decode("ascii")
                )
        return f"s3://{self.bucket}/{place['Key']}"

    def _has(self, place: dict[str, str]) -> bool:
        try:
            self._s3.head_object(**place)
        except ClientError as error:
            if (
                error.response["Error"]["Code"] in _GONE | _FORBIDDEN
            ):  # without s3:ListBucket, S3 says 403 for absent
                return False
            raise
        return True

    def _find_or_make(self) -> None:
        if self._is_there:
            return
        with aws_errors(f"bucket {self.bucket}"):
            try:
                self._s3.head_bucket(Bucket=self.bucket, ExpectedBucketOwner=self._account.number)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in _FORBIDDEN:
                    raise ConfigError(
                        f"bucket {self.bucket} belongs to another account, or these credentials may not use it; "
                        "name one of yours: --bucket NAME"
                    ) from error
                if code not in _GONE:
                    raise
                if self._named:
                    raise ConfigError(
                        f"there is no bucket {self.bucket}. Without --bucket, streamgage makes one of its own"
                    ) from error
                self._make()
        self._is_there = True

    def _make(self) -> None:
        self._say(f"making bucket {self.bucket} for bundles: private, encrypted, TLS only")
        place = {"Bucket": self.bucket, "ExpectedBucketOwner": self._account.number}
        where: dict[str, Any] = {}
        if self._account.region != "us-east-1":  # which S3 refuses as a constraint: it is the default
            where = {"CreateBucketConfiguration": {"LocationConstraint": self._account.region}}
        try:
            with suppress(self._s3.exceptions.BucketAlreadyOwnedByYou):
                self._s3.create_bucket(Bucket=self.bucket, **where)
        except self._s3.exceptions.BucketAlreadyExists as error:
            raise ConfigError(
                f"bucket {self.bucket} belongs to another account; name one of yours: --bucket NAME"
            ) from error
        self._s3.put_public_access_block(
            **place,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
        self._s3.put_bucket_encryption(
            **place,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        )
        self._s3.put_bucket_policy(**place, Policy=json.dumps(self._tls_only()))

    def _tls_only(self) -> dict[str, Any]:
        arn = f"arn:{self._account.partition}:s3:::{self.bucket}"
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "TlsOnly",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [arn, f"{arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        }
