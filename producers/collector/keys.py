"""The collector's API keys: ``sgk_<id>_<secret>``, kept as hashes, scoped to sources and origins.

They are kept as one JSON document, by ``streamgage keys``: in the home of a local stack, and in an SSM parameter on AWS::

    {"keys": [{"id": "web", "hash": "<SHA-256 of the secret, hex>", "made": "2026-01-05T12:00:00+00:00",
               "expires": "2027-01-05T12:00:00+00:00", "sources": ["click"], "origins": ["https://example.com"]}]}

Without ``expires`` a key holds until it is revoked, without ``sources`` it is for all of them, without ``origins`` it is no
browser's: pages of no origin may send with it. ``line``, where it is not the id, is the id of the key that it was first
rotated from: a batch that was sent with the one and comes again with the other is known. ``"open": true`` beside ``keys`` lets everybody send as long as there is no
key: a local stack has it, whose address nobody else knows, and AWS never has.

A secret has 256 bits of chance, so that its plain SHA-256 tells nothing of it and needs no salt and no slow hash, which
are for what people think up.
"""

import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from streamgage.errors import ConfigError

MAX_KEYS = 100
SECRET_BYTES = 32
MAX_PRESENTED = 200  # characters; nothing longer is looked at
ANY_ORIGIN = "*"
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_HASH = re.compile(r"[0-9a-f]{64}")
_PRESENTED = re.compile(r"sgk_([a-z0-9-]{1,32})_([A-Za-z0-9_-]{43})")
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]{1,200}|\*")
_FIELDS = frozenset({"id", "hash", "made", "expires", "sources", "origins", "line"})
_NOBODY = "0" * 64  # what a secret is compared with where no key has the id: it takes as long
_LAST_MS = 253_402_300_799_999  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends: by which key, and into which sources; None for all. ``line`` is what a key has in common with the rotated ones."""

    key_id: str
    sources: frozenset[str] | None
    line: str


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """Why nothing may be sent: 401 where another key would help, 403 where this one is not for that."""

    status: Literal[401, 403]
    reason: str


@dataclass(frozen=True, slots=True)
class Key:
    """One key as it is kept: the SHA-256 of its secret, and what it is for."""

    id: str
    hash: str
    made_ms: int
    expires_ms: int | None = None
    sources: frozenset[str] | None = None
    origins: frozenset[str] | None = None
    rotated_from: str | None = None  # the first of its line; None: itself

    @property
    def line(self) -> str:
        """The id of the first key of those that were rotated, one after the other, up to this one."""
        return self.rotated_from or self.id

    def holds(self, now_ms: int) -> bool:
        """Say whether it has not expired at *now_ms*."""
        return self.expires_ms is None or now_ms < self.expires_ms

    def admits(self, origin: str) -> bool:
        """Say whether pages of *origin* may send with it. A sandboxed page's ``null`` is no origin."""
        if self.origins is None or origin == "null":
            return False
        return ANY_ORIGIN in self.origins or origin in self.origins


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of a collector. *anyone* may send as long as there is none."""

    entries: tuple[Key, ...] = ()
    anyone: bool = False

    def check(self, presented: str | None, origin: str | None, now_ms: int) -> Caller | KeyRefused:
        """Return who sends with the key *presented*, from a page of *origin* (its header, None without one).

        It takes as long for an id that no key has as for a wrong secret, and answers the same.
        """
        if self.anyone and not self.entries:
            return Caller("open", None, "open")
        if presented is None:
            return KeyRefused(401, "a key is needed: Authorization: Bearer sgk_…, X-Api-Key, or ?key=")
        match = _PRESENTED.fullmatch(presented) if len(presented) <= MAX_PRESENTED else None
        if match is None:
            return KeyRefused(401, "this is no key: sgk_<id>_<secret>, as streamgage keys create printed it")
        key = next((each for each in self.entries if each.id == match[1]), None)
        same = hmac.compare_digest(_hash(match[2]), _NOBODY if key is None else key.hash)
        if key is None or not same:
            return KeyRefused(401, "the key is not known: it was revoked, or was never one of this collector")
        return _caller(key, origin, now_ms)

    def may_come_from(self, origin: str, now_ms: int) -> bool:
        """Say whether a page of *origin* may ask at all: what a preflight, which has no key, is answered by."""
        if self.anyone and not self.entries:
            return True
        return any(each.holds(now_ms) and each.admits(origin) for each in self.entries)

    def named(self, key_id: str) -> Key:
        """Return the key *key_id*. Raises: ConfigError: there is none, and which there are."""
        for each in self.entries:
            if each.id == key_id:
                return each
        there = ", ".join(sorted(each.id for each in self.entries)) or "none"
        raise ConfigError(f"there is no key {key_id}; there are: {there}")

    def plus(self, key: Key) -> "Keys":
        """Return these and *key*. Raises: ConfigError: the id is taken, or they are too many."""
        if any(each.id == key.id for each in self.entries):
            raise ConfigError(
                f"there is a key {key.id} already: name another, or `streamgage keys rotate {key.id}`"
            )
        heirs = [each.id for each in self.entries if each.line == key.id]
        if heirs and key.rotated_from is None:  # it would share its senders' idempotency keys with strangers
            raise ConfigError(f"{', '.join(heirs)} was made in place of a key {key.id}: name another")
        if len(self.entries) >= MAX_KEYS:
            raise ConfigError(f"there are {MAX_KEYS} keys, which is the most: revoke one first")
        return replace(self, entries=(*self.entries, key))

    def minus(self, key_id: str) -> "Keys":
        """Return these without *key_id*. Raises: ConfigError: there is none."""
        gone = self.named(key_id)
        return replace(self, entries=tuple(each for each in self.entries if each is not gone))

    def until(self, key_id: str, expires_ms: int) -> "Keys":
        """Return these, of which *key_id* expires at *expires_ms*, or when it did anyway if that is sooner.

        Raises: ConfigError: there is no such key.
        """
        key = self.named(key_id)
        soonest_ms = expires_ms if key.expires_ms is None else min(expires_ms, key.expires_ms)
        ends = replace(key, expires_ms=soonest_ms)
        return replace(self, entries=tuple(ends if each is key else each for each in self.entries))


OPEN = Keys(anyone=True)


def new_key(
    key_id: str,
    chance: bytes,
    *,
    made_ms: int,
    expires_ms: int | None = None,
    sources: Iterable[str] | None = None,
    origins: Iterable[str] | None = None,
    rotated_from: str | None = None,
) -> tuple[Key, str]:
    """Return a new key as it is kept, and what its bearer presents, which nothing can tell again.

    Args:
        key_id: 1 to 32 of ``a-z 0-9 -``.
        chance: 32 bytes that nobody can guess (``secrets.token_bytes``).
        made_ms: now.
        expires_ms: from when on it is refused.
        sources: where it may send to; None for everywhere.
        origins: whose pages may send with it, or ``*``; None for no page.
        rotated_from: the line of the key that it is made in place of; None: it begins one.

    Raises:
        ConfigError: something of it cannot be; all of it is said.
    """
    if len(chance) != SECRET_BYTES:
        raise ValueError(f"a secret is made of {SECRET_BYTES} bytes, not {len(chance)}")
    secret = urlsafe_b64encode(chance).decode().rstrip("=")
    key = Key(
        key_id,
        _hash(secret),
        made_ms,
        expires_ms,
        None if sources is None else frozenset(sources),
        None if origins is None else frozenset(origins),
        rotated_from,
    )
    problems = _problems(_fields(key), f"key {key_id}")
    if expires_ms is not None and expires_ms <= made_ms:
        problems.append(f"key {key_id}: it would have expired before it is made")
    if problems:
        raise ConfigError(*problems)
    return key, f"sgk_{key_id}_{secret}"


def parse_keys(text: str) -> Keys:
    """Return the keys in the document *text*.

    Raises:
        ConfigError: it is none; every problem, and never a hash. Refuse all requests then.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"keys: no JSON ({error})") from error
    if not isinstance(document, dict) or not isinstance(listed := document.get("keys"), list):
        raise ConfigError('keys: it must be {"keys": [...]}; streamgage keys writes it')
    problems = [f"keys: the field {name} is not known" for name in sorted(set(document) - {"keys", "open"})]
    anyone = document.get("open", False)
    if not isinstance(anyone, bool):
        problems.append("keys: open is true or false")
    if len(listed) > MAX_KEYS:
        raise ConfigError(*problems, f"keys: {len(listed)} of them; at most {MAX_KEYS}")
    problems += [problem for at, each in enumerate(listed) for problem in _problems(each, f"keys[{at}]")]
    if problems:
        raise ConfigError(*problems)
    entries = tuple(_key(each) for each in listed)
    if len({each.id for each in entries}) < len(entries):
        raise ConfigError("keys: two have the same id")
    return Keys(entries, anyone)


