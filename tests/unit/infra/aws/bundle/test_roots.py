"""Certificate authorities a file each: OpenSSL finds them by the names that we give."""

import contextlib
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.aws.bundle.files import ROOTS
from infra.aws.bundle.roots import hashed_roots, subject_hash

_NARROW = re.compile("[^A-Za-z0-9 ]")  # what is no PrintableString
PEM = ROOTS.read_text(encoding="utf-8")
TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs"]), min_size=1, max_size=20
)


def certificate(name: x509.Name) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1 << 130)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def is_found(made: x509.Certificate, key: ec.EllipticCurvePrivateKey, folder: Path) -> bool:
    """Tell whether a client that trusts *folder* accepts a server with the certificate, in memory."""
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder.parent / "server.pem").write_bytes(pem + private)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder.parent / "server.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    client = ssl.create_default_context(capath=str(folder)).wrap_bio(
        to_client, to_server, server_hostname="localhost"
    )
    try:
        for side in (client, server, client, server):
            _step(side.do_handshake)
    except ssl.SSLCertVerificationError:
        return False
    return True


def _step(handshake: Callable[[], None]) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake()


@example(parts=[(NameOID.COMMON_NAME, "  Two \t  Words ", _ASN1Type.UTF8String)], together=False)
@example(  # as they are, the first sorts first; as OpenSSL sees them, the second does
    parts=[
        (NameOID.COMMON_NAME, "ZZ", _ASN1Type.UTF8String),
        (NameOID.COMMON_NAME, "A", _ASN1Type.BMPString),
    ],
    together=True,
)
@settings(deadline=None, max_examples=60)
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.LOCALITY_NAME]),
            TEXT,
            st.sampled_from(
                [_ASN1Type.UTF8String, _ASN1Type.BMPString, _ASN1Type.PrintableString, _ASN1Type.IA5String]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
    together=st.booleans(),
)
def test_openssl_finds_a_certificate_of_any_subject(
    parts: list[tuple[x509.ObjectIdentifier, str, _ASN1Type]],
    *,
    together: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("tls") / "roots"
    folder.mkdir()
    attributes = [
        x509.NameAttribute(kind, _NARROW.sub("q", value) if is_narrow(asn1) else value, asn1)
        for kind, value, asn1 in parts
    ]
    rdns = [x509.RelativeDistinguishedName(attributes)] if together and distinct(attributes) else None
    made, key = certificate(x509.Name(rdns or attributes))
    files = hashed_roots(made.public_bytes(serialization.Encoding.PEM).decode())
    assert not is_found(made, key, folder)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="ascii")
    assert is_found(made, key, folder)


def is_narrow(kind: _ASN1Type) -> bool:
    return kind in {_ASN1Type.PrintableString, _ASN1Type.IA5String}


def distinct(attributes: list[x509.NameAttribute[str]]) -> bool:
    return len({(each.oid, each.value) for each in attributes}) == len(attributes)


def test_the_authorities_of_aws_are_there_under_the_names_that_openssl_rehash_gives_them() -> None:
    files = hashed_roots(PEM)
    assert len(files) == PEM.count("BEGIN CERTIFICATE")
    # Amazon Root CA 1 to 4, and Starfield Services Root G2: `openssl x509 -subject_hash`, 3.0.19.
    assert {"ce5e74ef.0", "6d41d539.0", "8cb5ee0f.0", "de6d66f3.0", "09789157.0"} <= files.keys()


def test_certificates_of_one_subject_are_numbered_and_a_repeated_one_counts_once() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Twin")])
    texts = [certificate(name)[0].public_bytes(serialization.Encoding.PEM).decode() for _ in range(2)]
    files = hashed_roots("".join([texts[0], "a comment\n", texts[1], texts[0]]))
    base = subject_hash(ssl.PEM_cert_to_DER_cert(texts[0]))
    assert files == {f"{base}.0": texts[0], f"{base}.1": texts[1]}


def test_a_certificate_cut_short_is_refused() -> None:
    der = ssl.PEM_cert_to_DER_cert(next(iter(hashed_roots(PEM).values())))
    with pytest.raises(ValueError, match="longer than what holds it"):
        subject_hash(der[:-1])
