"""A stack on AWS that ``streamgage deploy`` made: its outputs, found by its name; and every client that we make of AWS.

Credentials are boto3's own: environment, shared files and profiles, SSO, roles of a machine. Nothing here reads them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoRegionError, ProfileNotFound
from botocore.exceptions import ConnectionError as BotoConnectionError

from producers.client.kinesis import THROTTLED_CODES
from streamgage.definition.pipeline import DEFAULT_CONSUMER
from streamgage.errors import ConfigError, RetryableError, StreamgageError

LANES_BY_KEY = (
    "partition_key"  # what the output Lanes says where the mapping's ParallelizationFactor is above 1
)

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 30
_ATTEMPTS = 5  # of one call, with boto3's growing pauses between them

_CREDENTIAL_CODES = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_HOW_TO_SIGN_IN = (
    "Credentials are found as boto3 finds them: AWS_PROFILE, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, ~/.aws, "
    "`aws sso login`, or the role of this machine"
)


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """What CloudFormation says of a stack: ``outputs`` are those of infra/template/template.yaml."""

    name: str
    region: str
    status: str
    outputs: Mapping[str, str]

    def output(self, name: str) -> str:
        """Return one output. Raises: ConfigError where the stack has none of that name."""
        value = self.outputs.get(name)
        if value is None:
            has = f"it has: {', '.join(sorted(self.outputs))}" if self.outputs else "it has no outputs at all"
            raise ConfigError(
                f"stack {self.name} in {self.region} ({self.status}) has no output {name}; {has}. It is not done, or not made by "
                "this version of streamgage: see `streamgage diff`"
            )
        return value

    @property
    def consumer(self) -> str:
        """Whose rollups it counts."""
        return self.outputs.get("Consumer", DEFAULT_CONSUMER)

    @property
    def one_key_per_record(self) -> bool:
        """Whether producers give each Kinesis record one partition key: lanes are partition keys."""
        return self.output("Lanes") == LANES_BY_KEY


@cache
def find_stack(name: str, region: str | None) -> DeployedStack:
    """Return the stack *name* in *region*, or in boto3's own; asked for once a process.

    Raises:
        ConfigError: no credentials, no region, no such stack.
        RetryableError: AWS does not answer.
    """
    client = aws_client("cloudformation", region)
    where = f"stack {name} in {client.meta.region_name}"
    with aws_errors(where):
        try:
            (found,) = client.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if not is_absent(error):
                raise
            raise ConfigError(
                f"there is no {where}. Make it: streamgage deploy --stack {name}. Elsewhere: --region NAME"
            ) from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    return DeployedStack(name, str(client.meta.region_name), found["StackStatus"], outputs)


def aws_client(service: str, region: str | None = None) -> Any:
    """Return a boto3 client: 5 s to connect, 30 s for an answer, 5 attempts in all.

    ``AWS_ENDPOINT_URL`` and ``AWS_ENDPOINT_URL_<SERVICE>`` are boto3's own way to another place than AWS.
    """
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
    )
    with aws_errors(f"AWS {service}"):
        try:
            return boto3.client(service, region_name=region, config=config)
        except ValueError as error:  # an endpoint that is no URL
            raise ConfigError(f"AWS {service}: {error}") from error


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Turn what boto3 raises in the block into an error that says what a person can do. *what* was being done."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise explained(error, what) from error


def is_absent(error: ClientError) -> bool:
    """Tell whether *error* is CloudFormation's answer for a stack that is not there."""
    answer = error.response.get("Error", {})
    return answer.get("Code") == "ValidationError" and "does not exist" in answer.get("Message", "")


def explained(error: BotoCoreError | ClientError, what: str) -> StreamgageError:
    """Return the error that tells a person what to do about *error*."""
    if isinstance(error, ClientError):
        return _explained_answer(error, what)
    if isinstance(error, NoRegionError):
        return ConfigError(f"{what}: in which region? Say --region NAME, or set AWS_DEFAULT_REGION")
    if isinstance(error, ProfileNotFound):
        return ConfigError(f"{what}: {error}. {_HOW_TO_SIGN_IN}")
    if isinstance(error, BotoConnectionError | HTTPClientError):
        return RetryableError(f"{what}: AWS does not answer: {error}")
    if any(word in type(error).__name__ for word in ("Credential", "SSO", "Token", "Login")):
        return ConfigError(f"{what}: no AWS credentials that work: {error}. {_HOW_TO_SIGN_IN}")
    return ConfigError(f"{what}: {error}")


def _explained_answer(error: ClientError, what: str) -> StreamgageError:
    answer = error.response.get("Error", {})
    code, message = str(answer.get("Code", "")), str(answer.get("Message", "")) or str(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _CREDENTIAL_CODES:
        return ConfigError(f"{what}: AWS refuses the credentials ({code}: {message}). {_HOW_TO_SIGN_IN}")
    if "AccessDenied" in code or "Unauthorized" in code:
        return ConfigError(f"{what}: these credentials may not {error.operation_name}: {message}")
    if code in THROTTLED_CODES or status >= 500 or status == 429:
        return RetryableError(f"{what}: {code}: {message}")
    return ConfigError(f"{what}: {code}: {message}")