def keys_text(keys: Keys) -> str:
    """Return the document of *keys*: the inverse of parse_keys."""
    document: dict[str, Any] = {"keys": [_fields(each) for each in keys.entries]}
    if keys.anyone:
        document["open"] = True
    return json.dumps(document, separators=(",", ":"))


def _caller(key: Key, origin: str | None, now_ms: int) -> Caller | KeyRefused:
    if not key.holds(now_ms):
        return KeyRefused(401, f"the key {key.id} expired at {_instant(key.expires_ms or 0)}")
    if origin is not None and not key.admits(origin):
        return KeyRefused(403, f"the key {key.id} is not for pages of {origin[:MAX_PRESENTED]}")
    if origin is None and key.origins is not None:
        return KeyRefused(403, f"the key {key.id} is for pages, whose browser says an Origin; there is none")
    return Caller(key.id, key.sources, key.line)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _fields(key: Key) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": key.id, "hash": key.hash, "made": _instant(key.made_ms)}
    if key.expires_ms is not None:
        fields["expires"] = _instant(key.expires_ms)
    if key.sources is not None:
        fields["sources"] = sorted(key.sources)
    if key.origins is not None:
        fields["origins"] = sorted(key.origins)
    if key.rotated_from is not None:
        fields["line"] = key.rotated_from
    return fields


