"""API keys: what is presented is checked against hashes; a document that is none refuses everybody."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.collector.keys import OPEN, Caller, Key, KeyRefused, Keys, keys_text, new_key, parse_keys
from streamgage.errors import ConfigError

NOW_MS = 1_767_614_400_000
PAGE = "https://example.com"
NAMES = st.frozensets(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=3)


def _made(key_id: str = "web", **given: Any) -> tuple[Key, str]:
    return new_key(key_id, bytes(range(32)), made_ms=NOW_MS, **given)


@given(
    chance=st.binary(min_size=32, max_size=32),
    sources=st.none() | NAMES,
    origins=st.none() | st.just(frozenset({PAGE})),
    lasts_ms=st.none() | st.integers(1, 10**12),
    line=st.none() | st.sampled_from(["web-1", "shop"]),
)
def test_a_key_that_was_made_is_taken_after_it_was_written_and_read(
    chance: bytes,
    sources: frozenset[str] | None,
    origins: frozenset[str] | None,
    lasts_ms: int | None,
    line: str | None,
) -> None:
    expires_ms = None if lasts_ms is None else NOW_MS + lasts_ms
    key, secret = new_key(
        "web",
        chance,
        made_ms=NOW_MS,
        expires_ms=expires_ms,
        sources=sources,
        origins=origins,
        rotated_from=line,
    )
    keys = parse_keys(keys_text(Keys((key,))))
    assert keys.entries == (key,)
    origin = None if origins is None else PAGE
    assert keys.check(secret, origin, NOW_MS) == Caller("web", sources, line or "web")
    if expires_ms is not None:
        assert isinstance(keys.check(secret, origin, expires_ms), KeyRefused)


@given(at=st.integers(0, 42), letter=st.sampled_from("ABab01-_"))
def test_a_secret_of_which_one_letter_differs_is_refused(at: int, letter: str) -> None:
    key, secret = _made()
    head, text = secret[:8], secret[8:]
    other = text[:at] + letter + text[at + 1 :]
    if other != text:
        assert Keys((key,)).check(head + other, None, NOW_MS) == Keys().check(secret, None, NOW_MS)


@given(st.text(max_size=300))
def test_whatever_is_presented_is_refused_and_no_error(presented: str) -> None:
    refused = Keys((_made()[0],)).check(presented, None, NOW_MS)
    assert isinstance(refused, KeyRefused)
    assert refused.status == 401


def test_an_id_that_nobody_has_and_a_wrong_secret_are_answered_alike() -> None:
    key, secret = _made()
    wrong = new_key("web", bytes(32), made_ms=NOW_MS)[1]
    unknown = secret.replace("sgk_web_", "sgk_other_")
    assert Keys((key,)).check(wrong, None, NOW_MS) == Keys((key,)).check(unknown, None, NOW_MS)


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        (None, None, None),
        (None, PAGE, 403),  # a server's key in a page: it was published by mistake
        ([PAGE], PAGE, None),
        ([PAGE], "https://example.com.evil.example", 403),
        ([PAGE], "http://example.com", 403),
        ([PAGE], None, 403),
        ([PAGE], "null", 403),
        (["*"], "https://anything.example", None),
        (["*"], "null", 403),
    ],
)
def test_a_key_is_for_pages_of_its_origins_only(
    origins: list[str] | None, origin: str | None, status: int | None
) -> None:
    key, secret = _made(origins=origins)
    answer = Keys((key,)).check(secret, origin, NOW_MS)
    assert (answer.status if isinstance(answer, KeyRefused) else None) == status


def test_a_preflight_is_answered_for_origins_of_keys_that_hold() -> None:
    keys = Keys((_made(origins=[PAGE], expires_ms=NOW_MS + 10)[0], _made("server")[0]))
    assert keys.may_come_from(PAGE, NOW_MS)
    assert not keys.may_come_from(PAGE, NOW_MS + 10)
    assert not keys.may_come_from("https://other.example", NOW_MS)


def test_without_a_key_nobody_may_send_but_where_anyone_may() -> None:
    assert isinstance(Keys().check(None, None, NOW_MS), KeyRefused)
    assert OPEN.check(None, None, NOW_MS) == Caller("open", None, "open")
    assert OPEN.may_come_from(PAGE, NOW_MS)
    key, secret = _made()
    closed = parse_keys(keys_text(OPEN.plus(key)))
    assert isinstance(closed.check(None, None, NOW_MS), KeyRefused)
    assert closed.check(secret, None, NOW_MS) == Caller("web", None, "web")


def test_a_rotated_key_holds_until_then_and_never_longer_than_it_did() -> None:
    keys = Keys((_made(expires_ms=NOW_MS + 5)[0],))
    assert keys.until("web", NOW_MS + 9).entries[0].expires_ms == NOW_MS + 5
    assert keys.until("web", NOW_MS + 3).entries[0].expires_ms == NOW_MS + 3


def test_ids_are_one_a_key_and_those_there_are_are_named() -> None:
    keys = Keys((_made()[0],))
    with pytest.raises(ConfigError, match="there is a key web already"):
        keys.plus(_made()[0])
    with pytest.raises(ConfigError, match="there is no key other; there are: web"):
        keys.minus("other")
    assert keys.minus("web") == Keys()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "it must be"),
        ('{"keys": {}}', "it must be"),
        ('{"keys": [], "opne": true}', "the field opne is not known"),
        ('{"keys": [], "open": "false"}', "open is true or false"),
        ('{"keys": [1]}', "it is no object"),
        (json.dumps({"keys": [{"id": "web"}]}), "its hash"),
        (json.dumps({"keys": [{"id": "a_b", "hash": "0" * 64}]}), "its id"),
        (
            json.dumps({"keys": [{"id": "a", "hash": "0" * 64, "expires": "2027-01-05T12:00:00"}]}),
            "expires is",
        ),
        (json.dumps({"keys": [{"id": "a", "hash": "0" * 64, "expires": 5}]}), "expires is"),
        (json.dumps({"keys": [{"id": "a", "hash": "0" * 64, "sources": []}]}), "leave it out for all"),
        (json.dumps({"keys": [{"id": "a", "hash": "0" * 64, "origins": "x"}]}), "leave it out for no page"),
        (json.dumps({"keys": [{"id": "a", "hash": "0" * 64, "origin": ["*"]}]}), "origin is not known"),
        (json.dumps({"keys": [{"id": "a", "hash": "0" * 64, "line": "A b"}]}), "its line"),
        (json.dumps({"keys": [{"id": "a", "hash": "0" * 64}] * 2}), "two have the same id"),
        (json.dumps({"keys": [{"id": "a", "hash": "0" * 64}] * 101}), "at most 100"),
    ],
)
def test_a_document_that_is_none_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_keys(text)


def test_a_key_that_could_not_be_is_not_made() -> None:
    with pytest.raises(ConfigError, match="would have expired"):
        _made(expires_ms=NOW_MS)
    with pytest.raises(ConfigError, match="origins is a list"):
        _made(origins=["example.com"])
    with pytest.raises(ConfigError, match="its id"):
        _made("Web!")
