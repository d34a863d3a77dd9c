"""Clients of AWS's services as the environment of a sandbox says, for each function of this room. No call is made yet."""

import os
import ssl
from functools import cache

from processors.awsjson.client import AwsJsonClient
from processors.awsjson.connections import tls_context
from processors.awsjson.credentials import credential_source
from processors.awsjson.endpoint import service_endpoint

ROOTS_FOLDER = "roots"  # in the bundle: infra/aws/bundle/files.py makes it


def aws_client(service: str, target: str, *, json_version: str = "1.0") -> AwsJsonClient:
    """Return a client of *service*, whose prefix of X-Amz-Target is *target*. Raises: ConfigError."""
    return AwsJsonClient.of_environment(
        service,
        target,
        environment=os.environ,
        credentials=credential_source(os.environ),
        tls=tls() if service_endpoint(service, os.environ).tls else None,
        json_version=json_version,
    )


@cache
def tls() -> ssl.SSLContext:
    """Return one context for all clients: of the bundle's folder of authorities where there is one, docs/adr/0011."""
    folder = os.path.join(os.environ.get("LAMBDA_TASK_ROOT", ""), ROOTS_FOLDER)  # noqa: PTH118 - as the aggregate function
    if not os.environ.get("AWS_CA_BUNDLE") and os.path.isdir(folder):  # noqa: PTH112 - the same
        return ssl.create_default_context(capath=folder)
    return tls_context(os.environ)
