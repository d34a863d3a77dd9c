"""The collector's keys of a local stack: a sealed file in its home, and the SSM parameter that the function reads.

The file is the truth; ``up`` puts it into the emulator, and ``streamgage keys`` does while a stack runs. As long as there is
no key anybody may send: the address of the stack holds a secret of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.stack.clients import local_client
from infra.local.stack.home import Home, is_running, read_json, write_json
from producers.collector.keys import OPEN, Keys, keys_text, parse_keys
from streamgage.errors import ConfigError

_FIELD = "document"  # text within the sealed file: it is what parse_keys reads
KEYS_VARIABLE = "KEYS_PARAMETER"  # of the function: the parameter's name


def read_keys(home: Home) -> Keys:
    """Return the keys of *home*. Raises: ConfigError: their file is damaged."""
    found = read_json(home.keys_file)
    if found is None:
        return OPEN
    try:
        return parse_keys(str(found[_FIELD]))
    except KeyError as error:
        raise ConfigError(
            f"{home.keys_file} is of another version; make new keys: streamgage keys create"
        ) from error


def write_keys(home: Home, keys: Keys) -> None:
    """Keep *keys*, whole or not at all."""
    write_json(home.keys_file, {_FIELD: keys_text(keys)})


def hand_over_keys(home: Home, client_of: Callable[[str], Any], function: Mapping[str, Any] | None) -> None:
    """Put the keys of *home* where the collector's *function* reads them; None: there is no collector.

    Raises:
        ConfigError: their file is damaged.
    """
    name = (function or {}).get("env", {}).get(KEYS_VARIABLE)
    if name:
        client_of("ssm").put_parameter(
            Name=name, Value=keys_text(read_keys(home)), Type="String", Overwrite=True
        )


def change_keys(home: Home, keys: Keys) -> None:
    """Keep *keys*, and hand them over to the stack where one runs.

    Raises:
        ConfigError: something in the home is damaged, or the stack does not take them: they are kept all the same.
    """
    write_keys(home, keys)
    raw = home.raw_info()
    if raw is None or not is_running(raw, "supervisor"):
        return
    info = home.info()
    config = read_json(home.gateway_config_file) or {}
    try:
        hand_over_keys(
            home,
            lambda service: local_client(service, info.endpoints["aws"], info.credentials),
            config.get("collector_function"),
        )
    except (BotoCoreError, ClientError) as error:
        raise ConfigError(
            f"the keys are kept, and the stack does not take them: {error}. Restart it: streamgage down, streamgage up"
        ) from error
