"""The credentials of a home: made once, random, in a file that only its owner reads."""

import base64
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from infra.local.files import make_private, open_private
from infra.local.sealed import seal, unseal
from streamgage.errors import ConfigError

_KEY_BYTES = 20  # 160 bits: 32 letters


class Credentials(NamedTuple):
    """What clients sign with. The access key is the secret that is checked; AWS's clients want both."""

    access_key: str
    secret_key: str

    def variables(self) -> dict[str, str]:
        """Return them as every AWS SDK reads them from the environment."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    @property
    def base(self) -> str:
        """The secret that the paths of the home's page begin with: whoever learns it has none of the two keys."""
        made = hmac.digest(self.secret_key.encode(), b"streamgage: base path of HTTP", "sha256")
        return base64.b32encode(made[:_KEY_BYTES]).decode("ascii").lower()


def keep_credentials(path: Path) -> Credentials:
    """Return the credentials in *path*, which are made where there are none."""
    if path.exists():
        return read_credentials(path)
    make_private(path.parent)
    made = Credentials(_random("LOCAL"), _random(""))
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with os.fdopen(open_private(partial), "w", encoding="ascii") as file:
        json.dump(seal(made._asdict()), file)
    partial.replace(path)
    return made


def read_credentials(path: Path) -> Credentials:
    """Return the credentials in *path*. Raises: ConfigError, with what to do."""
    try:
        raw = unseal(json.loads(path.read_text(encoding="ascii")))
        found = Credentials(raw["access_key"], raw["secret_key"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} does not hold the credentials of the home ({type(error).__name__}). Remove it: the next "
            "`streamgage up` makes new ones"
        ) from error
    if not all(isinstance(each, str) and each.isalnum() and each.isascii() for each in found):
        raise ConfigError(f"{path} does not hold the credentials of the home: they are letters and digits")
    return found


def _random(prefix: str) -> str:
    """Return a random text of letters and digits: DynamoDB Local takes no others in an access key."""
    return prefix + base64.b32encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")
