"""Certificate authorities in the form that OpenSSL reads one by one: a file each, named by the hash of its subject.

A context made of such a folder costs 0.4 ms; one made of a file with all of them, 17 ms and more: docs/adr/0011.

Source: https://docs.openssl.org/3.0/man1/openssl-rehash/ for the names; RFC 5280 section 4.1 for where the subject is.
"""

import hashlib
import re
import ssl
from collections import Counter
from collections.abc import Iterator

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SET, _SEQUENCE, _VERSION = 0x31, 0x30, 0xA0
_UTF8 = 0x0C
# The kinds of text that OpenSSL makes UTF-8 of before it hashes: tag → Python's name of the encoding.
_TEXTS = {
    _UTF8: "utf-8",
    0x13: "latin-1",  # PrintableString
    0x14: "latin-1",  # T61String, taken for Latin-1
    0x16: "latin-1",  # IA5String
    0x1A: "latin-1",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


def hashed_roots(pem: str) -> dict[str, str]:
    """Return (file name → content) for each certificate in *pem*, as ``openssl rehash`` would name them.

    Raises:
        ValueError: a certificate cannot be read.
    """
    files: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for text in dict.fromkeys(_CERTIFICATE.findall(pem)):
        name = subject_hash(ssl.PEM_cert_to_DER_cert(text))
        files[f"{name}.{taken[name]}"] = f"{text}\n"
        taken[name] += 1
    return files


def subject_hash(certificate: bytes) -> str:
    """Return what ``openssl x509 -subject_hash`` prints for a DER *certificate*.

    Formula: the first four bytes, little-endian, of the SHA-1 of the canonical subject: its sets without the sequence
    around them, each text UTF-8, in lower case (of ASCII), with single spaces between words and none around.
    """
    ((_, whole),) = _items(certificate)
    (_, signed), *_ = _items(whole)
    fields = [each for each in _items(signed) if each[0] != _VERSION]
    _, subject = fields[4]  # serial number, algorithm, issuer, validity, subject
    canonical = b"".join(_canonical_set(content) for _, content in _items(subject))
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _canonical_set(content: bytes) -> bytes:
    entries = []
    for _, entry in _items(content):
        (kind, name), (tag, value) = _items(entry)
        if tag in _TEXTS:
            words = (
                value.decode(_TEXTS[tag]).encode().split()
            )  # bytes: only ASCII is lowered, or counts as space
            tag, value = _UTF8, b" ".join(words).lower()
        entries.append(_item(_SEQUENCE, _item(kind, name) + _item(tag, value)))
    return _item(_SET, b"".join(sorted(entries)))


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, content) of each DER item in *data*."""
    position = 0
    while position < len(data):
        tag, size = data[position], data[position + 1]
        position += 2
        if size & 0x80:
            octets = size & 0x7F
            size = int.from_bytes(data[position : position + octets], "big")
            position += octets
        if position + size > len(data):
            raise ValueError("a DER item is longer than what holds it")
        yield tag, data[position : position + size]
        position += size


def _item(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
