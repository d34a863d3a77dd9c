"""A self-signed certificate for loopback, kept beside the data so that clients can be told to trust it."""

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamgage.errors import ConfigError

_DAYS = 365
_RENEW_DAYS = 30


def server_context(directory: Path) -> ssl.SSLContext:
    """Return a TLS context with the certificate of *directory* (``cert.pem``), which is made where it lacks.

    Raises:
        ConfigError: the package ``cryptography`` is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    certificate, key = directory / "cert.pem", directory / "key.pem"
    if not _is_current(certificate) or not key.exists():
        _make(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_current(certificate: Path) -> bool:
    age_limit = datetime.now(UTC) - timedelta(days=_DAYS - _RENEW_DAYS)
    return certificate.exists() and datetime.fromtimestamp(certificate.stat().st_mtime, UTC) > age_limit


def _make(certificate: Path, key: Path) -> None:
    try:
        from cryptography import x509  # noqa: PLC0415 - only TLS needs it
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - the same
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ConfigError("--tls-port needs the package cryptography: pip install cryptography") from error
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "streamgage local kinesis")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.IPAddress(ipaddress.ip_address("::1")),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(
            private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
