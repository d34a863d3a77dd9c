"""The page in its bucket: files that never change, in a folder named by what is in all of them, and one that names the folder.

A browser that has loaded ``index.html`` of one version gets everything else of the same one, whatever is uploaded meanwhile: no
cache has to be emptied, and going back to a version is writing one file. Older folders stay (some 100 kB each), for who is loading
them. Sign-in stands in ``config.json``, in the folder too. docs/adr/0040
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from botocore.exceptions import ClientError

from infra.aws.deploy.ports import Say
from infra.aws.stacks import aws_errors
from infra.template.page import INDEX, NO_CACHE, TYPES
from streamgage.errors import ConfigError

CONFIG = "config.json"
FOR_EVER = "public, max-age=31536000, immutable"
_NAME_CHARACTERS = 16  # of a SHA-256 in hexadecimal digits
_LINK = re.compile(r'\b(href|src)="([^":/#]+)"')


@dataclass(frozen=True, slots=True)
class SignIn:
    """Where people sign in, as the page is told. ``by_keys``: a claim of the ID token says which keys a person sees.

    Cognito puts a person's attributes into the ID token only; without such a claim the access token is sent.
    """

    url: str
    issuer: str
    client_id: str
    by_keys: bool

    def as_config(self) -> bytes:
        """Return the content of config.json; processors/live/web/signin.js reads it."""
        token = "id_token" if self.by_keys else "access_token"
        told = {"url": self.url, "issuer": self.issuer, "client_id": self.client_id, "token": token}
        return json.dumps({"sign_in": told}, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class PageObject:
    """One object of the bucket, and how it is served."""

    key: str
    body: bytes
    content_type: str
    cache_control: str


@dataclass(frozen=True, slots=True)
class PageVersion:
    """The page as it is to be: ``fixed`` are in the folder ``name``, ``index`` leads there and is written last."""

    name: str
    fixed: tuple[PageObject, ...]
    index: PageObject


def version_of(files: Mapping[str, bytes], sign_in: SignIn) -> PageVersion:
    """Return the version that *files* (by name, see page_files) make, with *sign_in* as their configuration.

    Raises:
        ConfigError: index.html asks for a file that is not there.
    """
    told = {**files, CONFIG: sign_in.as_config()}
    index = told.pop(INDEX)
    digest = hashlib.sha256()
    for name, body in sorted({**told, INDEX: index}.items()):
        digest.update(f"{name}\0{len(body)}\0".encode() + body)
    folder = digest.hexdigest()[:_NAME_CHARACTERS]
    asked = {name for _, name in _LINK.findall(index.decode())}
    if missing := sorted(asked - told.keys()):
        raise ConfigError(f"{INDEX} asks for what is not there: {', '.join(missing)}")
    return PageVersion(
        folder,
        tuple(_object(f"{folder}/{name}", body, FOR_EVER) for name, body in sorted(told.items())),
        _object(INDEX, _LINK.sub(rf'\1="{folder}/\2"', index.decode()).encode(), NO_CACHE),
    )


def _object(key: str, body: bytes, cache_control: str) -> PageObject:
    return PageObject(key, body, TYPES[PurePosixPath(key).suffix], cache_control)


class PageBucket:
    """The bucket *bucket* of the account *owner*. *s3* is a boto3 S3 client of its region. Each call may be repeated."""

    def __init__(self, s3: Any, *, bucket: str, owner: str) -> None:
        self._s3 = s3
        self._place = {"Bucket": bucket, "ExpectedBucketOwner": owner}

    def lacks(self, version: PageVersion) -> Sequence[PageObject]:
        """Return what has to be written for *version* to be shown, in the order in which it is; nothing where it is shown."""
        with aws_errors(f"page in bucket {self._place['Bucket']}"):
            there: set[str] = set()
            for page in self._s3.get_paginator("list_objects_v2").paginate(
                **self._place, Prefix=f"{version.name}/"
            ):
                there.update(each["Key"] for each in page.get("Contents", ()))
            lacking = [each for each in version.fixed if each.key not in there]
            return lacking if self._index() == version.index.body else [*lacking, version.index]

    def put(self, objects: Sequence[PageObject], *, say: Say) -> None:
        """Write *objects*, as ``lacks`` returned them. What was interrupted shows the version before."""
        with aws_errors(f"upload of the page to bucket {self._place['Bucket']}"):
            for each in objects:
                self._s3.put_object(
                    **self._place,
                    Key=each.key,
                    Body=each.body,
                    ContentType=each.content_type,
                    CacheControl=each.cache_control,
                )
        say(f"uploaded {len(objects)} of the page's files to bucket {self._place['Bucket']}")

    def _index(self) -> bytes | None:
        try:
            body: bytes = self._s3.get_object(**self._place, Key=INDEX)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        return body
