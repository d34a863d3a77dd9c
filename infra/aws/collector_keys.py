"""The collector's keys on AWS: an SSM parameter of the stack, which is no resource of it.

A resource's text is CloudFormation's: an update for any reason, a tag for one, would put the template's in the place of the
keys. So ``streamgage keys`` makes it, and ``streamgage destroy`` deletes it with the stack. Its text holds hashes of secrets
of 256 bits: nothing that a SecureString would hide. docs/adr/0047
"""

from typing import Any

from botocore.exceptions import ClientError

from infra.aws.stacks import aws_errors
from producers.collector.keys import Keys, keys_text, parse_keys
from streamgage.errors import ConfigError, RetryableError

OUTPUT = "CollectorKeysParameter"  # of the stack: the parameter's name
MOST_LETTERS = 4096
"""Of a standard parameter, which costs nothing.

Source: https://docs.aws.amazon.com/general/latest/gr/ssm.html (checked 2026-11-29)
"""


class ParameterKeys:
    """The keys in the parameter *name*, by a boto3 *client* of SSM."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name
        self._version = 0  # that was read; 0: there is none yet

    def read(self) -> Keys:
        """Return the keys; none where there is no parameter yet. Raises: ConfigError, RetryableError."""
        with aws_errors(f"SSM parameter {self._name}"):
            try:
                found = self._client.get_parameter(Name=self._name)["Parameter"]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ParameterNotFound":
                    raise
                self._version = 0
                return Keys()
        self._version = found["Version"]
        return parse_keys(found["Value"])

    def write(self, keys: Keys) -> None:
        """Keep *keys* in place of those that were read.

        Raises:
            ConfigError: they are too many for a parameter.
            RetryableError: somebody else wrote meanwhile, and what he wrote is gone: look, and do it again.
        """
        text = keys_text(keys)
        if len(text) > MOST_LETTERS:
            raise ConfigError(
                f"the keys are {len(text):,} letters, and an SSM parameter holds {MOST_LETTERS:,}: revoke those that nobody uses"
            )
        with aws_errors(f"SSM parameter {self._name}"):
            try:
                written = self._client.put_parameter(
                    Name=self._name, Value=text, Type="String", Overwrite=self._version > 0
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ParameterAlreadyExists":
                    raise
                raise RetryableError(
                    f"{self._name}: somebody else made a key meanwhile. Nothing was written; say it again"
                ) from error
        if written["Version"] != self._version + 1:
            raise RetryableError(
                f"{self._name}: somebody else changed the keys meanwhile (version {written['Version'] - 1}), and that is "
                "undone now. Look at both: aws ssm get-parameter-history --name "
                f"{self._name}; then streamgage keys list"
            )

    def delete(self) -> bool:
        """Delete the parameter; return False where there is none. Raises: ConfigError, RetryableError."""
        with aws_errors(f"SSM parameter {self._name}"):
            try:
                self._client.delete_parameter(Name=self._name)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "ParameterNotFound":
                    raise
                return False
        return True