def _key(fields: Mapping[str, Any]) -> Key:
    sources, origins, expires = fields.get("sources"), fields.get("origins"), fields.get("expires")
    return Key(
        fields["id"],
        fields["hash"],
        _ms(fields["made"]) if "made" in fields else 0,
        None if expires is None else _ms(expires),
        None if sources is None else frozenset(sources),
        None if origins is None else frozenset(origins),
        fields.get("line"),
    )


def _problems(fields: Any, place: str) -> list[str]:
    if not isinstance(fields, dict):
        return [f"{place}: it is no object"]
    problems = [f"{place}: the field {str(name)[:40]} is not known" for name in sorted(set(fields) - _FIELDS)]
    if not _is(_ID, fields.get("id")):
        problems.append(f"{place}: its id is 1 to 32 of a-z, 0-9 and -, and neither begins nor ends with -")
    if fields.get("line") is not None and not _is(_ID, fields["line"]):
        problems.append(f"{place}: its line is the id of a key")
    if not _is(_HASH, fields.get("hash")):
        problems.append(f"{place}: its hash is a SHA-256 of 64 hex digits")
    problems += [
        f"{place}: {name} is a time with its zone, such as 2027-01-05T12:00:00+00:00"
        for name in ("made", "expires")
        if fields.get(name) is not None and not _is_instant(fields[name])
    ]
    for name, pattern in (("sources", re.compile(r"\S{1,255}")), ("origins", _ORIGIN)):
        some = fields.get(name)
        if some is None:
            continue
        if not isinstance(some, list) or not some or not all(_is(pattern, each) for each in some):
            problems.append(f"{place}: {name} is a list of {_SAYS[name]}; leave it out for {_WITHOUT[name]}")
    return problems


_SAYS = {"sources": "names of sources", "origins": 'origins such as "https://example.com", or "*"'}
_WITHOUT = {"sources": "all", "origins": "no page"}


def _is(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_instant(value: Any) -> bool:
    try:
        return 0 <= _ms(value) <= _LAST_MS
    except (ValueError, TypeError, OverflowError):
        return False


def _ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return round(moment.timestamp() * 1000)


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(
        timespec="milliseconds" if ms % 1000 else "seconds"
    )
