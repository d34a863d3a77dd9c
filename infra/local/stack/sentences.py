"""What the machine refuses, said as a person can mend it."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.stack.home import Home
from streamgage.errors import ConfigError, RetryableError


@contextmanager
def in_a_sentence(home: Home) -> Iterator[None]:
    """Say what the machine refuses as a person can mend it."""
    try:
        yield
    except TimeoutError as error:
        raise RetryableError(
            f"{error}. The machine may be too busy: try again; the logs are in {home.logs}"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{error.filename or home.root}: {error.strerror or error}. A home is a folder that you may write to, on a disk "
            "with space left; choose another: STREAMGAGE_HOME=/path"
        ) from error
    except (BotoCoreError, ClientError) as error:
        raise RetryableError(
            f"the stack did not come up: {error}. Try again; the logs are in {home.logs}"
        ) from error
