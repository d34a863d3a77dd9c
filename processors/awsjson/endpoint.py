"""Where a service is: its URL, from the environment or by AWS's rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from streamgage.errors import ConfigError, without_password

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL, taken apart. ``host`` is a name or an address without brackets, ``path`` includes a query."""

    host: str
    port: int
    tls: bool
    path: str = "/"

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Return the endpoint of *url*.

        Raises:
            ConfigError: not a URL of a host, or plain http to another machine: it would show the data to the network.
        """
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
        except ValueError as error:
            why = "" if "@" in url else f": {error}"  # it quotes pieces, and one may be of a password
            raise ConfigError(f"{without_password(url)!r} is not an endpoint{why}") from None
        if scheme not in _PORTS or not host or not (host + parts.path + parts.query).isascii():
            raise ConfigError(
                f"{without_password(url)!r} is not an endpoint: it is https://host or, on this machine, http://host"
            )
        if scheme == "http" and not _is_loopback(host):
            raise ConfigError(
                f"{without_password(url)!r} is plain http to another machine; only loopback may do without TLS"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port or _PORTS[scheme], scheme == "https", path)

    @property
    def authority(self) -> str:
        """The Host header: without a port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def region_of(environment: Mapping[str, str]) -> str:
    """Return the region that Lambda, or a person, set. Raises: ConfigError."""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if not region:
        raise ConfigError("AWS_REGION is not set")
    return region


def service_endpoint(service: str, environment: Mapping[str, str]) -> Endpoint:
    """Return where *service* ("dynamodb", "sqs") is.

    Raises:
        ConfigError: no region, or an endpoint that cannot be used; one with a path cannot.

    Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html (the order of the variables)
    """
    url = environment.get(f"AWS_ENDPOINT_URL_{service.upper()}") or environment.get("AWS_ENDPOINT_URL")
    if not url:
        region = region_of(environment)
        url = f"https://{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    endpoint = Endpoint.parse(url)
    if endpoint.path != "/":
        raise ConfigError(f"{url!r} has a path; an endpoint of {service} has none")
    return endpoint


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
