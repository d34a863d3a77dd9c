"""Which broker, as whom, and how: what may be set."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from streamgage.errors import ConfigError, without_password

Version = Literal["5", "3.1.1"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MOST_RECEIVED = 65_535
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How to be a client of a broker.

    Attributes:
        client_id: names the session that the broker keeps while nobody is connected: the same for each start, no other's.
        version: of MQTT. 3.1.1 has neither user properties nor a receive maximum: the broker's own bound holds.
        receive_maximum: messages that the broker sends ahead of their acknowledgement.
        session_expiry_s: how long it keeps the session; with 3.1.1 it decides by itself.
        share: the group of a shared subscription: each message goes to one of its bridges.
        status_topic: where a retained "online" stands, and "offline" as the will.
    """

    host: str
    port: int = 1883
    tls: bool = False
    client_id: str = "streamgage"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    version: Version = "5"
    keepalive_s: int = 60
    receive_maximum: int = 1_000
    session_expiry_s: int = 7 * _DAY_S
    share: str | None = None
    status_topic: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        checks = (
            (
                1 <= self.receive_maximum <= _MOST_RECEIVED,
                f"a receive maximum of {self.receive_maximum}: from 1 to {_MOST_RECEIVED:,}",
            ),
            (
                1 <= self.keepalive_s <= _MOST_RECEIVED,
                f"a keep alive of {self.keepalive_s} s: from 1 to {_MOST_RECEIVED:,}",
            ),
            (
                1 <= self.session_expiry_s < 2**32,
                f"a session expiry of {self.session_expiry_s} s: from 1 s to 136 years",
            ),
            (bool(self.client_id), "a client id is needed: the broker keeps the session under it"),
            (_is_name(self.share, "/+#"), f"a share of {self.share!r}: a name without /, + and #"),
            (
                _is_name(self.status_topic, "+#\0"),
                f"a status topic of {self.status_topic!r}: without + and #",
            ),
            ((self.cert_file is None) == (self.key_file is None), "a certificate and its key come together"),
            (self.tls or not (self.ca_file or self.cert_file), "certificates are of TLS: mqtts://"),
            (self.password is None or self.username is not None, "a password without a user name"),
        )
        problems = [problem for is_right, problem in checks if not is_right]
        if problems:
            raise ConfigError(*problems)

    @property
    def address(self) -> str:
        """Where it is, for a person."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def _is_name(text: str | None, forbidden: str) -> bool:
    """Tell whether *text* is none, or one without what is *forbidden*."""
    return text is None or (bool(text) and not set(text) & set(forbidden))


def address_of(url: str) -> tuple[str, int, bool]:
    """Return host, port and whether TLS is meant, of ``mqtt://host[:1883]`` or ``mqtts://host[:8883]``. Raises: ConfigError."""
    shown = without_password(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{shown}: no address of a broker ({error})") from error
    if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{shown}: no address of a broker: mqtt://HOST[:PORT], or mqtts:// with TLS")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{shown}: who can list processes reads it: give the name by --username, the password by MQTT_PASSWORD or "
            "--password-file"
        )
    return host, port or _PORTS[parts.scheme], parts.scheme == "mqtts"
