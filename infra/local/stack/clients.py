"""Clients of a stack on loopback."""

from typing import Any

import boto3
from botocore.config import Config

from infra.local.http.secret import Credentials
from infra.template.translate import REGION


def local_client(
    service: str, endpoint: str, credentials: Credentials, *, config: Config | None = None
) -> Any:
    """Return a boto3 client of a service at a loopback *endpoint*, with the credentials of its home."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        config=config or Config(retries={"mode": "standard", "max_attempts": 3}),
    )


def watching_client(service: str, endpoint: str, credentials: Credentials) -> Any:
    """Return a client for whoever shows what goes on: a service that hangs is not waited for."""
    quick = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
    return local_client(service, endpoint, credentials, config=quick)
